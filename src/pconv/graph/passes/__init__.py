"""Rewrites of the normalised graph, one file each, and the order in which they run."""

from collections.abc import Callable

import onnx_ir as ir

from .check_normalised import check_normalised
from .count_padding import count_padding
from .drop_padding_taps import drop_padding_taps
from .fold_batch_norm import fold_batch_norm
from .fold_pad import fold_pad
from .fold_scale import fold_scale
from .fuse_activation import fuse_activation
from .fuse_channel_shuffle import fuse_channel_shuffle
from .fuse_gate import fuse_gate
from .fuse_pixel_shuffle import fuse_pixel_shuffle
from .fuse_pool import fuse_pool
from .fuse_residual_add import fuse_residual_add
from .hoist_slice import hoist_slice
from .merge_branches import merge_branches
from .merge_subsample import merge_subsample
from .merge_transpose import merge_transpose
from .part_dilated import part_dilated
from .regrid_pointwise import regrid_pointwise
from .remove_dead_code import remove_dead_code
from .remove_identity import remove_identity
from .sink_activation import sink_activation
from .split_dilated import split_dilated
from .split_max_pool import split_max_pool
from .turn_matmul import turn_matmul

PASSES: tuple[Callable[[ir.Graph], None], ...] = (
    remove_dead_code,
    fuse_pixel_shuffle,
    fuse_channel_shuffle,
    fold_scale,
    hoist_slice,
    sink_activation,
    turn_matmul,
    merge_transpose,
    remove_dead_code,
    fuse_gate,
    remove_identity,
    merge_subsample,
    fold_pad,
    count_padding,
    remove_dead_code,
    fold_batch_norm,
    merge_branches,
    fold_batch_norm,
    regrid_pointwise,
    remove_identity,
    remove_dead_code,
    fuse_residual_add,
    fuse_activation,
    fuse_pool,
    split_max_pool,
    drop_padding_taps,
    split_dilated,
    part_dilated,
    check_normalised,
)
