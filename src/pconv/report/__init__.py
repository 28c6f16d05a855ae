"""Owns the page that a person opens: one self-contained HTML file, no script, no network."""

from pconv.report.page import Layer, Page, PatternUse, Row, Stat, render, require_packages, write

__all__ = ["Layer", "Page", "PatternUse", "Row", "Stat", "render", "require_packages", "write"]
