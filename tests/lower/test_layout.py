"""Every element of an image lies in exactly one place, and the halo holds the right copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.lower.layout import LINE_BYTES, SPREAD_LINES, Layout, natural, planar

GRIDS = [(rows, lanes // rows) for lanes in (1, 4, 8, 16) for rows in (1, 2, 4, 8, 16) if lanes % rows == 0]
LANES = (4, 8, 16)
HALO = st.integers(0, 9)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Draw any grid over any image, or several; blocks may be larger than needed, as a pooled input's are."""
    height, width = draw(st.integers(1, 37)), draw(st.integers(1, 37))
    rows, cols = draw(st.sampled_from(GRIDS))
    block_h = -(-height // rows) + draw(st.integers(0, 2))
    block_w = -(-width // cols) + draw(st.integers(0, 2))
    images = draw(st.sampled_from([n for n in (1, 1, 1, 2, 4, 8, 16) if n == 1 or rows * cols * n in LANES]))
    halo = (draw(HALO) for _ in range(4))
    return Layout(height, width, rows, cols, block_h, block_w, *halo, images=images)


def place(layout: Layout, y: int, x: int, lane: int) -> int:
    """Give the element of vector (y, x) in a lane."""
    return layout.base_elems + layout.vector(y, x) * layout.lanes + lane


@given(layouts())
def test_every_element_has_one_place(layout: Layout) -> None:
    places = layout.element_table()
    pixels = layout.images * layout.height * layout.width
    assert places.shape == (pixels,)
    assert len(set(places.tolist())) == pixels
    np.testing.assert_array_equal(layout.source_table()[places], np.arange(pixels))
    inner = {
        place(layout, y, x, lane)
        for y in range(layout.block_h)
        for x in range(layout.block_w)
        for lane in range(layout.lanes)
    }
    filled = {p for p in inner if layout.source_table()[p] >= 0}
    assert filled == set(places.tolist())


@given(layouts())
def test_halo_repeats_the_neighbour_or_is_zero(layout: Layout) -> None:
    table = layout.source_table()
    assert table.shape == (layout.plane_elems,)
    body = (layout.top + layout.block_h + layout.bottom) * layout.row_vectors * layout.lanes
    assert (table[body:] == -1).all()
    y = np.arange(-layout.top, layout.block_h + layout.bottom)[:, None, None]
    x = np.arange(-layout.left, layout.block_w + layout.right)[None, :, None]
    image, row, col = np.indices((layout.images, layout.rows, layout.cols)).reshape(3, -1)
    image_y, image_x = row * layout.block_h + y, col * layout.block_w + x
    inside = (image_y >= 0) & (image_y < layout.height) & (image_x >= 0) & (image_x < layout.width)
    expected = np.where(inside, (image * layout.height + image_y) * layout.width + image_x, -1)
    first = place(layout, -layout.top, -layout.left, 0)
    np.testing.assert_array_equal(table[first : first + body], expected.ravel())
    assert first == 0


@given(layouts())
def test_large_planes_spread_over_the_cache(layout: Layout) -> None:
    needed = (layout.top + layout.block_h + layout.bottom) * layout.row_vectors * layout.lanes * 4
    plane_bytes = 4 * layout.plane_elems
    if layout.planar:
        assert plane_bytes == needed
        return
    assert plane_bytes % LINE_BYTES == 0
    if needed > SPREAD_LINES * LINE_BYTES:
        assert plane_bytes // LINE_BYTES % 16 == 9
        assert needed <= plane_bytes < needed + 17 * LINE_BYTES
    else:
        assert needed <= plane_bytes <= needed + 16 * LINE_BYTES


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([4, 8, 16]))
def test_natural_covers_with_least_waste(height: int, width: int, lanes: int) -> None:
    layout = natural(height, width, lanes)
    assert layout.lanes == lanes
    assert (layout.top, layout.left, layout.bottom, layout.right) == (0, 0, 0, 0)
    assert layout.rows * layout.block_h >= height and layout.cols * layout.block_w >= width

    def area(rows: int) -> int:
        cols = lanes // rows
        return rows * -(-height // rows) * cols * -(-width // cols)

    best = min(area(1 << i) for i in range(lanes.bit_length()))
    assert layout.lanes * layout.block_h * layout.block_w == best


@pytest.mark.parametrize(
    ("image", "lanes", "grid"),
    [
        ((224, 224), 16, (4, 4)),
        ((14, 14), 16, (2, 8)),
        ((1, 1), 8, (2, 4)),
        ((7, 7), 4, (1, 4)),
        ((8, 8), 4, (2, 2)),
    ],
)
def test_grids_of_known_images(image: tuple[int, int], lanes: int, grid: tuple[int, int]) -> None:
    layout = natural(*image, lanes)
    assert (layout.rows, layout.cols) in (grid, grid[::-1])


@given(layouts())
def test_each_image_lies_in_its_lanes_as_the_first_does(layout: Layout) -> None:
    table = layout.source_table().reshape(-1, layout.images, layout.image_lanes)
    pixels = layout.height * layout.width
    for image in range(layout.images):
        own = table[:, image].ravel()
        np.testing.assert_array_equal(np.where(own < 0, own, own - image * pixels), layout.image_table())


def test_several_images_share_the_lanes() -> None:
    layout = natural(7, 7, 16, images=4)
    assert (layout.lanes, layout.image_lanes, layout.images) == (16, 4, 4)
    assert natural(7, 7, 16, images=16).idle_share == 0 < layout.idle_share < natural(7, 7, 16).idle_share


def test_halo_only_grows() -> None:
    layout = natural(9, 9, 4).with_halo(1, 2, 0, 3).with_halo(0, 5, 1, 1)
    assert (layout.top, layout.left, layout.bottom, layout.right) == (1, 5, 1, 3)
    assert layout.geometry == natural(9, 9, 4).geometry


def test_planar_is_nchw() -> None:
    layout = planar(3, 5)
    assert layout.planar and not layout.partial_rows and not layout.partial_cols
    np.testing.assert_array_equal(layout.source_table(), np.arange(15))
    np.testing.assert_array_equal(layout.element_table(), np.arange(15))
