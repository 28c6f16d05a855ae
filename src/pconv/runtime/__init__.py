"""Run compiled models: needs numpy and the model's file, nothing else (on a GPU: pyopencl)."""

from pconv.runtime.engine import Engine
from pconv.runtime.loading import load
from pconv.runtime.report import LayerReport, Report
from pconv.runtime.tensors import TensorInfo

__all__ = ["Engine", "LayerReport", "Report", "TensorInfo", "load"]
