"""Owns the forecast: what pruning would bring on this machine, measured before anybody trains.

    model --measure--> Table (latency of the network and of each layer, per compression and group)
    Table + sensitivity --search_rates--> one rate per layer that meets a budget --> Recipe

`table.py` and `search.py` need numpy only; `measure.py` compiles and times; `sensitivity.py` says what a rate costs.
"""

from pconv.forecast.search import Budget, Found, search_rates
from pconv.forecast.table import LayerTime, Table, Variant

__all__ = ["Budget", "Found", "LayerTime", "Table", "Variant", "search_rates"]
