"""SpaceToDepth -> a slice of every phase of the image, one after another."""

from ..site import Operand, Site, shape_of


def space_to_depth(site: Site) -> Operand:
    """Convert SpaceToDepth."""
    x, block = site.tensor(rank=4), int(site.attr("blocksize", 0))
    _, c, h, w = shape_of(x)
    if block < 1 or h % block or w % block:
        raise site.malformed(f"blocksize {block} over an image {[h, w]}")
    size = (c, h // block, w // block)
    parts = [
        site.emit(
            "Subsample",
            [x],
            (1, *size),
            step=f"phase{row}.{column}",
            starts=(0, row, column),
            steps=(block, block),
            sizes=size,
        )
        for row in range(block)
        for column in range(block)
    ]
    return parts[0] if block == 1 else site.emit("Concat", parts, (1, c * block**2, *size[1:]))


CONVERTERS = {"SpaceToDepth": space_to_depth}
