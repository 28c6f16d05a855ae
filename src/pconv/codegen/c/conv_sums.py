"""The sums of a group of filters: loops over its kept kernels, their loads and multiply-adds.

Each shape has a branch-free loop of its own, or one loop serves all and a table says where taps read. Weights are
spread over registers one by one, or stay side by side where a multiply-add names a lane.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import product

from pconv.codegen.c.prelude import ctype, prefetch_weights, table
from pconv.lower.cost import REACH, load_width
from pconv.lower.kernels import ConvKernel
from pconv.lower.loads import MULTIPLE, Load, cut_taps, load_pieces, load_program, tap_offset

REGISTERS = 32
"""Vector registers of the CPUs whose multiply-adds take a lane."""

WIDENING_RUNS = 8
"""Places in a group's runs where sums of halves may be added to floats."""


_NEIGHBOURS = """\
/* Neighbouring registers from neighbouring vectors, by one instruction. */
typedef struct {{ vf v[{n}]; }} vf{n};
static inline vf{n} LD{n}(const {t} *p) {{
#if defined(__aarch64__)
    float32x4x{n}_t x = vld1q_f32_x{n}((const float *)p);
    return (vf{n}){{{{{from_x}}}}};
#else
    return (vf{n}){{{{{from_p}}}}};
#endif
}}
"""


def load_helpers(kernel: ConvKernel, text: str) -> str:
    """Return the loads of three and four vectors that a text uses."""
    used = [n for n in range(3, MULTIPLE + 1) if f"LD{n}(" in text]
    lines = ["#if defined(__aarch64__)\n#include <arm_neon.h>\n#endif\n"] if used else []
    for n in used:
        from_x = ", ".join(f"(vf)x.val[{i}]" for i in range(n))
        from_p = ", ".join(f"LD(p + {i} * LANES)" for i in range(n))
        lines.append(_NEIGHBOURS.format(n=n, t=ctype(kernel.source.dtype), from_x=from_x, from_p=from_p))
    return "".join(lines)


def acc(f: int | str, v: int, copy: int = 0) -> str:
    """Name an accumulator."""
    return f"a{f}_{v}" if copy == 0 else f"a{f}_{v}_{copy}"


