"""What option texts mean."""

import pytest

from pconv.cli import options
from pconv.errors import PconvError, RecipeError
from pconv.recipe import Recipe


def test_no_options_are_no_settings() -> None:
    assert options.recipe_settings(compression=None, layer=[], exclude=[]) == {}


def test_settings_make_a_recipe() -> None:
    settings = options.recipe_settings(
        compression=6.0,
        patterns="elog4",
        group=4,
        rate_1x1=2.0,
        rate_fc=1.0,
        exclude=["head.*"],
        layer=["conv1=2.25", "a=b=dense"],
    )
    assert Recipe.from_dict(settings) == Recipe(
        patterns="elog4",
        compression_rate=6.0,
        group=4,
        rate_1x1=2.0,
        rate_fc=1.0,
        exclude=("head.*",),
        layers={"conv1": 2.25, "a=b": "dense"},
    )


@pytest.mark.parametrize("text", ["conv1", "conv1=", "=2", "conv1=much"])
def test_layer_rates_are_name_and_rate(text: str) -> None:
    with pytest.raises(PconvError, match=rf"--layer {text}: allowed NAME=RATE or NAME=dense\."):
        options.recipe_settings(layer=[text])


def test_a_layer_rate_that_is_no_number_is_the_recipes_to_refuse() -> None:
    settings = options.recipe_settings(layer=["conv2=nan"])
    with pytest.raises(RecipeError, match="nan"):
        Recipe.from_dict(settings)


def test_shapes() -> None:
    assert options.shapes(None) is None
    assert options.shapes(["x=1,3,4,4", "y=1,2"]) == {"x": (1, 3, 4, 4), "y": (1, 2)}
    with pytest.raises(PconvError, match=r"--input 1,3: allowed NAME=N,C,H,W"):
        options.shapes(["1,3"])
    with pytest.raises(PconvError, match=r"--input x=1,4: x has another value already; allowed one each"):
        options.shapes(["x=1,3", "y=1,4", "x=1,3", "x=1,4"])


def test_thread_counts() -> None:
    assert options.thread_counts("1,2") == (1, 2)
    for text in ("", "0", "1,,2", "two"):
        with pytest.raises(PconvError, match=r"--threads .*: allowed are counts of at least 1"):
            options.thread_counts(text)


def test_numbers() -> None:
    assert options.numbers("0.5,1", "--mean", "0.5") == (0.5, 1.0)
    with pytest.raises(PconvError, match=r"--mean a: allowed are numbers, e\.g\. --mean 0\.5"):
        options.numbers("a", "--mean", "0.5")
