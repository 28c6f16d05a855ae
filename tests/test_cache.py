"""The cache holds whole entries only, for one user, however many processes write to it."""

import errno
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pconv.cache import Cache, _limit_bytes
from pconv.errors import BuildError
from pconv.runtime.seal import seal


def put(cache: Cache, key: str, content: bytes) -> Path:
    with cache.scratch() as work:
        (work / "made").write_bytes(content)
        return cache.store(key, work / "made")


def names(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.root.iterdir())


def test_store_then_find(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.find("k") is None
    path = put(cache, "k", b"one")
    assert path == cache.path_for("k") == cache.find("k")
    put(cache, "k", b"two")
    assert path.read_bytes() == b"two"
    assert names(cache) == ["k.so"]
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    put(Cache(tmp_path), "k", b"")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_link_names_an_entry_twice(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = put(cache, "k", b"one")
    assert cache.link("other", entry).samefile(entry)
    assert cache.link("other", entry) == cache.find("other")
    assert names(cache) == ["k.so", "other.so"]


def test_link_where_a_file_system_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    cache = Cache(tmp_path)
    assert cache.link("other", put(cache, "k", b"one")).read_bytes() == b"one"


def test_a_note_stays_as_long_as_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.link("other", put(cache, "k", b"one"), "two\nlines")
    assert (cache.note("other"), cache.note("k"), cache.note("absent")) == ("two\nlines", "", "")
    monkeypatch.setenv("PCONV_CACHE_LIMIT", "0")
    put(Cache(tmp_path), "last", b"three")
    assert names(cache) == ["last.so"]


def test_what_was_cut_off_is_no_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = put(cache, "k", b"code")
    assert cache.find_sealed("k") is None
    seal(entry)
    assert cache.find_sealed("k") == entry
    entry.write_bytes(entry.read_bytes()[:-1])
    assert cache.find_sealed("k") is None and cache.find_sealed("absent") is None


def test_scratch_is_gone_even_after_an_error(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(KeyError), cache.scratch() as work:
        (work / "half").write_bytes(b"half")
        raise KeyError
    assert names(cache) == []


def write_often(root: str, content: bytes) -> None:
    cache = Cache(root)
    for i in range(100):
        put(cache, f"k{i % 3}", content * 10_000)
        found = cache.find(f"k{i % 3}")
        assert found is not None
        seen = found.read_bytes()
        assert seen in (b"a" * 10_000, b"b" * 10_000)


def test_two_processes_write_the_same_keys(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(str(tmp_path), c)) for c in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert names(Cache(tmp_path)) == ["k0.so", "k1.so", "k2.so"]


def test_least_recently_used_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    for age, key in enumerate(("a", "b", "c")):
        os.utime(put(cache, key, b"x" * 1024), (age, age))
    cache.link("also-b", cache.path_for("b"))
    assert cache.find("a") is not None
    monkeypatch.setenv("PCONV_CACHE_LIMIT", "3K")
    put(Cache(tmp_path), "d", b"x" * 1024)
    assert set(names(cache)) == {"a.so", "also-b.so", "b.so", "d.so"}
    monkeypatch.setenv("PCONV_CACHE_LIMIT", "1")
    put(Cache(tmp_path), "e", b"x" * 1024)
    assert names(cache) == ["e.so"]


def test_abandoned_builds_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for left in (tmp_path / "build-crashed", tmp_path / "failed" / "build-refused"):
        left.mkdir(parents=True)
        os.utime(left, (0, 0))
    put(cache, "k", b"")
    assert names(cache) == ["failed", "k.so"]
    assert not list((tmp_path / "failed").iterdir())


@given(st.integers(0, 10**6), st.sampled_from([("", 0), ("K", 10), ("m", 20), ("GiB", 30), (" MB", 20)]))
@settings(max_examples=20)
def test_limits_are_read(number: int, unit: tuple[str, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCONV_CACHE_LIMIT", f"{number}{unit[0]}")
        assert _limit_bytes() == number << unit[1]


def test_limit_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_CACHE_LIMIT", "lots")
    with pytest.raises(
        BuildError, match="PCONV_CACHE_LIMIT='lots' is not a size; allowed a whole number and K, M"
    ):
        Cache()  # before anything is compiled for it


def test_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PCONV_CACHE", str(tmp_path / "own"))
    assert Cache().root == tmp_path / "own"
    monkeypatch.delenv("PCONV_CACHE")
    assert Cache().root == tmp_path / "xdg" / "pconv"


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / "cache"
    with pytest.raises(BuildError) as caught:
        put(Cache(root), "k", b"")
    assert str(caught.value) == (
        f"{root}: cannot be written (Not a directory). Free some space or make it writable, or name another "
        "directory in PCONV_CACHE."
    )


def test_full_disk(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(BuildError, match=r"No space left on device.*PCONV_CACHE"), cache.scratch() as work:
        (work / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(cache) == []


def test_what_fails_elsewhere_is_not_the_caches_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), Cache(tmp_path / "cache").scratch():
        (tmp_path / "elsewhere").read_bytes()


def test_directory_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Cache(tmp_path), "planted", b"")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BuildError, match=r"the cache belongs to another user \(uid \d+\).*PCONV_CACHE"):
        put(Cache(tmp_path), "k", b"")
    assert Cache(tmp_path).find("planted") is None, "what another user put there is not run"
