"""model.c: the steps in order, each a call of its micro-kernel with its memory and constants.

A plan for other CPUs is a file of its own, in which only the steps stand.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pconv.codegen.c import conv, gemm, interleave, matmul, planes, point_lists, resize, softmax, winograd
from pconv.codegen.c.prelude import ctype
from pconv.lower.kernels import ConvKernel, GemmKernel, Kernel, MatMulKernel, WinogradListsKernel
from pconv.lower.plan import Plan, Step, Tensor
from pconv.lower.tiles import tiles
from pconv.targets.dtype import FP32

_CONV_FIELDS = (
    ("index", "offset", "run", "order", "weight", "bias", "shape", "slot"),
    ("groups", "parts", "planes", "channels"),
)
_FIELDS = {
    ConvKernel: _CONV_FIELDS,
    WinogradListsKernel: _CONV_FIELDS,
    GemmKernel: (("index", "offset", "weight", "bias"), ("features", "outputs", "units", "tasks")),
    MatMulKernel: ((), ("planes", "tasks")),
}
_PLANE_FIELDS = (
    ("base", "table", "holes", "scale", "shift", "shape", "value"),
    ("planes", "tasks", "apart", "hole_count", "first"),
)


Places = Sequence[Mapping[str, int]]
"""For each step the offset of each constant in the weights, by its name."""


def render_model(plan: Plan, places: Places, manifest: Sequence[str], fallbacks: Sequence[str]) -> str:
    """Return model.c; `fallbacks` are the names of the plans for CPUs that lack what this one needs.

    `manifest` is what the plan says of itself, line by line.
    """
    table = ", ".join(f"&{name}" for name in ("plan", *fallbacks))
    return "".join(
        (
            _render_steps(plan, places, manifest, "static const pconv_plan plan"),
            *(f"extern const pconv_plan {name};\n" for name in fallbacks),
            f"const pconv_plan *const pconv_plans[] = {{{table}, 0}};\n",
            _tensors("inputs", [t.name for t in plan.inputs], plan.input_shapes),
            _tensors("outputs", plan.output_names, plan.output_shapes),
        )
    )


def render_plan(plan: Plan, places: Places, manifest: Sequence[str], name: str) -> str:
    """Return the file that defines a plan under its name."""
    return _render_steps(plan, places, manifest, f"const pconv_plan {name}")


def _render_steps(plan: Plan, places: Places, manifest: Sequence[str], declared: str) -> str:
    signatures = sorted({_signature(kernel) for step in plan.all_steps for kernel in step.kernels})
    parts = [
        f"/* {_comment(plan.name)}: what runs, in which order, on which memory. */\n",
        '#include "model.h"\n\n',
        *(f"{text};\n" for text in signatures),
        _args_types(),
        "\n",
    ]
    rows = []
    for i, step in enumerate(plan.all_steps):
        parts.append(_step(i, plan.all_steps, places))
        rows.append(f'    {{"{_escape(step.name)}", step_{i}, {step.tasks}, {step.params.get("grain", 1)}}},')
    parts.append("static const pconv_step steps[] = {\n" + "\n".join(rows) + "\n};\n")
    needs, once = f'PCONV_NEEDS("{",".join(plan.target.features)}")', len(plan.preparation)
    parts.append("static const char manifest[] =\n    " + "\n    ".join(map(json.dumps, manifest)) + ";\n")
    counts = f"{plan.images}, {plan.count('before')}, {plan.count('folded')}"
    sizes = f"{plan.arena_bytes}, {plan.scratch_bytes}, {plan.prepared_bytes}"
    values = f"{needs}, manifest, steps + {once}, {len(plan.steps)}, {counts}, {sizes}, steps, {once}"
    parts.append(f"{declared} = {{\n    {values}\n}};\n")
    return "".join(parts)


def render_kernel(kernel: Kernel) -> str:
    """Return the C file of a micro-kernel."""
    from pconv.lower import kernels as k

    match kernel:
        case k.ConvKernel():
            return conv.render(kernel)
        case k.GemmKernel():
            return gemm.render(kernel)
        case k.GatherKernel():
            return planes.render_gather(kernel)
        case k.InterleaveKernel():
            return interleave.render(kernel)
        case k.GlobalAverageKernel():
            return planes.render_global_average(kernel)
        case k.PoolKernel():
            return planes.render_pool(kernel)
        case k.PoolTableKernel():
            return planes.render_pool_table(kernel)
        case k.ResizeKernel():
            return resize.render(kernel)
        case k.ElementwiseKernel():
            return planes.render_elementwise(kernel)
        case k.ConstantKernel():
            return planes.render_constant(kernel)
        case k.SoftmaxKernel():
            return softmax.render(kernel)
        case k.MatMulKernel():
            return matmul.render(kernel)
        case k.ArgMaxKernel():
            return planes.render_arg_max(kernel)
        case k.WinogradInputKernel():
            return winograd.render_input(kernel)
        case k.WinogradOutputKernel():
            return winograd.render_output(kernel)
        case k.WinogradListsKernel():
            return point_lists.render(kernel, conv.signature(kernel), conv.ARGS.format(weight="float"))
        case k.WinogradWeightsKernel():
            return winograd.render_weights(kernel)


def _signature(kernel: Kernel) -> str:
    match kernel:
        case ConvKernel() | WinogradListsKernel():
            return conv.signature(kernel)
        case GemmKernel():
            return gemm.signature(kernel)
        case MatMulKernel():
            return matmul.signature(kernel)
        case _:
            return planes.signature(kernel)


def _args_types() -> str:
    return (
        conv.ARGS.format(weight="void")
        + gemm.ARGS.format(index="void", weight="void")
        + matmul.ARGS
        + planes.ARGS
    )


def _step(i: int, steps: Sequence[Step], places: Places) -> str:
    """Return the function of a step: its call, or several in turns; nothing where the step before has done it."""
    step = steps[i]
    work, behind = step.work, steps[i + 1] if i + 1 < len(steps) else None
    if step.within:
        body = f"    (void)f, (void)begin, (void)end; /* within step_{i - 1} */\n"
    elif behind and behind.within:
        body = _in_blocks(step, behind, places[i], places[i + 1])
    else:
        body = _in_strips(step, places[i]) if step.around else _call(step, places[i])
    return (
        f"/* {_comment(step.name)} ({step.op}) {'x'.join(map(str, work.in_shape))} -> "
        f"{'x'.join(map(str, work.out_shape))} */\n"
        f"static void step_{i}(const pconv_frame *f, int32_t begin, int32_t end) {{\n{body}}}\n"
    )


def _call(
    step: Step,
    places: Mapping[str, int],
    tasks: str = "begin, end",
    indent: str = "    ",
    scratch: str = "f->scratch",
    more: Sequence[str] = (),
) -> str:
    """Return the call of a step's micro-kernel, with its arguments declared before it."""
    pointers, numbers = _FIELDS.get(type(step.kernel), _PLANE_FIELDS)
    kinds = {GemmKernel: "gemm_args", MatMulKernel: "matmul_args"}
    kind = "conv_args" if pointers is _CONV_FIELDS[0] else kinds.get(type(step.kernel), "plane_args")
    fields = [f".{name} = (const void *)(f->weights + {places[name]})" for name in pointers if name in places]
    fields += [*(f".{name} = {step.params[name]}" for name in numbers if name in step.params), *more]
    inputs = [*(_address(t, scratch) for t in step.inputs), "0", "0"]
    if isinstance(step.kernel, ConvKernel) and step.kernel.points > 1:
        fields.append(f".weight = {inputs.pop(1)}")
        if step.kernel.lists:
            fields.append(f".lists = (const void *)({inputs.pop(1)})")
    if step.room:
        fields.append(f".panel = {_address(step.room, scratch)}")
    first, second = inputs[:2]
    operands = first if isinstance(step.kernel, GemmKernel) else f"{first}, {second}"
    return (
        f"{indent}const {kind} args = {{{', '.join(fields) or '0'}}};\n"
        f"{indent}{step.kernel.name}({operands}, {_address(step.output, scratch)}, &args, {tasks});\n"
    )


