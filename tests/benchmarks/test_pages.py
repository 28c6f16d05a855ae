"""What scripts write into the docs stands between marks, and is what the stored results say."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MARKED = "before\n<!-- a:begin -->\nold\n<!-- a:end -->\nafter\n"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("pages")


def load_script(name: str) -> ModuleType:
    """Load a benchmark by its path: a folder of tests may have its name."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize(
    "name",
    [
        "batches",
        "forecast",
        "kernels",
        "libraries",
        "performance_page",
        "readme_accuracy",
        "readme_table",
        "tuning",
        *(
            pytest.param(name, marks=pytest.mark.torch)
            for name in (
                "training_speed",
                "aarch64_instructions",
                "aarch64_in_order",
                "aarch64_zoo",
                "fp16_accuracy",
            )
        ),
    ],
)
def test_a_page_is_that_of_the_results(pages: ModuleType, name: str) -> None:
    if name == "training_speed":
        pytest.importorskip("torch")
    script = load_script(name)
    page = script.PAGE.read_text("utf-8")
    assert pages.between(page, script.MARK, script.body()) == page


def test_only_what_is_between_the_marks_is_written(pages: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKED, "utf-8")
    pages.write(page, "a", "new\nlines")
    assert page.read_text("utf-8") == MARKED.replace("old", "new\nlines")


@pytest.mark.parametrize("text", ["", MARKED + MARKED, MARKED.replace("<!-- a:end -->", "")])
def test_marks_stand_there_once(pages: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="a:begin --> and <!-- a:end --> must stand there once, as lines"):
        pages.between(text, "a", "new")


def test_a_table_has_names_then_numbers(pages: ModuleType) -> None:
    assert (
        pages.table(["x", "y", "z"], [["a", "1", "2"]])
        == "| x | y | z |\n| --- | ---: | ---: |\n| a | 1 | 2 |"
    )


def test_the_best_row_of_each_rate_is_shown(pages: ModuleType) -> None:
    script = load_script("readme_accuracy")
    rows = [
        script.Row("dncnn", 4.0, 30.43, 30.1),
        script.Row("resnet20", 4.0, 91.73, 90.1, "20 epochs"),
        script.Row("resnet20", 4.0, 91.73, 90.4, "12 epochs"),
        script.Row("resnet20", 4.0, 91.73, 86.0),
    ]
    assert script.render(rows).splitlines()[2:] == [
        "| ResNet-20, CIFAR-10 | 4x | 91.73% | 86.00% | 90.40% (12 epochs) |",
        "| DnCNN, Set12 with noise of sigma 25 | 4x | 30.43 dB | 30.10 dB | - |",
    ]


def test_rates_of_multiply_adds_alone_are_left_out(pages: ModuleType) -> None:
    row = {"network": "resnet20", "rate_3x3": 4.0, "accuracy_dense": 0.9, "accuracy": 0.8, "epochs": 2}
    row |= {"shortened": False, "teacher": "resnet56"}
    rows = [row | {"rates": rates} for rates in ("-spread-macs", "-spread", "")]
    rows.append(rows[-1] | {"shortened": True})
    found = [one.training for one in load_script("readme_accuracy")._tuned(rows)]
    assert found == ["2 epochs, ResNet-56 teaches"] * 2
