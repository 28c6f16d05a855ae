"""Convolution: tile outermost, filters inside, per filter one branch-free run of kernels for each pattern."""

from collections.abc import Iterable, Sequence

from pconv.codegen.c.activation import apply_vector
from pconv.codegen.c.halo import apply_mask, at_edge, halo, has_halo, masks, tile_halo
from pconv.codegen.c.prelude import ctype, needs_exp, prelude, table
from pconv.lower.cost import REACH
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import LINE_BYTES, Layout
from pconv.lower.loads import Load, cut_taps, load_program, tap_offset
from pconv.lower.schedule import tiles

REGISTERS = 32
"""Vector registers of the CPUs whose multiply-adds take a lane."""

WIDENING_RUNS = 8
"""Places in a group's runs where sums of halves may be added to floats."""

ARGS = """\
typedef struct {{
    const uint16_t *index;
    const uint32_t *offset;
    const uint16_t *run;
    const uint16_t *order;
    const {weight} *weight;
    const float *bias;
    const uint8_t *shape;
    int32_t groups, parts, planes, channels;
}} conv_args;
"""


def signature(kernel: ConvKernel) -> str:
    """Return the function's prototype, without the semicolon."""
    t = ctype(kernel.output.dtype)
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
    unit = 2 if kernel.pool else 1
    add_step = f"add + {_at(kernel.residual)}" if kernel.residual else "0"
    cases = "\n".join(
        f"        case {i}: tile_{r}x{c}(src, skip, dst, next, a, first, last, y / {unit}, x / {unit}); break;"
        for i, (r, c) in enumerate(shapes)
    )
    sy, sx = kernel.stride
    src = kernel.source
    # The first tap of the first position: from there every load's offset is positive.
    start = src.base_elems + tap_offset(kernel, 0, 0) * src.lanes
    origin = f"in + ({start}) + ({{}}[0] * {sy * src.row_vectors} + {{}}[1] * {sx}) * LANES"
    following = "task + 1 < end ? TILES[(task + 1) / a->parts] : tile" if kernel.prefetch_next else "tile"
    driver = f"""\
{signature(kernel)} {{
    const conv_args *a = args;
    for (int32_t task = begin; task < end; task++) {{
        const uint16_t *tile = TILES[task / a->parts];
        int64_t part = task % a->parts;
        int32_t first = {_bound(kernel, "part")}, last = {_bound(kernel, "(part + 1)")};
        int y = tile[0], x = tile[1];
        const uint16_t *after = {following};
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
            ARGS.format(weight=t),
            masks(layout),
            "" if kernel.by_lane else halo(layout),
            table("uint16_t", "TILES", rows),
            _taps(kernel) if kernel.by_table else "",
            *(_tile(kernel, shape) for shape in shapes),
            driver,
        ]
    )


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
    if has_halo(kernel.output) and not kernel.by_lane:
        unit = 2 if kernel.pool else 1
        lines.append(f"    const int edge = {at_edge(kernel.output, shape[0] // unit, shape[1] // unit)};")
    lines += _blocked_groups(kernel, shape) if kernel.block else _groups(kernel, shape)
    return "\n".join([*lines, "}", ""])


def _groups(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loop over groups, each summed in one go."""
    g, taps, runs = kernel.group, len(kernel.patterns[0]), kernel.runs
    t = ctype(kernel.output.dtype)
    each = "group * (size_t)a->offset[1]" if kernel.uniform else "a->offset[group]"
    start = "0" if kernel.uniform else "a->offset[group]"
    run = "0" if kernel.uniform else f"(size_t)group * {runs}"
    yield "    for (int32_t group = first; group < last; group++) {"
    yield f"        const {t} *w = a->weight + (size_t)({each}) * {taps * g};"
    yield f"        const uint16_t *index = a->index + {start};"
    yield f"        const uint16_t *run = a->run + {run};"
    if kernel.by_table:
        yield f"        const uint8_t *shape = a->shape + {start};"
    yield from _start(kernel, shape)
    yield from _prefetch(kernel, shape)
    if kernel.widen_after:
        yield f"        wf kept[{g * shape[0] * shape[1]}] = {{0}}, *sums = kept;"
        yield "        int32_t done = 0;"
        yield "        HIDE(sums);"
    yield from _runs(kernel, shape)
    if kernel.widen_after:
        yield from _add_to_floats(kernel, shape)
        yield from _from_floats(kernel, shape)
    else:
        yield from _sum_copies(kernel, shape)
    yield from _finish(kernel, shape)
    yield "    }"


