"""How many cores this process may use."""

import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """Return the number of logical cores that the scheduler lets this process have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_cores() -> int:
    """Return the number of cores, hyper-threads counted once, that the scheduler lets this process have."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cores()
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        topology = _CPUS / f"cpu{cpu}" / "topology"
        try:
            package, core = ((topology / f).read_text() for f in ("physical_package_id", "core_id"))
        except OSError:
            return len(allowed)
        cores.add((package, core))
    return len(cores)
