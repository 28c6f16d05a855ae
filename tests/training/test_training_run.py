"""The whole run leaves a folder that the rest of pconv understands."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pconv import Recipe, zoo
from pconv.errors import BuildError, ModelError, PconvError, RecipeError
from pconv.graph import load
from pconv.graph.prune import layer_weights, read_sparsity
from pconv.pruning.layers import describe_layers, find_layers
from pconv.recipe import plan_layers
from pconv.training import Event, Teacher, checkpoint, default_settings, train
from pconv.training.data import open_data
from pconv.training.distributed import Ranks
from pconv.training.evaluate import paired_change
from pconv.training.loop import Loop
from pconv.training.result import FILES, Result, write_result
from pconv.training.run import _require_batch, _require_size
from pconv.training.start import load_teacher, make_network, make_objective, make_pruner
from pconv.zoo import resnet, vgg

pytestmark = pytest.mark.torch
RECIPES = Path(__file__).parents[2] / "recipes"
TINY = {"epochs": 1, "batch": 4, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageNet of two classes: 9 training pictures, 4 to test."""
    root = tmp_path_factory.mktemp("imagenet")
    draw = np.random.default_rng(0)
    for part, count in (("train", 9), ("val", 4)):
        for i in range(count):
            home = root / part / f"n{i % 2}"
            home.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (40, 50, 3), np.uint8)).save(home / f"{i}.jpg")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "dense.pt"
    torch.save(zoo.create("resnet20_cifar", num_classes=2).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("model", "recipe", "layer", "rate"),
    [
        ("resnet50", "resnet50_imagenet.toml", "layer3.2.conv2", 4.4),
        ("vgg16_cifar", "vgg16_imagenet.toml", "features.30", 8.0),
    ],
)
def test_the_imagenet_recipes_run(
    tmp_path: Path, folder: Path, model: str, recipe: str, layer: str, rate: float
) -> None:
    settings = default_settings(tuning=False, distill=False, **TINY)
    used = Recipe.load(RECIPES / recipe)
    done = train(folder, model, tmp_path, recipe=used, method="magnitude", settings=settings, image_size=32)
    assert done is not None and done.train_images == 8 and done.test_images == 4
    assert {"model.onnx", "weights.pt", "recipe.toml", "result.json", "log.jsonl"} <= {
        entry.name for entry in tmp_path.iterdir()
    }
    assert Recipe.load(tmp_path / "recipe.toml") == used
    written = load(tmp_path / "model.onnx")
    sparsity = read_sparsity(written)
    assert sparsity is not None
    assert sparsity.verify(layer_weights(written)) == []
    assert sparsity.layers[layer].compression_rate == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize(
    ("network", "layers", "rate"),
    [("vgg16", ["features.2", "features.28"], 8.0), ("resnet50", ["layer1.1.conv1"], 4.4)],
)
def test_the_imagenet_recipes_fit_the_full_networks(network: str, layers: list[str], rate: float) -> None:
    with torch.device("meta"):
        module = {"vgg16": vgg.build(1000), "resnet50": resnet.build(1000, (3, 4, 6, 3), bottleneck=True)}[
            network
        ]
    rules = plan_layers(
        Recipe.load(RECIPES / f"{network}_imagenet.toml"), describe_layers(find_layers(module))
    )
    assert all(rules[layer].compression_rate == pytest.approx(rate, rel=0.05) for layer in layers)
    assert all(rule.dense for name, rule in rules.items() if name.startswith(("fc", "classifier")))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory, folder: Path, weights: Path) -> Path:
    """What a run with post-training pruning, distillation and few images leaves."""
    out = tmp_path_factory.mktemp("pruned")
    settings = default_settings(tuning=True, distill=True, images=7, **TINY)
    recipe = Recipe(compression_rate=4.0, exclude=("linear",))
    given = {"recipe": recipe, "method": "post", "distill": True, "settings": settings}
    train(folder, "resnet20_cifar", out, weights=weights, **given)
    return out


