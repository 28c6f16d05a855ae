"""Run compiled models: needs numpy and the model's file, nothing else."""

from pconv.runtime.engine import Engine, load
from pconv.runtime.report import LayerReport, Report
from pconv.runtime.tensors import TensorInfo

__all__ = ["Engine", "LayerReport", "Report", "TensorInfo", "load"]
