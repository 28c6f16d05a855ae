"""A convolution whose lanes are filters: sums of some outputs at a time, then a transpose to vectors of outputs."""

from collections.abc import Iterable, Sequence
from itertools import product

from pconv.codegen.c.prelude import ctype, table
from pconv.lower.filter_lanes import lanes_of, outputs_of, pieces
from pconv.lower.kernels import ConvKernel
from pconv.lower.loads import tap_offset
from pconv.lower.tiles import tiles
from pconv.targets.dtype import FP32


def helpers(kernel: ConvKernel) -> str:
    """Return the tables of outputs, the functions that sum pieces of them, and the one that transposes."""
    out, src, (sy, sx) = kernel.output, kernel.source, kernel.stride
    inputs, begins, sums = list[int](), list[int](), list[list[int]]()
    for top, _, rows, _ in tiles(kernel):
        begin = len(inputs)
        for y, x in product(range(top, top + rows), range(out.block_w)):
            if x == 0:
                begins.append(len(inputs))
            valid, first = lanes_of(kernel, y, x), len(inputs)
            # A lane beyond the image repeats lane 0, which never is; what comes of it is masked.
            numbers = [first + valid[:lane].count(True) * valid[lane] for lane in range(out.lanes)]
            sums.append([(number - begin) * kernel.group * FP32.computed_bytes for number in numbers])
            origin = src.vector(y * sy, x * sx) * src.lanes
            inputs += [origin + lane for lane in range(out.lanes) if valid[lane]]
    return "".join(
        [
            "/* Each output's first input, in elements from that of vector (0, 0), by vectors and lanes. */\n",
            table("int32_t", "INPUT", [inputs]),
            "/* The first output of each row of vectors; where the sums of each lane's output lie, in bytes. */\n",
            table("uint16_t", "ROW", [[*begins, len(inputs)]]),
            table("uint32_t", "SUMS", sums),
            *(_piece(kernel, size) for size in sorted(pieces(kernel), reverse=True)),
            _transpose(kernel),
        ]
    )


