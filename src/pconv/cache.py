"""Compiled libraries by the hash of what they were made from.

A directory of files named KEY.so, and KEY.txt where there is a note on it; mode 0700, shared by all processes of one
user: entries are renamed into place whole, so readers never see half of one and two writers of one key do no harm.
Which of two equal entries stays does not matter. It also holds zig's own caches, records of tuning, while a build runs
its files, and for a day those of one that failed; only the libraries count toward the limit.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pconv.errors import BuildError
from pconv.files import unwritable
from pconv.runtime.seal import ends_sealed

DEFAULT_LIMIT_BYTES = 10 << 30
ABANDONED_AFTER_S = 24 * 3600.0

_ADVICE = "Free some space or make it writable, or name another directory in PCONV_CACHE."
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Cache:
    """Keep files by key under `root` (PCONV_CACHE, else the user's cache directory).

    Raises: BuildError when there is no such directory, or PCONV_CACHE_LIMIT is no size.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = (Path(root) if root is not None else _default_root()).absolute()
        self._limit = _limit_bytes()

    def __repr__(self) -> str:
        return f"Cache({str(self.root)!r})"

    def path_for(self, key: str) -> Path:
        """Return where the entry of `key` stands, or would stand."""
        return self.root / f"{key}.so"

    def find(self, key: str) -> Path | None:
        """Return the entry of `key` and note that it was used; None when there is none of this user's."""
        path = self.path_for(key)
        if not path.is_file() or self.root.stat().st_uid != os.getuid():
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return path

    def find_sealed(self, key: str) -> Path | None:
        """Return the entry of `key` as `find` does; one that was cut off, as by a full disk, counts as none."""
        found = self.find(key)
        return found if found is not None and ends_sealed(found) else None

    def store(self, key: str, source: Path) -> Path:
        """Move `source`, a file from `scratch`, in as the entry of `key`.

        Raises: BuildError when the directory cannot be written.
        """
        path = self.path_for(key)
        with self._writing():
            os.utime(source)  # a link is a use of what it names
            os.replace(source, path)
        self._evict(keep=path)
        return path

    def link(self, key: str, entry: Path, note: str = "") -> Path:
        """Let `key` name the same file as an `entry` that is stored already, with a note beside it.

        Raises: BuildError when the directory cannot be written.
        """
        with self.scratch() as work:
            alias = work / "alias"
            with self._writing():
                try:
                    os.link(entry, alias)
                except OSError:  # some file systems have no links
                    shutil.copyfile(entry, alias)
                if note:
                    (work / "note").write_text(note, "utf-8")
                    os.replace(work / "note", self._note_of(self.path_for(key)))
            return self.store(key, alias)

    def note(self, key: str) -> str:
        """Return the note of `key`; empty where there is none."""
        try:
            return self._note_of(self.path_for(key)).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a private directory on the cache's file system; it is gone afterwards.

        Raises: BuildError when the directory cannot be written, also by what is done meanwhile.
        """
        with self._writing():
            self._prepare()
            work = Path(tempfile.mkdtemp(prefix="build-", dir=self.root))
        try:
            yield work
        except OSError as error:
            if error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(self.root):
                raise
            raise unwritable(self.root, error, _ADVICE) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @staticmethod
    def _note_of(path: Path) -> Path:
        return path.with_suffix(".txt")

    def _prepare(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.root.stat().st_uid
        if owner != os.getuid():
            raise BuildError(
                f"{self.root}: the cache belongs to another user (uid {owner}), who could change what runs "
                "here; name a directory of your own in PCONV_CACHE."
            )
        self.root.chmod(0o700)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.root, error, _ADVICE) from error

    def _evict(self, keep: Path) -> None:
        """Delete the entries that were used longest ago until the rest fits PCONV_CACHE_LIMIT."""
        room = self._limit
        with contextlib.suppress(OSError):
            for work in (*self.root.glob("build-*"), *self.root.glob("failed/*")):
                if time.time() - work.stat().st_mtime > ABANDONED_AFTER_S:
                    shutil.rmtree(work, ignore_errors=True)
            kept = keep.stat().st_ino
            entries = [(path.stat(), path) for path in self.root.glob("*.so")]
            entries.sort(key=lambda e: (e[0].st_ino != kept, -e[0].st_mtime_ns))
            counted: set[int] = set()
            for stat, path in entries:
                room -= stat.st_size if stat.st_ino not in counted else 0
                counted.add(stat.st_ino)
                if room < 0 and stat.st_ino != kept:
                    path.unlink(missing_ok=True)
                    self._note_of(path).unlink(missing_ok=True)


def _default_root() -> Path:
    named = os.environ.get("PCONV_CACHE")
    if named:
        return Path(named).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pconv"
    except RuntimeError as error:
        raise BuildError("the cache: this user has no home directory. Name one in PCONV_CACHE.") from error


def _limit_bytes() -> int:
    text = os.environ.get("PCONV_CACHE_LIMIT", "")
    if not text:
        return DEFAULT_LIMIT_BYTES
    match = re.fullmatch(r"(\d+)\s*([KMG]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        raise BuildError(f"PCONV_CACHE_LIMIT={text!r} is not a size; allowed a whole number and K, M or G.")
    return int(match[1]) * _UNITS[match[2].upper()]
