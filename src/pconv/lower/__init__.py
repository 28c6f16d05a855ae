"""Normalised graph -> Plan: layouts, FKR, FKW, LRE, schedules, arena. Sees neither ONNX nor C."""

from pconv.lower.lowering import lower
from pconv.lower.plan import Plan, Step, Tensor, Work

__all__ = ["Plan", "Step", "Tensor", "Work", "lower"]
