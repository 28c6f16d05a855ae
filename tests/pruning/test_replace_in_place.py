"""A network that works in place is traced as one that gives new values, with the same answers."""

import copy
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from pconv.errors import UnsupportedError  # noqa: E402
from pconv.pruning import post_train, sensitivity  # noqa: E402
from pconv.pruning.layers import find_layers  # noqa: E402
from pconv.pruning.post_training import find_sites  # noqa: E402
from pconv.pruning.tracing import run, trace  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402
from pconv.wrappers import copied  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=4, rate_1x1=1, first="dense")


class Network(nn.Module):
    """Four layers, and between them what a test says. Shapes: [n, 3, h, w] -> [n, 4, h, w]"""

    def __init__(self, between: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body, self.tail = (nn.Conv2d(c, 8, 3, padding=1) for c in (3, 8, 8))
        self.last = nn.Conv2d(8, 4, 1)
        self.relu, self.leaky, self.same = nn.ReLU(inplace=True), nn.LeakyReLU(0.2, True), nn.Identity()
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.last(self.tail(self.between(self, x, self.body(x))))


def with_methods(net: Network, x: Tensor, y: Tensor) -> Tensor:
    y.add_(x, alpha=2)
    y.relu_()
    return y


def with_functions(net: Network, x: Tensor, y: Tensor) -> Tensor:
    functional.relu(y, inplace=True)
    functional.hardtanh(y, 0.0, 0.5, True)
    torch.sigmoid_(y)
    functional.leaky_relu_(x)
    return y + x


def with_modules(net: Network, x: Tensor, y: Tensor) -> Tensor:
    net.relu(y)
    net.leaky(x)
    net.relu(x)
    return x + y


def with_a_shortcut(net: Network, x: Tensor, y: Tensor) -> Tensor:
    return y + net.relu(x)


def with_views(net: Network, x: Tensor, y: Tensor) -> Tensor:
    n, c, h, w = y.shape
    flat = y.view(n, c, h * w)
    flat.relu_()
    return flat.view(n, c, h, w) + x


def with_masks(net: Network, x: Tensor, y: Tensor) -> Tensor:
    mask = (x > 0) & (y > 0)  # operator.and_ changes nothing
    x.masked_fill_(mask, 0.1)
    return y + x


CHANGES = [with_methods, with_functions, with_modules, with_a_shortcut, with_views, with_masks]


@pytest.fixture(params=CHANGES, ids=lambda between: between.__name__)
def module(request: pytest.FixtureRequest) -> Network:
    return Network(request.param).eval()


@torch.no_grad()
def test_answers_and_the_module_stay(module: Network, images: Tensor) -> None:
    nodes = list((graph := trace(module)).graph.nodes)
    values = {nodes[0]: images.clone()}
    before = {}
    for node in nodes[1:-1]:
        values = run(graph, [node], values)
        before[node] = copy.deepcopy(values[node])
    assert torch.equal(graph(images), module(images))
    assert all(torch.equal(values[node], before[node]) for node in before if isinstance(before[node], Tensor))
    assert module.relu.inplace and module.leaky.inplace


@torch.no_grad()
def test_layers_are_refitted_on_what_they_read(module: Network, images: Tensor) -> None:
    read: dict[str, Tensor] = {}
    layers = find_layers(module)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, args, name=name: read.setdefault(name, args[0].clone()))
    module(images)
    for site in find_sites(module, copied(module), layers, images, layers):
        x, wanted = site.observe()
        assert torch.equal(torch.from_numpy(x), read[site.name]), site.name
        torch.testing.assert_close(torch.from_numpy(wanted), layers[site.name](read[site.name]))


def with_a_slice(net: Network, x: Tensor, y: Tensor) -> Tensor:
    y[:, :4].relu_()
    return y


def with_chunks(net: Network, x: Tensor, y: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    a.sigmoid_()
    return torch.cat([a, b], 1)


def with_another_name(net: Network, x: Tensor, y: Tensor) -> Tensor:
    same = net.same(x)
    return y + net.relu(x) + same


def with_zeros(net: Network, x: Tensor, y: Tensor) -> Tensor:
    x.zero_()
    return y + x


def with_out(net: Network, x: Tensor, y: Tensor) -> Tensor:
    torch.add(x, y, out=y)
    return y


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (with_a_slice, "Network: relu_ in its forward changes a view of what it reads again"),
        (with_chunks, "sigmoid_ in its forward changes a view"),
        (with_another_name, "relu in its forward changes a view"),
        (
            with_zeros,
            "zero_ in its forward has no form that gives a new value; .* allows operations in place on",
        ),
        (
            with_out,
            "add in its forward writes into a tensor with out=; .* prune the ONNX file with --calibrate",
        ),
    ],
)
def test_changes_that_have_no_other_form_are_refused(
    between: Callable[[nn.Module, Tensor, Tensor], Tensor], message: str, images: Tensor
) -> None:
    for work in (post_train, sensitivity):
        with pytest.raises(UnsupportedError, match=message):
            work(Network(between), images, RECIPE)
