"""Environments: what is missing in them, and how they come to be."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pconv.bench.peers import environment
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_CACHE", str(tmp_path))


def put(folder: Path, package: str, version: str) -> None:
    """Pretend that a package is installed."""
    info = folder / "lib/python3.11/site-packages" / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def test_among_ours() -> None:
    here = Environment(("numpy>=1.26", "no-such-package"))
    assert here.missing() == ("no-such-package",)
    assert here.version()[0].isdigit() and here.interpreter == Path(sys.executable)
    assert here.install == "pip install numpy>=1.26 no-such-package"


def test_apart() -> None:
    apart = Environment(("numpy==0.1", "other==2"), apart="old")
    assert apart.missing() == ("numpy",), "ours do not count there"
    put(apart.folder, "numpy", "0.1")
    assert apart.missing() == ("other",) and apart.version() == "0.1"
    put(apart.folder, "other", "2")
    assert apart.missing() == ()
    assert apart.interpreter == apart.folder / "bin" / "python"


def test_create_makes_a_python_and_asks_its_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[object]] = []
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: ran.append([folder, with_pip]))
    monkeypatch.setattr(
        environment.subprocess, "run", lambda command: ran.append(command) or SimpleNamespace(returncode=0)
    )
    apart = Environment(("a==1", "b"), apart="x")
    apart.create()
    assert ran == [[apart.folder, True], [apart.interpreter, "-m", "pip", "install", "--quiet", "a==1", "b"]]


def test_create_says_when_pip_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.venv, "create", lambda folder, with_pip: None)
    failed = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(environment.subprocess, "run", lambda command: failed)
    with pytest.raises(PconvError, match=r"x: pip failed \(see above\)"):
        Environment(("a",), apart="x").create()


def test_a_python_that_is_not_there() -> None:
    with pytest.raises(
        PconvError, match=r"x: its packages need Python 3\.2, which is not installed; make a python3\.2"
    ):
        Environment(("a",), apart="x", python="3.2").create()
