"""Rank tiles and filter groups of a convolution for a GPU: what one work item computes.

More outputs in a work item share loads and weights; fewer leave more work items to fill the machine. The model
counts a work item's instructions and how many times over the items fill the GPU. Source: ours. Its constants are
guesses, not measurements: tuning on the device corrects them.
"""

from dataclasses import replace
from functools import lru_cache

from pconv.lower.cost import loads
from pconv.lower.kernels import ConvKernel
from pconv.lower.schedule import MAX_FILLED, Schedule

GROUPS = (1, 2, 4, 8)
ROWS = (1, 2, 4, 8)
COLS = (1, 2, 4)
WORK_GROUPS = (64, 32, 128, 256)
TRIED_TILES, TRIED_TILES_OTHERWISE = 12, 2
MAX_ACCUMULATORS = 32
MAX_WEIGHTS = 36
MAX_STATEMENTS = 4096
FILLING_ITEMS = 4096

LOAD = 3.0
WEIGHT = 1.0
WIDE = 0.3
KERNEL = 6.0
RUN = 8.0
STORE = 6.0
ITEM = 60.0


@lru_cache(maxsize=4096)
def rank_work_items(bare: ConvKernel, kernels: int, classes: tuple[int, ...]) -> tuple[Schedule, ...]:
    """Return the best schedules, best first, for a layer with `kernels` kept kernels.

    `classes` are the sizes of the sets of filters that may go together.
    """
    found = []
    out, unit, taps = bare.computed, 2 if bare.pool else 1, len(bare.patterns[0])
    filters = sum(classes)
    for group in GROUPS:
        groups = sum(-(-size // group) for size in classes)
        if group > 1 and groups * group > MAX_FILLED * filters:
            continue
        for rows in ROWS:
            for cols in COLS:
                outputs = rows * cols
                fits = rows <= out.block_h and cols <= out.block_w and rows % unit == cols % unit == 0
                large = (
                    group * outputs > MAX_ACCUMULATORS
                    or group * outputs * taps * len(bare.patterns) > MAX_STATEMENTS
                )
                if not fits or (large and (group > 1 or outputs > unit * unit)):
                    continue
                passes = min(taps, -(-taps * group // MAX_WEIGHTS))
                kernel = replace(
                    bare, group=group, tile=(rows, cols), passes=passes, work_group=WORK_GROUPS[0]
                )
                found.append(Schedule(kernel, _cycles(kernel, groups, kernels / filters)))
    ranked = sorted(found, key=lambda schedule: schedule.cycles)[:TRIED_TILES]
    # The model knows nothing of work groups: the usual size first, the others of the best tiles for tuning to try.
    others = [
        replace(schedule, kernel=replace(schedule.kernel, work_group=size))
        for size in WORK_GROUPS[1:]
        for schedule in ranked[:TRIED_TILES_OTHERWISE]
    ]
    return (*ranked, *others)


def _cycles(kernel: ConvKernel, groups: int, per_filter: float) -> float:
    """Estimate the cycles of a layer; stretched loads of wide tiles cost more each."""
    (rows, cols), out, taps = kernel.tile, kernel.computed, len(kernel.patterns[0])
    outputs = kernel.group * rows * cols
    reads = LOAD * (1 + WIDE * (cols - 1)) * loads(kernel, kernel.patterns[0], kernel.tile, kernel.passes)
    each = outputs * taps + reads + WEIGHT * taps * kernel.group + KERNEL
    item = per_filter * each + RUN * len(kernel.patterns) + STORE * outputs + ITEM
    items = -(-out.block_h // rows) * -(-out.block_w // cols) * groups
    return item * max(items, FILLING_ITEMS) / FILLING_ITEMS
