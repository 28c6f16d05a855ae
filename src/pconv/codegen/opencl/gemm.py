"""Fully connected: a work group computes the rows of one unit; slices of it share out the features.

Neighbouring work items have neighbouring rows, whose weights are neighbours in memory. The slices' sums meet in
local memory.
"""

from pconv.codegen.opencl.frame import Text, activate, constant
from pconv.lower.kernels import GemmKernel

GROUP_ITEMS = 128
ARGUMENTS = {
    True: ("weight_at", "bias_at", "index_at", "offset_at", "outputs"),
    False: ("weight_at", "bias_at", "features", "outputs"),
}


def text(kernel: GemmKernel, units: int) -> Text:
    """Return the kernel; a unit is `kernel.rows` outputs."""
    rows = kernel.rows
    slices = max(1, GROUP_ITEMS // rows)
    ctype = "ushort" if kernel.index_bits == 16 else "uint"
    arrays = constant("T", "weight") + constant("float", "bias")
    if kernel.sparse:
        arrays += constant(ctype, "index") + constant("uint", "offset")
        span = "    const uint first = offset[unit], count = offset[unit + 1] - first;\n    index += first;\n"
        source = "index[k]"
    else:
        span = "    const uint first = unit * features, count = features;\n"
        source = "k"
    body = f"""\
{arrays}\
    __local real sums[{rows * slices}];
    const uint item = get_local_id(0), row = item % {rows}, unit = get_group_id(0);
{span}\
    weight += first * {rows} + row;
    real sum = 0;
    for (uint k = item / {rows}; k < count; k += {slices}) sum += LOAD(in, {source}) * LOAD(weight, k * {rows});
    sums[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint output = unit * {rows} + row;
    if (item >= {rows} || output >= outputs) return;
    sum = bias[output];
    for (uint k = 0; k < {slices}; k++) sum += sums[k * {rows} + row];
    STORE(out, output, {activate(kernel.activation, "sum")});
"""
    return Text(body, ARGUMENTS[kernel.sparse], units * rows * slices, 1, rows * slices, shared=True)
