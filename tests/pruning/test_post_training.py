"""Post-training pruning of torch modules: no labels, no loop, zeros that hold, outputs that stay near."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from pconv.errors import InputError, ModelError, RecipeError, UnsupportedError  # noqa: E402
from pconv.patterns import library  # noqa: E402
from pconv.pruning import Distillation, post_train, prune, sensitivity  # noqa: E402
from pconv.pruning.layers import find_layers  # noqa: E402
from pconv.pruning.post_training import find_sites  # noqa: E402
from pconv.pruning.post_training_tune import Budget, mirror_and_shift  # noqa: E402
from pconv.pruning.tracing import blocks, trace  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402
from pconv.sparsity import SparsityMap  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=2.25, rate_1x1=2, first="dense", exclude=("head",))


class Block(nn.Module):
    def __init__(self, channels: int, wider: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, wider, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wider)
        self.down = nn.Conv2d(channels, wider, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.down(x))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.block = Block(8, 16)
        self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point = nn.Conv2d(16, 12, 1)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.point(torch.relu(self.depth(self.block(self.stem(x)))))
        return self.head(torch.relu(x))


@pytest.fixture
def module(images: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = Network()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    network(images)  # batch norms have statistics of their own
    return network.eval()


def error(network: nn.Module, dense: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((network(x) - dense(x)).square().mean() / dense(x).var())


def weights_of(module: nn.Module, sparsity: SparsityMap) -> dict[str, np.ndarray]:
    return {name: module.get_submodule(name).weight.detach().numpy() for name in sparsity.layers}


class Clock:
    """Count calls instead of seconds."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def __call__(self) -> float:
        return float(next(self._ticks))


def test_the_refit_repairs_most_of_what_magnitude_breaks(module: nn.Module, images: torch.Tensor) -> None:
    dense, cut = copy.deepcopy(module), copy.deepcopy(module)
    prune(cut, RECIPE).finish()
    sparsity = post_train(module, images, RECIPE)
    assert error(module, dense, images) < 0.4 * error(cut.eval(), dense, images)
    assert sparsity.verify(weights_of(module, sparsity), library("scp8")) == []
    assert sparsity.layers["block.conv2"].compression_rate == 2.25
    assert sparsity.layers["point"].compression_rate == 2
    assert sparsity.layers["head"].density == 1


def test_gradient_steps_come_nearer_and_keep_the_zeros(module: nn.Module, images: torch.Tensor) -> None:
    dense = copy.deepcopy(module)
    refitted = copy.deepcopy(module)
    recipe = replace(RECIPE, compression_rate=4.5)
    post_train(refitted, images, recipe)
    heard: list[str] = []
    sparsity = post_train(
        module,
        images,
        recipe,
        seconds=100,
        vary=None,
        clock=Clock(),
        progress=lambda what, done, total: heard.append(what),
    )
    assert error(module, dense, images) < 0.8 * error(refitted, dense, images)
    assert not module.training
    weights = weights_of(module, sparsity)
    assert sparsity.verify(weights) == []
    assert all(weights[name].flags.c_contiguous for name in weights)
    assert {what.split()[0] for what in heard} == {"refitting", "reconstructing", "distilling"}


