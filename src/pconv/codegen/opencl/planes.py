"""Everything that walks plane by plane: gather, pooling, element-wise, means, softmax.

A work item sets one element of the output's plane, its halo included; the second dimension counts planes.
"""

from pconv.codegen.opencl.frame import Text, activate, constant, over_plane
from pconv.lower.kernels import (
    ArgMaxKernel,
    ConstantKernel,
    ElementwiseKernel,
    GatherKernel,
    GlobalAverageKernel,
    PoolKernel,
    PoolTableKernel,
    ResizeKernel,
    SoftmaxKernel,
)

SHARED = 64
"""Work items that add up (or take the maximum of) one row together."""

_REDUCE = f"""\
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = {SHARED // 2}; half_ > 0; half_ /= 2) {{{{
        if (item < half_) shared[item] = {{combine}};
        barrier(CLK_LOCAL_MEM_FENCE);
    }}}}
"""
_ADD_UP = _REDUCE.format(combine="shared[item] + shared[item + half_]")
_MAXIMUM = _REDUCE.format(combine="fmax(shared[item], shared[item + half_])")


def gather(kernel: GatherKernel, planes: int) -> Text:
    """Return a copy of planes, through a table unless the layouts agree."""
    elems = kernel.output.plane_elems
    head = f"""\
    const uint i = get_global_id(0), c = get_global_id(1);
    if (i >= {elems}) return;
    out += first + c * {elems};
"""
    if kernel.plain:
        return Text(f"{head}    STORE(out, i, LOAD(in, c * {elems} + i));\n", ("first",), elems, planes)
    body = f"""\
{head}{constant("int", "base")}{constant("int", "table")}\
    const int from = base[c], place = table[i];
    STORE(out, i, from < 0 || place < 0 ? (real)0 : (real)LOAD(in, from + place));
"""
    return Text(body, ("base_at", "table_at", "first"), elems, planes)


def pool(kernel: PoolKernel, planes: int) -> Text:
    """Return pooling with windows that never leave the input's halo."""
    src, (sy, sx) = kernel.source, kernel.stride
    taps = [(y, x) for y in range(kernel.size[0]) for x in range(kernel.size[1])]
    loads = [f"LOAD(in, {src.vector(y - kernel.pads[0], x - kernel.pads[1])})" for y, x in taps]
    start = f"in += c * {src.plane_elems} + {src.base_elems} + y * {sy * src.row_vectors} + x * {sx};"
    if kernel.kind == "max":
        steps = [f"v = fmax(v, (real){load});" for load in loads[1:]]
    else:
        steps = [f"v += {load};" for load in loads[1:]] + [f"v *= (real)(1.0f / {len(taps)});"]
    body = over_plane(kernel.output, [start, f"real v = {loads[0]};", *steps])
    return Text(body, (), kernel.output.plane_elems, planes)


def pool_table(kernel: PoolTableKernel, planes: int) -> Text:
    """Return pooling through a table of source elements."""
    elems = kernel.output.plane_elems
    start, combine, finish = {
        "max": ("-INFINITY", "fmax(v, (real)LOAD(in, place))", "scale[i] > 0 ? v : (real)0"),
        "average": ("0", "v + LOAD(in, place)", "v * (real)scale[i]"),
    }[kernel.kind]
    body = f"""\
    const uint i = get_global_id(0), c = get_global_id(1);
    if (i >= {elems}) return;
{constant("int", "table")}{constant("float", "scale")}\
    in += c * {kernel.source.plane_elems};
    real v = {start};
    for (uint k = 0; k < {kernel.window}; k++) {{
        const int place = table[k * {elems} + i];
        if (place >= 0) v = {combine};
    }}
    STORE(out, c * {elems} + i, {finish});
"""
    return Text(body, ("table_at", "scale_at"), elems, planes)


def resize(kernel: ResizeKernel, planes: int) -> Text:
    """Return weighted sums of elements across and down, or copies; `codegen.c.resize` says what the constants are."""
    src, out, (down, across) = kernel.source, kernel.output, kernel.taps
    places = f"__global const int *first = table + {across * out.width}, *start = first + {out.height};"
    if kernel.nearest:
        copy = f"const real v = LOAD(in, c * {src.plane_elems} + start[first[y]] + table[x]);"
        body = constant("int", "table") + over_plane(out, [places, copy])
        return Text(body, ("table_at",), out.plane_elems, planes)
    lines = [
        places,
        f"__global const float *weight = value + {across * out.width};",
        f"in += c * {src.plane_elems};",
        "real v = 0;",
        f"for (uint k = 0; k < {down}; k++) {{",
        "    const int row = start[first[y] + k];",
        "    real sum = 0;",
        f"    for (uint j = 0; j < {across}; j++)",
        f"        sum += LOAD(in, row + table[j * {out.width} + x]) * (real)value[j * {out.width} + x];",
        f"    v += sum * (real)weight[y * {down} + k];",
        "}",
    ]
    arrays = constant("int", "table") + constant("float", "value")
    return Text(arrays + over_plane(out, lines), ("table_at", "value_at"), out.plane_elems, planes)


