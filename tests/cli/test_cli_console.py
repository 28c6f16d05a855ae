"""Outputs appear whole or not at all."""

import json
from pathlib import Path

import pytest

from pconv.cli import console
from pconv.errors import PconvError


def test_replacing_keeps_what_stood_there_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_text("old")
    with console.replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert draft.suffix == ".so"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), console.replacing(tmp_path / "a.so") as draft:
        draft.write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_replacing_refuses_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(
            PconvError, match=r"no/a\.so: cannot write: No such file or directory\. Choose another"
        ),
        console.replacing(tmp_path / "no" / "a.so"),
    ):
        pytest.fail("the block must not run")


def test_replacing_does_not_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(PconvError, match="a: cannot write: it is a directory"),
        console.replacing(tmp_path / "a"),
    ):
        pytest.fail("the block must not run")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_progress_is_quiet_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as track:
        track("half", 0.5)
        track.steps("files", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123 ms"), (12.345, "12.35 ms"), (123.45, "123.5 ms")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert console.milliseconds(value) == text
