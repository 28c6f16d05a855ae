"""Targets are found by name, and by what the machine says of itself."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from pconv import targets
from pconv.errors import BuildError
from pconv.targets import detect

V3 = "fpu avx avx2 bmi1 bmi2 f16c fma movbe"
V4 = V3 + " avx512bw avx512cd avx512dq avx512f avx512vl"


def pretend(patch: pytest.MonkeyPatch, tmp_path: Path, machine: str, cpuinfo: str | None) -> None:
    patch.setattr(platform, "machine", lambda: machine)
    patch.setattr(platform, "system", lambda: "Darwin" if cpuinfo is None else "Linux")
    patch.setattr(detect, "CPUINFO", tmp_path / "cpuinfo")
    patch.setattr(detect, "CACHES", tmp_path / "cache")
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpuinfo}\n\nprocessor\t: 1\n")


def test_names() -> None:
    assert targets.names() == ("x86-64-v4", "x86-64-v3", "aarch64")
    for name in targets.names():
        assert targets.get(name).name == name
    assert targets.get("native") == targets.native()


def test_unknown_name() -> None:
    with pytest.raises(BuildError, match=r"target 'z80' is unknown; allowed native, linux-x86_64, .*aarch64"):
        targets.get("z80")
    with pytest.raises(BuildError, match=r"target 'windows-x86_64' is unknown"):
        targets.get("windows-x86_64")


@pytest.mark.parametrize("name", targets.platforms())
def test_platforms(name: str) -> None:
    target = targets.get(name)
    assert target.zig_target is not None and target.zig_target.startswith(target.arch)
    for cpu in targets.cpus(target.arch):
        tuned = targets.get(name, cpu)
        assert (tuned.os, tuned.arch, tuned.zig_target) == (target.os, target.arch, target.zig_target)
        assert cpu in (tuned.name, tuned.cpu)


def test_instruction_sets_are_linux_targets() -> None:
    assert targets.get("linux-aarch64") == targets.get("aarch64")
    assert targets.get("linux-x86_64", "x86-64-v4") == targets.get("x86-64-v4")


def test_a_core_adds_no_instructions() -> None:
    tuned = targets.get("android-arm64", "cortex-a76")
    assert tuned.features == targets.get("aarch64").features and "-mcpu=generic" in tuned.zig_cflags
    assert tuned.zig_cflags[-3:] == ("-tune-cpu", "-Xclang", "cortex-a76")


def test_types() -> None:
    plain, halves = (
        targets.get("android-arm64", "cortex-a76"),
        targets.get("android-arm64", "cortex-a76", "fp16"),
    )
    assert targets.get("android-arm64", "cortex-a76", "fp32") == plain
    assert halves.features == (*plain.features, "asimdhp", "fphp")
    assert (plain.lanes, halves.lanes) == (4, 8) and plain.vector_bytes == halves.vector_bytes == 16
    stored = targets.get("ios-arm64", dtype="fp16-fp32acc")
    assert (stored.lanes, stored.vector_bytes, stored.features) == (4, 8, plain.features)
    assert targets.get("opencl", dtype="fp16-fp32acc") == targets.get("opencl-fp16")
    assert targets.get("opencl", dtype="fp16") == targets.get("opencl-fp16-math")


def test_types_that_a_target_lacks() -> None:
    with pytest.raises(
        BuildError, match=r"dtype 'fp16': target x86-64-v3 has none; allowed fp32\. .* linux-aarch64"
    ):
        targets.get("linux-x86_64", dtype="fp16")
    with pytest.raises(BuildError, match=r"dtype 'int4' is unknown; allowed fp32, fp16, fp16-fp32acc\."):
        targets.get("aarch64", dtype="int4")


def test_cpu_of_another_architecture() -> None:
    with pytest.raises(
        BuildError, match=r"cpu 'x86-64-v4' is none of android-arm64; allowed aarch64, cortex-a55"
    ):
        targets.get("android-arm64", "x86-64-v4")


def test_native_with_a_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "arm64", None)
    assert targets.get("native", "apple-m1") == targets.get("macos-arm64", "apple-m1")


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "name"),
    [
        ("x86_64", f"flags\t\t: {V4} more", "x86-64-v4"),
        ("x86_64", f"flags\t\t: {V3}", "x86-64-v3"),
        ("aarch64", "Features\t: fp asimd evtstrm", "aarch64"),
    ],
)
def test_native_on_linux(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, cpuinfo: str, name: str
) -> None:
    pretend(monkeypatch, tmp_path, machine, cpuinfo)
    assert targets.native() == targets.get(name)


@pytest.mark.parametrize(
    ("flags", "vendor", "family", "cpu"),
    [
        (V4, "AuthenticAMD", 25, "znver4"),
        (V3, "AuthenticAMD", 25, ""),
        (V4, "AuthenticAMD", 26, ""),
        (V4, "GenuineIntel", 6, ""),
    ],
)
def test_native_is_for_its_own_core_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, vendor: str, family: int, cpu: str
) -> None:
    said = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nflags\t: {flags}"
    pretend(monkeypatch, tmp_path, "x86_64", said)
    native = targets.native()
    assert native.cpu == cpu
    assert native == targets.get(native.name, cpu or None)
    assert native.features == targets.get(native.name).features


def test_native_on_apple_silicon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "arm64", None)
    assert targets.native() == replace(targets.get("aarch64"), os="macos", zig_target="aarch64-macos")


@pytest.mark.parametrize(("machine", "cpuinfo"), [("x86_64", "flags\t: sse2"), ("riscv64", "isa\t: rv64")])
def test_native_without_support(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, cpuinfo: str
) -> None:
    pretend(monkeypatch, tmp_path, machine, cpuinfo)
    with pytest.raises(
        BuildError, match=rf"this machine \(linux on {machine}\): no target fits its CPU; supported"
    ):
        targets.native()


def test_cache_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "aarch64", "Features\t: fp asimd")
    for index, (level, kind, size) in enumerate(
        (("1", "Data", "64K"), ("1", "Instruction", "1K"), ("2", "Unified", "3M"))
    ):
        folder = tmp_path / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    native = targets.native()
    assert (native.l1_bytes, native.l2_bytes) == (64 << 10, 3 << 20)


def test_several_in_one_file() -> None:
    fp16, fp32 = (targets.get("android-arm64", "cortex-a76", dtype) for dtype in ("fp16", "fp32"))
    for order in ("fp16,fp32", "fp32,fp16"):
        assert targets.get_all("android-arm64", "cortex-a76", order) == (fp16, fp32)
    both = targets.get_all("linux-x86_64", "x86-64-v3,x86-64-v4")
    assert [target.name for target in both] == ["x86-64-v4", "x86-64-v3"]
    assert targets.get_all() == (targets.native(),)


@pytest.mark.parametrize(
    ("name", "cpu", "dtype", "message"),
    [
        (
            "linux-aarch64",
            "cortex-a55,cortex-a76",
            None,
            "one file for aarch64 on cortex-a55 and aarch64 on cortex-a76: every CPU with asimd, fp runs both",
        ),
        (
            "linux-aarch64",
            None,
            "fp32,fp16-fp32acc",
            "aarch64 and aarch64-fp16-fp32acc: every CPU with asimd, fp runs",
        ),
        (
            "linux-aarch64",
            None,
            "fp16,fp16",
            "aarch64-fp16 and aarch64-fp16: every CPU with asimd, fp, asimdhp, fphp runs",
        ),
        ("linux-x86_64", "x86-64-v4,", None, "cpu '' is none of linux-x86_64; allowed x86-64-v4, x86-64-v3"),
        ("opencl", None, "fp32,fp16", "target opencl: a file for a GPU holds one type; allowed one --dtype"),
    ],
)
def test_several_that_nothing_tells_apart(
    name: str, cpu: str | None, dtype: str | None, message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        targets.get_all(name, cpu, dtype)
