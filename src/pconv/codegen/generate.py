"""Plans of one model -> Program."""

from itertools import islice

from pconv.codegen import opencl
from pconv.codegen.c.model import render_kernel, render_model, render_plan
from pconv.codegen.constants import pack_constants
from pconv.codegen.manifest import manifest
from pconv.codegen.program import Program, Variant, manifest_lines
from pconv.lower.plan import Plan


def generate(plan: Plan, *fallbacks: Plan) -> Program:
    """Print a plan as C (OpenCL C for a GPU), with its constants in one blob and its manifest.

    `fallbacks` are the same model for CPUs that lack what the plan's target needs, the most demanding first. A
    micro-kernel of several plans is compiled once, for the least demanding of them.
    """
    if plan.target.arch == "opencl":
        return opencl.generate(plan)
    plans = (plan, *fallbacks)
    blob, places = pack_constants([step.data for each in plans for step in each.all_steps])
    rest = iter(places)
    offsets = [list(islice(rest, len(each.all_steps))) for each in plans]
    names = ["model", *(f"pconv_plan_{i}" for i in range(1, len(plans)))]
    variants: list[Variant] = []
    done: set[str] = set()
    for i, each in reversed(list(enumerate(plans))):
        said = manifest(each, len(blob)) | {"variants": [p.target.name for p in plans]}
        lines = manifest_lines(said)
        if i:
            text = render_plan(each, offsets[i], lines, names[i])
        else:
            text = render_model(plan, offsets[0], lines, names[1:])
        kernels = {kernel.name: kernel for step in each.all_steps for kernel in step.kernels}
        sources = {f"{names[i]}.c": text}
        sources |= {f"{name}.c": render_kernel(k) for name, k in kernels.items() if name not in done}
        done |= kernels.keys()
        variants.insert(0, Variant(sources, said, each.target))
    first = variants[0]
    return Program(first.sources, blob, first.manifest, first.target, tuple(variants[1:]))
