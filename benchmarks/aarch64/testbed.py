"""An AArch64 Python with the peers in it, and an emulator that counts: what stands in for a phone.

Debian's packages and the peers' wheels for AArch64 are unpacked into a folder, nothing is installed here. Needs
qemu-user (with plugins), gcc, dpkg and an apt that knows Debian 12. Counts of two threads wander: one thread only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

HERE = Path(__file__).parent
CPU = "cortex-a76"
PYTHON = "3.11"
PACKAGES = (
    *(f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"),
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5"),
    *("libssl3", "libgomp1"),
)
WHEELS = {"numpy": "2.4.6", "mnn": "3.6.1", "ncnn": "1.0.20261020", "onnxruntime": "1.31.1"}
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
# ONNX Runtime reads this file when it starts, and dies where it is not an Arm's.
CPUINFO = """\
processor\t: {number}
BogoMIPS\t: 38.40
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0b
CPU revision\t: 1

"""

Counts = dict[str, Any]


@dataclass(frozen=True)
class Testbed:
    """A folder with all that it takes; made by the first use of each part, kept for the next run."""

    folder: Path

    @cached_property
    def plugin(self) -> Path:
        """Compile the plugin."""
        made = self.folder / "a64count.so"
        made.parent.mkdir(parents=True, exist_ok=True)
        _call("gcc", "-O2", "-shared", "-fPIC", "-o", made, HERE / "a64count.c")
        return made

    @cached_property
    def python(self) -> Path:
        """Unpack Python and the peers. Returns: the folder that stands for /."""
        root, done = self.folder / "root", self.folder / "ready"
        said = json.dumps({"packages": PACKAGES, "wheels": WHEELS})
        if not done.is_file() or done.read_text() != said:
            self._unpack_packages(root)
            self._unpack_wheels()
            (root / "proc").mkdir(exist_ok=True)
            (root / "proc" / "cpuinfo").write_text("".join(CPUINFO.format(number=i) for i in range(4)))
            done.write_text(said)
        return root

    def count(
        self, command: Sequence[str | Path], *, guest: Sequence[str | Path] = (), top: int = 0
    ) -> list[Counts]:
        """Run an AArch64 program. Returns: what it executed between two markers each, and in all.

        With `top`, each holds as many of the blocks that executed most.
        """
        with NamedTemporaryFile(suffix=".json") as out:
            plugin = f"{self.plugin},out={out.name},cache=on,top={top}"
            # Without randomised addresses the cache model sees the same sets in every run.
            emulator = ("setarch", "-R", "qemu-aarch64", "-seed", "1", "-cpu", CPU, "-plugin", plugin)
            _call(*emulator, *guest, *command)
            return [json.loads(line) for line in out]

    def count_peer(self, engine: str, folder: Path, dtype: str, names: Sequence[str]) -> Counts:
        """Run a peer on the model in `folder`, whose input and output have these `names`; see peer.py."""
        root = self.python
        library = [root / "usr/lib/aarch64-linux-gnu", root / "lib/aarch64-linux-gnu"]
        variables: Mapping[str, Any] = {
            "PYTHONHOME": root / "usr",
            "PYTHONPATH": self.folder / "site",
            "PYTHONHASHSEED": 0,
            "PYTHONDONTWRITEBYTECODE": 1,
            "OMP_NUM_THREADS": 1,
            "LD_LIBRARY_PATH": ":".join(map(str, library)),
        }
        guest: list[str | Path] = [
            "-L",
            root,
            *(word for name, value in variables.items() for word in ("-E", f"{name}={value}")),
        ]
        command: list[str | Path] = [
            root / f"usr/bin/python{PYTHON}",
            "-S",
            HERE / "peer.py",
            engine,
            folder,
            dtype,
            *names,
        ]
        counts = self.count(command, guest=guest)
        return next(region for region in counts if region["mark"] == 1)

    def _unpack_packages(self, root: Path) -> None:
        apt, packed = self.folder / "apt", self.folder / "packages"
        for part in ("lists/partial", "cache/archives/partial", "state", "sources"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        packed.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        (apt / "state" / "status").touch()
        sources = Path("/etc/apt/sources.list.d/debian.sources")
        (apt / "sources" / sources.name).write_bytes(sources.read_bytes())
        config = apt / "apt.conf"
        config.write_text(
            'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Sandbox::User "root";\n'
            f'Dir::State "{apt}/state"; Dir::State::Lists "{apt}/lists"; Dir::Cache "{apt}/cache";\n'
            f'Dir::State::status "{apt}/state/status";\n'
            f'Dir::Etc::sourceparts "{apt}/sources"; Dir::Etc::sourcelist "/dev/null";\n'
        )
        here = {"env": os.environ | {"APT_CONFIG": str(config)}, "cwd": packed}
        _call("apt-get", "update", "-qq", **here)
        _call("apt-get", "download", "-qq", *PACKAGES, **here)
        for package in packed.glob("*.deb"):
            _call("dpkg", "-x", package, root)

    def _unpack_wheels(self) -> None:
        place = ("--only-binary=:all:", "--no-deps", "--python-version", PYTHON, "--implementation", "cp")
        tags = [f"--platform={name}" for name in PLATFORMS]
        wanted = [f"{name}=={version}" for name, version in WHEELS.items()]
        site = self.folder / "site"
        _call(
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--upgrade",
            "--target",
            site,
            *place,
            *tags,
            *wanted,
        )


def _call(*command: str | Path, **options: Any) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed (exit code {done.returncode}): {(done.stderr or done.stdout)[-800:]}")