def outputs_text(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return which outputs a tile has, and where their input is counted from. A tile is as wide as the block."""
    row = kernel.stride[0] * kernel.source.row_vectors
    yield f"    const {ctype(kernel.source.dtype)} *origin = in - y0 * {row} * LANES;"
    yield f"    const int32_t begin = ROW[0][y0], end = ROW[0][y0 + {shape[0]}];"


def sums_text(kernel: ConvKernel, shape: tuple[int, int]) -> Iterable[str]:
    """Return the sums of a group of filters, piece by piece of the tile's outputs.

    They are transposed to `done`, for each filter a vector for every one of the tile.
    """
    out, g = kernel.output, kernel.group
    count, vectors = shape[0] * shape[1], g // out.lanes
    yield f"        const float *bias = a->bias + (size_t)group * {g};"
    most = max(outputs_of(kernel, y, rows) for y, _, rows, _ in tiles(kernel) if rows == shape[0])
    yield f"        vf sums[{most * vectors}], done[{g * count}];"
    yield "        for (int32_t i = begin, left, size; (left = end - i) > 0; i += size) {"
    yield f"            const int32_t parts = (left + {kernel.positions - 1}) / {kernel.positions};"
    yield "            size = (left + parts - 1) / parts;"
    yield "            switch (size) {"
    for size in sorted(pieces(kernel), reverse=True):
        to = f"sums + (i - begin) * {vectors}"
        yield f"            case {size}: sum_{size}(origin, INPUT[0] + i, w, index, run, bias, {to}); break;"
    yield "            }"
    yield "        }"
    for r in range(shape[0]):
        for c in range(shape[1]):
            row = f"SUMS[(y0 + {r}) * {out.block_w} + {c}]"
            for v in range(vectors):
                to = f"done + {v * out.lanes * count + r * shape[1] + c}, {count}"
                yield f"        transpose(sums + {v}, {row}, {to});"


def _piece(kernel: ConvKernel, size: int) -> str:
    """Return the function that sums so many outputs of a group of filters: each input element is for all lanes."""
    t, src, taps = ctype(kernel.source.dtype), kernel.source, len(kernel.patterns[0])
    outputs, vectors = range(size), range(kernel.group // kernel.output.lanes)
    origin = tap_offset(kernel, 0, 0)
    lines = [
        f"static __attribute__((noinline)) void sum_{size}(const {t} *in, const int32_t *at, const {t} *w,",
        "        const uint16_t *index, const uint16_t *run, const float *bias, vf *sums) {",
        *(f"    const {t} *p{i} = in + at[{i}];" for i in outputs),
        "    vf " + ", ".join(f"a{i}_{v} = LD(bias + {v} * LANES)" for i in outputs for v in vectors) + ";",
    ]
    for pattern in range(len(kernel.patterns)):
        lines.append(
            f"    for (int32_t n = *run++; n > 0; n--, w += {taps * kernel.group}) {{ /* {kernel.picture(pattern)} */"
        )
        lines.append(f"        const size_t k = (size_t)*index++ * {src.plane_elems};")
        for tap, place in enumerate(kernel.patterns[pattern]):
            offset = (tap_offset(kernel, *place) - origin) * src.lanes
            weights = ", ".join(f"w{v} = LD(w + {tap * kernel.group} + {v} * LANES)" for v in vectors)
            lines.append(f"        {{ const vf {weights};")
            for i in outputs:
                adds = " ".join(f"a{i}_{v} += x * w{v};" for v in vectors)
                lines.append(f"        {{ const vf x = SPLAT(p{i}[k + {offset}]); {adds} }}")
            lines.append("        }")
        lines.append("    }")
    lines += [
        "    " + " ".join(f"sums[{i * len(vectors) + v}] = a{i}_{v};" for i in outputs for v in vectors),
        "}",
    ]
    return "\n".join([*lines, ""])


def _transpose(kernel: ConvKernel) -> str:
    """Return the function that makes, of a register of filters for each output of a vector, a vector for each filter.

    Within quarters of 128 bits first, by interleaving numbers and then pairs; then quarters change places. Each step is
    an instruction for each register.
    """
    lanes = kernel.output.lanes
    lines = [
        "static __attribute__((noinline)) void transpose(const vf *sums, const uint32_t *at, vf *done,",
        "        size_t apart) {",
    ]
    lines += [f"    vf x{i} = *(const vf *)((const char *)sums + at[{i}]);" for i in range(lanes)]
    low, high = (0, lanes, 1, lanes + 1), (2, lanes + 2, 3, lanes + 3)
    for step, picks in ((1, (low, high)), (2, ((0, 1, lanes, lanes + 1), (2, 3, lanes + 2, lanes + 3)))):
        orders = [[quarter + at for quarter in range(0, lanes, 4) for at in pick] for pick in picks]
        lines += _exchanged(lanes, step, orders)
    step = 4
    while step < lanes:
        halves = [range(start, 2 * lanes // 4, 2) for start in (0, 1)]
        lines += _exchanged(
            lanes, step, [[4 * quarter + at for quarter in half for at in range(4)] for half in halves]
        )
        step *= 2
    # Interleaving twice leaves the middle ones of four the other way round.
    stores = (f"    done[{i - i % 4 + (0, 2, 1, 3)[i % 4]} * apart] = x{i};" for i in range(lanes))
    return "\n".join([*lines, *stores, "}", ""])


def _exchanged(lanes: int, step: int, orders: Sequence[Sequence[int]]) -> Iterable[str]:
    """Return the statements that shuffle each two registers a step apart, in both orders."""
    low, high = (", ".join(map(str, order)) for order in orders)
    for i in (i for i in range(lanes) if not i & step):
        pair = f"x{i}, x{i + step}"
        yield (
            f"    {{ const vf low = __builtin_shufflevector({pair}, {low});"
            f" x{i + step} = __builtin_shufflevector({pair}, {high}); x{i} = low; }}"
        )
