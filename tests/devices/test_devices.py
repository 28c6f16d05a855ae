"""Devices push, run and pull, and say in one line what is wrong; phones are folders, the ssh server is real."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pconv import devices
from pconv.devices import Found, connect, list_devices
from pconv.errors import DeviceError

Phone = Callable[..., Path]
READY = "emulator-5554\tdevice product:sdk model:Pixel_8 device:husky transport_id:1"
NAME = "adb:emulator-5554"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script"
    path.write_text('#!/bin/sh\necho "$1 and $2" | tee out; echo careful >&2; exit ${3:-0}\n')
    return path


def check_device(device: devices.Device, script: Path, tmp_path: Path) -> None:
    """Push, run and pull, with arguments that a shell would like to read its own way."""
    with device:
        device.push(script, "script")
        done = device.run("script", "it's", "$HOME; *")
        assert (done.code, done.out, done.err) == (0, "it's and $HOME; *\n", "careful\n")
        assert device.run("script", "a", "b", "3").code == 3
        device.pull("out", tmp_path / "back")
        assert (tmp_path / "back").read_text() == "a and b\n"
        with pytest.raises(DeviceError, match=rf"^{device.name}: pull of nope failed: .*No such file"):
            device.pull("nope", tmp_path / "nope")
        assert not (tmp_path / "nope").exists()
        with pytest.raises(
            DeviceError, match=rf"^{device.name}: run of nope failed: .*(not found|No such file)"
        ):
            device.run("nope")


def test_local(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "it's temporary"
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    temporary.mkdir()
    device = connect("local")
    assert device.platform in ("linux-x86_64", "linux-aarch64", "macos-arm64", "macos-x86_64")
    check_device(device, script, tmp_path)
    assert list(temporary.iterdir()) == []


def test_adb(phone: Phone, script: Path, tmp_path: Path) -> None:
    root = phone(READY, abi="arm64-v8a")
    device = connect(NAME)
    assert (device.name, device.platform) == (NAME, "android-arm64")
    check_device(device, script, tmp_path)
    assert list(root.iterdir()) == []  # nothing stays on the phone


def test_ssh(ssh_server: str, script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    device = connect("ssh:board")
    assert device.platform == connect("local").platform
    check_device(device, script, tmp_path)


def test_list(phone: Phone, ssh_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    phone(
        READY,
        "0A1B unauthorized usb:1-1",
        "host:5555\toffline",
        "ZZ no permissions (user in plugdev); see [url]",
    )
    assert list_devices()[:-1] == [
        Found(NAME, "ready", "Pixel 8"),
        Found("adb:0A1B", "unauthorized", ""),
        Found("adb:host:5555", "offline", ""),
        Found("adb:ZZ", "no permissions", ""),
        *(Found(f"ssh:{host}", "configured", "") for host in ("board", "stranger", "gone")),
    ]
    assert list_devices()[-1].name == "local"


def test_list_without_adb_and_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PCONV_SSH", f"ssh -F {tmp_path}/none")
    monkeypatch.delenv("PCONV_ADB", raising=False)
    assert [found.name for found in list_devices()] == ["local"]
    with pytest.raises(DeviceError, match=r"^adb is not here; install Android's .* name it in PCONV_ADB\.$"):
        connect("adb:x")


def test_hosts_of_a_configuration_as_ssh_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_bytes(
        b'# Host none\nHost pi nano # my boards\nHost=equal\n  host = spaced\nHost "quoted name" b"a"r\n'
        b'Host caf\xe9\n  HostName x\nHost *.lab !other last\nHostName wrong\nHost open"ended\nHost\n'
    )
    monkeypatch.setenv("PCONV_SSH", f"ssh -F {tmp_path}/config")
    names = [found.name for found in list_devices() if found.name.startswith("ssh:")]
    assert names == [
        "ssh:pi",
        "ssh:nano",
        "ssh:equal",
        "ssh:spaced",
        "ssh:quoted name",
        "ssh:bar",
        "ssh:last",
    ]


@pytest.mark.parametrize(("variable", "name"), [("PCONV_SSH", "ssh:board"), ("PCONV_ADB", "adb:x")])
def test_a_command_with_an_open_quote(monkeypatch: pytest.MonkeyPatch, variable: str, name: str) -> None:
    monkeypatch.setenv(variable, "my 'command")
    for use in (list_devices, lambda: connect(name)):
        with pytest.raises(
            DeviceError,
            match=rf"^{variable}: my 'command is no command \(No closing quotation\)\. Close it, or",
        ):
            use()


@pytest.mark.parametrize("name", ["usb:1", "adb", "adb:", "local:1", ""])
def test_no_such_kind(name: str) -> None:
    with pytest.raises(
        DeviceError, match=r"no such kind; allowed adb:SERIAL, ssh:HOST, local\. See `pconv devices`"
    ):
        connect(name)


@pytest.mark.parametrize(
    ("serial", "line", "message"),
    [
        (
            "other",
            READY,
            rf"adb:other: no such device is connected; connected: {NAME}\. See `pconv devices`\.",
        ),
        ("x", "x\toffline", r"adb:x: it is offline\. Reconnect it, or run `adb reconnect`\."),
        (
            "x",
            "x\tunauthorized",
            r"adb:x: it has not authorised this computer\. Accept the question on its screen\.",
        ),
        ("x", "x no permissions (x)", r"adb:x: this user may not talk to it\. Add a udev rule"),
        ("x", "x\trecovery", r"adb:x: its state is 'recovery'\."),
    ],
)
def test_adb_not_ready(phone: Phone, serial: str, line: str, message: str) -> None:
    phone(line, abi="arm64-v8a")
    with pytest.raises(DeviceError, match=f"^{message}"):
        connect(f"adb:{serial}")


def test_adb_other_cpu(phone: Phone) -> None:
    phone(READY, abi="armeabi-v7a")
    with pytest.raises(DeviceError, match=rf"^{NAME}: its CPU is armeabi-v7a; allowed arm64-v8a, x86_64\."):
        connect(NAME)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("adb: error: device is gone", r"push of script failed: adb: error: device is gone\."),
        (
            "write failed: No space left on device",
            r"push of script failed: no space is left there\. Free some",
        ),
    ],
)
def test_adb_push_fails(phone: Phone, script: Path, said: str, message: str) -> None:
    phone(READY, abi="x86_64", fail={"push": said})
    with connect(NAME) as device, pytest.raises(DeviceError, match=f"^{NAME}: {message}"):
        device.push(script, "script")


def test_file_for_another_cpu(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
    with connect("local") as device:
        device.push(tmp_path / "foreign", "foreign")
        with pytest.raises(
            DeviceError, match=r"^local: run of foreign failed: .*(Exec format|not found|cannot)"
        ):
            device.run("foreign")


def test_device_that_sleeps(phone: Phone, script: Path) -> None:
    script.write_text("#!/bin/sh\nexec sleep 20\n")
    with connect("local") as device:
        device.push(script, "script")
        with pytest.raises(
            DeviceError, match=r"^local: no answer within 0.2 s; allowed is a device that is awake\."
        ):
            device.run("script", timeout_s=0.2)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("stranger", r"it does not let us in\. Install your key there \(ssh-copy-id\)\."),
        ("gone", r"connection failed: .*refused"),
        ("no-such-host.invalid", r"connection failed: .*no-such-host"),
        ("-oProxyCommand=x", r"not the name of a host\."),
    ],
)
def test_ssh_errors(ssh_server: str, monkeypatch: pytest.MonkeyPatch, host: str, message: str) -> None:
    monkeypatch.setenv("PCONV_SSH", ssh_server)
    with pytest.raises(DeviceError, match=f"^ssh:{host}: {message}"):
        connect(f"ssh:{host}")


def test_ssh_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\necho "SunOS sun4v"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PCONV_SSH", str(fake))
    with pytest.raises(DeviceError, match=r"^ssh:x: it is SunOS sun4v; allowed Linux x86_64, Linux aarch64"):
        connect("ssh:x")
    fake.write_text("#!/bin/sh\necho Host key verification failed. >&2\nexit 255\n")
    with pytest.raises(
        DeviceError, match=r"^ssh:x: its host key is unknown\. Log in once with ssh and accept it\."
    ):
        connect("ssh:x")
