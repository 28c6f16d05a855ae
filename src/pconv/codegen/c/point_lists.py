"""The lists of kernels of Winograd's points, made when the model is opened.

The file has one list of kernels. A point leaves out those whose shape has no weight there, so that its list is shorter;
in a mixed group, where a filter drops out, a kernel may move to the run of the others. For each list there is, one
after another, in words of 32 bits:

    offset  where each span's kernels start      (spans + 1)
    slot    where each span's weights start      (spans + 1)
    run     as in `fkw`                          16 bits each, filled up to whole words
    index   as in `fkw`                          16 bits each, filled up to whole words

and behind all lists, for each of them, the place of every weight of the file in it.
"""

from pconv.codegen.c.prelude import table
from pconv.lower.kernels import ConvKernel, WinogradListsKernel
from pconv.lower.winograd import point_lists


def lists_text(kernel: ConvKernel | WinogradListsKernel) -> str:
    """Return the declarations of what both sides must know: `blocks`, `spans`, `runs`, and the `words` of a list."""
    blocks = f"((a->channels + {kernel.block - 1}) / {kernel.block})" if kernel.block else "1"
    spans = "1" if kernel.uniform else f"((a->groups + {kernel.span - 1}) / {kernel.span})"
    visits = "blocks" if kernel.uniform else "a->groups * blocks"
    runs = (1 << kernel.group) - 1 if kernel.mixed else 1
    return f"""\
    const size_t blocks = {blocks}, spans = {spans}, runs = {visits} * {runs};
    const size_t words = 2 * (spans + 1) + (runs + 1) / 2 + ((size_t)a->offset[spans] + 1) / 2;
"""


def render(kernel: WinogradListsKernel, signature: str, args: str) -> str:
    """Return the C file that makes the lists, a task each."""
    lists, _ = point_lists(kernel.size, kernel.patterns, kernel.taps)
    members, unit = (kernel.group, 1) if kernel.mixed else (1, kernel.group)
    weights = "a->slot[spans]" if kernel.mixed else f"(size_t)a->offset[spans] * {unit}"
    return f"""\
/* {kernel.name} */
#include <stddef.h>
#include <stdint.h>

enum {{ LISTS = {len(lists)}, MEMBERS = {members}, UNIT = {unit}, RUNS = {(1 << members) - 1} }};
enum {{ SPAN = {kernel.span}, UNIFORM = {int(kernel.uniform)} }};
{table("uint8_t", "IN_LIST", lists.T.tolist())}\
{args}
/* Which members of a run have a weight at the points of a list: a bit each. */
static inline uint32_t keepers(const uint8_t *shape, int32_t list, uint32_t members) {{
    uint32_t bits = 0;
    for (int m = 0; m < MEMBERS; m++)
        if (members >> m & 1) bits |= (uint32_t)IN_LIST[*shape][list] << m, shape += UNIT;
    return bits;
}}

{signature} {{
    const conv_args *a = args;
    (void)in, (void)add;
{lists_text(kernel)}\
    const size_t all_weights = {weights} * (UNIFORM ? a->groups : 1);
    for (int32_t list = begin; list < end; list++) {{
        uint32_t *offset = (uint32_t *)out + list * words, *slot = offset + spans + 1;
        uint16_t *run = (uint16_t *)(slot + spans + 1), *index = run + (runs + 1) / 2 * 2;
        uint32_t *place = (uint32_t *)out + LISTS * words + list * all_weights;
        const uint8_t *shape = a->shape;
        size_t next = 0, visit = 0;
        uint32_t kernels = 0, weights = 0;
        for (int32_t from = 0; from < a->groups; from += SPAN) {{
            const int32_t to = from + SPAN < a->groups ? from + SPAN : a->groups;
            if (UNIFORM) next = kernels = 0;
            offset[UNIFORM ? 0 : from / SPAN] = kernels, slot[UNIFORM ? 0 : from / SPAN] = weights;
            for (size_t b = 0; b < blocks; b++) {{
                const size_t first = next;
                const uint32_t listed = kernels;
                for (int32_t group = from; group < to; group++) {{
                    if (UNIFORM) next = first, kernels = listed, visit = b;
                    const uint16_t *of_run = a->run + visit * RUNS, *channel = a->index + next;
                    uint32_t count[RUNS + 1] = {{0}}, at[RUNS + 1], weight_at[RUNS + 1];
                    const uint8_t *s = shape;
                    for (uint32_t r = 1; r <= RUNS; r++)
                        for (uint32_t n = of_run[r - 1]; n > 0; n--, s += UNIT * __builtin_popcount(r))
                            count[keepers(s, list, r)]++;
                    for (uint32_t r = 1; r <= RUNS; r++) {{
                        run[visit * RUNS + r - 1] = (uint16_t)count[r];
                        at[r] = kernels, weight_at[r] = weights;
                        kernels += count[r], weights += count[r] * UNIT * __builtin_popcount(r);
                    }}
                    for (uint32_t r = 1; r <= RUNS; r++)
                        for (uint32_t n = of_run[r - 1]; n > 0; n--, channel++) {{
                            const uint32_t who = keepers(shape, list, r);
                            if (who) index[at[who]++] = *channel;
                            for (int m = 0; m < MEMBERS; m++)
                                if (r >> m & 1) {{
                                    if (who >> m & 1)
                                        for (int i = 0; i < UNIT; i++) place[i] = weight_at[who]++;
                                    place += UNIT, shape += UNIT;
                                }}
                        }}
                    next = (size_t)(channel - a->index), visit++;
                }}
            }}
        }}
        offset[spans] = kernels, slot[spans] = weights;
    }}
}}
"""