def _in_strips(step: Step, places: Mapping[str, int]) -> str:
    """Return the loop over strips of tiles, in which three micro-kernels take turns."""
    assert step.around
    before, after = step.around
    strip, tiles = step.params["strip"], step.params["tiles"]
    prepared = (tensor for tensor in step.inputs if tensor.space == "prepared")
    points = replace(step, inputs=(before.output, *prepared), output=after.inputs[0])
    calls = (
        _call(before, places, "first, last", " " * 12),
        _call(points, places, f"0, {step.params['each']}", " " * 12),
        _call(after, places, "first, last", " " * 12),
    )
    return (
        "    for (int32_t strip = begin; strip < end; strip++) {\n"
        f"        const int32_t first = strip * {strip}, end_of_strip = first + {strip};\n"
        f"        const int32_t last = end_of_strip < {tiles} ? end_of_strip : {tiles};\n"
        + "".join(f"        {{\n{call}        }}\n" for call in calls)
        + "    }\n"
    )


def _in_blocks(step: Step, behind: Step, places: Mapping[str, int], places_behind: Mapping[str, int]) -> str:
    """Return the loop over blocks of channels, in which two layers take turns.

    Both count planes from the first block on; the scratch has those of one.
    """
    calls = ""
    for each, at in ((step, places), (behind, places_behind)):
        assert isinstance(each.kernel, ConvKernel)
        count = len(tiles(each.kernel))
        tasks = f"block * {count}, (block + 1) * {count}"
        claims: tuple[str, ...] = ()
        if each.kernel.claims:
            order = f"(const void *)(f->weights + {places_behind['order']})"
            claims = (f".claimed = f->threads > 1 ? {_address(behind.output, '')} : 0", f".claims = {order}")
        calls += f"        {{\n{_call(each, at, tasks, ' ' * 12, 'first', claims)}        }}\n"
    return (
        "    for (int32_t block = begin; block < end; block++) {\n"
        f"        unsigned char *first = f->scratch - (size_t)block * {step.output.nbytes};\n"
        f"{calls}    }}\n"
    )


