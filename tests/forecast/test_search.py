"""The search finds the least harm that a budget allows."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.errors import PconvError
from pconv.forecast import Budget, Table, search_rates
from pconv.forecast.search import search_groups
from pconv.knapsack import STEPS

from .tables import make_table

HARM = {"conv1": {2.25: 0.5, 8.0: 0.9}, "conv2": {2.25: 0.1, 8.0: 0.2}}


@pytest.mark.parametrize(
    ("limit", "rates", "ms"),
    [
        (11.0, {"conv1": 1.0, "conv2": 1.0}, 11.0),
        (10.9, {"conv1": 1.0, "conv2": 2.25}, 8.0),
        (7.0, {"conv1": 1.0, "conv2": 8.0}, 6.0),
        (5.5, {"conv1": 2.25, "conv2": 8.0}, 5.0),
        (4.0, {"conv1": 8.0, "conv2": 8.0}, 4.0),
    ],
)
def test_the_layer_that_bears_it_is_pruned_first(
    table: Table, limit: float, rates: dict[str, float], ms: float
) -> None:
    found = search_rates(table, HARM, Budget("ms", limit), 1)
    assert (found.rates, found.ms) == (rates, pytest.approx(ms))
    assert found.harm == pytest.approx(sum(HARM[name].get(rate, 0) for name, rate in rates.items()))


@pytest.mark.parametrize("rest", [0, 500_000])
def test_multiply_adds_count_what_pruning_does_not_reach(table: Table, rest: int) -> None:
    table = replace(table, variants=tuple(replace(one, rest_macs=rest) for one in table.variants))
    found = search_rates(table, HARM, Budget("macs", 1.2e6 + rest), 1)
    assert found.rates == {"conv1": 1.0, "conv2": 8.0}
    assert found.macs == 1_125_000 + rest
    with pytest.raises(PconvError, match="is out of reach"):
        search_rates(table, HARM, Budget("macs", 0.2e6 + rest), 1)


def test_the_group_that_does_less_harm_wins(table: Table) -> None:
    worse = {name: {rate: 2 * harm for rate, harm in rates.items()} for name, rates in HARM.items()}
    assert search_groups(table, {1: HARM, 4: worse}, Budget("ms", 8.0)).group == 1
    assert search_groups(table, {1: HARM, 4: worse}, Budget("ms", 2.0)).group == 4, "1 cannot reach it"


def test_an_unknown_harm_is_never_chosen(table: Table) -> None:
    found = search_rates(table, {"conv2": HARM["conv2"]}, Budget("ms", 6.0), 1)
    assert found.rates == {"conv1": 1.0, "conv2": 8.0}
    with pytest.raises(PconvError, match="the least reachable is 6 ms"):
        search_rates(table, {"conv2": HARM["conv2"]}, Budget("ms", 5.9), 1)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget("ms", 3.5), "a budget of 3.5 ms is out of reach; the least reachable is 4 ms (groups of 1)."),
        (
            Budget("macs", 1e5),
            "a budget of 0.1 M multiply-adds is out of reach; the least reachable is 0.25 M",
        ),
    ],
)
def test_out_of_reach(table: Table, budget: Budget, message: str) -> None:
    with pytest.raises(PconvError, match=re.escape(message)):
        search_rates(table, HARM, budget, 1)


def test_out_of_reach_in_all_groups_names_the_nearest(table: Table) -> None:
    with pytest.raises(PconvError, match=r"the least reachable is 1\.75 ms \(groups of 4\)"):
        search_groups(table, {4: HARM, 1: HARM}, Budget("ms", 0.5))


@given(st.data())
def test_as_good_as_trying_everything(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    rates = (1.0, 2.0, 4.0)
    number = st.floats(0.01, 10)
    times = {f"l{i}": {rate: data.draw(number) for rate in rates} for i in range(count)}
    harms = {name: {1.0: 0.0, 2.0: data.draw(number), 4.0: data.draw(number)} for name in times}
    table = make_table(times, rest_ms=0.5)
    low = 0.5 + sum(min(layer.values()) for layer in times.values())
    limit = low * data.draw(st.floats(1.0, 3.0))

    found = search_rates(table, harms, Budget("ms", limit), 1)
    assert found.ms <= limit * (1 + 1e-9)
    assert found.ms == pytest.approx(0.5 + sum(times[name][rate] for name, rate in found.rates.items()))

    tightened = (limit - (limit - low) * (count + 1) / STEPS) * (
        1 - 1e-9
    )  # beyond what sums may be rounded by
    best = min(
        (
            sum(harms[name][rate] for name, rate in zip(times, chosen, strict=True))
            for chosen in itertools.product(rates, repeat=count)
            if 0.5 + sum(times[name][rate] for name, rate in zip(times, chosen, strict=True)) <= tightened
        ),
        default=np.inf,
    )
    assert found.harm <= best + 1e-9