def _blocked_groups(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loops over spans of groups and, inside, blocks of channels; partial sums wait in `kept`."""
    g, taps, span, runs = kernel.group, len(kernel.patterns[0]), kernel.span, kernel.runs
    t = ctype(kernel.output.dtype)
    sums = [_acc(f, v) for f in range(g) for v in range(shape[0] * shape[1])]
    start, each = (
        ("0", "(size_t)from * a->offset[1]") if kernel.uniform else (f"a->offset[from / {span}]",) * 2
    )
    lists = ["index", "run", *(["shape"] if kernel.by_table else [])]
    yield f"    const int32_t blocks = (a->channels + {kernel.block - 1}) / {kernel.block};"
    vector = "wf" if kernel.widen_after else "vf"
    yield f"    {vector} kept[{span * len(sums)}];"
    yield f"    for (int32_t from = first; from < last; from += {span}) {{"
    yield f"        const int32_t to = from + {span} < last ? from + {span} : last;"
    yield f"        const {t} *w = a->weight + ({each}) * {taps * g};"
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
    yield from _runs(kernel, shape)
    if kernel.widen_after:
        yield from _add_to_floats(kernel, shape)
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


def _start(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the accumulators, which begin as the bias."""
    g, vectors = kernel.group, shape[0] * shape[1]
    for f in range(g):
        names = ", ".join(f"{_acc(f, v)} = b{f}" for v in range(vectors))
        yield f"        vf b{f} = SPLAT(a->bias[group * {g} + {f}]), {names};"
        more = ", ".join(f"{_acc(f, v, k)} = {{0}}" for k in range(1, kernel.copies) for v in range(vectors))
        if more:
            yield f"        vf {more};"


def _sum_copies(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the sums over all sets of accumulators, into the first."""
    if kernel.copies > 1:
        for f in range(kernel.group):
            for v in range(shape[0] * shape[1]):
                sums = " + ".join(_acc(f, v, k) for k in range(1, kernel.copies))
                yield f"        {_acc(f, v)} += {sums};"


def _add_to_floats(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what adds the accumulators, which begin again at zero, to the sums of floats."""
    vectors = shape[0] * shape[1]
    for f in range(kernel.group):
        for v in range(vectors):
            accs = [_acc(f, v, copy) for copy in range(kernel.copies)]
            wide = " + ".join(f"WIDE({acc})" for acc in accs)
            yield f"        sums[{f * vectors + v}] += {wide}; {' = '.join(accs)} = (vf){{0}};"


def _from_floats(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what makes the sums of floats halves."""
    vectors = shape[0] * shape[1]
    for f in range(kernel.group):
        yield "        " + " ".join(
            f"{_acc(f, v)} = NARROW(sums[{f * vectors + v}]);" for v in range(vectors)
        )


def _finish(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what follows the last kernel: epilogues, halos."""
    for f in range(kernel.group):
        yield from _epilogue(kernel, shape, f)
    yield from _fill_halos(kernel, shape)


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


def _lines(elements: list[int], per_line: int) -> list[int]:
    """Keep one element of each cache line."""
    return list({e // per_line: e for e in reversed(elements)}.values())[::-1]


def _runs(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loops over the kernels of a group of filters."""
    if kernel.by_table:
        yield from _table_run(kernel, shape)
    else:
        for pattern in range(kernel.runs):
            yield from _run(kernel, shape, pattern)


def _table_run(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return one loop over kernels of all shapes: where a tap reads stands in a table."""
    g, taps = kernel.group, len(kernel.patterns[0])
    src, lanes = kernel.source, kernel.source.lanes
    places = [
        src.vector(r * kernel.stride[0], c * kernel.stride[1]) * lanes
        for r in range(shape[0])
        for c in range(shape[1])
    ]
    yield f"        for (int32_t n = *run++; n > 0; n--, w += {taps * g}) {{"
    yield f"            const float *k = in + (size_t)*index++ * {src.plane_elems};"
    yield "            const int32_t *tap = TAPS[*shape++];"
    for t in range(taps):
        uses = [(place, [v]) for v, place in enumerate(places)]
        yield f"            {{ const float *p = k + tap[{t}]; HIDE(p);"
        yield from _one_tap(kernel, uses, t * g, 0)
        yield "            }"
    yield "        }"


def _taps(kernel: ConvKernel) -> str:
    """Return the table of where the taps of each pattern read, in elements from the first tap of all."""
    origin, lanes = tap_offset(kernel, 0, 0), kernel.source.lanes
    rows = [[(tap_offset(kernel, *tap) - origin) * lanes for tap in taps] for taps in kernel.patterns]
    return table("int32_t", "TAPS", rows)


def _one_tap(
    kernel: ConvKernel, uses: Sequence[tuple[int, list[int]]], first: int, copy: int
) -> Iterable[str]:
    """Return the multiply-adds of one tap from pointer p; inputs or weights stay in registers, whichever are fewer.

    `uses` are the places to load from with the tile's positions that they serve; `first` is the first filter's weight.
    """
    g = kernel.group
    if g > len(uses):
        yield (
            "            vf "
            + ", ".join(f"x{i} = LD(p + {place})" for i, (place, _) in enumerate(uses))
            + ";"
        )
        for f in range(g):
            sums = " ".join(f"{_acc(f, v, copy)} += x{i} * s;" for i, (_, vs) in enumerate(uses) for v in vs)
            yield f"            {{ vf s = SPLAT(w[{first + f}]); {sums} }}"
    else:
        yield "            vf " + ", ".join(f"w{f} = SPLAT(w[{first + f}])" for f in range(g)) + ";"
        for place, vs in uses:
            sums = " ".join(f"{_acc(f, v, copy)} += x * w{f};" for v in vs for f in range(g))
            yield f"            {{ vf x = LD(p + {place}); {sums} }} HIDE(p);"


def _run(kernel: ConvKernel, shape: tuple[int, int], pattern: int) -> Iterable[str]:
    """Return what sums the kernels of one pattern."""
    taps = kernel.patterns[pattern]
    kh, kw = kernel.size
    picture = "/".join("".join("1" if (y, x) in taps else "0" for x in range(kw)) for y in range(kh))
    yield f"        {{ /* {picture} */"
    if kernel.widen_after and not kernel.block and _widens(kernel, pattern):
        most = max(1, kernel.widen_after // len(taps))
        yield "            for (int32_t left = *run++, n; left > 0;) {"
        yield f"                n = left < {most} ? left : {most}, left -= n, done += n;"
        yield from (f"    {line}" for line in _kernels(kernel, shape, pattern))
        yield f"                if (done >= {most}) {{"
        yield "                    done = 0;"
        yield from (f"            {line}" for line in _add_to_floats(kernel, shape))
        yield "                }"
        yield "            }"
    else:
        yield "            int32_t n = *run++;"
        if kernel.widen_after and not kernel.block:
            yield "            done += n;"
        yield from _kernels(kernel, shape, pattern)
    yield "        }"


def _widens(kernel: ConvKernel, pattern: int) -> bool:
    """Tell whether the run of a pattern looks if it is time: of many short runs, WIDENING_RUNS do."""
    every = -(-len(kernel.patterns) // WIDENING_RUNS)
    return (pattern + 1) % every == 0


def _kernels(kernel: ConvKernel, shape: tuple[int, int], pattern: int) -> Iterable[str]:
    """Return the loop over `n` kernels of one pattern, `copies` of them at a time."""
    g, taps, copies = kernel.group, kernel.patterns[pattern], kernel.copies
    for at_once in (copies, 1) if copies > 1 else (1,):
        step = f"w += {at_once * len(taps) * g}"
        head, tail = _counted(at_once, step) if kernel.by_lane else _stepped(at_once, step)
        yield f"            {head}"
        for copy in range(at_once):
            yield from _kernel(kernel, shape, pattern, copy)
        yield f"            {tail}"


def _stepped(at_once: int, step: str) -> tuple[str, str]:
    """Return head and tail of a loop over `n` kernels, some at once."""
    if at_once == 1:
        return f"for (; n > 0; n--, {step}) {{", "}"
    return f"for (; n >= {at_once}; n -= {at_once}, {step}) {{", "}"


def _counted(at_once: int, step: str) -> tuple[str, str]:
    """Return the same loop for AArch64: one subtraction tells the end, and pointers simply stay where they are.

    Without the hiding, clang works out behind each loop where its pointers must have got to.
    """
    head, left = (
        ("if (n) do {", "--n")
        if at_once == 1
        else (f"if ((n -= {at_once}) >= 0) do {{", f"(n -= {at_once}) >= 0")
    )
    back = "" if at_once == 1 else f" n += {at_once};"
    return head, f"{step}; HIDE(w); HIDE(index); }} while ({left});{back}"


def _kernel(kernel: ConvKernel, shape: tuple[int, int], pattern: int, copy: int) -> Iterable[str]:
    """Return the loads and multiply-adds of one kept kernel into one set of accumulators."""
    taps, t = len(kernel.patterns[pattern]), ctype(kernel.source.dtype)
    yield f"                {{ const {t} *k = in + (size_t)*index++ * {kernel.source.plane_elems};"
    for chunk in cut_taps(taps, kernel.passes):
        loads = load_program(kernel, chunk, pattern, shape)
        if kernel.by_lane:
            accumulators = kernel.group * kernel.copies * shape[0] * shape[1]
            yield from _by_lane(kernel, loads, chunk, copy, accumulators)
        else:
            yield from _by_splat(kernel, loads, chunk, copy)
    yield "                }"


def _by_splat(kernel: ConvKernel, loads: Sequence[Load], chunk: range, copy: int) -> Iterable[str]:
    """Return a run of taps where each weight is spread over a register, or by the multiply-add itself."""
    g, lanes, origin = kernel.group, kernel.source.lanes, tap_offset(kernel, 0, 0)
    first = copy * len(kernel.patterns[0])
    # A pointer of its own for each run: what another one loaded would be kept, without a register to spare.
    yield f"                {{{' HIDE(k);' if chunk[0] else ''} const float *p = k;"
    if len(chunk) == 1:
        served = [((load.offset - origin) * lanes, [v for v, _ in load.uses]) for load in loads]
        yield from _one_tap(kernel, served, (first + chunk[0]) * g, copy)
        yield "                }"
        return
    names = ", ".join(f"w{t}_{f} = SPLAT(w[{(first + t) * g + f}])" for t in chunk for f in range(g))
    yield f"                vf {names};"
    for load in loads:
        uses = " ".join(f"{_acc(f, v, copy)} += x * w{t}_{f};" for v, t in load.uses for f in range(g))
        yield f"                {{ vf x = LD(p + {(load.offset - origin) * lanes}); {uses} }} HIDE(p);"
    yield "                }"


def _by_lane(
    kernel: ConvKernel, loads: Sequence[Load], chunk: range, copy: int, accumulators: int
) -> Iterable[str]:
    """Return a run of taps whose weights stay side by side in registers: a multiply-add names register and lane.

    Neighbouring vectors are loaded in pairs where two registers are free, from a pointer that moves when it is
    too far behind for that.
    """
    g, lanes, origin = kernel.group, kernel.source.lanes, tap_offset(kernel, 0, 0)
    first = copy * len(kernel.patterns[0]) * g
    start = first + chunk[0] * g

    def weights(some: Iterable[Load]) -> set[int]:
        return {(first + t * g + f - start) // lanes for load in some for _, t in load.uses for f in range(g)}

    loaded: set[int] = set()
    done = 0
    base = loads[0].offset - origin if kernel.passes > 1 else 0
    # A pointer of its own for each run: what another one loaded would be kept, without a register to spare.
    move = f"k + {base * lanes}; HIDE(p)" if kernel.passes > 1 else "k"
    yield f"                {{ const {ctype(kernel.source.dtype)} *p = {move};"
    while done < len(loads):
        pair = loads[done : done + 2]
        live = weights(pair) | (loaded & weights(loads[done:]))
        neighbours = len(pair) == 2 and pair[1].offset == pair[0].offset + 1
        # Short of registers, the compiler reads a single filter's weights again, and of several moves sums about.
        short = g > 1 and accumulators + len(live) + 2 > REGISTERS
        if not neighbours or short:
            pair = pair[:1]
        done += len(pair)
        places = [load.offset - origin for load in pair]
        if places[-1] - base >= REACH:
            yield f"                p += {(places[0] - base) * lanes}; HIDE(p);"
            base = places[0]
        for w in sorted(weights(pair) - loaded):
            yield f"                vf w{w} = LD(w + {start + w * lanes});"
            loaded.add(w)
        x = ", ".join(f"x{i} = LD(p + {(place - base) * lanes})" for i, place in enumerate(places))
        uses = (
            (i, v, f, first + t * g + f)
            for i, load in enumerate(pair)
            for v, t in load.uses
            for f in range(g)
        )
        sums = " ".join(
            f"{_acc(f, v, copy)} += x{i} * LANE(w{(at - start) // lanes}, {(at - start) % lanes});"
            for i, v, f, at in uses
        )
        yield f"                {{ vf {x}; {sums} }}"
    yield "                }"


def _acc(f: int, v: int, copy: int = 0) -> str:
    """Name an accumulator."""
    return f"a{f}_{v}" if copy == 0 else f"a{f}_{v}_{copy}"


def _epilogue(kernel: ConvKernel, shape: tuple[int, int], f: int) -> Iterable[str]:
    """Return what happens to a filter's accumulators: residual, activation, pooling, mask, store, halo."""
    layout, g, t = kernel.output, kernel.group, ctype(kernel.output.dtype)
    filler = f"if (a->order[group * {g} + {f}] < a->planes) " if g > 1 else ""
    yield f"        {filler}{{"
    yield f"            size_t plane = a->order[group * {g} + {f}];"
    yield f"            {t} *o = out + plane * {layout.plane_elems};"
    if kernel.residual:
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
    if kernel.by_lane and has_halo(layout):
        yield f"            {t} *tile = o + (y0 * {layout.row_vectors} + x0) * LANES;"
        places = [(y // step, x // step) for y, x, *size in tiles(kernel) if tuple(size) == shape]
        size = shape[0] // step, shape[1] // step
        for line in tile_halo(layout, size, places, "tile", lambda r, c: f"a{f}_{(r * shape[1] + c) * step}"):
            yield f"            {line}"
    yield "        }"


def _fill_halos(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the calls that copy borders to the halo, behind all stores: a call in between would spill accumulators."""
    if not has_halo(kernel.output) or kernel.by_lane:
        return
    unit = 2 if kernel.pool else 1
    g = kernel.group
    yield f"        for (int f = 0; edge && f < {g}; f++) {{"
    yield f"            size_t plane = a->order[group * {g} + f];"
    yield "            if (plane < (size_t)a->planes)"
    yield (
        f"                fill_halo(out + plane * {kernel.output.plane_elems}, "
        f"y0, y0 + {shape[0] // unit}, x0, x0 + {shape[1] // unit});"
    )
    yield "        }"
