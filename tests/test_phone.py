"""The commands of docs/phone.md run, as far as this machine goes: a folder plays the phone."""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pconv.cli import main

pytestmark = [pytest.mark.cc, pytest.mark.torch, pytest.mark.qemu, pytest.mark.slow]
DOC = (Path(__file__).parents[1] / "docs" / "phone.md").read_text(encoding="utf-8")
# What stands for the phone of the text: a folder, an emulator, and a core that this machine has.
HERE = {"SERIAL": "fake", "4-7": "0"}


def test_ten_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (commands,) = re.findall(r"^```sh\n(.*?)^```", DOC, re.DOTALL | re.MULTILINE)
    (script,) = re.findall(r"^ *```python\n(.*?)^ *```", DOC, re.DOTALL | re.MULTILINE)
    lines = commands.splitlines()
    assert len(lines) == 10
    fake = Path(__file__).parent / "devices" / "fake_adb.py"
    (tmp_path / "phone").mkdir()
    qemu = shutil.which("qemu-aarch64") or pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    phone = {"devices": ["fake\tdevice model:Folder"], "root": str(tmp_path / "phone"), "abi": "arm64-v8a"}
    phone["runner"] = f"{qemu} -cpu cortex-a76"
    monkeypatch.setenv("FAKE_ADB", json.dumps(phone))
    monkeypatch.setenv("PCONV_ADB", shlex.join([sys.executable, str(fake)]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").mkdir()
    exec(re.sub(r"^   ", "", script, flags=re.MULTILINE), {})
    said = {}
    for line in lines:
        words = [HERE.get(word, word).replace("SERIAL", "fake") for word in shlex.split(line)]
        if words[0] != "pconv":
            continue
        with pytest.raises(SystemExit) as stopped:
            main(words[1:])
        captured = capsys.readouterr()
        assert stopped.value.code in (0, None), f"{line}: {captured.err}"
        said[words[1]] = captured.out
    assert list(said) == ["prune", "inspect", "devices", "bench", "export"]
    assert "adb:fake" in said["devices"] and "Folder" in said["devices"]
    assert "adb:fake" in said["bench"] and not os.listdir(tmp_path / "phone")
    assert (tmp_path / "app" / "net" / "kotlin" / "Net.kt").is_file()
    assert (tmp_path / "app" / "net" / "lib" / "android-arm64" / "libnet.so").is_file()
