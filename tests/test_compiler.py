"""compile() from a file, a proto and a module: right answers, the cache's short cut, and clear refusals."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import pconv
from graph.models import make, node, normalise, rand
from graph.reference import execute
from pconv import compiler, targets
from pconv.bench.case import Sparsity
from pconv.cache import Cache
from pconv.cli.models import Source, prune_file
from pconv.errors import ArtefactError, BuildError, ModelError
from pconv.files import PIECE
from pconv.sparsity import METADATA_KEY, SparsityMap

pytestmark = pytest.mark.cc


@pytest.fixture
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the file of a network of two sparse layers, like no other test's."""
    path = tmp_path / "small.onnx"
    onnx.save(two_layers(request.node.name), path)
    return path


def two_layers(graph_name: str, seed: int = 0, side: int = 28) -> onnx.ModelProto:
    """Build x -> block1 -> relu -> block2, + x."""
    weights = {}
    for name in ("block1", "block2"):
        weight = rand(16, 16, 3, 3, seed=seed) / 6
        weights[f"{name}.w"] = weight * Sparsity(3.56, "scp8", 4).mask(weight)
        weights[f"{name}.b"] = rand(16, seed=seed)
    nodes = [
        node("Conv", "x block1.w block1.b", "c", "block1", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r", "relu"),
        node("Conv", "r block2.w block2.b", "d", "block2", pads=[1, 1, 1, 1]),
        node("Add", "d x", "y", "add"),
    ]
    proto = make(nodes, {"x": [1, 16, side, side]}, ["y"], weights)
    proto.graph.name = graph_name
    return proto


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that gets what was lowered, so that it stays empty when the cache serves."""
    seen: list[object] = []
    whole = compiler._lower

    def note(model: object, *rest: object) -> object:
        seen.append(model)
        return whole(model, *rest)

    monkeypatch.setattr(compiler, "_lower", note)
    return seen


def image(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_file_to_engine_and_back_from_the_cache(model: Path, lowered: list[object]) -> None:
    steps: list[str] = []
    x = image((1, 16, 28, 28))
    with pconv.compile(model, threads=1, progress=lambda what, done, total: steps.append(what)) as engine:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        (want,) = session.run(None, {"x": x})
        got = engine(x)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        assert engine.manifest["model"]["name"] == "test_file_to_engine_and_back_from_the_cache"
    assert lowered == [model]
    with pconv.compile(model, progress=lambda *step: pytest.fail("work was done")) as again:
        assert again.path.stat().st_ino == engine.path.stat().st_ino
        np.testing.assert_array_equal(again(x), got)
    assert lowered == [model]
    assert steps


def test_from_the_cache_neither_reader_nor_generator_is_imported(model: Path) -> None:
    pconv.compile(model).close()
    code = (
        f"import sys, pconv; pconv.compile({str(model)!r}); "
        "print({'onnx', 'onnx_ir', 'torch', 'pconv.build', 'pconv.lower'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_makes_a_new_file(model: Path, lowered: list[object]) -> None:
    kept = compiler.compile_file(model)
    assert compiler.compile_file(str(model)) == kept and len(lowered) == 1
    dense = compiler.compile_file(model, dense=["block1"])
    assert dense.read_bytes() != kept.read_bytes() and len(lowered) == 2
    assert compiler.compile_file(model, dense=(name for name in ["block1"])) == dense
    assert compiler.compile_file(model, dense="block1") == dense and len(lowered) == 2
    onnx.save(two_layers("other", seed=1), model)
    assert compiler.compile_file(model) not in (kept, dense) and len(lowered) == 3


def test_the_model_is_not_replaced(model: Path, lowered: list[object]) -> None:
    before = model.read_bytes()
    with pytest.raises(BuildError, match=r"this is the model itself.* Name another place"):
        compiler.compile_file(model, out=model)
    assert model.read_bytes() == before and not lowered


def test_without_the_cache_it_is_lowered_anew(model: Path, lowered: list[object]) -> None:
    first = compiler.compile_file(model)
    again = compiler.compile_file(model, cache=False)
    assert len(lowered) == 2
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda proto, said: fill_in(proto, "block2.w"),
            "block2: 1 pruned weights are no longer zero, the first at [",
        ),
        (
            lambda proto, said: fill_in(proto, "block1.w", "block2.w"),
            "block1: 1 pruned weights are no longer zero, the first at [",
        ),
        (
            lambda proto, said: say(proto, said.replace("[16,16,3,3]", "[16,32,3,3]")),
            "sparsity map: cannot be",
        ),
        (lambda proto, said: say(proto, said.replace("block2", "block3")), "block3: the map has this layer"),
    ],
)
def test_weights_that_do_not_fit_their_map_are_warned_of_every_time(
    model: Path, caplog: pytest.LogCaptureFixture, change: Callable[[onnx.ModelProto, str], None], said: str
) -> None:
    proto = onnx.load(model)
    weights = {t.name.removesuffix(".w"): numpy_helper.to_array(t) for t in proto.graph.initializer}
    promise = SparsityMap.detect({name: w for name, w in weights.items() if w.ndim == 4}).to_json()
    say(proto, promise)
    onnx.save(proto, model)
    compiler.compile_file(model)
    assert not caplog.messages
    change(proto, promise)
    onnx.save(proto, model)
    first = compiler.compile_file(model)
    assert compiler.compile_file(model).read_bytes() == first.read_bytes()
    (one, again) = caplog.messages
    assert one == again
    assert one.startswith(f"{model}: its weights do not fit its sparsity map: {said}")
    assert "compiled as it is" in one and "`pconv verify` lists every layer." in one
    assert ("(and 1 more)" in one) == said.startswith("block1")


def test_other_floats_are_warned_of_every_time(
    model: Path, lowered: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(proto, model)
    for _ in range(2):
        compiler.compile_file(model)
    said = f"{model}: its {len(proto.graph.initializer)} FLOAT16 constants are read as float32"
    assert caplog.messages == [said] * 2
    assert len(lowered) == 1


def test_an_entry_that_was_cut_off_is_made_anew(model: Path, lowered: list[object]) -> None:
    made = compiler.compile_file(model)
    whole = made.read_bytes()
    for share in (0.0, 0.5, 0.999):
        made.write_bytes(whole[: int(share * len(whole))])
        assert compiler.compile_file(model).read_bytes() == whole
    assert len(lowered) == 4


def say(proto: onnx.ModelProto, sparsity: str) -> None:
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=sparsity)


def fill_in(proto: onnx.ModelProto, *names: str) -> None:
    """Put one weight where there is none."""
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            weight = numpy_helper.to_array(tensor).copy()
            weight[tuple(np.argwhere(weight == 0)[0])] = 0.1
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))


def test_weights_in_other_files_take_no_short_cut(lowered: list[object], tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    made = []
    for seed in (1, 2):
        (tmp_path / "external.bin").unlink(missing_ok=True)
        proto = two_layers("external", seed)
        onnx.save(proto, path, save_as_external_data=True, location="external.bin", size_threshold=0)
        made.append(compiler.compile_file(path).read_bytes())
    assert len(lowered) == 2 and made[0] != made[1]


@pytest.mark.parametrize("command", ["compile", "prune"])
def test_weights_in_other_files_are_not_written_over(command: str, tmp_path: Path) -> None:
    path, weights = tmp_path / "external.onnx", tmp_path / "external.bin"
    onnx.save(
        two_layers("external"), path, save_as_external_data=True, location=weights.name, size_threshold=0
    )
    before = weights.read_bytes()
    with pytest.raises(BuildError, match=r"external.bin: this is a file of the model's weights itself"):
        if command == "compile":
            compiler.compile_file(path, out=weights)
        else:
            prune_file(Source("external", path), pconv.Recipe(), weights, lambda what, share=None: None)
    assert weights.read_bytes() == before


def test_a_file_that_is_replaced_while_it_is_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    first, second = (two_layers("net", seed) for seed in (1, 2))
    onnx.save(first, path)
    lower = compiler._lower

    def replaced(*arguments: object) -> object:
        onnx.save(second, path)
        return lower(*arguments)

    monkeypatch.setattr(compiler, "_lower", replaced)
    of_second = compiler.compile_file(path).read_bytes()
    monkeypatch.setattr(compiler, "_lower", lower)
    onnx.save(first, path)
    assert compiler.compile_file(path).read_bytes() != of_second


def test_a_name_near_the_block_border_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    for shift in range(9):
        path.write_bytes(b"x" * (PIECE - shift) + b"location" + b"y" * 100)
        key = compiler._shortcut_key(path, None, [(targets.native(), None)], frozenset(), 1, None)
        assert key is None
    path.write_bytes(b"x" * PIECE)
    assert compiler._shortcut_key(path, None, [(targets.native(), None)], frozenset(), 1, None) is not None


def test_proto_in_memory() -> None:
    proto = two_layers("memory")
    x = image((2, 16, 28, 28))
    with pconv.compile(proto) as engine:
        wanted = execute(normalise(proto), {"x": x[:1]})["y"]
        np.testing.assert_allclose(engine(x)[:1], wanted, rtol=1e-4, atol=1e-5)


def test_dense_layers_ignore_their_zeros(model: Path) -> None:
    def reasons(**options: object) -> dict[str, str]:
        with pconv.compile(model, **options) as engine:
            return {layer["name"]: layer["reason"] for layer in engine.manifest["layers"] if layer["reason"]}

    sparse, dense = reasons(), reasons(dense=["block1"])
    assert sparse["block1"] != dense["block1"]
    assert dense["block1"].startswith("dense") and ": asked for, though " in dense["block1"]
    assert {n: r for n, r in dense.items() if n != "block1"} == {
        n: r for n, r in sparse.items() if n != "block1"
    }


def test_images_of_a_batch_side_by_side(lowered: list[object], tmp_path: Path) -> None:
    proto = two_layers("folded", side=7)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(proto, tmp_path / "small.onnx")
    x = rand(6, 16, 7, 7)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": x})
    for served in (False, True):
        with pconv.compile(tmp_path / "small.onnx", fold=4) as engine:
            assert (engine.manifest["fold"], len(lowered)) == (4, 1), served
            np.testing.assert_allclose(engine(x), wanted, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(engine(x[:1]), engine(x)[:1])
            reasons = [layer.reason for layer in engine.report().layers if layer.name in ("block1", "block2")]
            assert all(reason.endswith("; 4 images side by side") for reason in reasons)
    with pconv.compile(tmp_path / "small.onnx") as engine:
        assert engine.manifest["fold"] == 1


def test_where_nothing_can_be_side_by_side_is_said_every_time(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        with pconv.compile(model, fold=2) as engine:
            assert engine.manifest["fold"] == 1
        assert "no layer runs 2 images side by side" in caplog.text


@pytest.mark.parametrize("fold", [0, 3, 8])
def test_more_images_than_lanes(model: Path, fold: int) -> None:
    with pytest.raises(BuildError) as caught:
        compiler.compile_file(model, target="aarch64", fold=fold)
    assert str(caught.value) == f"fold: {fold} images cannot share the lanes of aarch64; allowed 1, 2, 4."


@pytest.mark.parametrize(
    "use", [compiler.compile_file, lambda m, dense: compiler.inspect(m, "plan", dense=dense)]
)
@pytest.mark.parametrize(
    ("name", "hint"),
    [("block3", "did you mean block2?"), ("xyz", "`pconv inspect --stage plan` lists them.")],
)
def test_unknown_dense_layer(model: Path, name: str, hint: str, use: Callable[..., object]) -> None:
    with pytest.raises(ModelError) as caught:
        use(model, dense=[name])
    assert str(caught.value) == f"there is no layer '{name}'; {hint}"


def test_for_another_machine(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.so"
    assert compiler.compile_file(model, target="aarch64", out=out) == out
    header = out.read_bytes()[:20]
    assert header[:4] == b"\x7fELF" and struct.unpack_from("<H", header, 18) == (183,)
    if targets.native().arch != "aarch64":
        with pytest.raises(ArtefactError, match="compiled for aarch64, this machine is"):
            pconv.compile(model, target="aarch64")


def test_unknown_target(model: Path) -> None:
    with pytest.raises(BuildError, match=r"target 'z80' is unknown; allowed native, linux-x86_64, "):
        pconv.compile(model, target="z80")


def test_a_file_whose_reading_fails() -> None:
    with pytest.raises(ModelError, match=r"^/proc/self/mem: .*Input/output error"):
        compiler.compile_file("/proc/self/mem")


def test_nothing_is_left_of_a_model_that_fails(tmp_path: Path, session_cache: Cache) -> None:
    path, before = tmp_path / "broken.onnx", set(session_cache.root.glob("*"))
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="not an ONNX model"):
        compiler.compile_file(path, out=tmp_path / "made.so")
    assert [p.name for p in tmp_path.iterdir()] == ["broken.onnx"]
    assert set(session_cache.root.glob("*")) == before


def test_inspect_graph(model: Path) -> None:
    text = compiler.inspect(model, "graph")
    assert text.splitlines()[0].split() == ["node", "op", "input", "output", "attributes"]
    assert "activation=relu" in text and "residual=x" in text
    only = compiler.inspect(model, "graph", "block1")
    assert only.split()[:2] == ["block1", "Conv"] and "\n" not in only


def test_inspect_plan(model: Path) -> None:
    text = compiler.inspect(model, "plan", target="x86-64-v4")
    lines = text.splitlines()
    assert lines[0].startswith("plan of test_inspect_plan for x86-64-v4: ") and "arena" in lines[0]
    assert any(line.split()[:2] == ["block2", "Conv"] for line in lines)
    one = compiler.inspect(model, "plan", "block2", target="x86-64-v4")
    for word in (
        "block2 (Conv): f32_conv3x3s1_",
        "FKR",
        "pattern",
        "LRE",
        "tile",
        "weights",
        "multiply-adds of",
    ):
        assert word in one


def test_inspect_c(model: Path) -> None:
    text = compiler.inspect(model, "c", target="aarch64")
    assert '#include "model.h"' in text and "pconv_plans" in text and "block2 (Conv)" in text
    one = compiler.inspect(model, "c", "block2", target="aarch64")
    assert "#define LANES 4" in one and "3x3 convolution" in one


@pytest.mark.parametrize("stage", ["graph", "plan", "c"])
def test_inspect_unknown_layer(model: Path, stage: str) -> None:
    with pytest.raises(ModelError, match=r"there is no layer 'blok2'; did you mean block2"):
        compiler.inspect(model, stage, "blok2")


def test_inspect_unknown_stage(model: Path) -> None:
    with pytest.raises(ModelError) as caught:
        compiler.inspect(model, "asm")
    assert str(caught.value) == "stage 'asm' is unknown; allowed graph, plan, c."
