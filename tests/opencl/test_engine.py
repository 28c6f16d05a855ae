"""An engine on an OpenCL device is called, reported, saved and refused as any other."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import pconv
from graph.models import make, node, rand
from graph.test_dilated import dilated
from pconv import targets, zoo
from pconv.cli import main
from pconv.compiler import inspect
from pconv.errors import ArtefactError, BuildError, InputError
from pconv.graph import load as load_graph
from pconv.graph.prune import prune_model, save
from pconv.runtime import opencl_device
from pconv.runtime.opencl import OpenclEngine
from pconv.runtime.opencl_file import read_opencl_file

pytestmark = [pytest.mark.opencl, pytest.mark.torch]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a pruned network for small images."""
    folder = tmp_path_factory.mktemp("engine")
    dense = zoo.to_onnx("dncnn", folder / "dense.onnx", shape=(1, 1, 12, 10))
    pruned, _ = prune_model(load_graph(dense), pconv.Recipe(compression_rate=8.0))
    save(pruned, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def pcl(model: Path) -> Path:
    """Compile it."""
    return pconv.compile_file(model, target="opencl", out=model.parent / "net.pcl")


@pytest.fixture
def x() -> np.ndarray:
    """Draw three images."""
    return np.random.default_rng(1).standard_normal((3, 1, 12, 10), np.float32)


def test_it_answers_as_the_cpu_does(model: Path, x: np.ndarray) -> None:
    with pconv.compile(model, target="opencl") as gpu, pconv.compile(model, threads=1) as cpu:
        assert isinstance(gpu, OpenclEngine)
        assert (gpu.inputs, gpu.outputs) == (cpu.inputs, cpu.outputs)
        expected = cpu(x)
        np.testing.assert_allclose(gpu(x), expected, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_array_equal(gpu(x[2:]), gpu(x)[2:])
        assert gpu.device in repr(gpu)
        with pytest.raises(InputError, match=r"shape \(1, 1, 4, 4\), allowed \(N, 1, 12, 10\)"):
            gpu(np.zeros((1, 1, 4, 4), np.float32))


@pytest.mark.parametrize("image", [(33, 40), (20, 13)], ids=["phases", "taps"])
def test_dilated_convolutions_in_parts(image: tuple[int, int]) -> None:
    x = np.random.default_rng(2).standard_normal((1, 16, *image), np.float32)
    model = dilated(image, channels=16)
    with pconv.compile(model, target="opencl") as gpu, pconv.compile(model, threads=1) as cpu:
        expected = cpu(x)
        np.testing.assert_allclose(gpu(x), expected, atol=1e-5 * np.abs(expected).max())


def test_a_value_read_with_a_halo_and_without() -> None:
    """On one lane both have one geometry: softmax and matrix product read dense planes, the convolution padded ones."""
    nodes = [
        node("Relu", "x", "r"),
        node("Conv", "r w", "conv", pads=[1, 1, 1, 1]),
        node("Softmax", "r", "soft", axis=1),
        node("MatMul", "r r", "product"),
    ]
    model = make(nodes, {"x": (1, 4, 8, 8)}, ["conv", "soft", "product"], {"w": rand(5, 4, 3, 3)})
    x = rand(1, 4, 8, 8, seed=1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with pconv.compile(model, target="opencl") as gpu:
        for got, expected in zip(gpu(x), session.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_report(pcl: Path, x: np.ndarray) -> None:
    with pconv.load(pcl) as engine:
        report = engine.report(x, runs=1)
        assert [layer.name for layer in report.layers] == [
            layer["name"] for layer in engine.manifest["layers"]
        ]
        assert all(layer.ms > 0 for layer in report.layers)
        assert any("sparse" in layer.reason for layer in report.layers)
        assert report.target == "opencl"


def test_save_and_load(pcl: Path, x: np.ndarray, tmp_path: Path) -> None:
    with pconv.load(pcl) as engine:
        expected = engine(x)
        copy = engine.save(tmp_path / "copy.pcl")
    with pconv.load(copy) as engine:
        np.testing.assert_array_equal(engine(x), expected)
    with pytest.raises(InputError, match=r"this engine is closed; load the file again\."):
        engine(x)
    with pytest.raises(InputError, match=r"this engine is closed; load the file again\."):
        engine.save(tmp_path / "copy.pcl")
    engine.close()


def test_save_survives_another_file_in_its_place(pcl: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(pcl, tmp_path / "mine.pcl"))
    with pconv.load(mine) as engine:
        mine.unlink()
        mine.write_bytes(b"another model")
        assert engine.save(tmp_path / "copy.pcl").read_bytes() == pcl.read_bytes()


def test_threads_mean_nothing(pcl: Path) -> None:
    with pconv.load(pcl, threads=4) as engine:
        assert engine.threads == 1
        with pytest.raises(InputError, match=r"threads: 2 has no meaning on .*; leave it as it is\."):
            engine.threads = 2
        assert engine.affinity == ()
        with pytest.raises(InputError, match=r"affinity: cores have no meaning on .*; leave it as it is\."):
            engine.affinity = (0,)


def test_inspect_prints_opencl_c(model: Path, pcl: Path) -> None:
    layer = read_opencl_file(pcl).manifest["layers"][2]["name"]
    assert "__kernel void f16_conv3x3s1_p8x4" in inspect(model, "c", target="opencl-fp16")
    assert inspect(model, "c", layer, target="opencl").count("__kernel") == 1
    assert "for opencl:" in inspect(model, "plan", target="opencl")


def test_fp16_math_is_refused_where_the_device_has_none(model: Path) -> None:
    path = pconv.compile_file(model, target="opencl-fp16-math")
    if "cl_khr_fp16" in opencl_device.choose_device().extensions:
        pconv.load(path).close()
        return
    with pytest.raises(ArtefactError, match=r"has no cl_khr_fp16; compile the model .* \(opencl-fp16\)"):
        pconv.load(path)


def test_no_such_device(pcl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtefactError, match=r"OpenCL: no device is called 'abacus'; this machine has "):
        OpenclEngine(pcl, "abacus")
    monkeypatch.setenv("PCONV_OPENCL_DEVICE", "slide rule")
    with pytest.raises(ArtefactError, match="no device is called 'slide rule'"):
        pconv.load(pcl)


@pytest.mark.parametrize("keep", [8, 100, -64])
def test_a_file_cut_off(pcl: Path, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.pcl"
    cut.write_bytes(pcl.read_bytes()[:keep])
    with pytest.raises(
        ArtefactError, match=r"cut\.pcl: not a whole model compiled for OpenCL .* Compile the model"
    ):
        pconv.load(cut)


def test_a_file_of_another_version(pcl: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pcl"
    other.write_bytes(pcl.read_bytes().replace(b'"format": 2,', b'"format": 7,', 1))
    with pytest.raises(ArtefactError, match=r"manifest format 7, allowed 2\. Compile the model again"):
        pconv.load(other)


def test_a_file_that_is_gone(pcl: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"gone\.pcl: cannot be read \(No such file or directory\)"):
        read_opencl_file(tmp_path / "gone.pcl")


def test_kernels_that_the_driver_refuses(pcl: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcl"
    broken.write_bytes(pcl.read_bytes().replace(b"typedef float real;", b"typedef flaot real;"))
    with pytest.raises(ArtefactError, match=r"the driver of .* cannot compile it \(.*flaot"):
        pconv.load(broken)


def test_a_cpu_has_no_meaning() -> None:
    with pytest.raises(BuildError, match=r"cpu 'cortex-a76': target opencl has none; leave it out\."):
        targets.get("opencl", "cortex-a76")


def test_the_file_comes_from_the_cache(model: Path) -> None:
    first = pconv.compile_file(model, target="opencl")
    before = os.stat(first).st_ino
    assert os.stat(pconv.compile_file(model, target="opencl")).st_ino == before


def test_the_command_line_runs_it_under_any_name(
    pcl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renamed = tmp_path / "net.bin"
    renamed.write_bytes(pcl.read_bytes())
    for path in (pcl, renamed):
        with pytest.raises(SystemExit) as ended:
            main(["run", str(path), "--json"])
        assert ended.value.code in (0, None)
        assert json.loads(capsys.readouterr().out)["outputs"][0]["shape"] == [1, 1, 12, 10]
