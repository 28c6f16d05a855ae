"""`pconv devices` lists where a model may run, and shows what `pconv bench --device` measured there."""

import json as json_module
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pconv import units
from pconv.cli import console, options
from pconv.errors import DeviceError, PconvError

if TYPE_CHECKING:
    from pconv.bench.on_device import Measured

EPILOG = """Examples:

pconv devices

pconv bench resnet18 --compression 8 --device adb:emulator-5554 --threads 4

pconv bench pruned.onnx --device ssh:raspberrypi --target opencl-fp16
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, devices, EPILOG)


def devices(json: options.Json = False) -> None:
    """List the devices that `pconv bench --device` takes.

    Phones come from `adb devices`, hosts from your ssh configuration (they are not contacted). PCONV_ADB and
    PCONV_SSH name other commands than adb and ssh.
    """
    from pconv.devices import list_devices, why_no_phones

    found = list_devices()
    if why := why_no_phones():
        console.note(f"no phones are listed: {why}")
    if json:
        console.print_json([{"name": d.name, "state": d.state, "detail": d.detail} for d in found])
        return
    table = console.table("device", "state", "what it is")
    for device in found:
        table.add_row(device.name, device.state, device.detail)
    console.stdout().print(table)


def bench_on(
    name: str,
    files: Sequence[tuple[Path, float]],
    threads: Sequence[int],
    cpus: str | None,
    track: console.Tracker,
    build: Mapping[str, Any],
) -> dict[str, Any]:
    """Time every file on the device, compiled as `build` says, and on this machine, and compare the answers.

    Raises: DeviceError when the device is not ready or answers something else, or `build` names no GPU's target.
    """
    from pconv import devices as room
    from pconv import targets
    from pconv.bench import machine, on_device

    if build["target"] not in (None, *targets.devices()):
        raise DeviceError(
            f"--target {build['target']}: the device's platform is its own; allowed a GPU's, "
            f"{', '.join(targets.devices())}. Leave it out for the CPU."
        )
    results = []
    with room.connect(name) as there, room.connect("local") as here:
        for path, rate in files:
            settings = [on_device.Settings(threads=count, cpus=cpus or "") for count in threads]
            far = on_device.measure(path, there, settings, compression=rate, on_event=track, **build)
            settings = [on_device.Settings(threads=count) for count in threads]
            near = on_device.measure(path, here, settings, compression=rate, on_event=track)
            for f, n in zip(far, near, strict=True):
                results.append({"device": f, "host": n, "max_rel_err": on_device.compare_answers(n, f)})
    return {"machine": machine.record(()), "results": results}


def as_json(document: dict[str, Any]) -> str:
    """Write a document of `bench_on` down."""
    results = [
        {name: value.as_json() if name in ("device", "host") else value for name, value in result.items()}
        for result in document["results"]
    ]
    return json_module.dumps({**document, "results": results}, indent=1)


def show(document: dict[str, Any]) -> None:
    """Print the device's latency beside this machine's: whole runs, then the layers of the last one."""
    table = console.table("threads", "compression", "device", "median", "host", "median", "max rel. error")
    for result in document["results"]:
        far, near = result["device"], result["host"]
        table.add_row(
            str(far.said["threads"]),
            console.rate(far.compression),
            far.device,
            units.milliseconds(far.median_ms),
            near.platform,
            units.milliseconds(near.median_ms),
            f"{result['max_rel_err']:.0e}",
        )
    console.stdout().print(table)
    if document["results"]:
        last = document["results"][-1]
        _show_layers(last["device"], last["host"])


def _show_layers(far: "Measured", near: "Measured") -> None:
    table = console.table("layer", f"{far.device} ms", "host ms", "micro-kernel there")
    kernels = {layer["name"]: layer["micro_kernel"] for layer in far.said["manifest"]["layers"]}
    host = near.layers_ms()
    for name, ms in far.layers_ms().items():
        beside = f"{host[name]:.3f}" if name in host else "-"
        table.add_row(name, f"{ms:.3f}", beside, kernels.get(name, ""))
    console.stdout().print(table)
    if "gpu" in far.said:
        console.note(f"{far.device}: on {far.said['gpu']}")
    after = far.said["after"]
    if after["temperature_mc"]:
        warmest = max(after["temperature_mc"].values()) / 1000
        console.note(f"{far.device}: {warmest:.0f} degrees Celsius at most after the runs")
    if after["frequency_khz"]:
        cores = ", ".join(f"{core} {khz // 1000} MHz" for core, khz in after["frequency_khz"].items())
        console.note(f"{far.device}: {cores}")


def refuse_without_device(cpus: str | None, build: Mapping[str, Any]) -> None:
    """Say that --cpus and what is compiled for a device need --device.

    Raises: PconvError when one was given.
    """
    if cpus is not None:
        raise PconvError("bench: --cpus pins cores of a device; add --device, e.g. --device adb:SERIAL.")
    for name, value in build.items():
        if value is not None:
            raise PconvError(
                f"bench: --{name} is for a device, the comparison here is in fp32 for this machine; add --device, "
                "e.g. --device adb:SERIAL."
            )
