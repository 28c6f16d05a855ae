"""Products of two computed matrices: a work item computes some rows of one column, neighbours neighbouring columns."""

from pconv.codegen.c.prelude import number
from pconv.codegen.opencl.frame import Text
from pconv.lower.kernels import MatMulKernel

ROWS = 4


def text(kernel: MatMulKernel, planes: int) -> Text:
    """Return the kernel; rows past the last are read from the last, and not written."""
    m, k, n, (turned, other) = kernel.m, kernel.k, kernel.n, kernel.transposed
    row, step = (1, m) if turned else (k, 1)
    column, down = (k, 1) if other else (1, n)
    tiles = -(-m // ROWS)
    rows = "".join(f"    const uint r{i} = min(y + {i}u, {m - 1}u) * {row};\n" for i in range(ROWS))
    adds = " ".join(f"s{i} += LOAD(in, r{i} + l * {step}) * b;" for i in range(ROWS))
    stores = "".join(
        f"    if (y + {i} < {m}) STORE(out, (y + {i}) * {n} + x, s{i} * (real){number(kernel.scale)});\n"
        for i in range(ROWS)
    )
    body = f"""\
    const uint x = get_global_id(0) % {n}, y = get_global_id(0) / {n} * {ROWS}, c = get_global_id(1);
    if (y >= {m}) return;
    in += c * {m * k}, add += c * {k * n} + x * {column}, out += c * {m * n};
{rows}\
    real {", ".join(f"s{i} = 0" for i in range(ROWS))};
    for (uint l = 0; l < {k}; l++) {{
        const real b = LOAD(add, l * {down});
        {adds}
    }}
{stores}"""
    return Text(body, (), tiles * n, planes)
