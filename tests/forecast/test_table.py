"""The table: what it was written as is what is read."""

import json
import re
from pathlib import Path

import pytest

from pconv.errors import PconvError
from pconv.forecast import Table

from .tables import make_table


def test_a_file_gives_the_table_back(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(table.as_json()))
    assert Table.load(path) == table


def test_options_pool_the_times_of_equal_rules() -> None:
    table = make_table({"conv1": {1.0: 4.0, 8.0: 2.0, 16.0: 1.0}})
    document = table.as_json()
    document["variants"][2]["layers"][0]["rate"] = 8.0  # rounded to the same number of kernels
    (options,) = Table.from_json(document).options(1).values()
    assert [(option.rate, option.ms) for option in options] == [(1.0, 4.0), (8.0, 1.5)]


def test_groups_are_apart(table: Table) -> None:
    assert table.groups == (1, 4)
    assert [variant.name for variant in table.of_group(4)] == [
        "dense",
        "2.25x in groups of 4",
        "8x in groups of 4",
    ]
    assert [option.ms for option in table.options(4)["conv2"]] == [6.0, 0.75, 0.25]
    assert table.recipe(table.variants[-1]).group == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "this is no table of a forecast; write one with pconv forecast MODEL --json FILE."),
        ("{", "this is no JSON ("),
        ('{"kind": "pconv forecast", "format": 9}', "format 9 of the table is unknown; allowed 1."),
        ('{"kind": "pconv forecast", "format": 1}', "the table is damaged ('variants'); measure it again."),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(PconvError, match=re.escape(f"{path}: {message}")):
        Table.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PconvError, match=r"no\.json: cannot read the table \(No such file"):
        Table.load(tmp_path / "no.json")


def test_a_table_without_pruned_variants(table: Table) -> None:
    document = table.as_json()
    document["variants"] = document["variants"][:1]
    with pytest.raises(PconvError, match="needs the dense network first and a pruned one after it"):
        Table.from_json(document)


@pytest.mark.parametrize(
    "where", [("settings",), ("machine",), ("inputs",), ("variants", 1, "layers", 0, "rate")]
)
def test_a_table_with_values_of_another_kind(table: Table, where: tuple[str | int, ...]) -> None:
    document = json.loads(json.dumps(table.as_json()))
    inner = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = ["4"]
    with pytest.raises(PconvError, match="the table is damaged"):
        Table.from_json(document)


@pytest.mark.parametrize("value", [None, "x", -1, float("nan"), float("inf"), []])
@pytest.mark.parametrize(
    "where", [("median_ms",), ("rest_ms",), ("layers", 0, "ms"), ("layers", 0, "macs"), ("layers", 0, "rate")]
)
def test_a_table_with_amounts_that_are_none(
    table: Table, where: tuple[str | int, ...], value: object
) -> None:
    document = json.loads(json.dumps(table.as_json()))
    inner = document["variants"][1]
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(PconvError, match=r"the table is damaged \(.* finite numbers"):
        Table.from_json(document)


def test_a_table_with_a_layer_without_a_name(table: Table) -> None:
    document = json.loads(json.dumps(table.as_json()))
    document["variants"][0]["layers"][0]["name"] = ["conv1"]
    with pytest.raises(PconvError, match="the table is damaged"):
        Table.from_json(document)


def test_settings_that_are_no_recipe(table: Table) -> None:
    document = table.as_json()
    document["settings"] = {"colour": "red"}
    with pytest.raises(PconvError, match=r"the table's settings are no recipe \(colour: unknown key"):
        Table.from_json(document)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("threads",), 0),
        (("variants", 1, "group"), None),
        (("variants", 1, "group"), "4"),
        (("variants", 1, "compression"), "4"),
        (("variants", 1, "rest_macs"), -1),
        (("variants", 1, "layers", 0, "macs"), 10**400),
        (("variants", 0, "layers", 0, "rate"), 1 + 1e-12),
        (("variants", 1, "layers", 1, "name"), "conv3"),
        (("variants", 0, "layers"), []),
    ],
)
def test_a_table_that_does_not_hold_together(
    table: Table, where: tuple[str | int, ...], value: object
) -> None:
    document = json.loads(json.dumps(table.as_json()))
    inner = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(PconvError, match="the table is damaged"):
        Table.from_json(document)


def test_a_file_that_is_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[" * 100_000)
    with pytest.raises(PconvError, match=r"t\.json: this is no JSON"):
        Table.load(tmp_path / "t.json")