def elementwise(kernel: ElementwiseKernel, planes: int) -> Text:
    """Return an element-wise operator."""
    whole = kernel.other == ""
    plane, pixel = kernel.other == "plane", kernel.other == "pixel"
    places = [
        (f"c * {src.plane_elems} + " if not i or whole or plane else "")
        + f"{src.base_elems}"
        + (f" + y * {src.row_vectors} + x" if not i or whole or pixel else "")
        for i, src in enumerate(kernel.sources)
    ]
    value = {
        "add": "a + b",
        "sub": "a - b",
        "mul": "a * b",
        "div": "a / b",
        "keep": "(b != 0 ? a : (real)0)",
        "max": "(b > a ? b : a)",
        "min": "(b < a ? b : a)",
        "prelu": "a < 0 ? a * (real)scale[c] : a",
        "copy": "a",
        "affine": "a * (real)scale[c] + (real)shift[c]",
    }[kernel.op]
    lines = [f"const real a = LOAD(in, {places[0]});"]
    if len(places) == 2:
        lines.append(f"const real b = LOAD(add, {places[1]});")
    arrays = ""
    arguments: tuple[str, ...] = ()
    if kernel.op == "affine":
        arrays = constant("float", "scale") + constant("float", "shift")
        arguments = ("scale_at", "shift_at")
    if kernel.op == "prelu":
        arrays, arguments = constant("float", "scale"), ("scale_at",)
    lines += [f"const real s = {value};", f"const real v = {activate(kernel.activation, 's')};"]
    return Text(arrays + over_plane(kernel.output, lines), arguments, kernel.output.plane_elems, planes)


def constant_planes(kernel: ConstantKernel, planes: int) -> Text:
    """Return a copy of planes that are stored as floats."""
    elems = kernel.output.plane_elems
    body = f"""\
    const uint i = get_global_id(0), c = get_global_id(1);
    if (i >= {elems}) return;
{constant("float", "value")}\
    (void)in;
    STORE(out, c * {elems} + i, value[c * {elems} + i]);
"""
    return Text(body, ("value_at",), elems, planes)


def global_average(kernel: GlobalAverageKernel, planes: int) -> Text:
    """Return the mean or the sum of each plane, added up by one work group."""
    src, out = kernel.source, kernel.output
    pixels = src.height * src.width
    body = f"""\
    __local float shared[{SHARED}];
    const uint item = get_local_id(0), c = get_global_id(1);
    in += c * {src.plane_elems} + {src.base_elems};
    float sum = 0;
    for (uint i = item; i < {pixels}; i += {SHARED})
        sum += LOAD(in, i / {src.width} * {src.row_vectors} + i % {src.width});
    shared[item] = sum;
{_ADD_UP}\
    for (uint i = item; i < {out.plane_elems}; i += {SHARED})
        STORE(out, c * {out.plane_elems} + i, i == {out.base_elems} ? shared[0] / {kernel.divisor} : 0);
"""
    return Text(body, (), SHARED, planes, SHARED, shared=True)


def softmax(kernel: SoftmaxKernel) -> Text:
    """Return a softmax along an axis, each position by one work group, in float."""
    n, step = kernel.length, kernel.inner
    body = f"""\
    __local float shared[{SHARED}];
    const uint item = get_local_id(0);
    const uint at = get_global_id(1) / {step} * {n * step} + get_global_id(1) % {step};
    in += at, out += at;
    float top = -INFINITY;
    for (uint c = item; c < {n}; c += {SHARED}) top = fmax(top, (float)LOAD(in, c * {step}));
    shared[item] = top;
{_MAXIMUM}\
    top = shared[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0;
    for (uint c = item; c < {n}; c += {SHARED}) sum += exp((float)LOAD(in, c * {step}) - top);
    shared[item] = sum;
{_ADD_UP}\
    for (uint c = item; c < {n}; c += {SHARED})
        STORE(out, c * {step}, exp((float)LOAD(in, c * {step}) - top) / shared[0]);
"""
    return Text(body, (), SHARED, kernel.outer * step, SHARED, shared=True)


def arg_max(kernel: ArgMaxKernel) -> Text:
    """Return the channel in which each position is largest, each position by one work item."""
    src = kernel.source
    lines = [
        f"in += {src.base_elems} + y * {src.row_vectors} + x;",
        "real top = LOAD(in, 0), v = 0;",
        "for (uint n = 1; n < planes; n++) {",
        f"    const real next = LOAD(in, n * {src.plane_elems});",
        "    v = next > top ? (real)n : v, top = next > top ? next : top;",
        "}",
    ]
    return Text(over_plane(kernel.output, lines), ("planes",), kernel.output.plane_elems, 1)
