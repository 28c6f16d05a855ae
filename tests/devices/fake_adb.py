"""What tests put on PATH as `adb`: phones that are folders of this machine.

FAKE_ADB is a JSON object: "devices" (lines after the heading), "root" (the folder that is /data/local/tmp), "abi",
"runner" (what executes a pushed file, e.g. qemu), "fail" (a command word -> what it says when it fails).
"""

import json
import os
import shutil
import subprocess
import sys

FOLDER = "/data/local/tmp"


def main(arguments: list[str]) -> int:
    """Do what adb does with these arguments, as far as pconv asks for it."""
    phone = json.loads(os.environ["FAKE_ADB"])
    if arguments[:1] == ["devices"]:
        print("* daemon started successfully *" if phone.get("daemon") else "List of devices attached")
        print("\n".join(phone["devices"]) + "\n")
        return 0
    serial, command, *rest = arguments[1:]
    assert arguments[0] == "-s" and serial in " ".join(phone["devices"]), arguments
    if command in phone.get("fail", {}):
        print(phone["fail"][command], file=sys.stderr)
        return 1
    here = [text.replace(FOLDER, phone["root"]) for text in rest]
    if command in ("push", "pull"):
        try:
            shutil.copyfile(*here)
        except OSError as error:
            print(f"adb: error: failed to copy: {error.strerror}", file=sys.stderr)
            return 1
        print(f"{rest[0]}: 1 file {command}ed, 0 skipped.")
        return 0
    assert command == "shell", command
    line = here[0].replace(" ./", f" {phone['runner']} ./", 1) if phone.get("runner") else here[0]
    return subprocess.run(["sh", "-c", f"getprop() {{ echo {phone.get('abi', '')}; }}; {line}"]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
