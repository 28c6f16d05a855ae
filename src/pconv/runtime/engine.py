"""Run a compiled model: numpy in, numpy out.

Owns the life of one model and its checks; needs numpy and the compiled file, no compiler and no framework.
"""

import ctypes
import operator
import os
import threading
import weakref
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pconv.errors import ArtefactError, InputError
from pconv.runtime.cores import physical_cores
from pconv.runtime.library import Library, open_library
from pconv.runtime.report import Report, make_report
from pconv.runtime.signature import Signature
from pconv.runtime.tensors import Array

MAX_THREADS = 64


class Engine:
    """A compiled model, ready to run.

    Calls from several threads take turns; the GIL is free while one runs. For runs side by side, load the
    file once for each. After os.fork() a child may use an engine that was idle at the fork.

    Raises: ArtefactError when the file is no model for this machine and version.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self.path = Path(path).absolute()
        self._lock = threading.Lock()
        self._threads = _check_threads(min(physical_cores(), MAX_THREADS) if threads is None else threads)
        self._library = open_library(self.path)
        self.manifest = self._library.manifest
        self._signature = Signature(self.manifest)
        self.inputs, self.outputs = self._signature.inputs, self._signature.outputs
        self._c = self._library.c
        self._handle = self._open_model()
        self._affinity: tuple[int, ...] = ()
        self._close = weakref.finalize(self, _close_model, self._library, self._handle)
        self._close.atexit = False  # a daemon thread may still be running the model then

    def __call__(self, /, *arrays: Any, **named: Any) -> NDArray[Any] | tuple[NDArray[Any], ...]:
        """Run the model on arrays given by position or by input name.

        Shapes: as `inputs` says, with any N >= 1 in front; the outputs get the same N. One output comes as an
        array, several as a tuple, of the types that `outputs` names: float32, or what the model calls an ArgMax or
        a mask. C-contiguous float32 arrays are read in place. From about N = threads on, each thread runs whole
        samples, in an arena of its own; where some run side by side (`fold`), as many as that at a time, and the last
        ones cost as if there were no fewer.
        Raises: InputError when an array is missing, too many, or of the wrong dtype or shape.
        """
        inputs, batch = self._signature.prepare(arrays, named)
        outputs = self._signature.empty_outputs(batch)
        with self._lock:
            self._run(inputs, outputs, batch)
        results = self._signature.typed(outputs)
        return results[0] if len(results) == 1 else results

    @property
    def threads(self) -> int:
        """How many threads a run may use, the calling one included; may be set between runs.

        Where single samples were seen to be faster on the calling thread alone, they run there.
        """
        return self._threads

    @threads.setter
    def threads(self, threads: int) -> None:
        with self._lock:
            self._check_open()
            now = int(self._c.pconv_set_threads(self._handle, _check_threads(threads)))
            if now < 0:
                raise MemoryError(f"threads: no memory for {threads}; they are still {self._threads}.")
            self._threads = now

    @property
    def affinity(self) -> tuple[int, ...]:
        """The cores that the threads keep to, in turn; empty where the system chooses. May be set between runs.

        The calling thread counts as the first and places itself: `os.sched_setaffinity(0, {engine.affinity[0]})`.
        Raises: InputError when a core cannot be had.
        """
        return self._affinity

    @affinity.setter
    def affinity(self, cores: Sequence[int]) -> None:
        try:
            chosen = tuple(array("i", cores))  # which takes nothing but whole numbers of 32 bits
        except (TypeError, OverflowError) as error:
            raise _impossible(cores) from error
        with self._lock:
            self._check_open()
            if self._c.pconv_set_affinity(self._handle, (ctypes.c_int32 * len(chosen))(*chosen), len(chosen)):
                raise _impossible(chosen)
            self._affinity = chosen

    def report(self, x: Any = None, *, runs: int = 5, peak_gflops: float | None = None) -> Report:
        """Measure every layer: its fastest of `runs` runs on `x` (an array, or one for each input; random).

        Raises: InputError as a call does.
        """
        if x is None:
            x = self._signature.random_inputs()
        inputs, batch = self._signature.prepare(x if isinstance(x, (list, tuple)) else (x,), {})
        outputs = self._signature.empty_outputs(batch)
        steps = len(self.manifest["layers"])
        ns = (ctypes.c_int64 * steps)()
        times: list[list[int]] = []
        with self._lock:
            self._run(inputs, outputs, batch)  # the first touches cold memory
            self._c.pconv_profile(self._handle, 1)
            try:
                for _ in range(max(1, runs)):
                    self._run(inputs, outputs, batch)
                    if self._c.pconv_times(self._handle, ns, steps) != steps:
                        raise ArtefactError(
                            f"{self.path}: its manifest does not fit its code. Compile the model again."
                        )
                    times.append(list(ns))
            finally:
                self._c.pconv_profile(self._handle, 0)
        return make_report(
            self.manifest,
            [min(each) / batch for each in zip(*times, strict=True)],
            self._threads,
            peak_gflops,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Copy the compiled model to `path`; `load` there needs this one file and numpy.

        Raises: BuildError when it cannot be written; a file that stood there is replaced whole or kept.
        """
        with self._lock:
            self._check_open()
            return self._library.save_to(Path(path))

    def close(self) -> None:
        """Free the model and its threads; calling it again does nothing."""
        with self._lock:
            if self._close.alive:
                self._close()
                del self._library, self._c  # the last engine to let go unloads the code

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.manifest.get("model", {}).get("name", self.path.stem)
        tensors = f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"
        target = self.manifest.get("target", {}).get("name", "?")
        return f"<{type(self).__name__} {name}: {tensors}; {target}, {self._place}>"

    def __reduce_ex__(self, protocol: object) -> str:
        """Refuse to be copied or pickled: the model's memory is in C.

        Raises: InputError always.
        """
        raise InputError(
            f"{self.path}: an engine cannot be copied or pickled; load the file once more, where it runs."
        )

    @property
    def _place(self) -> str:
        if not self._close.alive:
            return "closed"
        return "1 thread" if self._threads == 1 else f"{self._threads} threads"

    def _open_model(self) -> int:
        why = ctypes.create_string_buffer(256)
        handle = self._c.pconv_open(self._threads, why, len(why))
        if not handle:
            raise ArtefactError(
                f"{self.path}: cannot be opened: {why.value.decode()}. Compile the model for this machine."
            )
        return int(handle)

    def _run(self, inputs: list[Array], outputs: list[Array], batch: int) -> None:
        self._check_open()
        if self._c.pconv_run(self._handle, _pointers(inputs), _pointers(outputs), batch):
            raise InputError(f"{self.path}: the model refused a batch of {batch}; run it in smaller parts.")

    def _check_open(self) -> None:
        if not self._close.alive:
            raise InputError(f"{self.path}: this engine is closed; load the file again.")


def _check_threads(threads: int) -> int:
    try:
        count = operator.index(threads)
    except TypeError:
        count = 0
    if not 1 <= count <= MAX_THREADS:
        raise InputError(f"threads: {threads!r} is not possible; allowed 1 to {MAX_THREADS}.")
    return count


def _impossible(cores: Any) -> InputError:
    said = ", ".join(map(str, cores)) if isinstance(cores, Sequence) else repr(cores)
    return InputError(
        f"affinity: cores {said} cannot all be had; allowed up to {MAX_THREADS} of those that os.sched_getaffinity(0) "
        "names, on Linux and Android."
    )


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(each.ctypes.data for each in arrays))


def _close_model(library: Library, handle: int) -> None:
    library.c.pconv_close(handle)
