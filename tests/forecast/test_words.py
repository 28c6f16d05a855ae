"""A forecast in words."""

import pytest

from pconv.forecast import Table
from pconv.forecast.words import milliseconds, sentence, verdict

from .tables import make_table


def test_a_sentence_names_the_speed_up(table: Table) -> None:
    assert sentence(table, table.dense) == "dense: 11.0 ms"
    assert sentence(table, table.variants[-1]) == (
        "8x in groups of 4: 1.75 ms, 6.3x faster than the dense network in pconv"
    )


def test_the_verdict_on_a_network_that_gains(table: Table) -> None:
    worth, other, *rest = verdict(table)
    assert worth.startswith("Training is worth it: 8x in groups of 4: 1.75 ms, 6.3x faster")
    assert other == "8x: 4.00 ms, 2.8x faster than the dense network in pconv."
    assert rest == [
        "Layer conv1 takes 29% of it (0.500 ms; because).",
        "57% of that time is spent outside the layers that pruning reaches (1.00 ms): no rate brings the network "
        "below it.",
    ]


def test_the_verdict_on_a_network_that_does_not() -> None:
    slow = make_table({"conv1": {1.0: 4.0, 8.0: 4.4}}, rest_ms=0.1)
    assert verdict(slow)[0] == (
        "Training is hardly worth it here: 8x: 4.50 ms, 1.1x slower than the dense network in pconv."
    )


def test_where_compression_stops_paying() -> None:
    flat = make_table({"conv1": {1.0: 8.0, 4.0: 2.0, 8.0: 1.9, 16.0: 1.85}}, rest_ms=0.1)
    assert verdict(flat)[1] == "4x already gives 2.10 ms: more compression brings less than 15% a step."


def test_what_is_slower_than_the_best_is_not_enough() -> None:
    bent = make_table({"conv1": {1.0: 50.0, 4.0: 9.9, 8.0: 12.9, 16.0: 10.9}}, rest_ms=0.1)
    assert verdict(bent)[0].startswith("Training is worth it: 4x: 10.0 ms")
    assert not [said for said in verdict(bent) if "already gives" in said]


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123 ms"), (12.34, "12.3 ms"), (1.234, "1.23 ms"), (0.0779, "0.078 ms")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert milliseconds(value) == text
