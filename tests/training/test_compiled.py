"""Training with a compiled loss: the same network, and words for those who have no compiler."""

import shutil
from pathlib import Path

import pytest
import tiny_run
import torch

from pconv.errors import PconvError

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def fresh_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def test_a_compiled_loss_trains_the_same_network() -> None:
    assert shutil.which("g++"), "this test needs a C++ compiler (Debian: g++)"
    eager, fast = (
        tiny_run.loop(
            None, epochs=2, method="magnitude", module=tiny_run.network(dropout=0.0), compile=compiled
        )
        for compiled in (False, True)
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
