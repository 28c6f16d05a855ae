"""Training with a compiled loss: the same network, and words for those who have no compiler."""

import shutil
from pathlib import Path

import pytest
import tiny_run
import torch
from torch import nn

from pconv.errors import PconvError
from pconv.training.compiled import compiled

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def fresh_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def test_a_compiled_loss_trains_the_same_network() -> None:
    assert shutil.which("g++"), "this test needs a C++ compiler (Debian: g++)"
    eager, fast = (
        tiny_run.loop(
            None, epochs=2, method="magnitude", module=tiny_run.network(dropout=0.0), compile=compile
        )
        for compile in (False, True)
    )
    begin = {key: value.clone() for key, value in eager.module.state_dict().items()}
    for run in (eager, fast):
        run.run()
    sparsity = fast.pruner.finish()
    eager.pruner.finish()
    for key, value in eager.module.state_dict().items():
        assert fast.module.state_dict()[key].allclose(value, atol=1e-4), key
    assert not torch.equal(eager.module[3].weight, begin["3.parametrizations.weight.original"])
    sparsity.check(
        {name: fast.module.get_submodule(name).weight.detach().numpy() for name in sparsity.layers}
    )


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/g++",))
    run = tiny_run.loop(None, compile=True)
    with pytest.raises(PconvError, match=r"--compile: torch could not compile .* C\+\+ compiler"):
        run.run()


def test_what_is_wrong_with_the_network_is_said_as_without_compiling() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4))
    run = tiny_run.loop(None, module=module, batch=1, compile=True)
    with pytest.raises(
        PconvError, match=r"^batch of 1 to a process: Expected more than 1 .* Give a larger --batch"
    ):
        run.run()


def test_what_torch_alone_cannot_compile_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise torch._dynamo.exc.Unsupported("no such thing")

    monkeypatch.setattr(torch, "compile", lambda loss: refused)
    fast = compiled(lambda x, y: x.sum())
    with pytest.raises(PconvError) as caught:
        fast(torch.ones(1), torch.ones(1))
    assert str(caught.value) == (
        "--compile: torch could not compile the network: no such thing. Leave --compile out."
    )
