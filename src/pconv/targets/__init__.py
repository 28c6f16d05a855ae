"""CPUs as data. One file an instruction set; a new one is a new file and its line in `_ALL`."""

from pconv.errors import BuildError
from pconv.targets.aarch64 import AARCH64
from pconv.targets.detect import choose_native
from pconv.targets.target import Target
from pconv.targets.x86_64_v3 import X86_64_V3
from pconv.targets.x86_64_v4 import X86_64_V4

__all__ = ["Target", "get", "names", "native"]

_ALL = (X86_64_V4, X86_64_V3, AARCH64)


def names() -> tuple[str, ...]:
    """Return the names that `get` knows."""
    return tuple(target.name for target in _ALL)


def get(name: str) -> Target:
    """Return the target called `name`; "native" is this machine's.

    Raises: BuildError when there is none of that name.
    """
    if name == "native":
        return native()
    for target in _ALL:
        if target.name == name:
            return target
    raise BuildError(f"target {name!r} is unknown; allowed native, {', '.join(names())}.")


def native() -> Target:
    """Return the best target for this machine, with its own cache sizes.

    Raises: BuildError when this CPU or system is not supported.
    """
    return choose_native(_ALL)
