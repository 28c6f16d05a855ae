"""What all kernels share: their signature, their launch, activations, and the zeros around a plane."""

from collections.abc import Sequence
from dataclasses import dataclass

from pconv.codegen.c.prelude import number
from pconv.lower.kernels import Activation
from pconv.lower.layout import Layout

LOCAL = 64
"""Work items of a group, where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Text:
    """A kernel as text, and how many work items it wants.

    `items` of them along the first dimension, rounded up to whole groups of `local`; `rows` along the second.
    `arguments` are the unsigned integers that follow the buffers: NAME_at is where the step's constant NAME lies,
    in bytes; any other is a parameter of the step. With `shared`, a group's items meet in local memory, and `local`
    must stay as it is.
    """

    body: str
    arguments: tuple[str, ...]
    items: int
    rows: int
    local: int = LOCAL
    helpers: str = ""
    shared: bool = False


def render_kernel(name: str, comment: str, text: Text) -> str:
    """Return the whole text of a kernel.

    Every kernel has the same buffers: `in`, `add` (the second input), `out`, each with its first element, and
    the constants of the model, in which arrays are found by their offset in bytes.
    """
    arguments = (
        ",\n        " + ", ".join(f"uint {argument}" for argument in text.arguments) if text.arguments else ""
    )
    return f"""\
/* {comment} */
{text.helpers}\
__kernel void {name}(
        __global const T *restrict in, uint in_at, __global const T *restrict add, uint add_at,
        __global T *restrict out, uint out_at, __global const uchar *restrict constants{arguments}) {{
    in += in_at, add += add_at, out += out_at;
{text.body}}}
"""


def constant(ctype: str, name: str) -> str:
    """Return the declaration of an array among the constants; its offset is the argument NAME_at."""
    return (
        f"    __global const {ctype} *restrict {name} = (__global const {ctype} *)(constants + {name}_at);\n"
    )


def activate(activation: Activation, v: str) -> str:
    """Return the expression of an activated variable."""
    low, high = f"(real){number(activation.low)}", f"(real){number(activation.high)}"
    match activation.kind:
        case "none":
            return v
        case "relu":
            return f"({v} < 0 ? (real)0 : {v})"
        case "clip":
            return f"({v} < {low} ? {low} : {v} > {high} ? {high} : {v})"
        case "leaky":
            return f"({v} < 0 ? {low} * {v} : {v})"
        case "elu":
            return f"({v} < 0 ? {low} * (exp({v}) - (real)1) : {v})"
        case "hardswish":
            return f"{v} * clamp({v} / (real)6 + (real)0.5f, (real)0, (real)1)"
        case "silu":
            return f"{v} / ((real)1 + exp(-{v}))"
        case "gelu":
            half = f"{v} * (real)0.5f * erfc({v} * (real)-0.70710678f)"
            return f"({v} < (real)-14 ? (real)0 : {half})"
        case "gelutanh":
            cubic = f"{v} * ((real)-1.59576912f - (real)0.0713548163f * {v} * {v})"
            return f"({v} < (real)-10 ? (real)0 : {v} / ((real)1 + exp({cubic})))"
        case "quickgelu":
            return f"{v} / ((real)1 + exp((real)-1.702f * {v}))"
        case "softplus":
            return f"(fmax({v}, (real)0) + log1p(exp(-fabs({v}))))"
        case "above":
            return f"({v} > {low} ? (real)1 : (real)0)"
        case "atleast":
            return f"({v} >= {low} ? (real)1 : (real)0)"
        case "round":
            return f"rint({v})"
        case "sigmoid":
            return f"(real)1 / ((real)1 + exp(-{v}))"
        case kind:
            return f"{kind}({v})"


def halo_elems(layout: Layout) -> int:
    """Count the elements of a plane that are not of the image."""
    return layout.plane_elems - layout.block_h * layout.block_w


def halo_function(layout: Layout, name: str) -> str:
    """Return `NAME(i)`: the place in the plane of its i-th element outside the image."""
    row, sides = layout.row_vectors, layout.left + layout.right
    lines = []
    if layout.top:
        lines.append(f"    if (i < {layout.top * row}) return i;")
    if sides:
        where = f"x < {layout.left} ? x : x + {layout.block_w}"
        lines += [
            f"    i -= {layout.top * row};",
            f"    if (i < {sides * layout.block_h}) {{",
            f"        uint y = i / {sides}, x = i % {sides};",
            f"        return (y + {layout.top}) * {row} + ({where});",
            "    }",
            f"    i -= {sides * layout.block_h};",
        ]
    else:
        lines.append(f"    i -= {layout.top * row};")
    lines.append(f"    return i + {(layout.top + layout.block_h) * row};")
    return f"static uint {name}(uint i) {{\n" + "\n".join(lines) + "\n}\n"


def over_plane(layout: Layout, value: Sequence[str]) -> str:
    """Return the body that sets every element of plane `c`: zero in the halo, else `v` as `value` computes it.

    `value` may use the element's image position (y, x) and must declare `v`.
    """
    inside = [
        check
        for check in (
            f"y >= 0 && y < {layout.block_h}" if layout.top or layout.bottom else "",
            f"x >= 0 && x < {layout.block_w}" if layout.left or layout.right else "",
        )
        if check
    ]
    guard = f"    if (!({' && '.join(inside)})) {{ STORE(out, i, 0); return; }}\n" if inside else ""
    lines = "".join(f"    {line}\n" for line in value)
    return f"""\
    const uint i = get_global_id(0), c = get_global_id(1);
    if (i >= {layout.plane_elems}) return;
    const int y = (int)(i / {layout.row_vectors}) - {layout.top}, x = (int)(i % {layout.row_vectors}) - {layout.left};
    out += c * {layout.plane_elems};
{guard}{lines}    STORE(out, i, v);
"""