def _address(tensor: Tensor, scratch: str) -> str:
    """Return where a tensor begins; of several images side by side, where the one at hand does, or the first."""
    dtype = tensor.layout.dtype
    if tensor.space == "scratch":
        return f"({ctype(dtype)} *)({scratch} + {tensor.offset})"
    if tensor.space in ("arena", "prepared"):
        cast = "" if dtype == FP32 else f"({ctype(dtype)} *)"
        lane = f" + f->image * {tensor.layout.image_lanes}" if tensor.layout.images > 1 else ""
        return f"{cast}f->{tensor.space} + {tensor.offset // dtype.elem_bytes}{lane}"
    return f"f->{tensor.space}s[{tensor.offset}]"


def _tensors(what: str, names: Sequence[str], shapes: tuple[tuple[int, ...], ...]) -> str:
    rows = [
        f'    {{"{_escape(name)}", {len(shape)}, {{{", ".join(map(str, shape))}}}}},'
        for name, shape in zip(names, shapes, strict=True)
    ]
    return (
        f"const pconv_tensor pconv_{what}[] = {{\n" + "\n".join(rows) + "\n};\n"
        f"const int32_t pconv_{what}_count = {len(rows)};\n"
    )


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() and c not in '"\\?' and ord(c) < 128 else "_" for c in text)


def _comment(text: str) -> str:
    return _escape(text).replace("*/", "* /")