def test_a_seed_gives_the_same_weights_again(module: nn.Module, images: torch.Tensor) -> None:
    other = copy.deepcopy(module)
    for network in (module, other):
        post_train(network, images, RECIPE, seconds=10, clock=Clock())
    for key, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_fully_connected_layers_are_refitted_too(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    x = images.flatten(1)[:, :40]
    dense = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    recipe = Recipe(compression_rate=4, fc_group=2)
    cut, module = copy.deepcopy(dense), copy.deepcopy(dense)
    prune(cut, recipe).finish()
    sparsity = post_train(module, x, recipe, seconds=5, clock=Clock())
    assert sparsity.layers["2"].group >= 2
    assert error(module, dense, x) < error(cut, dense, x)


def test_batches_do_as_well_as_one_tensor(module: nn.Module, images: torch.Tensor) -> None:
    other = copy.deepcopy(module)
    post_train(module, images, RECIPE)
    post_train(other, iter(images.split(10)), RECIPE)
    assert torch.equal(module.block.conv1.weight, other.block.conv1.weight)


def test_training_mode_and_parameters_stay(module: nn.Module, images: torch.Tensor) -> None:
    module.train()
    module.block.bn1.eval()  # a frozen batch norm
    modes = [part.training for part in module.modules()]
    before = list(module.state_dict())
    post_train(module, images, RECIPE, seconds=10, clock=Clock())
    assert [part.training for part in module.modules()] == modes
    assert list(module.state_dict()) == before
    assert not module.block.bn1.weight.isnan().any()


def test_blocks_end_where_one_value_is_all_there_is(module: nn.Module) -> None:
    found = blocks(trace(module), ["block.conv1", "block.conv2", "depth", "point"])
    assert [block.layers for block in found] == [("block.conv1", "block.conv2"), ("depth", "point")]
    assert found[1].start is found[0].end


def test_a_network_that_is_to_stay_dense_stays(module: nn.Module, images: torch.Tensor) -> None:
    before = copy.deepcopy(module.state_dict())
    sparsity = post_train(
        module, images, Recipe(compression_rate=1, first="dense", depthwise="dense"), seconds=9
    )
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(layer.density == 1 for layer in sparsity.layers.values())


SHARED = {
    "neighbours": {"group": 4},
    "alike": {"group": 4, "permute": True},
    "connectivity": {"group": 4, "sharing": "connectivity"},
    "alike, connectivity": {"group": 4, "permute": True, "sharing": "connectivity"},
    "blocks of channels": {"channel_block": 4},
    "all at once": {"group": 4, "permute": True, "channel_block": 4},
}


@pytest.mark.parametrize("keys", SHARED.values(), ids=SHARED)
@pytest.mark.parametrize("seconds", [None, 20])
def test_what_filters_share_they_share_after_every_step(
    module: nn.Module, images: torch.Tensor, keys: dict, seconds: float | None
) -> None:
    recipe = replace(RECIPE, compression_rate=4, rate_1x1=1, **keys)
    heard: set[str] = set()
    sparsity = post_train(
        module,
        images,
        recipe,
        seconds=seconds,
        vary=None,
        clock=Clock(),
        progress=lambda *said: heard.add(said[0]),
    )
    assert ("distilling" in heard) == (seconds is not None)
    assert sparsity.layers["block.conv2"].compression_rate == pytest.approx(4, rel=0.15)
    for name in ("block.conv1", "block.conv2"):
        weight = module.get_submodule(name).weight.detach().numpy()
        mask = sparsity.layers[name].mask()
        assert not weight[~mask].any()
        shapes = mask.reshape(*mask.shape[:2], 9)
        alive = shapes.any(2)
        block = keys.get("channel_block", 1)
        assert (alive.reshape(len(alive), -1, block) == alive[:, ::block, None]).all()
        rows = (alive if keys.get("sharing") == "connectivity" else shapes).reshape(len(alive), -1)
        _, count = np.unique(rows, axis=0, return_counts=True)
        assert (count % keys.get("group", 1) == 0).all()
        if not keys.get("permute"):
            first = rows[:: keys.get("group", 1)]
            assert (rows == np.repeat(first, keys.get("group", 1), axis=0)).all()


def test_images_are_mirrored_and_moved() -> None:
    x = torch.arange(2 * 64.0).reshape(2, 1, 8, 8).repeat(200, 1, 1, 1)
    varied = mirror_and_shift(x, torch.Generator().manual_seed(0))
    assert varied.shape == x.shape
    assert len(varied[::2].unique(dim=0)) == 18  # nine places, mirrored or not
    assert set(varied[::2].unique().tolist()) <= set(x[::2].unique().tolist())


def test_a_budget_counts_what_is_left() -> None:
    now = [0.0]
    budget = Budget(0.0, 10.0, lambda: now[0])
    now[0] = 4.0
    half = budget.part(0.5)
    now[0] = 5.5
    assert half.spent() == pytest.approx(0.5)
    now[0] = 12.0
    assert budget.spent() > 1
    late = budget.part(1.0)  # of nothing
    now[0] = 12.001
    assert late.spent() > 1


class Context(nn.Module):
    """What `conv` gives is added to every position: an error there is none of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.last(x + self.conv(x.mean((2, 3), keepdim=True)))


def test_a_layer_is_refitted_on_outputs_of_its_own_shape(images: torch.Tensor) -> None:
    module = Context()
    sites = find_sites(module, copy.deepcopy(module), find_layers(module), images, ())
    seen = []
    for site in sites:
        x, wanted = site.observe()
        seen.append((x.shape[2:], wanted.shape[2:]))
        site.replace(site.weights * 0.5, None)
    assert seen == [((12, 12), (10, 10)), ((1, 1), (1, 1)), ((10, 10), (8, 8))]


def test_dense_layers_may_pad_as_they_like(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same"),
    )  # fmt: skip
    before = copy.deepcopy(module)
    sparsity = post_train(module, images, Recipe(compression_rate=2.25, exclude=("0", "3")))
    assert [name for name, layer in sparsity.layers.items() if layer.density < 1] == ["1"]
    same = [i for i in (0, 1, 3) if torch.equal(before[i].weight, module[i].weight)]
    assert same == [0, 3]
    assert error(module, before, images) < 1


class Shortcut(nn.Module):
    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8, affine=affine)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.norm(self.conv(x)) + x


def test_a_batch_norm_without_weights_scales_too(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    bare, weighted = Shortcut(affine=False), Shortcut(affine=True)
    for _ in range(60):
        bare(images)
    weighted.load_state_dict(bare.state_dict(), strict=False)  # a new batch norm's weights change nothing
    for module in (bare, weighted):
        post_train(module, images, Recipe(compression_rate=2.25))
    torch.testing.assert_close(bare.eval()(images), weighted.eval()(images))


class Chain(nn.Module):
    """Two layers in a row, each with a batch norm."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first, self.second = (nn.Conv2d(8, 8, 3, padding=1, bias=bias) for _ in range(2))
        self.norm, self.last = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(self.stem(x))))
        return torch.relu(self.last(self.second(x)))


