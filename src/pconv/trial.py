"""Owns one compiled network that tuning times, step by step and as a whole: here, or on a device.

On a device it is a pconv_bench, pushed under a name of its own; a later trial of that name takes its place.
"""

import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pconv import targets
from pconv.build import build, build_bench
from pconv.codegen.program import Program
from pconv.devices import Device
from pconv.errors import DeviceError
from pconv.gpu_bench import build_gpu_bench
from pconv.runtime import load
from pconv.runtime.report import share_turns
from pconv.runtime.signature import Signature

CHECKS = 15
"""Calls of a whole network whose median is its latency."""


def push_bench(program: Program, device: Device, file: str, cc: str | None = None) -> list[str]:
    """Compile pconv_bench for a program, and push it as `file`; a GPU's model lies beside it.

    Returns: the options that it has to be run with.
    Raises: BuildError as `build` does; DeviceError when the device fails.
    """
    with TemporaryDirectory(prefix="pconv-") as name:
        folder = Path(name)
        if program.target.arch != "opencl":
            device.push(build_bench(program, folder / file, cc=cc), file)
            return []
        model = f"{file}.pcl"
        device.push(build_gpu_bench(targets.get(device.platform), folder / file, cc=cc), file)
        device.push(build(program, out=folder / model), model)
        return ["--model", model, "--cache", "."]


class Trial(Protocol):
    """A network that runs somewhere."""

    def profile(self) -> NDArray[np.float64]:
        """Run once; return the milliseconds of each step for an image."""

    def latency_ms(self) -> float:
        """Run once to warm up and once more; return the milliseconds of the second run for an image."""

    def close(self) -> None:
        """Let go of what it holds."""


class Here:
    """A network on this machine."""

    def __init__(self, program: Program, threads: int, cc: str | None) -> None:
        self._engine = load(build(program, cc=cc), threads=threads)
        signature = Signature(self._engine.manifest)
        self._inputs, self._images = signature.random_inputs(), signature.fold

    def profile(self) -> NDArray[np.float64]:
        """Run once; return the milliseconds of each step."""
        return np.array([layer.ms for layer in self._engine.report(runs=1).layers])

    def latency_ms(self) -> float:
        """Run once to warm up and once more; return the milliseconds of the second run."""
        self._engine(*self._inputs)
        begin = time.perf_counter()
        self._engine(*self._inputs)
        return (time.perf_counter() - begin) * 1e3 / self._images

    def close(self) -> None:
        """Close the library."""
        self._engine.close()


class There:
    """A network on a device. `said` is what pconv_bench printed last.

    Raises (every method): DeviceError when the device fails.
    """

    def __init__(
        self, program: Program, device: Device, file: str, threads: int, cpus: str, cc: str | None
    ) -> None:
        self._device, self._file = device, file
        self._options = push_bench(program, device, file, cc)
        self._options += ["--threads", str(threads), *(("--cpus", cpus) if cpus else ())]
        self.said: dict[str, Any] = {}

    def profile(self) -> NDArray[np.float64]:
        """Run a few times; return the milliseconds of each step for an image, in the fastest run."""
        said = self._run(warmup=1, repeat=2)
        ns = share_turns(said["manifest"]["layers"], [layer["ns"] for layer in said["layers"]])
        return np.array(ns) / (1e6 * int(said["batch"]))

    def latency_ms(self) -> float:
        """Run a few times; return the median in milliseconds for an image."""
        said = self._run(warmup=1, repeat=3)
        return float(median(said["samples_ns"])) / 1e6 / int(said["batch"])

    def cpu(self) -> str:
        """Name the device's processor, or its GPU where that runs the network."""
        said = self.said or self._run(warmup=0, repeat=1)
        return str(said.get("gpu") or said["cpu"])

    def close(self) -> None:
        """Leave the file to the device, which removes its folder."""

    def _run(self, warmup: int, repeat: int) -> dict[str, Any]:
        runs = ("--warmup", str(warmup), "--repeat", str(repeat))
        done = self._device.run(self._file, *self._options, *runs)
        try:
            self.said = json.loads(done.out)
        except ValueError as error:
            raise DeviceError(
                f"{self._device.name}: {self._file} printed no result (exit code {done.code}); "
                f"it said {done.why[:80]!r}. Run it again."
            ) from error
        return self.said
