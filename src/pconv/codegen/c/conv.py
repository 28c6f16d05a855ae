"""Convolution: tile outermost, filters inside, per filter one branch-free run of kernels for each pattern."""

from collections.abc import Iterable

from pconv.codegen.c import filter_lanes
from pconv.codegen.c.activation import apply_vector
from pconv.codegen.c.conv_sums import (
    acc,
    add_to_floats,
    blocks_text,
    channels_text,
    load_helpers,
    runs_text,
    taps_table,
)
from pconv.codegen.c.halo import apply_mask, has_halo, masks, tile_halo
from pconv.codegen.c.point_lists import lists_text
from pconv.codegen.c.prelude import ctype, needs_exp, prelude, table
from pconv.lower.fkw import SIDE_BY_SIDE
from pconv.lower.kernels import ConvKernel, WinogradListsKernel
from pconv.lower.layout import LINE_BYTES, Layout
from pconv.lower.loads import tap_offset
from pconv.lower.tiles import tiles
from pconv.targets.dtype import FP32

ARGS = """\
typedef struct {{
    const uint16_t *index;
    const uint32_t *offset;
    const uint16_t *run;
    const uint16_t *order;
    const {weight} *weight;
    const float *bias;
    const uint8_t *shape;
    const uint32_t *slot;
    const uint32_t *lists;
    void *claimed;
    const uint16_t *claims;
    int32_t groups, parts, planes, channels;
}} conv_args;
"""

_TASKS = """\
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {
"""


def signature(kernel: ConvKernel | WinogradListsKernel) -> str:
    """Return the function's prototype, without the semicolon."""
    t = ctype(kernel.output.dtype if isinstance(kernel, ConvKernel) else FP32)
    return (
        f"void {kernel.name}(const {t} *in, const {t} *add, {t} *out, const void *args, "
        "int32_t begin, int32_t end)"
    )


def render(kernel: ConvKernel) -> str:
    """Return the C file of a convolution."""
    layout, computed = kernel.output, kernel.computed
    t = ctype(layout.dtype)
    spread = tiles(kernel)
    shapes = sorted({(t[2], t[3]) for t in spread}, reverse=True)
    rows = [(y, x, shapes.index((r, c))) for y, x, r, c in spread]
    places = "uint16_t" if max(map(max, rows)) <= 0xFFFF else "int32_t"
    unit = 2 if kernel.pool else 1
    add_step = f"add + {_at(kernel.residual)}" if kernel.residual and not kernel.in_place else "0"
    cases = "\n".join(
        f"        case {i}: tile_{r}x{c}(src, skip, dst, next, a, first, last, y / {unit}, x / {unit}); break;"
        for i, (r, c) in enumerate(shapes)
    )
    sy, sx = kernel.stride
    src = kernel.source
    # The first tap of the first position: from there every load's offset is positive.
    start = src.base_elems + tap_offset(kernel, 0, 0) * src.lanes
    origin = f"in + ({start}) + ({{}}[0] * {sy * src.row_vectors} + {{}}[1] * {sx}) * LANES"
    count = len(rows)
    tile_at, part = ("{} / a->parts", "task % a->parts") if kernel.parts == 1 else ("{}", f"task / {count}")
    following = f"TILES[{tile_at.format('(task + 1)')} % {count}]" if kernel.prefetch_next else "tile"
    driver = f"""\
{signature(kernel)} {{
{_points(kernel, count) if kernel.points > 1 else _slices(kernel, count) if kernel.slices > 1 else _TASKS}\
        const {places} *tile = TILES[{tile_at.format("task")} % {count}];
        int64_t part = {part};
        int32_t first = {_bound(kernel, "part")}, last = {_bound(kernel, "(part + 1)")};
        int y = tile[0], x = tile[1];
        const {places} *after = {following};
        const {t} *src = {origin.format("tile", "tile")};
        const {t} *next = {origin.format("after", "after")};
        const {t} *skip = {add_step};
        {t} *dst = out + {layout.base_elems};
        switch (tile[2]) {{
{cases}
        }}
    }}
}}
"""
    tile_texts = "".join(_tile(kernel, shape) for shape in shapes)
    kh, kw = kernel.size
    head = (
        f"/* {kernel.name}\n"
        f"   {kh}x{kw} convolution, stride {kernel.stride}, {len(kernel.patterns)} pattern(s) of "
        f"{len(kernel.patterns[0])} taps, {kernel.group} filter(s) at a time,\n"
        f"   output {computed.height}x{computed.width} as {computed.rows}x{computed.cols} blocks of "
        f"{computed.block_h}x{computed.block_w}, tile {kernel.tile[0]}x{kernel.tile[1]} vectors. */\n"
    )
    return "".join(
        [
            head,
            prelude(layout.lanes, layout.dtype, needs_exp(kernel.activation.kind)),
            load_helpers(kernel, tile_texts),
            ARGS.format(weight=t),
            masks(layout),
            table(places, "TILES", rows),
            table("uint8_t", "LISTS", [kernel.lists]) if kernel.lists else "",
            taps_table(kernel) if kernel.by_table else "",
            filter_lanes.helpers(kernel) if kernel.positions else "",
            tile_texts,
            driver,
        ]
    )


