"""A phone that is a folder, a real ssh server on loopback, and the executable of a small model for each."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Phone = Callable[..., Path]


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """Return a function that puts a fake `adb` on PATH and says what it shows; the phone's folder comes back."""
    script = Path(__file__).with_name("fake_adb.py")
    folder = tmp_path / "bin"
    folder.mkdir()
    adb = folder / "adb"
    adb.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PCONV_ADB", raising=False)

    def plug_in(*devices: str, **said: object) -> Path:
        root = tmp_path / "phone"
        root.mkdir(exist_ok=True)
        monkeypatch.setenv("FAKE_ADB", json.dumps({"devices": devices, "root": str(root), **said}))
        return root

    return plug_in


# What Android's C library does when a program begins.
INIT_C = """
#include <stdlib.h>

void __libc_init(long *stack, void (*at_exit)(void), int (*main)(int, char **, char **), const void *structors) {
    (void)at_exit, (void)structors;
    exit(main((int)stack[0], (char **)(stack + 1), (char **)(stack + 2 + stack[0])));
}
"""


@pytest.fixture
def bionic(tmp_path: Path) -> str:
    """Return the command that starts a program for Android on x86-64 with this machine's loader and C library."""
    folder = tmp_path / "bionic"
    folder.mkdir()
    (folder / "init.c").write_text(INIT_C)
    subprocess.run(["gcc", "-shared", "-fPIC", folder / "init.c", "-o", folder / "init.so"], check=True)
    for name in ("libc", "libdl"):
        with Path("/proc/self/maps").open() as maps:
            libc = next(Path(line.split()[-1]) for line in maps if "/libc.so" in line or "/libc-" in line)
        (folder / f"{name}.so").symlink_to(libc if name == "libc" else libc.with_name("libdl.so.2"))
    return f"/lib64/ld-linux-x86-64.so.2 --preload {folder}/init.so --library-path {folder}"


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run sshd on loopback with keys of its own; return the ssh command that reaches it as host `board`."""
    sshd = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
    if sshd is None or not shutil.which("ssh"):
        pytest.fail("this test needs ssh and sshd (Debian: openssh-client, openssh-server)")
    folder = tmp_path_factory.mktemp("ssh")
    folder.chmod(0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copyfile(folder / "user.pub", folder / "authorized_keys")
    (folder / "authorized_keys").chmod(0o600)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPrintMotd no\n"
    )
    (folder / "config").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n"
        "  StrictHostKeyChecking accept-new\n"
        f"Host stranger\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/host\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n"
        "  StrictHostKeyChecking accept-new\nHost gone\n  HostName 127.0.0.1\n  Port 1\nHost *.example\n  User nobody\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, gives up its rights
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        assert server.poll() is None, server.stderr and server.stderr.read()
        yield f"ssh -F {folder}/config"
    finally:
        server.terminate()
        server.wait(10)
