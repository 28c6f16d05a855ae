"""The OpenCL devices of this machine, through pyopencl (the extra `gpu`)."""

import os
from typing import Any

from pconv.errors import ArtefactError, PconvError

VARIABLE = "PCONV_OPENCL_DEVICE"


def load_pyopencl() -> Any:
    """Import pyopencl.

    Raises: PconvError when it is missing, or finds no OpenCL loader.
    """
    try:
        import pyopencl
    except ImportError as error:
        raise PconvError(
            f"OpenCL: pyopencl cannot be imported ({error}); pip install pyopencl, to run on a GPU."
        ) from error
    return pyopencl


def label(device: Any) -> str:
    """Return a device's name with its platform's."""
    return f"{device.platform.name.strip()}: {device.name.strip()}"


def devices() -> list[Any]:
    """List all devices, GPUs first.

    Raises: PconvError when pyopencl is missing.
    """
    cl = load_pyopencl()
    try:
        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error:  # no driver is installed
        return []
    return sorted(found, key=lambda device: not device.type & cl.device_type.GPU)


def choose_device(name: str | None = None) -> Any:
    """Return the first device whose label contains `name` (default: PCONV_OPENCL_DEVICE, else any).

    Raises: ArtefactError when there is none; PconvError when pyopencl is missing.
    """
    wanted = name if name is not None else os.environ.get(VARIABLE, "")
    found = devices()
    for device in found:
        if wanted.lower() in label(device).lower():
            return device
    said = "; ".join(map(label, found)) or "none, install your GPU's OpenCL driver (or pocl-opencl-icd)"
    raise ArtefactError(f"OpenCL: no device is called {wanted!r}; this machine has {said}.")


def device_identity() -> str:
    """Return what measurements on the device at hand hold for: its name and driver; "" where there is none."""
    try:
        device = choose_device()
    except PconvError:
        return ""
    return f"{label(device)}, driver {device.driver_version.strip()}"
