"""An export replaces an export and nothing else, whole or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pconv import targets
from pconv.codegen import Program
from pconv.deploy import write_folder
from pconv.errors import BuildError

pytestmark = pytest.mark.cc
Maker = Callable[..., Program]
HERE = "linux-x86_64" if targets.native().arch == "x86_64" else "linux-aarch64"


def test_an_export_is_replaced_and_nothing_else(make_program: Maker, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(make_program("ios-arm64"), out, name="first")
    write_folder(make_program("ios-arm64"), out, name="second")
    assert sorted(path.name for path in (out / "include").iterdir()) == ["pconv.h", "second.h"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(
        BuildError, match=r"mine: it is there already and no export wrote it; allowed a new folder"
    ):
        write_folder(make_program(HERE), mine)
    assert [path.name for path in mine.iterdir()] == ["letter.txt"]
    (out / "src" / "notes.txt").write_text("dear")
    with pytest.raises(
        BuildError, match=r"out: it holds src/notes\.txt, which no export wrote, and is replaced"
    ):
        write_folder(make_program("ios-arm64"), out)
    assert (out / "include" / "second.h").exists() and (out / "src" / "notes.txt").read_text() == "dear"


def test_failure_leaves_nothing(make_program: Maker, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"model\.c: .* failed"):
        write_folder(make_program(HERE, "#error broken\n"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BuildError, match=r"null/out: cannot be written \(Not a directory\)\. Name another"):
        write_folder(make_program(HERE), Path("/dev/null/out"))


def test_an_interrupt_leaves_the_old_export(
    make_program: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it comes when the old one has made way and the new one is not there yet."""
    out, rename = tmp_path / "out", Path.rename
    write_folder(make_program("ios-arm64"), out, name="first")

    def interrupted(source: Path, place: Path) -> Path:
        if source.name.endswith(".part"):
            raise KeyboardInterrupt
        return rename(source, place)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(make_program("ios-arm64"), out, name="second")
    assert (out / "include" / "first.h").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_is_followed(make_program: Maker, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(make_program("ios-arm64"), tmp_path / "link", name="net")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "include" / "net.h").exists()


def test_folders_on_the_way_are_made(make_program: Maker, tmp_path: Path) -> None:
    write_folder(make_program(HERE), tmp_path / "new" / "out")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
