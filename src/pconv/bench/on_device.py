"""Owns timing on another machine: the same pconv_bench runs there and here, and the answers are compared.

The model is compiled for the device's platform; the executable is pushed with one input, run, and its JSON and
its output come back.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.bench.compare import MAX_REL_ERR, max_rel_err, random_inputs
from pconv.compiler import generate_program
from pconv.devices import Device, Finished
from pconv.errors import DeviceError
from pconv.runtime.report import share_turns
from pconv.runtime.signature import Signature
from pconv.trial import push_bench

EXECUTABLE = "pconv_bench"
HALF_MAX_REL_ERR = 2e-2
Event = Callable[[str, float | None], object]


@dataclass(frozen=True)
class Settings:
    """How pconv_bench runs. `cpus` names cores, such as "4-7"; "" leaves the choice to the system."""

    threads: int = 1
    warmup: int = 5
    repeat: int = 50
    cpus: str = ""
    timeout_s: float = 600.0

    def arguments(self) -> list[str]:
        """Return the options of pconv_bench."""
        numbers = {"--threads": self.threads, "--warmup": self.warmup, "--repeat": self.repeat}
        words = [word for name, value in numbers.items() for word in (name, str(value))]
        return words + (["--cpus", self.cpus] if self.cpus else [])


@dataclass(frozen=True)
class Measured:
    """What one device said of one model. `said` is pconv_bench's JSON, `outputs` the raw floats of the answer."""

    device: str
    platform: str
    compression: float
    said: dict[str, Any]
    outputs: NDArray[np.float32]

    def answers(self) -> tuple[NDArray[Any], ...]:
        """Return the outputs apart, in the types that the model gives them."""
        signature = Signature(self.said["manifest"])
        empty = signature.empty_outputs(1)
        parts = np.split(self.outputs, np.cumsum([array.size for array in empty])[:-1])
        return signature.typed([part.reshape(array.shape) for part, array in zip(parts, empty, strict=True)])

    @property
    def median_ms(self) -> float:
        """Return the median latency of a run."""
        return float(median(self.said["samples_ns"])) / 1e6

    def layers_ms(self) -> dict[str, float]:
        """Return each layer's latency."""
        layers = self.said["layers"]
        ns = share_turns(self.said["manifest"]["layers"], [layer["ns"] for layer in layers])
        return {layer["name"]: each / 1e6 for layer, each in zip(layers, ns, strict=True)}

    def as_json(self) -> dict[str, Any]:
        """Return the record without the answer."""
        kept = {name: value for name, value in asdict(self).items() if name != "outputs"}
        return kept | {"median_ms": self.median_ms}


def measure(
    path: Path,
    device: Device,
    settings: Sequence[Settings],
    *,
    compression: float = 1.0,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    tuned: Path | None = None,
    on_event: Event = lambda text, share: None,
) -> list[Measured]:
    """Compile an ONNX file for a device, push it, and time it there, once for each of the settings.

    `target` is the device's CPU by default, or one for its GPU; `cpu`, `dtype`, `tuned` are as for `pconv.compile`.

    Raises: DeviceError when the device fails; else as compiling does.
    """
    on_event(f"compiling for {device.name}", None)
    # This machine's own target is the best for it; another machine gets what all of its kind run.
    here = device.name == "local" and cpu is None
    target = target or ("native" if here else device.platform)
    program = generate_program(path, target=target, cpu=cpu, dtype=dtype, tuned=tuned)
    with TemporaryDirectory(prefix="pconv-") as name:
        folder = Path(name)
        shapes = {t["name"]: tuple(t["shape"]) for t in program.manifest["inputs"]}
        tensors = random_inputs(shapes).values()
        (folder / "input").write_bytes(b"".join(tensor.tobytes() for tensor in tensors))
        on_event(f"pushing to {device.name}", None)
        options = push_bench(program, device, EXECUTABLE)
        device.push(folder / "input", "input")
        measured = []
        for chosen in settings:
            on_event(f"running on {device.name}, threads {chosen.threads}", None)
            said, outputs = _run(device, chosen, options, folder / "output")
            measured.append(Measured(device.name, device.platform, compression, said, outputs))
    return measured


def _run(
    device: Device, settings: Settings, options: Sequence[str], output: Path
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    files = ("--input", "input", "--output", "output")
    done = device.run(EXECUTABLE, *options, *settings.arguments(), *files, timeout_s=settings.timeout_s)
    said = _read(device, done)
    device.pull("output", output)
    return said, np.fromfile(output, np.float32)


def compare_answers(here: Measured, there: Measured) -> float:
    """Return how far the device's answer is from this machine's.

    Raises: DeviceError when it is off by more than MAX_REL_ERR, or HALF_MAX_REL_ERR where one of them stores halves.
    """
    error = max_rel_err(there.answers(), here.answers())
    halves = any(side.said["manifest"]["target"]["dtype"] != "fp32" for side in (here, there))
    allowed = HALF_MAX_REL_ERR if halves else MAX_REL_ERR
    if error > allowed:
        raise DeviceError(
            f"{there.device}: its answer differs from this machine's by {error:.1e} of the largest value; "
            f"allowed {allowed:.0e}. Its times mean nothing."
        )
    return error


def _read(device: Device, done: Finished) -> dict[str, Any]:
    if done.code:
        raise DeviceError(
            f"{device.name}: {EXECUTABLE} failed: {done.why.removeprefix('pconv_bench: error: ')}."
        )
    try:
        said = json.loads(done.out)
        said["samples_ns"], said["layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(
            f"{device.name}: {EXECUTABLE} printed no result (exit code 0); it said {done.why[:80]!r}. Run it again."
        ) from error
    return dict(said)
