"""What a table says, in sentences: is training worth it, and what holds the network back."""

from pconv.forecast.table import Table, Variant
from pconv.units import milliseconds

WORTH = 1.5
"""From so many times on, training pays: ours, a rule of thumb."""

FLAT = 1.15
"""A step in compression that brings less than this is not worth the accuracy that it costs."""

CROWD = 0.25
"""A layer that takes more of the time than this is worth naming."""


def speed_up(table: Table, variant: Variant) -> float:
    """Return how many times faster than the dense network a variant is."""
    return table.dense.median_ms / variant.median_ms


def sentence(table: Table, variant: Variant) -> str:
    """Say how fast one variant is, as in: 8x in groups of 4: 34 ms, 6.3x faster than the dense network in pconv."""
    if variant.dense:
        return f"dense: {milliseconds(variant.median_ms)}"
    factor = speed_up(table, variant)
    compared = f"{factor:.1f}x faster" if factor >= 1 else f"{1 / factor:.1f}x slower"
    return f"{variant.name}: {milliseconds(variant.median_ms)}, {compared} than the dense network in pconv"


def verdict(table: Table) -> list[str]:
    """Say whether training is worth it, how far compression pays, and what takes the time then."""
    pruned = [variant for variant in table.variants if not variant.dense]
    best = min(pruned, key=lambda variant: variant.median_ms)
    said = [_worth(table, best), *_other_groups(table, best)]
    if (enough := _enough(table, best)) is not best:
        said.append(
            f"{enough.name} already gives {milliseconds(enough.median_ms)}: more compression brings less than "
            f"{FLAT - 1:.0%} a step."
        )
    said += _heavy(best)
    share = best.rest_ms / best.median_ms
    if share > CROWD:
        said.append(
            f"{share:.0%} of that time is spent outside the layers that pruning reaches "
            f"({milliseconds(best.rest_ms)}): no rate brings the network below it."
        )
    return said


def _worth(table: Table, best: Variant) -> str:
    begin = "Training is worth it" if speed_up(table, best) >= WORTH else "Training is hardly worth it here"
    return f"{begin}: {sentence(table, best)}."


def _other_groups(table: Table, best: Variant) -> list[str]:
    """Say what the other groups reach; smaller ones are easier to train."""
    others = (table.of_group(group) for group in table.groups if group != best.group)
    fastest = (min(line, key=lambda variant: variant.median_ms) for line in others)
    return [f"{sentence(table, variant)}." for variant in fastest if not variant.dense]


def _enough(table: Table, best: Variant) -> Variant:
    """Find the compression, in the best one's group, after which every step up to it brings less than FLAT."""
    line = [variant for variant in table.of_group(best.group) if not variant.dense]
    line = line[: line.index(best) + 1]
    while len(line) > 1 and line[-2].median_ms < FLAT * line[-1].median_ms:
        line.pop()
    return line[-1]


def _heavy(best: Variant) -> list[str]:
    slow = [layer for layer in best.layers if layer.ms > CROWD * best.median_ms]
    return [
        f"Layer {layer.name} takes {layer.ms / best.median_ms:.0%} of it ({milliseconds(layer.ms)}; {layer.reason})."
        for layer in slow
    ]
