"""Tables that nobody measured."""

from collections.abc import Mapping, Sequence

from pconv.forecast import LayerTime, Table, Variant

MACHINE = {"cpu": "A CPU", "cores": 2, "versions": {"pconv": "0.1.0"}}
TIMES = {"conv1": {1.0: 4.0, 2.25: 3.0, 8.0: 2.0}, "conv2": {1.0: 6.0, 2.25: 3.0, 8.0: 1.0}}


def make_table(
    times: Mapping[str, Mapping[float, float]] = TIMES, rest_ms: float = 1.0, groups: Sequence[int] = (1,)
) -> Table:
    """Return a table of layers' times by rate; a layer has a million multiply-adds when it is dense."""
    rates = sorted({rate for layer in times.values() for rate in layer})
    variants = []
    for rate, group in [(1.0, 1), *((rate, group) for group in groups for rate in rates if rate > 1)]:
        layers = tuple(
            LayerTime(
                name, rate, group, layer[rate] / group, round(1e6 / rate), 1_000_000, "f32_test", "because"
            )
            for name, layer in times.items()
        )
        median = rest_ms + sum(layer.ms for layer in layers)
        variants.append(Variant(rate, group, median, median, (median, median), rest_ms, 1000, 1e-6, layers))
    return Table("tiny", 1, {"patterns": "scp8"}, MACHINE, tuple(variants))
