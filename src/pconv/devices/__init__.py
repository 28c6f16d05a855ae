"""Owns the door to other machines: push a file, run it, pull what it wrote. One file a kind of machine.

What runs there, and what its numbers mean, is for others to know.
"""

from collections.abc import Callable

from pconv.devices import adb, local, ssh
from pconv.devices.device import Device, Finished, Found
from pconv.errors import DeviceError

__all__ = ["Device", "Finished", "Found", "connect", "list_devices", "why_no_phones"]

_KINDS: dict[str, Callable[[str], Device]] = {
    "adb": adb.Adb.connect,
    "ssh": ssh.Ssh.connect,
    "local": local.Local.connect,
}


def connect(name: str) -> Device:
    """Open a device: "adb:SERIAL", "ssh:HOST" or "local"; close it, or use it in a `with`.

    Raises: DeviceError when there is no such device, or it does not let us in.
    """
    kind, _, address = name.partition(":")
    if kind not in _KINDS or bool(address) != (kind != "local"):
        raise DeviceError(
            f"device {name!r}: no such kind; allowed adb:SERIAL, ssh:HOST, local. See `pconv devices`."
        )
    return _KINDS[kind](address)


def list_devices() -> list[Found]:
    """List what `connect` may be asked for: phones on adb, and hosts of the ssh configuration (not contacted).

    Raises: DeviceError when adb is there and does not work.
    """
    return [*adb.list_devices(), *ssh.list_hosts(), *local.list_devices()]


def why_no_phones() -> str:
    """Say what is missing where `list_devices` cannot list phones; nothing where it can."""
    return "" if adb.is_there() else adb.ABSENT
