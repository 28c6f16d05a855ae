"""Exit codes, one-line errors, and help that teaches."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pconv import cli as cli_module
from pconv._version import __version__
from pconv.cli import compile as compile_module
from pconv.cli import models
from pconv.errors import ModelError

COMMANDS = ("prune", "train", "report", "compile", "run", "inspect", "bench", "demo")


def test_version(cli) -> None:
    ran = cli("--version")
    assert (ran.code, ran.out) == (0, f"pconv {__version__}\n")


def test_no_arguments_shows_every_command(cli) -> None:
    ran = cli()
    assert (ran.code, ran.err) == (0, "")
    assert all(command in ran.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_examples(cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    assert f"pconv {command}" in ran.out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "said", "command"),
    [
        (["nope"], "No such command 'nope'", ""),
        (["compile"], "Missing argument 'MODEL'", " compile"),
        (["compile", "--nope"], "No such option: --nope", " compile"),
        (
            ["inspect", "m.onnx", "--stage", "plann"],
            "Invalid value for '--stage': 'plann' is not one of",
            " inspect",
        ),
        (["bench", "m.onnx", "--json"], "Option '--json' requires an argument", " bench"),
        (["run", "m.so", "--top", "many"], "Invalid value for '--top': ", " run"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(cli, arguments: list[str], said: str, command: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith(f"pconv: error: {said}") and line.endswith(f". See pconv{command} --help.")


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys, pconv.cli; print({'torch', 'onnx', 'matplotlib', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def raising(error: BaseException):
    def locate(*arguments: object) -> models.Source:
        raise error

    return locate


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("conv1: what\nand what"), 2, "conv1: what and what"),
        (PermissionError(13, "Permission denied", "x.onnx"), 2, "x.onnx: Permission denied"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "not enough memory (Unable to allocate 9 GiB)"),
        (KeyError("k"), 1, "KeyError: 'k'; this is a bug, rerun with --debug"),
    ],
)
def test_errors_are_one_line(
    cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: int, line: str
) -> None:
    monkeypatch.setattr(models, "locate", raising(error))
    ran = cli("compile", "m.onnx", "-o", tmp_path / "m.so")
    assert (ran.code, ran.out, ran.err) == (code, "", f"pconv: error: {line}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by", ["--debug", "PCONV_DEBUG"])
def test_debug_keeps_the_traceback(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str) -> None:
    monkeypatch.setattr(models, "locate", raising(ModelError("what")))
    arguments = ["compile", "m.onnx", "-o", tmp_path / "m.so"]
    if by == "--debug":
        arguments.append(by)
    else:
        monkeypatch.setenv(by, "1")
    ran = cli(*arguments)
    assert ran.code == 2
    assert ran.err.startswith("Traceback") and ran.err.endswith("pconv: error: what\n")


def test_interrupt_is_130(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "locate", raising(KeyboardInterrupt()))
    ran = cli("compile", "m.onnx", "-o", tmp_path / "m.so")
    assert (ran.code, ran.err) == (130, "pconv: error: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_that_became_another_error(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def locate(*_: object) -> None:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise AttributeError("'NoneType' object has no attribute 'exc'")
        except AttributeError as error:
            raise ModelError("the module cannot be exported") from error

    monkeypatch.setattr(models, "locate", locate)
    ran = cli("compile", "m.onnx", "-o", tmp_path / "m.so")
    assert (ran.code, ran.err) == (130, "pconv: error: interrupted\n")


@pytest.fixture
def heard() -> Iterator[None]:
    """Hear Ctrl-C, also where the tests were started in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("then", [lambda: None, lambda: [][0]])
@pytest.mark.usefixtures("heard")
def test_an_interrupt_that_a_library_swallows(
    cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, then: Callable[[], object]
) -> None:
    whole = models.locate

    def locate(*arguments: Any) -> models.Source:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)  # it comes at once
        then()
        return whole(*arguments)

    monkeypatch.setattr(models, "locate", locate)
    ran = cli("prune", model, "-o", tmp_path / "out.onnx")
    assert (ran.code, ran.err) == (130, "pconv: error: interrupted\n")
    assert not (tmp_path / "out.onnx").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_unknown_model_offers_the_nearest(cli, tmp_path: Path) -> None:
    ran = cli("compile", "resnet81", "-o", tmp_path / "m.so")
    assert ran.code == 2
    assert ran.err == (
        "pconv: error: resnet81: no such file, and no such network in the zoo; did you mean resnet18?\n"
    )
    assert "the zoo has vgg16, " in cli("compile", "qqqqq", "-o", tmp_path / "m.so").err


def test_entry_point_is_main() -> None:
    assert callable(cli_module.main)
    assert compile_module.EPILOG


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--json"], ["--stage", "graph"], ["--stage", "sparsity"]])
def test_a_reader_that_goes_away_is_no_error(model: Path, arguments: list[str], unbuffered: str) -> None:
    """As in `pconv inspect MODEL | head -1`: nobody reads what is printed, and nothing is said of it."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pconv", "inspect", str(model), *arguments]
    with os.fdopen(writer, "wb") as nobody:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
