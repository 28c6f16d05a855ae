"""LRE keeps every product and never loads more than the plain way."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.lower.kernels import Activation, ConvKernel
from pconv.lower.layout import natural
from pconv.lower.loads import cut_taps, load_count, load_pieces, load_program, tap_offset

KERNEL = ConvKernel(
    source=natural(28, 28, 16).with_halo(1, 1, 1, 1),
    output=natural(28, 28, 16),
    residual=None,
    size=(3, 3),
    stride=(1, 1),
    dilation=(1, 1),
    pads=(1, 1),
    patterns=(((0, 1), (1, 0), (1, 1), (1, 2)),),
    group=1,
    tile=(1, 1),
    uniform=False,
    activation=Activation(),
)


@st.composite
def kernels(draw: st.DrawFn) -> ConvKernel:
    """Draw a convolution with a pattern and a tile; only its loads are of interest."""
    kh, kw = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (1, 3)]))
    places = [(y, x) for y in range(kh) for x in range(kw)]
    taps = tuple(sorted(draw(st.lists(st.sampled_from(places), min_size=1, max_size=9, unique=True))))
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    pads = (draw(st.integers(0, kh // 2)), draw(st.integers(0, kw // 2)))
    tile = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    return replace(
        KERNEL,
        source=replace(KERNEL.source, left=draw(st.integers(0, 4)), right=draw(st.integers(8, 12))),
        size=(kh, kw),
        stride=draw(pair),
        dilation=draw(pair),
        pads=pads,
        patterns=(taps,),
        tile=tile,
    )


@given(kernels(), st.data())
def test_every_product_once_and_no_load_twice(kernel: ConvKernel, data: st.DataObject) -> None:
    taps = kernel.patterns[0]
    chunk = cut_taps(len(taps), data.draw(st.integers(1, len(taps))))[0]
    program = load_program(kernel, chunk, 0, kernel.tile)
    rows, cols = kernel.tile
    wanted = Counter((position, tap) for position in range(rows * cols) for tap in chunk)
    assert Counter(use for load in program for use in load.uses) == wanted
    offsets = [load.offset for load in program]
    assert offsets == sorted(set(offsets))
    assert len(program) <= wanted.total()
    for load in program:
        for position, tap in load.uses:
            y, x = position // cols * kernel.stride[0], position % cols * kernel.stride[1]
            assert load.offset == kernel.source.vector(y, x) + tap_offset(kernel, *taps[tap])


def test_neighbours_share_their_loads() -> None:
    """The example of the drawing; and a dense 3x3 kernel: (4 + 2) x (4 + 2) vectors, not 4 x 4 x 9."""
    column = replace(KERNEL, patterns=(((0, 1), (1, 1)),))
    program = load_program(column, range(2), 0, (2, 1))
    assert [load.uses for load in program] == [((0, 0),), ((0, 1), (1, 0)), ((1, 1),)]
    dense = replace(KERNEL, patterns=(tuple((y, x) for y in range(3) for x in range(3)),))
    assert len(load_program(dense, range(9), 0, (4, 4))) == 36


def test_a_stride_reads_every_second_vector() -> None:
    kernel = replace(KERNEL, stride=(2, 2), patterns=(((1, 1),),))
    row = kernel.source.row_vectors
    offsets = [load.offset for load in load_program(kernel, range(1), 0, (2, 2))]
    assert offsets == [0, 2, 2 * row, 2 * row + 2]


@pytest.mark.parametrize(("taps", "passes"), [(9, 1), (9, 2), (9, 4), (4, 4), (121, 7)])
def test_taps_are_cut_evenly(taps: int, passes: int) -> None:
    chunks = cut_taps(taps, passes)
    assert [tap for chunk in chunks for tap in chunk] == list(range(taps))
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 1 and len(chunks) == passes


@pytest.mark.parametrize(
    ("offsets", "widest", "pieces", "count"),
    [
        (range(7), 1, [1] * 7, 7),
        (range(7), 2, [2, 2, 2, 1], 4),
        (range(7), 4, [4, 3], 2),
        ([*range(7), *range(10, 17)], 4, [4, 3, 4, 3], 5),  # one more to get to the second row
        ([*range(4), *range(10, 14)], 4, [4, 2, 2], 3),  # which does not pay for four
        ([0, 2, 4], 4, [1, 1, 1], 3),
        ([], 4, [], 0),
    ],
)
def test_neighbours_are_loaded_together(
    offsets: list[int], widest: int, pieces: list[int], count: int
) -> None:
    assert load_pieces(offsets, widest) == pieces
    assert load_count(offsets, widest) == count
