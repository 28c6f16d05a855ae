"""Distillation: a frozen teacher, and a loss that is the formula."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from pconv import zoo  # noqa: E402
from pconv.errors import ModelError, RecipeError  # noqa: E402
from pconv.pruning import Distillation, prune  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch
X, Y = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 3, 4])


def test_the_loss_is_the_formula(module, network) -> None:
    loss = Distillation(module, temperature=3.0, weight=0.7)
    student = network(seed=1)(X)
    with torch.no_grad():
        teacher = module.eval()(X)
    soft = (
        (
            functional.softmax(teacher / 3, 1)
            * (functional.log_softmax(teacher / 3, 1) - functional.log_softmax(student / 3, 1))
        )
        .sum(1)
        .mean()
    )
    expected = 0.7 * 9 * soft + 0.3 * functional.cross_entropy(student, Y)
    assert loss(student, X, Y).item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss(student, X).item() == pytest.approx(9 * soft.item(), rel=1e-5)
    smooth = Distillation(module, temperature=3.0, weight=0.7, label_smoothing=0.2)
    expected = 0.7 * 9 * soft + 0.3 * functional.cross_entropy(student, Y, label_smoothing=0.2)
    assert smooth(student, X, Y).item() == pytest.approx(expected.item(), rel=1e-5)


def test_blocks_learn_from_those_of_the_teacher() -> None:
    torch.manual_seed(0)
    dense = zoo.create("resnet20_cifar")
    student = copy.deepcopy(dense).train()
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([1, 2])
    loss, whole = Distillation(dense, student=student), Distillation(dense)
    with torch.no_grad():
        student.layer1[0].conv1.weight.mul_(2)
        logits = student.eval()(x)
        ends, there = [], []
        for network, kept in ((student, ends), (dense.eval(), there)):
            value = functional.relu(network.bn1(network.conv1(x)))
            for block in (*network.layer1, *network.layer2, *network.layer3):
                value = block(value)
                kept.append(value)
        extra = 4 * sum(functional.mse_loss(a, b) / b.var() for a, b in zip(ends, there, strict=True))
    assert len(ends) == 9 and extra > 0
    student(x)
    assert loss(logits, x).item() == pytest.approx((whole(logits, x) + extra).item(), rel=1e-5)
    assert loss(logits, x, y).item() == pytest.approx((whole(logits, x, y) + 0.9 * extra).item(), rel=1e-5)
    loss.release()
    assert loss(logits, x).item() == pytest.approx(whole(logits, x).item(), rel=1e-6)
    assert not any(module._forward_hooks for module in student.modules())


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        return self.a(x), {"b": self.b(x)}, 8


class Lists(nn.Module):
    """A list of convolutions that the network runs itself, and a block that gives more than one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        self.pair, self.fc = Pair(), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = conv(x)
        a, b, _ = self.pair(x)
        return self.fc((a + b["b"]).mean((2, 3)))


def test_blocks_may_give_several_tensors_and_lists_are_none() -> None:
    torch.manual_seed(0)
    dense, student = Lists(), Lists()
    loss, whole = Distillation(dense, student=student), Distillation(dense)
    logits = student(X)
    given, there = (network.pair(network.convs[1](network.convs[0](X)))[:2] for network in (student, dense))
    extra = 4 * sum(
        functional.mse_loss(a, b) / b.var() for a, b in ((given[0], there[0]), (given[1]["b"], there[1]["b"]))
    )
    assert loss(logits, X).item() == pytest.approx((whole(logits, X) + extra).item(), rel=1e-5)


def test_the_teacher_stays_as_it_was(module) -> None:
    loss = Distillation(module)
    before = {key: value.clone() for key, value in loss.teacher.state_dict().items()}
    pruner = prune(module.train(), Recipe(compression_rate=4))
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    (loss(module(X), X, Y) + pruner.penalty()).backward()
    optimizer.step()
    pruner.finish()
    assert not loss.teacher.training and not any(p.requires_grad for p in loss.teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in loss.teacher.state_dict().items())
    assert loss.teacher.fc.weight.all() and not module.fc.weight.all()


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"weight": 1.5}])
def test_what_is_not_allowed(module, wrong) -> None:
    with pytest.raises(RecipeError, match=r"distillation: .*allowed are a temperature above 0 and a weight"):
        Distillation(module, **wrong)


def test_a_student_with_other_blocks_is_refused() -> None:
    dense, other = zoo.create("resnet20_cifar"), zoo.create("resnet56_cifar")
    with pytest.raises(
        RecipeError, match=r"has a block layer1\.3; allowed are two networks with the same blocks"
    ):
        Distillation(dense, student=other)
    assert not any(module._forward_hooks for module in other.modules())


def test_blocks_that_give_nothing_are_not_passed_over() -> None:
    """As those of a module that torch.compile saw before."""
    dense = zoo.create("resnet20_cifar").eval()
    student = torch.compile(copy.deepcopy(dense), backend="eager")
    x = torch.randn(2, 3, 8, 8)
    student(x)
    loss = Distillation(dense, student=student)
    with pytest.raises(
        ModelError, match=r"none of the student's blocks gave an output; .* Make Distillation before"
    ):
        loss(student(x), x)
    loss.release()
    assert loss(student(x), x).item() == pytest.approx(0, abs=1e-4)
