"""CPUs and platforms as data. One file an instruction set; a new one is a new file and its line in `_ALL`."""

from dataclasses import replace
from itertools import pairwise, product

from pconv.errors import BuildError
from pconv.targets.aarch64 import AARCH64, AARCH64_CORES
from pconv.targets.detect import choose_native, this_platform
from pconv.targets.dtype import DTYPES, FP16, FP16_FP32ACC, FP32, DType
from pconv.targets.opencl import OPENCL_TARGETS
from pconv.targets.platforms import PLATFORMS, Platform, platform_of
from pconv.targets.target import Target
from pconv.targets.x86_64_v3 import X86_64_V3
from pconv.targets.x86_64_v4 import X86_64_V4, ZNVER4

__all__ = [
    "DTYPES",
    "FP16",
    "FP16_FP32ACC",
    "FP32",
    "DType",
    "Target",
    "cpus",
    "devices",
    "get",
    "get_all",
    "names",
    "native",
    "platforms",
]

_ALL = (X86_64_V4, X86_64_V3, AARCH64)
_CPUS = {target.name: target for target in _ALL} | {core.cpu: core for core in (ZNVER4, *AARCH64_CORES)}
_DEVICES = {target.name: target for target in OPENCL_TARGETS}
_PLATFORMS = {platform.name: platform for platform in PLATFORMS}


def names() -> tuple[str, ...]:
    """Return the names of the instruction sets, each the name of its Linux target too."""
    return tuple(target.name for target in _ALL)


def platforms() -> tuple[str, ...]:
    """Return the names of the operating systems and architectures that `get` knows."""
    return tuple(_PLATFORMS)


def devices() -> tuple[str, ...]:
    """Return the names of the targets that are not CPUs: whatever this machine's OpenCL driver serves."""
    return tuple(_DEVICES)


def cpus(arch: str) -> tuple[str, ...]:
    """Return the names of an architecture's instruction sets and cores."""
    return tuple(name for name, target in _CPUS.items() if target.arch == arch)


def get(name: str = "native", cpu: str | None = None, dtype: str | None = None) -> Target:
    """Return a target: a platform ("android-arm64"), an instruction set (on Linux), or "native".

    `cpu` names an instruction set or a core of that platform; without it code runs on the plainest one,
    "native" on all that this machine has. `dtype` is what it stores and computes with: "fp32" (the default), "fp16",
    or "fp16-fp32acc", which stores halves and computes in fp32.

    Raises: BuildError when there is none of that name, the CPU is of another architecture, or lacks the type.
    """
    found = _find(name, cpu)
    return found if dtype is None else _with_dtype(found, dtype)


def get_all(name: str = "native", cpu: str | None = None, dtype: str | None = None) -> tuple[Target, ...]:
    """Return the targets that one file holds, the most demanding first: one is chosen when the file is opened.

    `cpu` and `dtype` may be several with commas between, "x86-64-v4,x86-64-v3": all of one with all of the other.

    Raises: BuildError as `get` does, and where no feature of a CPU tells two of them apart.
    """
    lists = ([None] if several is None else several.split(",") for several in (cpu, dtype))
    found = [get(name, one_cpu, one_dtype) for one_cpu, one_dtype in product(*lists)]
    if len(found) > 1 and name in _DEVICES:
        raise BuildError(f"target {name}: a file for a GPU holds one type; allowed one --dtype.")
    found.sort(key=lambda target: -len(target.features))
    for target, other in pairwise(found):
        if set(target.features) == set(other.features):
            one, two = (f"{t.name} on {t.cpu}" if t.cpu else t.name for t in (target, other))
            raise BuildError(
                f"one file for {one} and {two}: every CPU with {', '.join(target.features)} runs both, and nothing "
                "tells which to take; allowed what needs different features, e.g. fp16,fp32. Leave one out."
            )
    return tuple(found)


def _find(name: str, cpu: str | None) -> Target:
    if name == "native" and cpu is None:
        return native()
    if name in _DEVICES:
        if cpu is not None:
            raise BuildError(f"cpu {cpu!r}: target {name} has none; leave it out.")
        return _DEVICES[name]
    if name == "native":
        platform: Platform | None = this_platform(_ALL)
    elif name in names():
        platform = platform_of("linux", _CPUS[name].arch)
        cpu = cpu or name
    else:
        platform = _PLATFORMS.get(name)
    if platform is None:
        allowed = ", ".join(("native", *platforms(), *names(), *devices()))
        raise BuildError(f"target {name!r} is unknown; allowed {allowed}.")
    allowed_cpus = cpus(platform.arch)
    cpu = platform.cpu if cpu is None else cpu
    if cpu not in allowed_cpus:
        raise BuildError(f"cpu {cpu!r} is none of {platform.name}; allowed {', '.join(allowed_cpus)}.")
    return replace(_CPUS[cpu], os=platform.os, zig_target=platform.zig_target)


def _with_dtype(target: Target, name: str) -> Target:
    if target.name in _DEVICES:
        found = {device.dtype.name: device for device in OPENCL_TARGETS}
        if target is not OPENCL_TARGETS[0]:
            found = {target.dtype.name: target}  # its name says the type already
    else:
        others = {support.dtype.name: target.computing(support) for support in target.supports}
        found = {target.dtype.name: target, **others}
    if name not in [dtype.name for dtype in DTYPES]:
        raise BuildError(f"dtype {name!r} is unknown; allowed {', '.join(d.name for d in DTYPES)}.")
    if name not in found:
        able = ", ".join(("opencl", *(p.name for p in PLATFORMS if _CPUS[p.cpu].supports)))
        raise BuildError(
            f"dtype {name!r}: target {target.name} has none; allowed {', '.join(found)}. Compile for one of {able}."
        )
    return found[name]


def native() -> Target:
    """Return the best target for this machine, with its own cache sizes.

    Raises: BuildError when this CPU or system is not supported.
    """
    return choose_native(tuple(_CPUS.values()))