def _points(kernel: ConvKernel, tile_count: int) -> str:
    """Return the head of the loop over tasks where each point has planes and weights of its own."""
    t = ctype(kernel.output.dtype)
    spans = f"((a->groups + {kernel.span - 1}) / {kernel.span})"
    declared = of_list = ""
    if kernel.lists:
        declared = lists_text(kernel)
        of_list = """\
        of_point.offset = a->lists + LISTS[0][point] * words;
        of_point.slot = of_point.offset + spans + 1;
        of_point.run = (const uint16_t *)(of_point.slot + spans + 1);
        of_point.index = of_point.run + (runs + 1) / 2 * 2;
"""
    return f"""\
    conv_args of_point = *(const conv_args *)args, *a = &of_point;
    const {t} *all_in = in, *all_weights = a->weight;
    {t} *all_out = out;
    const size_t each = ({_slot(kernel, "a->groups", spans)} + {SIDE_BY_SIDE - 1}) / {SIDE_BY_SIDE} * {SIDE_BY_SIDE};
{declared}\
    for (int32_t i = begin; i < end; i++) {{
        const int32_t point = i / ({tile_count} * a->parts), task = i % ({tile_count} * a->parts);
        in = all_in + (size_t)point * (a->channels | 1) * {kernel.source.plane_elems};
        out = all_out + (size_t)point * (a->planes | 1) * {kernel.output.plane_elems};
        of_point.weight = all_weights + point * each;
{of_list}\
"""


def _slices(kernel: ConvKernel, tile_count: int) -> str:
    """Return the head of the loop over tasks where each has a slice of the channels, and planes of its own."""
    t = ctype(kernel.output.dtype)
    return f"""\
    conv_args of_slice = *(const conv_args *)args, *a = &of_slice;
    const conv_args *whole = args;
    const {t} *all_in = in;
    {t} *all_out = out;
    const int32_t each = (whole->channels + {kernel.slices - 1}) / {kernel.slices};
    for (int32_t i = begin; i < end; i++) {{
        const int32_t slice = i / {tile_count}, task = i % {tile_count}, from = slice * each;
        in = all_in + (size_t)from * {kernel.source.plane_elems};
        out = all_out + (size_t)slice * (a->planes | 1) * {kernel.output.plane_elems};
        of_slice.channels = each < whole->channels - from ? each : whole->channels - from;
        of_slice.offset = whole->offset + slice;
        of_slice.run = whole->run + (size_t)from * {kernel.runs};
"""


def _blocks(kernel: ConvKernel) -> str:
    """Return how many blocks of channels there are."""
    return f"((a->channels + {kernel.block - 1}) / {kernel.block})"


def _bound(kernel: ConvKernel, part: str) -> str:
    """Return where a part of the groups begins: parts are whole spans."""
    if kernel.span == 1:
        return f"(int32_t)(a->groups * {part} / a->parts)"
    spans = f"((a->groups + {kernel.span - 1}) / {kernel.span} * {part} / a->parts)"
    return f"({part} == a->parts ? a->groups : (int32_t){spans} * {kernel.span})"


def _at(layout: Layout) -> str:
    """Point at the vector (y, x) of plane 0."""
    return f"{layout.base_elems} + (y * {layout.row_vectors} + x) * LANES"


def _tile(kernel: ConvKernel, shape: tuple[int, int]) -> str:
    """Return the function that computes one tile for a range of filter groups."""
    t = ctype(kernel.output.dtype)
    lines = [
        f"static __attribute__((noinline)) void tile_{shape[0]}x{shape[1]}(const {t} *restrict in, "
        f"const {t} *restrict add,\n        {t} *restrict out, const {t} *next, const conv_args *a, "
        "int32_t first, int32_t last, int y0, int x0) {",
        "    (void)add, (void)next;",
    ]
    if kernel.positions:
        lines += _across_filters(kernel, shape)
    elif kernel.by_channel:
        lines += _by_channel(kernel, shape)
    else:
        lines += _blocked_groups(kernel, shape) if kernel.block else _groups(kernel, shape)
    return "\n".join([*lines, "}", ""])


