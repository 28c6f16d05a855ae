"""What a person sees, and where results go."""

import json
from pathlib import Path

import pytest

from pconv.cli import console
from pconv.errors import BuildError


def test_output_is_refused_before_the_work_by_the_option_that_named_it() -> None:
    with pytest.raises(
        BuildError, match=r"null/a: cannot be written \(Not a dir.*Choose another place with -o\."
    ):
        console.check_writable(Path("/dev/null/a"))
    with pytest.raises(BuildError, match=r"with --json\.$"):
        console.write(Path("/dev/null/a"), "text", "--json")


def test_progress_is_quiet_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work") as track:
        track("half", 0.5)
        track.steps("files", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_json_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}


def test_json_has_no_word_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [{"b": float("nan")}, (float("-inf"), 0.5)]})
    assert json.loads(capsys.readouterr().out) == {"a": [{"b": None}, [None, 0.5]]}


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Layers may be called anything; what looks like markup of rich's is none."""
    names = ["a[/x]", "b[red]", ":smile:"]
    table = console.table("layer", title=names[0])
    for name in names:
        table.add_row(name)
    console.stdout().print(table)
    console.stdout().print(names[1])
    console.note(names[2])
    said = capsys.readouterr()
    assert [line.strip() for line in said.out.splitlines()] == [names[0], "layer", *names, names[1]]
    assert said.err.strip() == names[2]
