"""DepthToSpace (pixel shuffle)."""

from ..site import Operand, Site, shape_of


def depth_to_space(site: Site) -> Operand:
    """Convert DepthToSpace; mode is DCR where the file does not say."""
    x = site.tensor(rank=4)
    block, mode = int(site.attr("blocksize", 0)), site.attr("mode", "DCR")
    _, c, h, w = shape_of(x)
    if block < 1 or c % (block * block) or mode not in ("DCR", "CRD"):
        raise site.malformed(f"blocksize {block}, mode {mode!r} over {c} channels")
    shape = (1, c // (block * block), h * block, w * block)
    return site.emit("DepthToSpace", [x], shape, blocksize=block, mode=mode)


CONVERTERS = {"DepthToSpace": depth_to_space}
