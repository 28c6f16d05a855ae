"""Files appear whole or not at all, and take the place of files only."""

import io
import os
from pathlib import Path

import pytest

from pconv.errors import BuildError
from pconv.files import check_writable, write_atomically

ADVICE = "Go elsewhere."


class Broken(io.BytesIO):
    """A source that ends in an error after some bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(28, "No space left on device")
        return super().read(3)


@pytest.fixture(params=["directory", "pipe"])
def odd_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a path that is there and no file."""
    path = tmp_path / "odd"
    path.mkdir() if request.param == "directory" else os.mkfifo(path)
    return path


def test_write_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_text("old")
    check_writable(path, ADVICE)
    assert path.read_text() == "old"
    assert write_atomically(path, b"new", ADVICE) == path
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_follows_links(tmp_path: Path) -> None:
    link, file = tmp_path / "latest", tmp_path / "v1"
    link.symlink_to(file)
    write_atomically(link, io.BytesIO(b"text"), ADVICE)
    assert link.is_symlink() and file.read_bytes() == b"text"


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(
        BuildError, match=r"a: cannot be written \(No space left on device\)\. Go elsewhere\."
    ):
        write_atomically(path, Broken(b"abcdef"), ADVICE)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_never_replaced(odd_place: Path) -> None:
    before = os.stat(odd_place)
    for write in (
        lambda: check_writable(odd_place, ADVICE),
        lambda: write_atomically(odd_place, b"x", ADVICE),
    ):
        with pytest.raises(
            BuildError, match=r"odd: cannot be written \(it is (a directory|no regular file)\)\. Go"
        ):
            write()
    assert os.stat(odd_place) == before


def test_folders_on_the_way_are_made_when_there_is_something_to_write(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder" / "a"
    check_writable(place, ADVICE)
    assert not list(tmp_path.iterdir()), "a check leaves nothing"
    assert write_atomically(place, b"x", ADVICE).read_bytes() == b"x"
    assert [path.name for path in place.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("place", ["file/a", "file/new/a"])
def test_place_that_cannot_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    for write in (
        lambda: check_writable(tmp_path / place, ADVICE),
        lambda: write_atomically(tmp_path / place, b"x", ADVICE),
    ):
        with pytest.raises(BuildError, match=rf"{place}: cannot be written \(Not a directory\)"):
            write()
