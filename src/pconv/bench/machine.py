"""Owns the record of where numbers come from: a result without its machine says nothing."""

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pconv import toolchain
from pconv._version import __version__
from pconv.errors import BuildError
from pconv.runtime.cores import usable_cores
from pconv.targets import native
from pconv.targets.detect import cpu_model


def record(packages: tuple[str, ...] = ("numpy",), **extra: object) -> dict[str, Any]:
    """Describe this machine: processor, cores, system, versions, load; and `extra`, None left out."""
    described: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "load_average": load_average(),
        "versions": {"pconv": __version__, "python": platform.python_version()} | versions(packages),
    }
    return described | {name: value for name, value in extra.items() if value is not None}


def load_average() -> float | None:
    """Return the load of the last minute, or None where the system keeps none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def compiler() -> str | None:
    """Name the compiler that pconv uses here, or None where it finds none."""
    try:
        chosen = toolchain.choose(None, native())
    except BuildError:
        return None
    return f"{Path(chosen.command[0]).name} {chosen.version}"


def busy() -> str | None:
    """Say that other work would disturb a timing, or None where the machine is quiet enough."""
    load, cores = load_average(), usable_cores()
    if load is None or load <= cores / 2:
        return None
    return f"the machine is busy (load {load:g} on {cores} cores): expect noisy timings"


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of the packages, those that are missing left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def system(machine: Mapping[str, Any]) -> str:
    """Name a record's operating system and its version; what follows in a kernel's release is its builder's."""
    found = re.match(r"\S+( \d+(\.\d+)?)?", str(machine.get("os", "")))
    return found[0] if found else ""


def line(machine: Mapping[str, Any]) -> str:
    """Say the record in one line for people."""
    known, cores = machine.get("versions", {}), machine.get("cores", "?")
    parts = [
        str(machine.get("cpu", "unknown processor")),
        f"{cores} core" + "s" * (cores != 1),
        system(machine),
        ", ".join(f"{name} {version}" for name, version in known.items()),
    ]
    if peak := machine.get("fma_peak_gflops"):
        parts.append(f"FMA peak {peak:.0f} GFLOP/s, 1 thread")
    return " · ".join(part for part in parts if part)
