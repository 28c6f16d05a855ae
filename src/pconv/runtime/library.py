"""A compiled model's file, loaded: the C ABI (native/pconv.h) as ctypes sees it."""

import _ctypes
import ctypes
import json
import os
import threading
import weakref
from pathlib import Path
from typing import Any, BinaryIO

from pconv.errors import ArtefactError
from pconv.files import write_atomically
from pconv.runtime.header import check_library
from pconv.runtime.seal import LINE_BYTES

ABI = 1
FORMAT = 2

_POINTERS = ctypes.POINTER(ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pconv_abi": (ctypes.c_int, ()),
    "pconv_manifest": (ctypes.c_char_p, ()),
    "pconv_open": (ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)),
    "pconv_run": (ctypes.c_int, (ctypes.c_void_p, _POINTERS, _POINTERS, ctypes.c_int)),
    "pconv_set_threads": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int)),
    "pconv_set_affinity": (ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32), ctypes.c_int)),
    "pconv_profile": (ctypes.c_int, (ctypes.c_void_p, ctypes.c_int)),
    "pconv_times": (ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_int)),
    "pconv_close": (None, (ctypes.c_void_p,)),
}


class Library:
    """One loaded file, kept open as long: `save_to` copies what runs, whatever its name now stands for."""

    def __init__(self, path: Path, file: BinaryIO, key: "Key") -> None:
        check_library(file, str(path))
        # The loader hands out what it once loaded from a path, even after another file was moved there. The
        # name of the open file is ours alone.
        name = f"/proc/self/fd/{file.fileno()}"
        name = name if os.path.exists(name) else str(path)
        try:
            self.c = ctypes.CDLL(name)
        except OSError as error:
            why = str(error).replace(name, path.name)
            raise ArtefactError(
                f"{path}: the system cannot load it ({why}). Compile the model again."
            ) from error
        self._file = file
        self._lock = threading.Lock()
        self._open = [file]
        self.ending = _ending(file)
        unload = weakref.finalize(self, _unload, self.c, name, self._open, key)
        unload.atexit = False  # a daemon thread may still be running a model then
        try:
            _declare(self.c, path)
            self.manifest = _read_manifest(self.c, path)
        except BaseException:
            unload()
            raise

    def save_to(self, path: Path) -> Path:
        """Copy the file to `path`.

        Raises: BuildError when it cannot be written.
        """
        with self._lock:
            self._file.seek(0)
            return write_atomically(path, self._file, "Name another place to save to.")


Key = tuple[int, int]
"""A file's device and number there."""

_loaded: "weakref.WeakValueDictionary[Key, Library]" = weakref.WeakValueDictionary()
_loading = threading.RLock()  # a library may be unloaded wherever memory is freed
_resident: list[
    BinaryIO
] = []  # files that somebody else in this process uses as well: their names stay taken


def open_library(path: Path) -> Library:
    """Load a compiled model's code; the same file gives the same library.

    Raises: ArtefactError when it cannot be read or loaded, is no model, or is one of another version.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        why = error.strerror
        raise ArtefactError(f"{path}: cannot be read ({why}). Name a compiled model's file.") from error
    with _loading:
        stat = os.fstat(file.fileno())
        key = (stat.st_dev, stat.st_ino)
        library = _loaded.get(key)
        if library is None:
            try:
                library = _loaded[key] = Library(path, file, key)
            except BaseException:
                if file not in _resident:
                    file.close()
                raise
        else:
            changed = _ending(file) != library.ending
            file.close()
            if changed:
                raise ArtefactError(
                    f"{path}: it was written over while it is in use, which breaks what runs from it. Close its "
                    "engines, and replace such a file by renaming another one to it, as pconv does."
                )
        return library


def _ending(file: BinaryIO) -> bytes:
    """Return a file's last bytes: the seal, a hash of all others. Its date is set by every use of the cache."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - LINE_BYTES))
    return file.read()


def _unload(library: ctypes.CDLL, name: str, files: list[BinaryIO], key: Key) -> None:
    """Unload a file that nothing here uses any more.

    If it was loaded again meanwhile, or somebody else in this process has it, the loader goes on calling that code by
    the name it had here: then what is open stays open, so that no other file gets that name.
    """
    with _loading:
        _ctypes.dlclose(library._handle)
        heir = _loaded.get(key)
        if heir is not None:
            heir._open.extend(files)
        elif _is_resident(name):
            _resident.extend(files)
        else:
            for file in files:
                file.close()


def _is_resident(name: str) -> bool:
    """Ask the loader whether it still knows a library by this name."""
    if not hasattr(os, "RTLD_NOLOAD"):
        return False
    try:
        _ctypes.dlclose(_ctypes.dlopen(name, os.RTLD_NOLOAD | os.RTLD_NOW))
    except OSError:
        return False
    return True


def _declare(library: ctypes.CDLL, path: Path) -> None:
    """Give the functions their types, and check that this is an ABI we speak."""
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, list(arguments)
    except AttributeError as error:
        raise ArtefactError(
            f"{path}: a shared library, but not a compiled model ({name} is missing); allowed what pconv "
            "compile wrote. Name the right file."
        ) from error
    abi = library.pconv_abi()
    if abi != ABI:
        raise ArtefactError(
            f"{path}: compiled for ABI {abi}, allowed {ABI}. Compile it again with this pconv."
        )


def _read_manifest(library: ctypes.CDLL, path: Path) -> dict[str, Any]:
    """Return what the model says of itself."""
    try:
        manifest = json.loads(library.pconv_manifest())
        version, _ = manifest["format"], [manifest[key] for key in ("inputs", "outputs", "layers")]
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactError(
            f"{path}: its manifest cannot be read ({error}). Compile the model again."
        ) from error
    if version != FORMAT:
        raise ArtefactError(
            f"{path}: manifest format {version}, allowed {FORMAT}. Compile it again with this pconv."
        )
    return dict(manifest)
