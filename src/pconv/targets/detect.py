"""Which target this machine is: read from the operating system, never by running instructions."""

import platform
from dataclasses import replace
from pathlib import Path

from pconv.errors import BuildError
from pconv.targets.target import Target

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

_ARCHES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "linux", "darwin": "macos"}


def choose_native(targets: tuple[Target, ...]) -> Target:
    """Return the most capable of `targets` that this CPU runs, with its cache sizes filled in.

    Raises: BuildError when none fits.
    """
    arch = _ARCHES.get(platform.machine().lower(), platform.machine())
    system = _SYSTEMS.get(platform.system().lower(), platform.system().lower())
    flags = cpu_flags()
    fitting = [t for t in targets if t.arch == arch and (flags is None or flags.issuperset(t.features))]
    if not fitting or system not in _SYSTEMS.values():
        allowed = ", ".join(t.name for t in targets)
        raise BuildError(
            f"this machine ({system} on {arch}): no target fits its CPU; supported {allowed} on Linux and "
            "macOS. Compile for another machine with target=NAME."
        )
    best = max(fitting, key=lambda t: t.lanes_f32)
    if system != best.os:
        best = replace(best, os=system, zig_target=f"{arch}-{system}")
    sizes = cache_bytes()
    return replace(best, l1_bytes=sizes.get(1, best.l1_bytes), l2_bytes=sizes.get(2, best.l2_bytes))


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
