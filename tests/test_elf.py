"""What a library says of its loading is read as binutils read it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loading import read_loading
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen.program import Program

pytestmark = pytest.mark.cc


@pytest.mark.parametrize("name", ["linux-aarch64", "android-arm64"])
def test_as_binutils(make_program: Callable[..., Program], session_cache: Cache, name: str) -> None:
    if not shutil.which("readelf"):
        pytest.fail("this test needs readelf (Debian: binutils)")
    path = build(make_program(name), cache=session_cache)
    said = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True).stdout
    needed = [line.partition("[")[2].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line]
    symbols = subprocess.run(["nm", "-D", "-u", path], capture_output=True, text=True, check=True).stdout
    undefined = {line.split()[-1].partition("@")[0] for line in symbols.splitlines()}
    loading = read_loading(path)
    assert (list(loading.needed), set(loading.undefined)) == (needed, undefined)
    assert loading.page_bytes >= 16384


def test_segment_out_of_line(
    make_program: Callable[..., Program], session_cache: Cache, tmp_path: Path
) -> None:
    data = bytearray(build(make_program("android-arm64"), cache=session_cache).read_bytes())
    at = int.from_bytes(data[32:40], "little")
    broken = next(at + 56 * i for i in range(10) if data[at + 56 * i] == 1)
    data[broken + 16] += 1  # its address
    (tmp_path / "m.so").write_bytes(data)
    with pytest.raises(ValueError, match=r"m\.so: a segment does not lie as it is aligned"):
        read_loading(tmp_path / "m.so")