def test_pruning_from_weights_tells_the_change(pruned: Path) -> None:
    said = json.loads((pruned / "result.json").read_text())
    assert said["change"]["points"] == pytest.approx(100 * (said["accuracy"] - said["accuracy_dense"]))
    assert said["shortened"] and said["settings"]["seed"] == 0 and said["machine"]["versions"]["torch"]
    assert said["method"] == "post" and said["compression_rate"] > 3.5
    assert (pruned / "weights.safetensors").stat().st_size < 0.5 * (pruned / "weights.pt").stat().st_size


@pytest.mark.parametrize("file", ["weights.pt", "weights.safetensors", "model.onnx"])
def test_a_pruned_network_goes_on_from_any_of_its_files(folder: Path, pruned: Path, file: str) -> None:
    parts = open_data(folder, 32)
    module, zeros = make_network("resnet20_cifar", parts, pruned / file, seed=0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    pruner = make_pruner(module, Recipe(), "keep", 4, parts, zeros)
    settings = default_settings(tuning=True, distill=False, **TINY)
    loop = Loop(module, parts, settings, make_objective(None, settings), pruner=pruner)
    loop.run()
    pruner.finish()
    after = module.state_dict()
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert all(bool((after[key][value == 0] == 0).all()) for key, value in before.items() if value.ndim == 4)
    assert int((before["layer3.0.conv1.weight"] == 0).sum()) > 0


def test_one_test_image_has_no_standard_error(pruned: Path, tmp_path: Path) -> None:
    said = json.loads((pruned / "result.json").read_text())
    change = paired_change(np.array([True]), np.array([False]))
    result = Result(**said | {"folder": tmp_path, "change": change})
    write_result(result)
    found = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert found["change"] == {"points": -100.0, "standard_error": None}


def test_kept_zeros_need_no_recipe(tmp_path: Path, folder: Path, pruned: Path) -> None:
    settings = default_settings(tuning=True, distill=False, **TINY)
    given = {"weights": pruned / "weights.safetensors", "method": "keep", "settings": settings}
    done = train(folder, "resnet20_cifar", tmp_path / "kept", **given)
    assert done is not None and done.method == "keep" and done.compression_rate > 3.5
    assert not (tmp_path / "kept" / "recipe.toml").exists()
    with pytest.raises(PconvError, match="--method keep: the zeros of --weights are the recipe"):
        train(folder, "resnet20_cifar", tmp_path / "refused", recipe=Recipe(), **given)


def test_what_does_not_fit_is_refused_before_training(tmp_path: Path, folder: Path, weights: Path) -> None:
    settings = default_settings(tuning=False, distill=False, **TINY)
    with pytest.raises(
        PconvError, match=r"--distill: the teacher is the network to begin from; name it with"
    ):
        train(folder, "resnet20_cifar", tmp_path, distill=True, settings=settings)
    with pytest.raises(PconvError, match=r"--image-size 0: is not possible; allowed: at least 1"):
        train(folder, "resnet20_cifar", tmp_path, settings=settings, image_size=0)
    with pytest.raises(ModelError, match=r"dncnn: num_classes=2, but this network does not classify"):
        train(folder, "dncnn", tmp_path, settings=settings, image_size=32)
    with pytest.raises(ModelError, match=r"resnet18_cifar: the weights do not fit"):
        train(folder, "resnet18_cifar", tmp_path, weights=weights, settings=settings)
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(
        PconvError, match=r"holds an earlier run; go on with --resume, or name another folder"
    ):
        train(folder, "resnet20_cifar", tmp_path, settings=settings)


def test_a_run_leaves_nothing_of_an_earlier_one(tmp_path: Path, folder: Path, pruned: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(pruned, out)
    (out / "checkpoint.pt").unlink()
    settings = default_settings(tuning=False, distill=False, **TINY)
    given = {"settings": settings, "on_event": _die}
    with pytest.raises(BuildError, match=r"out/weights\.pt: this is one of the files to begin from itself"):
        train(folder, "resnet20_cifar", out, weights=out / "weights.pt", **given)
    assert (out / "result.json").exists()
    with pytest.raises(_Killed):
        train(
            folder, "resnet20_cifar", out, recipe=Recipe.load(out / "recipe.toml"), method="gradual", **given
        )
    assert {"recipe.toml"} == {entry.name for entry in out.iterdir()} & set(FILES)
    with pytest.raises(_Killed):
        train(folder, "resnet20_cifar", out, **given)
    assert not {entry.name for entry in out.iterdir()} & set(FILES)


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.jsonl", "model.onnx"])
def test_a_folder_that_cannot_be_written_is_found_before_training(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = default_settings(tuning=False, distill=False, **TINY)
    (tmp_path / name).mkdir()
    monkeypatch.setattr("pconv.training.run._require_no_run", lambda folder, resume: None)
    with pytest.raises(BuildError, match=rf"{name}: cannot be written \(it is a directory\)\. Name another"):
        train(folder, "resnet20_cifar", tmp_path, settings=settings, on_event=_die)


def test_files_that_no_run_wrote_stay(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "recipe.toml").write_text("compression_rate = 3.0\n")
    settings = default_settings(tuning=False, distill=False, **TINY)
    train(folder, "resnet20_cifar", tmp_path, settings=settings)
    assert (tmp_path / "recipe.toml").read_text() == "compression_rate = 3.0\n"


@pytest.mark.parametrize("recipe", [Recipe(compression_rate=1.0), Recipe(exclude=("*",))])
@pytest.mark.parametrize("method", ["gradual", "admm", "magnitude", "post"])
def test_a_recipe_that_prunes_nothing_is_refused(
    tmp_path: Path, folder: Path, weights: Path, recipe: Recipe, method: str
) -> None:
    settings = default_settings(tuning=True, distill=False, **TINY)
    given = {"weights": weights, "recipe": recipe, "method": method, "settings": settings}
    with pytest.raises(
        RecipeError, match=r"^recipe: it leaves all \d+ layers dense, .* To train dense, leave"
    ):
        train(folder, "resnet20_cifar", tmp_path, **given)


def test_a_size_that_images_do_not_have_is_refused(folder: Path) -> None:
    parts = open_data(folder, 32)
    _require_size(None, parts)
    _require_size(32, parts)
    with pytest.raises(
        PconvError,
        match=r"^--image-size 64: the images of imagenet\d* are 32x32 and stay so; allowed for pict",
    ):
        _require_size(64, parts)


def test_images_of_a_size_that_the_network_cannot_read(folder: Path) -> None:
    parts = open_data(folder, 64)
    with pytest.raises(
        ModelError,
        match=r"^vgg16_cifar: images of 64x64 \(imagenet\d*\) do not fit it; it was made for 32x32\. "
        r"Give --image-size 32 for pictures from files; for CIFAR-10 take a network for 32x32",
    ):
        make_network("vgg16_cifar", parts, None, seed=0)


def test_a_batch_that_does_not_divide(folder: Path) -> None:
    settings = default_settings(tuning=False, distill=False, **TINY)
    with pytest.raises(
        PconvError, match=r"--batch 4: does not divide among 3 processes; allowed are multiples of 3"
    ):
        _require_batch(settings, open_data(folder, 32), Ranks(0, 3))


class _Killed(BaseException):
    pass


def _die(event: Event) -> None:
    if event.text.startswith("epoch"):
        raise _Killed


@pytest.mark.parametrize("on_event", [lambda event: None, _die], ids=["done", "killed"])
def test_threads_and_random_numbers_stay_the_callers(tmp_path: Path, folder: Path, on_event) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    state = torch.get_rng_state()
    settings = default_settings(tuning=False, distill=False, **TINY)
    with pytest.raises(_Killed) if on_event is _die else nullcontext():
        train(folder, "resnet20_cifar", tmp_path, settings=settings, on_event=on_event)
    left = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert left == 3 and torch.equal(torch.get_rng_state(), state)


def test_post_training_pruning_is_done_once(
    tmp_path: Path, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = default_settings(tuning=True, distill=False, **TINY | {"epochs": 2}, images=8, save_every=1)
    recipe = Recipe(compression_rate=4.0, exclude=("linear",))
    given = {"weights": weights, "recipe": recipe, "method": "post", "settings": settings}
    train(folder, "resnet20_cifar", tmp_path / "whole", **given)

    def die(event: Event) -> None:
        if event.text.startswith("epoch 2"):
            raise _Killed

    with pytest.raises(_Killed):
        train(folder, "resnet20_cifar", tmp_path / "killed", on_event=die, **given)
    path = tmp_path / "killed" / checkpoint.FILE
    state = checkpoint.load(path)
    assert 0 < state["step"] < 4 and state["seconds"] > 0
    checkpoint.save(path, {**state, "seconds": 1e6})
    monkeypatch.setattr("pconv.training.start.post_train", None)
    done = train(folder, "resnet20_cifar", tmp_path / "killed", resume=True, **given)
    assert done is not None and done.seconds > 1e6, "the sessions add up"
    for file in ("weights.pt", "weights.safetensors", "log.jsonl"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    with pytest.raises(PconvError, match=r"other settings \(model was 'resnet20_cifar', is 'resnet18_cifar'"):
        train(folder, "resnet18_cifar", tmp_path / "killed", resume=True, **given | {"weights": None})


def test_a_run_is_resumed_with_the_same_content_alone(tmp_path: Path, folder: Path, weights: Path) -> None:
    data, mine, large = tmp_path / "imagenet", tmp_path / "mine.pt", tmp_path / "large.pt"
    shutil.copytree(folder, data)
    shutil.copy(weights, mine)
    torch.save(zoo.create("resnet56_cifar", num_classes=2, seed=1).state_dict(), large)
    given = {
        "weights": mine, "teacher": Teacher("resnet56_cifar", large),
        "settings": default_settings(tuning=True, distill=True, **TINY),
    }  # fmt: skip
    train(data, "resnet20_cifar", tmp_path / "out", **given)
    other = {"weights": tmp_path / "out" / ".." / "mine.pt", "teacher": Teacher("resnet56_cifar", str(large))}
    assert train(data, "resnet20_cifar", tmp_path / "out", resume=True, **given | other) is not None

    def refused(what: str) -> None:
        with pytest.raises(
            PconvError, match=rf"other settings \({what} was '\w{{16}}', is '\w{{16}}'\)\. Resume"
        ):
            train(data, "resnet20_cifar", tmp_path / "out", resume=True, **given)

    torch.save(zoo.create("resnet20_cifar", num_classes=2, seed=7).state_dict(), mine)
    refused("weights_sha256")
    shutil.copy(weights, mine)
    torch.save(zoo.create("resnet56_cifar", num_classes=2, seed=7).state_dict(), large)
    refused("teacher_sha256")
    large.unlink()
    with pytest.raises(ModelError, match=r"resnet56_cifar: cannot read weights .*large\.pt: No such file"):
        train(data, "resnet20_cifar", tmp_path / "out", resume=True, **given)
    torch.save(zoo.create("resnet56_cifar", num_classes=2, seed=1).state_dict(), large)
    moved = sorted((data / "train" / "n0").iterdir())[0]
    moved.rename(data / "train" / "n1" / "moved.jpg")
    refused("labels_sha256")


def test_another_network_teaches_its_outputs_alone(folder: Path, weights: Path, tmp_path: Path) -> None:
    torch.save(zoo.create("resnet56_cifar", num_classes=2, seed=1).state_dict(), tmp_path / "large.pt")
    named = Teacher("resnet56_cifar", tmp_path / "large.pt")
    teacher = load_teacher(named, open_data(folder, 32), torch.device("cpu"))
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        large = zoo.create("resnet56_cifar", weights=named.weights, num_classes=2).eval()(x)
        assert float(teacher(large, x)) == pytest.approx(0, abs=1e-5)
        assert float(teacher(-large, x)) > 1e-3
    settings = default_settings(tuning=True, distill=True, **TINY)
    done = train(
        folder, "resnet20_cifar", tmp_path / "out", weights=weights, teacher=named, settings=settings
    )
    assert done is not None and done.change is not None
    assert done.settings["teacher"] == {"model": "resnet56_cifar", "weights": str(named.weights)}
    assert json.loads((tmp_path / "out" / "result.json").read_text())["settings"]["distill"] is False
    with pytest.raises(PconvError, match="--distill: --teacher names another one"):
        train(folder, "resnet20_cifar", tmp_path, weights=weights, teacher=named, distill=True)