def add_to_floats(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return what adds the accumulators, which begin again at zero, to the sums of floats."""
    vectors = shape[0] * shape[1]
    for f in range(kernel.group):
        for v in range(vectors):
            sets = [acc(f, v, copy) for copy in range(kernel.copies)]
            wide = " + ".join(f"WIDE({one})" for one in sets)
            yield f"        sums[{f * vectors + v}] += {wide}; {' = '.join(sets)} = (vf){{0}};"


def runs_text(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loops over the kernels of a group of filters."""
    if kernel.by_table:
        yield from _table_run(kernel, shape)
    else:
        for run in range(kernel.runs):
            yield from _run(kernel, shape, run)


def _table_run(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return one loop over kernels of all shapes: where a tap reads stands in a table."""
    g, taps = kernel.group, len(kernel.patterns[0])
    src, lanes = kernel.source, kernel.source.lanes
    places = [
        src.vector(r * kernel.stride[0], c * kernel.stride[1]) * lanes
        for r in range(shape[0])
        for c in range(shape[1])
    ]
    yield "        { int32_t n = *run++;"
    for turn in (kernel.turn, 1) if kernel.turn > 1 else (1,):
        head, tail = _stepped(turn, f"w += {turn * taps * g}")
        yield f"        {head}"
        for i in range(turn):
            yield f"            {{ const float *k = in + (size_t)*index++ * {src.plane_elems};"
            yield "            const int32_t *tap = TAPS[*shape++];"
            if kernel.prefetch_weights:
                yield f"            {prefetch_weights(src.dtype, taps * g, i)}"
            for t in range(taps):
                uses = [(place, [v]) for v, place in enumerate(places)]
                yield f"            {{ const float *p = k + tap[{t}]; HIDE(p);"
                yield from _one_tap(range(g), uses, (i * taps + t) * g, i % kernel.copies)
                yield "            }"
            yield "            }"
        yield f"        {tail}"
    yield "        }"


def channels_text(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loop over channels: their input is loaded, then filters of a span take it from the registers.

    In each channel there is a loop for each pattern, over the groups that keep it; what the next channel loads is
    fetched meanwhile. Sums come and go one after another, so that each needs a register for a moment only, and loads
    and stores spread over the multiply-adds.
    """
    g, t, lanes = kernel.group, ctype(kernel.source.dtype), kernel.source.lanes
    taps = len(kernel.patterns[0])
    programs = [load_program(kernel, range(taps), i, shape) for i in range(len(kernel.patterns))]
    names = {at: f"x{i}" for i, at in enumerate(sorted({load.offset for p in programs for load in p}))}
    origin = tap_offset(kernel, 0, 0)
    places = [(at - origin) * lanes for at in names]
    yield f"        const {t} *k = in;"
    yield f"        for (int32_t c = 0; c < a->channels; c++, k += {kernel.source.plane_elems}) {{"
    loads = (f"{x} = LD(k + {at})" for x, at in zip(names.values(), places, strict=True))
    yield f"            const vf {', '.join(loads)};"
    yield f"            const {t} *soon = k + {kernel.source.plane_elems};"
    yield "            " + " ".join(f"__builtin_prefetch(soon + {at}, 0, 3);" for at in places)
    for pattern, program in enumerate(programs):
        yield f"            for (int32_t n = *run++; n > 0; n--, w += {taps * g}) {{ /* {kernel.picture(pattern)} */"
        yield f"                vf *sums = kept + (size_t)*index++ * {g * shape[0] * shape[1]};"
        if kernel.prefetch_weights:
            yield f"                {prefetch_weights(kernel.source.dtype, taps * g)}"
        weights = (f"w{i} = SPLAT(w[{i}])" for i in range(taps * g))
        yield f"                const vf {', '.join(weights)};"
        at_tap = {(v, tap): names[load.offset] for load in program for v, tap in load.uses}
        for i, (f, v) in enumerate(product(range(g), range(shape[0] * shape[1]))):
            adds = (f"s += {at_tap[v, tap]} * w{tap * g + f};" for tap in range(taps))
            yield f"                {{ vf s = sums[{i}]; {' '.join(adds)} sums[{i}] = s; }}"
        yield "            }"
    yield "        }"


def blocks_text(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the loop over blocks of channels: in each there is a loop for each pattern, over the filters of a span.

    An entry of the index is a group and a channel of the block; the group's sums come and go with every kernel.
    """
    sums = [acc(f, v) for f in range(kernel.group) for v in range(shape[0] * shape[1])]
    yield f"        for (int32_t b = 0; b < a->channels; b += {kernel.block}) {{"
    for pattern in range(len(kernel.patterns)):
        head, tail = _stepped(1, f"w += {len(kernel.patterns[pattern]) * kernel.group}")
        yield f"            {{ int32_t n = *run++; {head} /* {kernel.picture(pattern)} */"
        yield "                const uint32_t at = *index++;"
        yield f"                vf *sums = kept + (size_t)(at / {kernel.block}) * {len(sums)};"
        yield f"                vf {', '.join(f'{one} = sums[{i}]' for i, one in enumerate(sums))};"
        yield from _kernel(kernel, shape, pattern, range(kernel.group), f"(b + at % {kernel.block})")
        yield f"                {' '.join(f'sums[{i}] = {one};' for i, one in enumerate(sums))}"
        yield f"            {tail} }}"
    yield "        }"


def taps_table(kernel: ConvKernel) -> str:
    """Return the table of where the taps of each pattern read, in elements from the first tap of all."""
    origin, lanes = tap_offset(kernel, 0, 0), kernel.source.lanes
    rows = [[(tap_offset(kernel, *tap) - origin) * lanes for tap in taps] for taps in kernel.patterns]
    return table("int32_t", "TAPS", rows)


def _one_tap(
    filters: Sequence[int], uses: Sequence[tuple[int, list[int]]], first: int, copy: int
) -> Iterable[str]:
    """Return the multiply-adds of one tap from pointer p; inputs or weights stay in registers, whichever are fewer.

    `uses` are the places to load from with the tile's positions that they serve; `first` is the first filter's weight.
    """
    if len(filters) > len(uses):
        yield (
            "            vf "
            + ", ".join(f"x{i} = LD(p + {place})" for i, (place, _) in enumerate(uses))
            + ";"
        )
        for i, f in enumerate(filters):
            sums = " ".join(f"{acc(f, v, copy)} += x{j} * s;" for j, (_, vs) in enumerate(uses) for v in vs)
            yield f"            {{ vf s = SPLAT(w[{first + i}]); {sums} }}"
    else:
        weights = ", ".join(f"w{f} = SPLAT(w[{first + i}])" for i, f in enumerate(filters))
        yield f"            vf {weights};"
        for place, vs in uses:
            sums = " ".join(f"{acc(f, v, copy)} += x * w{f};" for v in vs for f in filters)
            yield f"            {{ vf x = LD(p + {place}); {sums} }} HIDE(p);"


def _run(kernel: ConvKernel, shape: tuple[int, int], run: int) -> Iterable[str]:
    """Return what sums the kernels of one run: those of one pattern, or those that some filters of the group keep."""
    pattern, filters = (0 if kernel.mixed else run), kernel.sharers[run]
    taps = kernel.patterns[pattern]
    yield f"        {{ /* {kernel.picture(pattern)}{f' of {filters}' if kernel.mixed else ''} */"
    if kernel.widen_after and not kernel.block and _widens(kernel, pattern):
        most = max(1, kernel.widen_after // len(taps))
        yield "            for (int32_t left = *run++, n; left > 0;) {"
        yield f"                n = left < {most} ? left : {most}, left -= n, done += n;"
        yield from (f"    {line}" for line in _kernels(kernel, shape, pattern, filters))
        yield f"                if (done >= {most}) {{"
        yield "                    done = 0;"
        yield from (f"            {line}" for line in add_to_floats(kernel, shape))
        yield "                }"
        yield "            }"
    else:
        yield "            int32_t n = *run++;"
        if kernel.widen_after and not kernel.block:
            yield "            done += n;"
        yield from _kernels(kernel, shape, pattern, filters)
    yield "        }"


def _widens(kernel: ConvKernel, pattern: int) -> bool:
    """Tell whether the run of a pattern looks if it is time: of many short runs, WIDENING_RUNS do."""
    every = -(-len(kernel.patterns) // WIDENING_RUNS)
    return (pattern + 1) % every == 0


def _kernels(
    kernel: ConvKernel, shape: tuple[int, int], pattern: int, filters: Sequence[int]
) -> Iterable[str]:
    """Return the loop over `n` kernels of one pattern, several of them in a turn, and what is left one by one."""
    weights = len(kernel.patterns[pattern]) * len(filters)
    for turn in (kernel.turn, 1) if kernel.turn > 1 else (1,):
        step = f"w += {turn * weights}"
        head, tail = _counted(turn, step) if kernel.by_lane else _stepped(turn, step)
        yield f"            {head}"
        for i in range(turn):
            channel = f"index[{i}]" if kernel.by_lane and turn > 1 else "*index++"
            yield from _kernel(kernel, shape, pattern, filters, channel, i)
        yield f"            {tail}"


def _stepped(turn: int, step: str) -> tuple[str, str]:
    """Return head and tail of a loop over `n` kernels, some in a turn."""
    if turn == 1:
        return f"for (; n > 0; n--, {step}) {{", "}"
    return f"for (; n >= {turn}; n -= {turn}, {step}) {{", "}"


def _counted(turn: int, step: str) -> tuple[str, str]:
    """Return the same loop for AArch64: one subtraction tells the end, and pointers simply stay where they are.

    Without the hiding, clang works out behind each loop where its pointers must have got to.
    """
    if turn == 1:
        return "if (n) do {", f"{step}; HIDE(w); HIDE(index); }} while (--n);"
    head = f"uint32_t turns = (uint32_t)n / {turn}; n %= {turn}; if (turns) do {{"
    return head, f"{step}; index += {turn}; HIDE(w); HIDE(index); }} while (--turns);"


def _kernel(
    kernel: ConvKernel,
    shape: tuple[int, int],
    pattern: int,
    filters: Sequence[int],
    channel: str,
    i: int = 0,
) -> Iterable[str]:
    """Return the loads and multiply-adds of kernel `i` of a turn, on that channel, into one set of accumulators."""
    taps, t, copy = len(kernel.patterns[pattern]), ctype(kernel.source.dtype), i % kernel.copies
    first = i * taps * len(filters)
    yield f"                {{ const {t} *k = in + (size_t){channel} * {kernel.source.plane_elems};"
    if kernel.prefetch_weights:
        yield f"                {prefetch_weights(kernel.source.dtype, taps * len(filters), i)}"
    if kernel.prefetch_kernel:
        entry = f"index[{kernel.fetched - 1}]"
        yield f"                const {t} *soon = in + (size_t){entry} * {kernel.source.plane_elems};"
    fetched: set[int] = set()
    for chunk in cut_taps(taps, kernel.passes):
        loads = load_program(kernel, chunk, pattern, shape)
        if kernel.by_lane:
            yield from _by_lane(kernel, shape, loads, chunk, filters, first, copy)
        else:
            new = {load.offset for load in loads if kernel.prefetch_kernel} - fetched
            yield from _by_splat(kernel, loads, chunk, filters, first, copy, new)
            fetched |= new
    yield "                }"


def _by_splat(
    kernel: ConvKernel,
    loads: Sequence[Load],
    chunk: range,
    filters: Sequence[int],
    first: int,
    copy: int,
    fetched: Collection[int],
) -> Iterable[str]:
    """Return a run of taps where each weight is spread over a register, or by the multiply-add itself.

    `first` is the kernel's first weight; loads at the offsets in `fetched` fetch what the next kernel loads there.
    """
    g, lanes, origin = len(filters), kernel.source.lanes, tap_offset(kernel, 0, 0)
    # A pointer of its own for each run: what another one loaded would be kept, without a register to spare.
    yield f"                {{{' HIDE(k);' if chunk[0] else ''} const float *p = k;"
    if len(chunk) == 1:
        served = [((load.offset - origin) * lanes, [v for v, _ in load.uses]) for load in loads]
        for load in loads:
            if load.offset in fetched:
                yield f"                __builtin_prefetch(soon + {(load.offset - origin) * lanes}, 0, 3);"
        yield from _one_tap(filters, served, first + chunk[0] * g, copy)
        yield "                }"
        return
    names = ", ".join(
        f"w{t}_{f} = SPLAT(w[{first + t * g + i}])" for t in chunk for i, f in enumerate(filters)
    )
    yield f"                vf {names};"
    for load in loads:
        uses = " ".join(f"{acc(f, v, copy)} += x * w{t}_{f};" for v, t in load.uses for f in filters)
        place = (load.offset - origin) * lanes
        fetch = f" __builtin_prefetch(soon + {place}, 0, 3);" if load.offset in fetched else ""
        yield f"                {{ vf x = LD(p + {place});{fetch} {uses} }} HIDE(p);"
    yield "                }"


def _by_lane(
    kernel: ConvKernel,
    shape: tuple[int, int],
    loads: Sequence[Load],
    chunk: range,
    filters: Sequence[int],
    first: int,
    copy: int,
) -> Iterable[str]:
    """Return a run of taps whose weights stay side by side in registers: a multiply-add names register and lane.

    `first` is the kernel's first weight. Neighbouring vectors are loaded in pairs where two registers are free, from
    a pointer that moves when it is too far behind for that; or three or four at a time, which move it along. With
    `ahead`, multiply-adds stand behind the load after their own.
    """
    g, lanes, origin = len(filters), kernel.source.lanes, tap_offset(kernel, 0, 0)
    start = first + chunk[0] * g
    if lanes % (len(kernel.patterns[0]) * g) == 0:
        start -= start % lanes  # the kernels of a turn share a register

    def registers(some: Iterable[Load]) -> set[int]:
        return {(first + t * g + f - start) // lanes for load in some for _, t in load.uses for f in range(g)}

    base = loads[0].offset - origin if kernel.passes > 1 else 0
    # A pointer of its own for each run: what another one loaded would be kept, without a register to spare.
    move = f"k + {base * lanes}; HIDE(p)" if kernel.passes > 1 else "k"
    yield f"                {{ const {ctype(kernel.source.dtype)} *p = {move};"
    # Kernels of one tap load as many registers at a time as there are.
    ahead, waiting = kernel.ahead and len(kernel.patterns[0]) > 1, list[str]()
    held: set[int] = set()
    done = 0
    for some in _at_once(kernel, shape, loads, g, registers):
        places = [load.offset - origin for load in some]
        if places[-1] - base >= REACH or (len(some) > 2 and places[0] != base):
            yield f"                p += {(places[0] - base) * lanes}; HIDE(p);"
            base = places[0]
        for w in sorted(registers(some) - held):
            yield f"                vf w{w} = LD(w + {start + w * lanes});"
            held.add(w)
        names, text = _load(
            f"x{done}_" if ahead else "x", [(place - base) * lanes for place in places], lanes
        )
        base += len(some) if len(some) > 2 else 0
        done += len(some)
        uses = (
            (name, v, f, divmod(first + t * g + i - start, lanes))
            for name, load in zip(names, some, strict=True)
            for v, t in load.uses
            for i, f in enumerate(filters)
        )
        sums = " ".join(f"{acc(f, v, copy)} += {x} * LANE(w{w}, {lane});" for x, v, f, (w, lane) in uses)
        if not ahead:
            yield f"                {{ {text}; {sums} }}"
            continue
        yield f"                {text};"
        yield from waiting
        waiting = [f"                {sums}"]
    yield from waiting
    yield "                }"


def _at_once(
    kernel: ConvKernel,
    shape: tuple[int, int],
    loads: Sequence[Load],
    filters: int,
    registers: Callable[[Iterable[Load]], set[int]],
) -> Iterable[Sequence[Load]]:
    """Give the loads that are one, in order; `registers` are those of the weights that some of them need."""
    widest, done = load_width(kernel, shape, REGISTERS), 0
    if widest > 2:
        for count in load_pieces([load.offset for load in loads], widest):
            yield loads[done : done + count]
            done += count
        return
    accumulators = kernel.group * kernel.copies * shape[0] * shape[1]
    held: set[int] = set()
    while done < len(loads):
        some = loads[done : done + 2]
        live = registers(some) | (held & registers(loads[done:]))
        neighbours = some[-1].offset == some[0].offset + 1
        # Short of registers, the compiler reads a single filter's weights again, and of several moves sums about.
        if not neighbours or (filters > 1 and accumulators + len(live) + 2 > REGISTERS):
            some = some[:1]
        held |= registers(some)
        done += len(some)
        yield some


def _load(x: str, places: Sequence[int], lanes: int) -> tuple[list[str], str]:
    """Return the names of the vectors that are loaded together from places behind p, and the text; of many, p moves."""
    count = len(places)
    if count > 2:
        return [
            f"{x}.v[{i}]" for i in range(count)
        ], f"vf{count} {x} = LD{count}(p); p += {count * lanes}; HIDE(p)"
    names = [f"{x}{i}" for i in range(count)]
    return names, f"vf {', '.join(f'{name} = LD(p + {at})' for name, at in zip(names, places, strict=True))}"
