"""Which target this machine is: read from the operating system, never by running instructions."""

import platform
from dataclasses import replace
from pathlib import Path

from pconv.errors import BuildError
from pconv.targets.platforms import Platform, platform_of
from pconv.targets.target import Target

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

_ARCHES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos"}


def this_platform(targets: tuple[Target, ...]) -> Platform:
    """Return the platform of this machine.

    Raises: BuildError when it is none of ours.
    """
    arch = _ARCHES.get(platform.machine().lower(), platform.machine())
    system = _SYSTEMS.get(platform.system().lower(), platform.system().lower())
    found = platform_of(system, arch)
    if found is None:
        raise _unsupported(system, arch, targets)
    return found


def choose_native(targets: tuple[Target, ...]) -> Target:
    """Return the most capable of `targets` that this CPU runs, for its own core where that is known.

    The sizes of its caches are filled in.

    Raises: BuildError when none fits.
    """
    here = this_platform(targets)
    flags, family = cpu_flags(), cpu_family()
    runs = [t for t in targets if t.arch == here.arch and (flags is None or flags.issuperset(t.features))]
    fitting = [t for t in runs if not t.cpu or family in t.families]
    if not fitting:
        raise _unsupported(here.os, here.arch, targets)
    best = max(fitting, key=lambda t: (t.lanes_f32, t.cpu))
    sizes = cache_bytes()
    return replace(
        best,
        os=here.os,
        zig_target=here.zig_target,
        l1_bytes=sizes.get(1, best.l1_bytes),
        l2_bytes=sizes.get(2, best.l2_bytes),
    )


def _unsupported(system: str, arch: str, targets: tuple[Target, ...]) -> BuildError:
    allowed = ", ".join(dict.fromkeys(t.name for t in targets))
    return BuildError(
        f"this machine ({system} on {arch}): no target fits its CPU; supported {allowed} on Linux and "
        "macOS. Compile for another machine with target=NAME."
    )


def cpu_flags() -> frozenset[str] | None:
    """Return the CPU's flags as Linux spells them; None where the system does not tell."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        # Without a list, trust only what every CPU of the architecture has: Apple's are all NEON.
        return None if platform.machine() == "arm64" else frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cpu_model() -> str:
    """Name the processor."""
    fields = _cpuinfo()
    return fields.get("model name") or fields.get("Model") or platform.processor() or platform.machine()


def cpu_family() -> tuple[str, str]:
    """Name an x86 processor's maker and its family; empty where Linux does not tell."""
    fields = _cpuinfo()
    return fields.get("vendor_id", ""), fields.get("cpu family", "")


def _cpuinfo() -> dict[str, str]:
    """Read what Linux says of the processors, of each field the last."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {
        key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon
    }


def cache_bytes() -> dict[int, int]:
    """Return the size of each level of data cache of the first core, as far as Linux tells."""
    sizes: dict[int, int] = {}
    for index in CACHES.glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
        except (OSError, ValueError, KeyError):
            continue
    return sizes
