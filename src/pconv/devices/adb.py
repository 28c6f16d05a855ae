"""Phones, and Android's emulators, over adb. PCONV_ADB names another adb."""

import shutil
from pathlib import Path
from typing import Self

from pconv.devices.device import QUICK_S, Finished, Found, call, command_of, failed
from pconv.devices.shell import ShellDevice
from pconv.errors import DeviceError

FOLDER = "/data/local/tmp"  # the place where adb's user may execute files
PUSH_S = 600.0

_PLATFORMS = {"arm64-v8a": "android-arm64", "x86_64": "android-x86_64"}
_ADVICE = {
    "offline": "it is offline. Reconnect it, or run `adb reconnect`",
    "unauthorized": "it has not authorised this computer. Accept the question on its screen",
    "no permissions": "this user may not talk to it. Add a udev rule, or run `adb kill-server` as root",
}

ABSENT = "adb is not here; install Android's platform tools, or name it in PCONV_ADB"


class Adb(ShellDevice):
    """One device of `adb devices`."""

    @classmethod
    def connect(cls, serial: str) -> Self:
        """Look the device up and ask what CPU it has.

        Raises: DeviceError when it is not there, not ready, or has another CPU.
        """
        found = {device.name: device for device in list_devices(required=True)}
        name = f"adb:{serial}"
        if name not in found:
            there = ", ".join(found) or "none"
            raise DeviceError(
                f"{name}: no such device is connected; connected: {there}. See `pconv devices`."
            )
        if (state := found[name].state) != "ready":
            raise DeviceError(f"{name}: {_ADVICE.get(state, f'its state is {state!r}')}.")
        device = cls(name, FOLDER)
        abi = device.shell("getprop ro.product.cpu.abi")
        if abi.code:
            raise failed(name, "getprop", abi)
        kind = abi.out.strip()
        if kind not in _PLATFORMS:
            raise DeviceError(f"{name}: its CPU is {kind or 'unknown'}; allowed {', '.join(_PLATFORMS)}.")
        device.platform = _PLATFORMS[kind]
        return device

    def shell(self, line: str, timeout_s: float = QUICK_S) -> Finished:
        """Run one line of shell there."""
        return self._adb("shell", line, timeout_s=timeout_s)

    def send(self, source: Path, place: str) -> Finished:
        """Copy a file to a path there."""
        return self._adb("push", str(source), place, timeout_s=PUSH_S)

    def fetch(self, place: str, to: Path) -> Finished:
        """Copy the file at a path there to a path here."""
        return self._adb("pull", place, str(to), timeout_s=PUSH_S)

    def _adb(self, *arguments: str, timeout_s: float) -> Finished:
        serial = self.name.partition(":")[2]
        return call(self.name, [*_command(), "-s", serial, *arguments], timeout_s)


def is_there() -> bool:
    """Say whether there is an adb."""
    return shutil.which(_command()[0]) is not None


def list_devices(*, required: bool = False) -> list[Found]:
    """List what `adb devices` shows; nothing where there is no adb, unless it is `required`.

    Raises: DeviceError when adb does not work, or is required and absent.
    """
    if not is_there():
        if required:
            raise DeviceError(f"{ABSENT}.")
        return []
    done = call("adb", [*_command(), "devices", "-l"])
    if done.code:
        raise failed("adb", "`adb devices`", done)
    return [_found(line) for line in done.out.splitlines()[1:] if line.strip() and not line.startswith("*")]


def _found(line: str) -> Found:
    serial, _, rest = line.strip().partition(" ") if "\t" not in line else line.partition("\t")
    words = rest.split()
    state = "no permissions" if words[:2] == ["no", "permissions"] else (words or ["unknown"])[0]
    said = dict(word.split(":", 1) for word in words[1:] if ":" in word)
    detail = said.get("model", said.get("product", "")).replace("_", " ")
    return Found(f"adb:{serial}", "ready" if state == "device" else state, detail)


def _command() -> list[str]:
    return command_of("PCONV_ADB", "adb")
