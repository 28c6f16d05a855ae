"""Run a model compiled for OpenCL: numpy in, numpy out, everything between on the device.

One in-order queue; constants are uploaded once; all activations lie in one buffer, by the plan's arena. The
binary is cached by the driver or, where that does not, by pyopencl.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pconv.errors import ArtefactError, InputError
from pconv.files import write_atomically
from pconv.runtime.engine import Engine
from pconv.runtime.opencl_device import choose_device, label, load_pyopencl
from pconv.runtime.opencl_file import read_opencl_file
from pconv.runtime.report import Report, make_report
from pconv.runtime.signature import Signature
from pconv.runtime.tensors import Array

OPTIONS = ("-cl-std=CL1.2", "-cl-mad-enable")


class OpenclEngine(Engine):
    """A model on an OpenCL device; calls from several threads take turns.

    `device` is part of a device's name, as `pconv.runtime.opencl_device.devices` lists them.
    Raises: ArtefactError when the file is damaged, or no device can run it; PconvError without pyopencl.
    """

    def __init__(self, path: str | os.PathLike[str], device: str | None = None) -> None:
        self.path = Path(path).absolute()
        model = read_opencl_file(self.path)
        self.manifest = model.manifest
        self._signature = Signature(self.manifest)
        self.inputs, self.outputs = self._signature.inputs, self._signature.outputs
        self._lock = threading.Lock()
        self._cl = cl = load_pyopencl()
        self._device = choose_device(device)
        said = self.manifest["opencl"]
        self._check_device(max(len(model.constants), said["elem_bytes"] * said["arena_elems"]))
        self._stored = np.dtype(f"f{said['elem_bytes']}")
        context = cl.Context([self._device])
        self._queue = cl.CommandQueue(context)
        self._timed_queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
        self._buffers = self._make_buffers(context, model.constants)
        self._launches = self._make_launches(self._build(context, model.source))
        self._file = self.path.open("rb")  # what `save` copies, whatever comes to stand at its path

    @property
    def threads(self) -> int:
        """One: what runs side by side is the device's affair."""
        return 1

    @threads.setter
    def threads(self, threads: int) -> None:
        raise InputError(f"threads: {threads} has no meaning on {self.device}; leave it as it is.")

    @property
    def affinity(self) -> tuple[int, ...]:
        """Empty: there are no cores to choose."""
        return ()

    @affinity.setter
    def affinity(self, cores: Sequence[int]) -> None:
        raise InputError(f"affinity: cores have no meaning on {self.device}; leave it as it is.")

    @property
    def device(self) -> str:
        """The device's name, with its platform's."""
        return label(self._device)

    def report(self, x: Any = None, *, runs: int = 5, peak_gflops: float | None = None) -> Report:
        """Measure every layer by the device's clock: the fastest of `runs` runs on `x` (random if None).

        Raises: InputError as a call does.
        """
        if x is None:
            x = self._signature.random_inputs()
        inputs, batch = self._signature.prepare(x if isinstance(x, (list, tuple)) else (x,), {})
        outputs = self._signature.empty_outputs(batch)
        with self._lock:
            self._enqueue(
                self._timed_queue, inputs, outputs, batch
            )  # the first compiles what is left to compile
            times = [
                self._enqueue(self._timed_queue, inputs, outputs, batch) / batch for _ in range(max(1, runs))
            ]
        return make_report(self.manifest, min(times, key=np.sum).tolist(), 1, peak_gflops)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Copy the compiled model to `path`.

        Raises: BuildError when it cannot be written; a file that stood there is replaced whole or kept.
        """
        with self._lock:
            self._check_open()
            self._file.seek(0)
            return write_atomically(Path(path), self._file, "Name another place to save to.")

    def close(self) -> None:
        """Free the device's memory; calling it again does nothing."""
        with self._lock:
            for buffer in self._buffers.values():
                buffer.release()
            self._buffers, self._launches = {}, []
            self._file.close()

    @property
    def _place(self) -> str:
        return self.device if self._buffers else "closed"

    def _check_device(self, largest_bytes: int) -> None:
        missing = set(self.manifest["target"]["features"]) - set(self._device.extensions.split())
        if missing:
            raise ArtefactError(
                f"{self.path}: {self.device} has no {', '.join(sorted(missing))}; compile the model for half "
                "storage (opencl-fp16), or for opencl."
            )
        limit = self._device.max_mem_alloc_size
        if largest_bytes > limit:
            raise ArtefactError(
                f"{self.path}: needs a buffer of {largest_bytes} bytes, {self.device} allows {limit}. Prune the "
                "model, or compile it for opencl-fp16."
            )

    def _build(self, context: Any, source: str) -> Any:
        try:
            return self._cl.Program(context, source).build(list(OPTIONS))
        except self._cl.Error as error:
            lines = str(error).splitlines()
            why = next((line for line in lines if "error:" in line), lines[0])[:300]
            raise ArtefactError(
                f"{self.path}: the driver of {self.device} cannot compile it ({why}). Report this, with the "
                "driver's version."
            ) from error

    def _make_buffers(self, context: Any, constants: bytes) -> dict[str, Any]:
        cl, flags = self._cl, self._cl.mem_flags
        sizes = {"arena": self.manifest["opencl"]["arena_elems"]}
        for space, infos in (("input", self.inputs), ("output", self.outputs)):
            sizes |= {f"{space}{i}": int(np.prod(info.shape)) for i, info in enumerate(infos)}
        buffers = {
            name: cl.Buffer(context, flags.READ_WRITE, max(1, elems) * self._stored.itemsize)
            for name, elems in sizes.items()
        }
        data = np.frombuffer(constants or b"\0", np.uint8)
        buffers["constants"] = cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=data)
        return buffers

    def _make_launches(self, program: Any) -> list[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
        """Return a kernel object for every launch, its arguments set once and for all."""
        launches = []
        for launch in self.manifest["opencl"]["launches"]:
            kernel = self._cl.Kernel(program, launch["kernel"])
            places: list[Any] = []
            for operand in ("in", "add", "out"):
                space, first = launch[operand]
                places += [self._buffers[space], np.uint32(first)]
            kernel.set_args(*places, self._buffers["constants"], *map(np.uint32, launch["args"]))
            launches.append((kernel, tuple(launch["global"]), self._fit_local(kernel, launch)))
        return launches

    def _fit_local(self, kernel: Any, launch: dict[str, Any]) -> tuple[int, ...]:
        """Halve a work group until the device takes it."""
        info = self._cl.kernel_work_group_info.WORK_GROUP_SIZE
        limit, size = kernel.get_work_group_info(info, self._device), launch["local"][0]
        while size > limit and size % 2 == 0 and not launch["shared"]:
            size //= 2
        if size > limit:
            raise ArtefactError(
                f"{self.path}: {launch['kernel']} needs work groups of {size}, {self.device} allows {limit}. Run "
                "the model on the CPU."
            )
        return size, 1

    def _run(self, inputs: list[Array], outputs: list[Array], batch: int) -> None:
        self._enqueue(self._queue, inputs, outputs, batch)

    def _check_open(self) -> None:
        if not self._buffers:
            raise InputError(f"{self.path}: this engine is closed; load the file again.")

    def _enqueue(self, queue: Any, inputs: list[Array], outputs: list[Array], batch: int) -> Any:
        """Run all samples; return the nanoseconds of each launch, if the queue keeps them."""
        self._check_open()
        cl, timed = self._cl, queue is self._timed_queue
        ns = np.zeros(len(self._launches), np.int64)
        for sample in range(batch):
            for i, array in enumerate(inputs):
                one = array[sample : sample + 1] if self._signature.batched else array
                cl.enqueue_copy(queue, self._buffers[f"input{i}"], np.ascontiguousarray(one, self._stored))
            events = [
                cl.enqueue_nd_range_kernel(queue, kernel, size, local)
                for kernel, size, local in self._launches
            ]
            for i, array in enumerate(outputs):
                one = array[sample : sample + 1] if self._signature.batched else array
                stored = np.empty(one.shape, self._stored)
                cl.enqueue_copy(queue, stored, self._buffers[f"output{i}"])
                one[...] = stored
            if timed:
                ns += [event.profile.end - event.profile.start for event in events]
        return ns
