"""pconv_gpu_bench is linked for a platform that is not at hand; its answers are in tests/devices."""

import shutil
import subprocess
from pathlib import Path

import pytest

from devices.conftest import INIT_C
from loading import read_loading
from pconv import targets
from pconv.build import call_compiler
from pconv.cache import Cache
from pconv.gpu_bench import BIONIC, build_gpu_bench
from pconv.toolchain import choose

pytestmark = pytest.mark.cc
LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")


@pytest.mark.parametrize("name", ["android-arm64", "android-x86_64"])
def test_android_asks_for_its_own_libraries(name: str, tmp_path: Path) -> None:
    loading = read_loading(build_gpu_bench(targets.get(name), tmp_path / "bench"))
    assert (loading.needed, loading.page_bytes) == (("libc.so", "libdl.so"), 16384)
    assert {"__libc_init", "dlopen"} <= set(loading.undefined) <= set(" ".join(BIONIC.values()).split())
    assert b"/system/bin/linker64\0" in (tmp_path / "bench").read_bytes()


@pytest.mark.parametrize("name", ["macos-arm64", "macos-x86_64"])
def test_macos_links(name: str, tmp_path: Path) -> None:
    assert build_gpu_bench(targets.get(name), tmp_path / "bench").read_bytes()[:4] == b"\xcf\xfa\xed\xfe"


def test_one_that_was_cut_off_in_the_cache_is_made_anew(tmp_path: Path) -> None:
    cache, target = Cache(tmp_path / "cache"), targets.get("linux-aarch64")
    whole = build_gpu_bench(target, tmp_path / "first", cache=cache).read_bytes()
    (entry,) = cache.root.glob("*.so")
    entry.write_bytes(whole[: len(whole) // 2])
    assert build_gpu_bench(target, tmp_path / "second", cache=cache).read_bytes() == whole


@pytest.mark.qemu
def test_android_under_qemu(tmp_path: Path) -> None:
    """Another system's loader and C library stand for Android's; there is no OpenCL on it."""
    qemu = shutil.which("qemu-aarch64") or pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    linux, cache = targets.get("linux-aarch64"), Cache()
    compiler = choose(None, linux)
    (tmp_path / "init.c").write_text(INIT_C)
    flags = [
        *compiler.base_flags(linux),
        "-fvisibility=default",
        "-shared",
        *compiler.executable_flags(linux),
    ]
    shim = tmp_path / "init.so"
    call_compiler(
        compiler.command, [*flags, str(tmp_path / "init.c"), "-o", str(shim)], shim, tmp_path, cache
    )
    (tmp_path / "libc.so").symlink_to(LIBRARIES / "libc.so.6")
    (tmp_path / "libdl.so").symlink_to(LIBRARIES / "libdl.so.2")
    bench = build_gpu_bench(targets.get("android-arm64"), tmp_path / "bench")
    (tmp_path / "none.pcl").write_bytes(b"PCONVCL2")
    loader = [
        LIBRARIES / "ld-linux-aarch64.so.1",
        "--preload",
        shim,
        "--library-path",
        f"{tmp_path}:{LIBRARIES}",
    ]
    for options, said in (
        ([], "open: which model? name a .pcl file with --model"),
        (["--model", tmp_path / "none.pcl"], "open: OpenCL: this is no whole compiled model (.pcl)"),
        (["--cpus", "1000"], "1000: the system does not let this run on these cores"),
    ):
        done = subprocess.run(
            [qemu, "-cpu", "cortex-a53", *loader, bench, *options], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (2, f"pconv_bench: error: {said}\n")
