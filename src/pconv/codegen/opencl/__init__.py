"""Plan -> OpenCL C 1.2 and a list of launches: the same specs and load programs as the C, for work items."""

from pconv.codegen.opencl.generate import SOURCE, generate, render_step

__all__ = ["SOURCE", "generate", "render_step"]
