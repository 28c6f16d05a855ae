"""Convolution: a work item computes a tile of outputs for one group of filters, walking the group's runs.

    work items of a group of filters            one work item, tile 4x1
    0 1 2 3 4 5 ... first row of tiles          4 sums for each filter, in registers
    w w+1 ...       second row                  per run of a pattern: loads and multiply-adds, straight
    ... and then the items that zero the halo

Neighbouring work items compute neighbouring columns, so their loads are neighbours in memory; all work items of
a work group have one group of filters, so the runs' lengths and the weights are the same for all of them. The last
tiles are moved back into the image: they compute a few outputs again and need no check.
"""

from collections.abc import Iterable

from pconv.codegen.opencl.frame import Text, activate, constant, halo_elems, halo_function
from pconv.lower.kernels import ConvKernel
from pconv.lower.loads import cut_taps, load_program

ARGUMENTS = ("weight_at", "bias_at", "index_at", "offset_at", "run_at", "order_at", "planes")


def tile_grid(kernel: ConvKernel) -> tuple[int, int]:
    """Count the tiles down and across."""
    out = kernel.computed
    return -(-out.block_h // kernel.tile[0]), -(-out.block_w // kernel.tile[1])


def text(kernel: ConvKernel, name: str, groups: int) -> Text:
    """Return the kernel; `groups` of filters are its second dimension."""
    down, across = tile_grid(kernel)
    halo = halo_elems(kernel.output)
    tiles = down * across
    body = "\n".join([*_head(kernel, name, tiles, across), *_sums(kernel), *_epilogue(kernel), ""])
    helpers = halo_function(kernel.output, f"{name}_halo") if halo else ""
    return Text(body, ARGUMENTS, tiles + halo, groups, kernel.work_group, helpers)


def comment(kernel: ConvKernel) -> str:
    """Say what the kernel is, for its reader."""
    (kh, kw), out = kernel.size, kernel.computed
    return (
        f"{kh}x{kw} convolution, stride {kernel.stride}, {len(kernel.patterns)} pattern(s) of "
        f"{len(kernel.patterns[0])} taps,\n   {kernel.group} filter(s) at a time, "
        f"output {out.height}x{out.width}, tile {kernel.tile[0]}x{kernel.tile[1]}."
    )


def _head(kernel: ConvKernel, name: str, tiles: int, across: int) -> Iterable[str]:
    """Return the constants, the items for the halo, and where a tile lies."""
    out, src, g = kernel.computed, kernel.source, kernel.group
    taps, runs = len(kernel.patterns[0]), len(kernel.patterns)
    yield "    const uint item = get_global_id(0), group = get_global_id(1);"
    for ctype, array in (("T", "weight"), ("float", "bias"), ("ushort", "index"), ("uint", "offset")):
        yield constant(ctype, array).rstrip()
    for array in ("run", "order"):
        yield constant("ushort", array).rstrip()
    yield f"    order += group * {g};"
    yield f"    if (item >= {tiles}) {{"
    if halo := halo_elems(kernel.output):
        yield f"        if (item - {tiles} >= {halo}) return;"
        yield f"        const uint place = {name}_halo(item - {tiles});"
        yield f"        for (uint f = 0; f < {g}; f++)"
        yield (
            f"            if (order[f] < planes) STORE(out, order[f] * {kernel.output.plane_elems} + place, 0);"
        )
    yield "        return;"
    yield "    }"
    rows, cols = kernel.tile
    yield f"    const uint y = min(item / {across} * {rows}, {out.block_h - rows}u);"
    yield f"    const uint x = min(item % {across} * {cols}, {out.block_w - cols}u);"
    sy, sx = kernel.stride
    yield f"    in += {src.base_elems} + y * {sy * src.row_vectors} + x * {sx};"
    each = "group * offset[1]" if kernel.uniform else "offset[group]"
    yield f"    weight += ({each}) * {taps * g};"
    if not kernel.uniform:
        yield "    index += offset[group];"
        yield f"    run += group * {runs};"


def _sums(kernel: ConvKernel) -> Iterable[str]:
    """Return the accumulators, which begin as the bias, and one loop for each pattern."""
    g, (rows, cols) = kernel.group, kernel.tile
    for f in range(g):
        names = ", ".join(f"a{f}_{v} = b{f}" for v in range(rows * cols))
        yield f"    real b{f} = bias[group * {g} + {f}], {names};"
    for pattern in range(len(kernel.patterns)):
        yield from _run(kernel, pattern)


def _run(kernel: ConvKernel, pattern: int) -> Iterable[str]:
    """Return the loop over the kernels of one pattern."""
    g, taps = kernel.group, kernel.patterns[pattern]
    head = f"for (uint n = run[{pattern}]; n > 0; n--, index++, weight += {len(taps) * g})"
    yield f"    {head} {{ /* {kernel.picture(pattern)} */"
    yield f"        __global const T *p = in + index[0] * {kernel.source.plane_elems};"
    for chunk in cut_taps(len(taps), kernel.passes):
        names = ", ".join(f"w{t}_{f} = LOAD(weight, {t * g + f})" for t in chunk for f in range(g))
        yield f"        {{ const real {names};"
        for load in load_program(kernel, chunk, pattern, kernel.tile):
            uses = " ".join(f"a{f}_{v} += s * w{t}_{f};" for v, t in load.uses for f in range(g))
            yield f"        {{ const real s = LOAD(p, {load.offset}); {uses} }}"
        yield "        }"
    yield "    }"


def _epilogue(kernel: ConvKernel) -> Iterable[str]:
    """Return residual, activation, pooling and stores of each filter."""
    out, (rows, cols), unit = kernel.output, kernel.tile, 2 if kernel.pool else 1
    for f in range(kernel.group):
        yield f"    if (order[{f}] < planes) {{" if kernel.group > 1 else "    {"
        at = f"(y / {unit}) * {out.row_vectors} + x / {unit}"
        yield f"        __global T *o = out + order[{f}] * {out.plane_elems} + {out.base_elems} + {at};"
        if (add := kernel.residual) is not None:
            place = f"{add.base_elems} + y * {add.row_vectors} + x"
            yield f"        __global const T *r = add + order[{f}] * {add.plane_elems} + {place};"
        for r in range(0, rows, unit):
            for c in range(0, cols, unit):
                v = f"a{f}_{r * cols + c}"
                if kernel.residual:
                    yield f"        {v} += LOAD(r, {kernel.residual.vector(r, c)});"
                if kernel.pool:
                    one, two, three = (f"a{f}_{(r + i) * cols + c + j}" for i, j in ((0, 1), (1, 0), (1, 1)))
                    yield f"        {v} = fmax(fmax({v}, {one}), fmax({two}, {three}));"
                value = activate(kernel.activation, v)
                yield f"        STORE(o, {out.vector(r // unit, c // unit)}, {value});"
        yield "    }"