def _groups(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loop over groups, each summed in one go."""
    g = kernel.group
    yield from _each_group(kernel)
    yield from _claim(kernel, shape)
    yield from _start(kernel, shape)
    yield from _prefetch(kernel, shape)
    if kernel.widen_after:
        yield f"        wf kept[{g * shape[0] * shape[1]}] = {{0}}, *sums = kept;"
        yield "        int32_t done = 0;"
        yield "        HIDE(sums);"
    yield from runs_text(kernel, shape)
    if kernel.widen_after:
        yield from add_to_floats(kernel, shape)
        yield from _from_floats(kernel, shape)
    else:
        yield from _sum_copies(kernel, shape)
    yield from _finish(kernel, shape)
    yield "    }"


def _each_group(kernel: ConvKernel) -> Iterable[str]:
    """Return the head of the loop over groups: where the weights of one and its lists begin."""
    start = "0" if kernel.uniform else "a->offset[group]"
    run = "0" if kernel.uniform else f"(size_t)group * {kernel.runs}"
    yield "    for (int32_t group = first; group < last; group++) {"
    yield f"        const {ctype(kernel.output.dtype)} *w = a->weight + {_slot(kernel, 'group', 'group')};"
    yield f"        const uint16_t *index = a->index + {start};"
    yield f"        const uint16_t *run = a->run + {run};"
    if kernel.by_table:
        yield f"        const uint8_t *shape = a->shape + {start};"


def _blocked_groups(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loops over spans of groups and, inside, blocks of channels; partial sums wait in `kept`."""
    g, span, runs, t = kernel.group, kernel.span, kernel.runs, ctype(kernel.output.dtype)
    sums = [acc(f, v) for f in range(g) for v in range(shape[0] * shape[1])]
    start = "0" if kernel.uniform else f"a->offset[from / {span}]"
    lists = ["index", "run", *(["shape"] if kernel.by_table else [])]
    yield f"    const int32_t blocks = {_blocks(kernel)};"
    vector = "wf" if kernel.widen_after else "vf"
    yield f"    {vector} kept[{span * len(sums)}];"
    yield f"    for (int32_t from = first; from < last; from += {span}) {{"
    yield f"        const int32_t to = from + {span} < last ? from + {span} : last;"
    yield f"        const {t} *w = a->weight + {_slot(kernel, 'from', f'from / {span}')};"
    yield f"        const uint16_t *index = a->index + {start};"
    yield f"        const uint16_t *run = a->run + {0 if kernel.uniform else f'(size_t)from * blocks * {runs}'};"
    if kernel.by_table:
        yield f"        const uint8_t *shape = a->shape + {start};"
    yield "    for (int32_t b = 0; b < blocks; b++) {"
    if kernel.uniform:
        yield "        " + " ".join(f"__typeof__({name}) {name}_of_block = {name};" for name in lists)
    yield "    for (int32_t group = from; group < to; group++) {"
    yield f"        {vector} *sums = kept + (group - from) * {len(sums)};"
    if kernel.uniform:
        yield "        " + " ".join(f"{name} = {name}_of_block;" for name in lists)
    yield from _start(kernel, shape)
    kept = [f"{s} = (vf){{0}};" if kernel.widen_after else f"{s} = sums[{i}];" for i, s in enumerate(sums)]
    yield "        if (b > 0) { " + " ".join(kept) + " }"
    yield "        else {"
    if kernel.widen_after:
        yield f"            for (int i = 0; i < {len(sums)}; i++) sums[i] = (wf){{0}};"
    yield from _prefetch(kernel, shape)
    yield "        }"
    yield from runs_text(kernel, shape)
    if kernel.widen_after:
        yield from add_to_floats(kernel, shape)
        yield "        if (b + 1 < blocks) continue;"
        yield from _from_floats(kernel, shape)
    else:
        yield from _sum_copies(kernel, shape)
        yield "        if (b + 1 < blocks) {"
        yield "            " + " ".join(f"sums[{i}] = {s};" for i, s in enumerate(sums))
        yield "            continue;"
        yield "        }"
    yield from _finish(kernel, shape)
    yield "    } } }"


def _slot(kernel: ConvKernel, group: str, span: str) -> str:
    """Return where the weights of a span begin, whose first group is `group`."""
    if kernel.mixed:
        return f"a->slot[{span}]"
    kernels = f"{group} * (size_t)a->offset[1]" if kernel.uniform else f"(size_t)a->offset[{span}]"
    return f"{kernels} * {len(kernel.patterns[0]) * kernel.group}"


def _by_channel(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loops over spans of groups and, inside, channels or blocks of them; sums wait in `kept`."""
    g, taps, span, runs = kernel.group, len(kernel.patterns[0]), kernel.span, kernel.runs
    sums = [acc(f, v) for f in range(g) for v in range(shape[0] * shape[1])]
    each = "for (int32_t group = from; group < to; group++)"
    yield f"    vf kept[{span * len(sums)}];"
    yield f"    for (int32_t from = first; from < last; from += {span}) {{"
    yield f"        const int32_t to = from + {span} < last ? from + {span} : last;"
    yield f"        const size_t start = a->offset[from / {span}];"
    yield f"        const {ctype(kernel.output.dtype)} *w = a->weight + start * {taps * g};"
    yield "        const uint16_t *index = a->index + start;"
    blocks = "a->channels" if kernel.holds_input else _blocks(kernel)
    yield f"        const uint16_t *run = a->run + (size_t)(from / {span}) * {blocks} * {runs};"
    yield f"        {each} {{"
    yield from _start(kernel, shape)
    yield f"            vf *sums = kept + (group - from) * {len(sums)};"
    yield "            " + " ".join(f"sums[{i}] = {s};" for i, s in enumerate(sums))
    yield "        }"
    yield from (channels_text if kernel.holds_input else blocks_text)(kernel, shape)
    yield f"        {each} {{"
    yield f"            const vf *sums = kept + (group - from) * {len(sums)};"
    yield "            vf " + ", ".join(f"{s} = sums[{i}]" for i, s in enumerate(sums)) + ";"
    yield from _prefetch(kernel, shape)
    yield from _finish(kernel, shape)
    yield "        }"
    yield "    }"


def _across_filters(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loop over groups whose filters are lanes; those of a group are stored one after another."""
    count = shape[0] * shape[1]
    yield from filter_lanes.outputs_text(kernel, shape)
    yield from _each_group(kernel)
    yield from filter_lanes.sums_text(kernel, shape)
    yield f"        for (int32_t f = 0; f < {kernel.group}; f++) {{"
    yield "        vf " + ", ".join(f"{acc('f', v)} = done[f * {count} + {v}]" for v in range(count)) + ";"
    yield from _epilogue(kernel, shape, "f")
    yield "        }"
    yield "    }"


def _start(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the accumulators, which begin as the bias."""
    g, vectors = kernel.group, shape[0] * shape[1]
    for f in range(g):
        names = ", ".join(f"{acc(f, v)} = b{f}" for v in range(vectors))
        yield f"        vf b{f} = SPLAT(a->bias[group * {g} + {f}]), {names};"
        more = ", ".join(f"{acc(f, v, k)} = {{0}}" for k in range(1, kernel.copies) for v in range(vectors))
        if more:
            yield f"        vf {more};"


def _sum_copies(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the sums over all sets of accumulators, into the first."""
    if kernel.copies > 1:
        for f in range(kernel.group):
            for v in range(shape[0] * shape[1]):
                sums = " + ".join(acc(f, v, k) for k in range(1, kernel.copies))
                yield f"        {acc(f, v)} += {sums};"


def _from_floats(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what makes the sums of floats halves."""
    vectors = shape[0] * shape[1]
    for f in range(kernel.group):
        yield "        " + " ".join(f"{acc(f, v)} = NARROW(sums[{f * vectors + v}]);" for v in range(vectors))


def _finish(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what follows the last kernel: epilogues, halos."""
    for f in range(kernel.group):
        yield from _epilogue(kernel, shape, f)


def _prefetch(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the prefetches of one group: its own output, and its share of the next tile's input channels."""
    layout, t = kernel.output, ctype(kernel.output.dtype)
    per_line = LINE_BYTES // layout.dtype.elem_bytes
    if kernel.prefetch_output:
        unit = 2 if kernel.pool else 1
        at = [
            layout.vector(r, c) * layout.lanes
            for r in range(shape[0] // unit)
            for c in range(shape[1] // unit)
        ]
        for f in range(kernel.group):
            plane = f"(size_t)a->order[group * {kernel.group} + {f}]"
            yield f"        {{ const {t} *o = out + {plane} * {layout.plane_elems}"
            yield f"            + (y0 * {layout.row_vectors} + x0) * LANES;"
            yield (
                "            "
                + " ".join(f"__builtin_prefetch(o + {e}, 1, 3);" for e in _lines(at, per_line))
                + " }"
            )
    if kernel.prefetch_next:
        src, (sy, sx) = kernel.source, kernel.stride
        last_y = (shape[0] - 1) * sy + (kernel.size[0] - 1) * kernel.dilation[0]
        last_x = (shape[1] - 1) * sx + (kernel.size[1] - 1) * kernel.dilation[1]
        at = [src.vector(y, x) * src.lanes for y in range(last_y + 1) for x in range(last_x + 1)]
        yield "        for (int64_t c = (int64_t)a->channels * (group - first) / (last - first),"
        yield "             stop = (int64_t)a->channels * (group - first + 1) / (last - first); c < stop; c++) {"
        yield f"            const {t} *p = next + c * {src.plane_elems};"
        yield "            " + " ".join(f"__builtin_prefetch(p + {e}, 0, 2);" for e in _lines(at, per_line))
        yield "        }"


def _claim(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the writes to lines that the layer behind will fill, a plane for each filter of a group."""
    layout, t = kernel.claims, ctype(kernel.output.dtype)
    if layout is None:
        return
    at = [layout.vector(r, c) * layout.lanes for r in range(shape[0]) for c in range(shape[1])]
    lines = _lines(at, LINE_BYTES // layout.dtype.elem_bytes)
    yield "        if (a->claimed) {"
    for f in range(kernel.group):
        plane = f"(size_t)a->claims[group * {kernel.group} + {f}]"
        yield f"            {{ volatile {t} *o = ({t} *)a->claimed + {plane} * {layout.plane_elems}"
        yield f"                + {layout.base_elems} + (y0 * {layout.row_vectors} + x0) * LANES;"
        yield "                " + " ".join(f"o[{e}] = 0;" for e in lines) + " }"
    yield "        }"


def _lines(elements: list[int], per_line: int) -> list[int]:
    """Keep one element of each cache line."""
    return list({e // per_line: e for e in reversed(elements)}.values())[::-1]


def _epilogue(kernel: ConvKernel, shape: tuple[int, int], f: int | str) -> Iterable[str]:
    """Return what happens to a filter's accumulators: residual, activation, pooling, mask, store, halo.

    `f` is the filter's number in its group, or the variable that holds it.
    """
    layout, g, t = kernel.output, kernel.group, ctype(kernel.output.dtype)
    filler = f"if (a->order[group * {g} + {f}] < a->planes) " if g > 1 else ""
    yield f"        {filler}{{"
    yield f"            size_t plane = a->order[group * {g} + {f}];"
    yield f"            {t} *o = out + plane * {layout.plane_elems};"
    if kernel.residual and kernel.in_place:
        yield f"            const {t} *r = o + (y0 * {layout.row_vectors} + x0) * LANES;"
    elif kernel.residual:
        yield f"            const {t} *r = add + plane * {kernel.residual.plane_elems};"
    step = 2 if kernel.pool else 1
    for r in range(0, shape[0], step):
        for c in range(0, shape[1], step):
            v = f"a{f}_{r * shape[1] + c}"
            todo = []
            if kernel.residual:
                todo.append(f"{v} += LD(r + {kernel.residual.vector(r, c) * layout.lanes});")
            if kernel.pool:
                others = [f"a{f}_{(r + i) * shape[1] + c + j}" for i, j in ((0, 1), (1, 0), (1, 1))]
                todo.append(f"{v} = VMAX(VMAX({v}, {others[0]}), VMAX({others[1]}, {others[2]}));")
            todo.append(apply_vector(kernel.activation, v))
            y, x = f"y0 + {r // step}", f"x0 + {c // step}"
            todo.append(apply_mask(layout, v, y, x))
            todo.append(f"ST(o + (({y}) * {layout.row_vectors} + {x}) * LANES, {v});")
            yield "            " + " ".join(t for t in todo if t)
    if has_halo(layout):
        yield f"            {t} *tile = o + (y0 * {layout.row_vectors} + x0) * LANES;"
        places = [(y // step, x // step) for y, x, *size in tiles(kernel) if tuple(size) == shape]
        size = shape[0] // step, shape[1] // step
        for line in tile_halo(layout, size, places, "tile", lambda r, c: f"a{f}_{(r * shape[1] + c) * step}"):
            yield f"            {line}"
    yield "        }"