def test_a_batch_norm_that_runs_twice_keeps_its_mean(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = Chain(bias=False)
    module.last = module.norm
    for _ in range(60):
        module(images)
    dense, apart = copy.deepcopy(module.eval()), copy.deepcopy(module)
    apart.last = copy.deepcopy(apart.norm)
    for network in (module, apart):
        post_train(network, images, Recipe(compression_rate=2.25))
    assert torch.equal(module.norm.running_mean, dense.norm.running_mean)
    assert error(module, dense, images) < 1.05 * error(apart, dense, images)


@pytest.mark.parametrize("norms", [True, False])
def test_a_bias_of_two_layers_stays_as_it_is(images: torch.Tensor, norms: bool) -> None:
    torch.manual_seed(0)
    module = Chain(bias=True)
    module.second.bias = module.first.bias
    for _ in range(60):
        module(images)
    if not norms:
        module.norm = module.last = nn.Identity()
    dense, apart = copy.deepcopy(module.eval()), copy.deepcopy(module)
    apart.second.bias = nn.Parameter(apart.first.bias.detach().clone())
    for network in (module, apart):
        post_train(network, images, Recipe(compression_rate=2.25))
    assert torch.equal(module.first.bias, dense.first.bias)
    assert error(module, dense, images) < 1.05 * error(apart, dense, images)


@pytest.mark.filterwarnings("error")
def test_dense_layers_that_share_or_compute_their_weights_stay_as_they_are(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    last = parametrizations.weight_norm(nn.Conv2d(8, 8, 3))
    module = nn.Sequential(*(nn.Conv2d(c, 8, 3) for c in (3, 8, 8)), last)
    module[2].weight = module[1].weight
    before, recipe = copy.deepcopy(module), Recipe(compression_rate=2.25, exclude=("[123]",))
    sparsity = post_train(module, images, recipe)
    assert list(sparsity.layers) == ["0", "1", "2", "3"] and sparsity.layers["0"].density < 1
    for old, new in zip(before[1:], module[1:], strict=True):
        assert torch.equal(old.weight, new.weight) and torch.equal(old.bias, new.bias)
    post_train(before, images, recipe, seconds=40, clock=Clock())
    assert before[2].weight is before[1].weight and not torch.equal(before[1].weight, module[1].weight)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_dense_layers_may_have_a_norm_of_the_older_kind(images: torch.Tensor, norm) -> None:
    """Whose weight is no parameter, but what the last run left behind."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), norm(nn.Conv2d(8, 8, 3)), nn.Conv2d(8, 8, 3))
    module(images)
    recipe, teacher = Recipe(compression_rate=2.25, exclude=("1",)), Distillation(module).teacher
    assert list(sensitivity(module, images, recipe)) == ["2"]
    sparsity = post_train(module, images, recipe, seconds=20, clock=Clock())
    assert [name for name, layer in sparsity.layers.items() if layer.density < 1] == ["0", "2"]
    assert 0 < error(module.eval(), teacher, images) < 0.5


@pytest.mark.parametrize("wrong", [lambda x: [(x, torch.zeros(len(x)))], lambda x: x.numpy()])
def test_batches_with_labels_are_refused(module: nn.Module, images: torch.Tensor, wrong) -> None:
    with pytest.raises(InputError, match=r"images: a \w+ among them; allowed are tensors .* without labels"):
        post_train(module, wrong(images), RECIPE)


def test_no_images_are_refused(module: nn.Module) -> None:
    with pytest.raises(InputError, match=r"images: shape \(0,\); allowed is \[n, c, h, w\]"):
        post_train(module, [], RECIPE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x[:, :1], r"Network does not run on \[1, 1, 12, 12\] of torch.float32 \(Given groups=1"),
        (lambda x: x.double(), "does not run on .* of torch.float64"),
        (lambda x: [x, x[..., 1:]], r"of \(3, 12, 12\) and \(3, 12, 11\); allowed is one size for all"),
    ],
)
def test_images_that_the_module_does_not_read_are_refused(
    module: nn.Module, images: torch.Tensor, wrong, message: str
) -> None:
    for work in (post_train, sensitivity):
        with pytest.raises(InputError, match=message):
            work(module, wrong(images), RECIPE)


def test_gradient_steps_leave_nothing_behind(module: nn.Module, images: torch.Tensor) -> None:
    """No gradients that the next loop would add to, the layout as it was; frozen parts stay frozen."""
    module.to(memory_format=torch.channels_last)
    module.block.requires_grad_(False)
    before = copy.deepcopy(module)
    with torch.no_grad():  # as where somebody evaluates
        post_train(module, images, RECIPE, seconds=40, clock=Clock())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.block.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(module.block.bn1.weight, before.block.bn1.weight)
    assert not torch.equal(module.stem[0].weight, before.stem[0].weight)


class Scaled(nn.Module):
    """Blocks that read one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(4))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = torch.relu(conv(x)) * self.scale
        return x


def test_blocks_may_read_the_same_parameter(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = Scaled()
    dense, refitted = copy.deepcopy(module), copy.deepcopy(module)
    assert len(blocks(trace(module), ["convs.0", "convs.1", "convs.2", "convs.3"])) == 2
    recipe = Recipe(compression_rate=4.5)
    post_train(refitted, images, recipe)
    post_train(module, images, recipe, seconds=100, vary=None, clock=Clock())
    assert error(module, dense, images) < error(refitted, dense, images)


def test_gradient_steps_may_have_no_layer_to_train(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module, refitted = Scaled(), Scaled()
    module.convs.requires_grad_(False)
    refitted.load_state_dict(module.state_dict())
    for network, seconds in ((refitted, None), (module, 30)):
        post_train(network, images, Recipe(compression_rate=4.5), seconds=seconds, clock=Clock())
    assert all(map(torch.equal, module.parameters(), refitted.parameters()))


def test_halves_stay_numbers(module: nn.Module, images: torch.Tensor) -> None:
    dense = copy.deepcopy(module)
    post_train(module.half(), images.half(), RECIPE, seconds=60, clock=Clock())
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    assert error(module.float(), dense, images) < 0.5


def test_numbers_that_training_spoils_are_taken_back(module: nn.Module, images: torch.Tensor) -> None:
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(
        ModelError, match=r"stem\.0\.weight: .* NaN or infinite in torch\.float32; allowed are finite"
    ):
        post_train(module, images, RECIPE, seconds=30, clock=Clock(), vary=lambda x, _: x * torch.nan)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_what_leaves_gradient_steps_nothing_to_do_is_refused(module: nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"batch: 0; allowed is a number of images, 1 or more"):
        post_train(module, images, RECIPE, seconds=1, batch=0)
    with pytest.raises(UnsupportedError, match=r"Network: its parameters are frozen; .*leave seconds out"):
        post_train(module.requires_grad_(False), images, RECIPE, seconds=1)
    assert post_train(module, images, RECIPE).layers["block.conv1"].density < 1


def test_libraries_that_only_training_finds_are_refused(module: nn.Module, images: torch.Tensor) -> None:
    with pytest.raises(RecipeError, match="shrinking-8"):
        post_train(module, images, Recipe(patterns="shrinking-8"))


def test_the_zoo_can_be_traced() -> None:
    from pconv import zoo

    for name in ("resnet20_cifar", "resnet18_cifar", "vgg16_cifar", "mobilenet_v2", "resnet50", "dncnn"):
        graph = trace(zoo.create(name))
        convs = [n for n, m in graph.named_modules() if isinstance(m, nn.Conv2d)]
        assert sum(len(block.layers) for block in blocks(graph, convs)) == len(convs), name
        assert np.median([len(block.layers) for block in blocks(graph, convs)]) <= 4, name
