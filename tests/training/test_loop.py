"""What the loop does besides going round: rates, averages, precision, stopping at NaN, choosing the best."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_run
import torch
from torch import nn

from pconv.errors import BuildError, PconvError
from pconv.training import default_settings, log
from pconv.training.ema import Average
from pconv.training.guard import check_weights
from pconv.training.precision import choose_type, scaler
from pconv.training.schedule import rate
from pconv.training.settings import Settings
from pconv.training.start import is_ready

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


def test_training_learns_and_keeps_the_zeros() -> None:
    run = tiny_run.loop(None, epochs=12, method="magnitude", module=tiny_run.network(dropout=0.0))
    best = run.run()
    assert best["held_out"] > 0.9
    sparsity = run.pruner.finish()
    weights = {"0": run.module[0].weight, "3": run.module[3].weight, "8": run.module[-1].weight}
    sparsity.check({name: weight.detach().numpy() for name, weight in weights.items()})
    assert sparsity.layers["3"].compression_rate == 4.5
    assert not run.module.training


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    rates = [rate(0.1, step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    assert max(rates) == 0.1
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] < 1e-4
    assert rate(0.1, 0, 10, 0.0) == 0.1


def test_the_average_follows_and_steps_aside() -> None:
    module = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(module.weight)
    average = Average(module, 0.9)
    with torch.no_grad():
        module.weight.fill_(1.0)
    for _ in range(200):
        average.update()
    with average.applied():
        assert module.weight.detach().allclose(torch.ones(1, 2), atol=1e-3)
    with torch.no_grad():
        module.weight.fill_(5.0)
    average.update()
    with average.applied():
        assert module.weight.detach().allclose(torch.full((1, 2), 1.4), atol=1e-2)
    assert module.weight.detach().eq(5.0).all()
    assert average.state_dict()["steps"] == 201


def test_without_decay_the_average_is_the_network() -> None:
    module = nn.Linear(2, 1)
    average = Average(module, 0.0)
    with torch.no_grad():
        module.weight.fill_(3.0)
    average.update()
    with average.applied():
        assert module.weight.detach().eq(3.0).all()


@pytest.mark.parametrize("layer", ["0", "3"])
def test_nan_stops_with_the_name_of_its_layer_and_the_last_checkpoint(tmp_path: Path, layer: str) -> None:
    def poison(event: log.Event) -> None:
        if not event.milestone and run.step == 9:
            with torch.no_grad():
                run.pruner.trained(layer)[0, 0] = math.nan

    run = tiny_run.loop(tmp_path, method="magnitude", on_event=poison)
    with pytest.raises(
        PconvError, match=rf"^step 10: the loss is nan; the output of {layer} was the first to be"
    ):
        run.run()
    again = tiny_run.loop(tmp_path, method="magnitude")
    assert again.resume() and again.step == 8
    assert all(bool(value.isfinite().all()) for value in again.module.state_dict().values())


def test_an_overflow_of_fp16_is_found_where_it_was() -> None:
    run = tiny_run.loop(None, method="magnitude", precision="fp16")
    with torch.no_grad():
        run.pruner.trained("3").mul_(1e6)
    with pytest.raises(PconvError, match=r"^step 1: the loss is nan; the output of 3 was the first to be"):
        run.run()


def test_a_batch_norm_over_one_number_says_what_to_change() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 4))
    with pytest.raises(
        PconvError, match=r"^batch of 1 to a process: Expected more than 1 .* Give a larger --batch"
    ):
        tiny_run.loop(None, module=module, batch=1).run()


def test_weights_that_are_not_finite_are_not_saved() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    check_weights(1, module)
    with torch.no_grad():
        module[0].bias[1] = math.inf
    with pytest.raises(PconvError, match=r"step 4: 0\.bias is no longer finite and was not saved\. Resume"):
        check_weights(4, module)


def test_an_average_that_is_not_finite_is_never_the_best(tmp_path: Path) -> None:
    def poison(event: log.Event) -> None:
        if not event.milestone and run.step == run.per_epoch:
            with torch.no_grad():
                run.pruner.trained("3")[0, 0] = math.inf
            run.average.update()

    run = tiny_run.loop(tmp_path, method="magnitude", on_event=poison)
    with pytest.raises(PconvError, match=r"^step 6: 3\..* is no longer finite and was not saved\. Resume"):
        run.run()
    assert not list(tmp_path.glob("best-epoch*.pt")) and run.best is None


def test_a_gradual_network_is_no_candidate_before_its_masks_hold() -> None:
    run = tiny_run.loop(None, method="gradual")
    run.ready = lambda: is_ready(run.pruner)
    assert not run.ready()
    best = run.run()
    assert best["epoch"] > 1 and run.ready()


def test_the_last_epoch_can_be_chosen() -> None:
    assert tiny_run.loop(None, method="magnitude", choose="last").run()["epoch"] == tiny_run.EPOCHS


def test_a_schedule_that_did_not_end_still_prunes() -> None:
    run = tiny_run.loop(None, method="gradual", epochs=1)
    run.pruner.planned_steps = 1000
    run.ready = lambda: is_ready(run.pruner)
    assert run.run()["held_out"] is None
    assert run.pruner.finish().layers["3"].compression_rate == 4.5


@pytest.mark.parametrize(("precision", "computed"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_precisions_train(precision: str, computed: torch.dtype) -> None:
    module = tiny_run.network(dropout=0.0)
    run = tiny_run.loop(None, epochs=12, precision=precision, method="magnitude", module=module)
    types = set()
    module[3].register_forward_hook(lambda layer, x, y: types.add(y.dtype) if layer.training else None)
    assert run.run()["held_out"] > 0.9
    assert types == {computed}
    assert module[0].weight.dtype is torch.float32


def test_types_are_chosen_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, avx512, chosen in (
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, None),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx512=avx512: avx512)
        assert choose_type("auto", CPU) is chosen
    assert choose_type("fp32", CPU) is None
    assert choose_type("fp16", CPU) is torch.float16
    assert scaler(CPU, torch.float16).is_enabled() and not scaler(CPU, torch.bfloat16).is_enabled()


def test_defaults_follow_what_is_done() -> None:
    assert (
        default_settings(tuning=False, distill=False).lr,
        default_settings(tuning=True, distill=False).lr,
    ) == (
        0.1,
        0.03,
    )
    assert default_settings(tuning=False, distill=False, optimiser="adam").lr == 3e-3
    assert default_settings(tuning=True, distill=True).label_smoothing == 0.0
    assert default_settings(tuning=True, distill=True, label_smoothing=0.2, lr=1.0).lr == 1.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs: 0 is not possible; allowed: at least 1."),
        ({"lr": 0.0}, "lr: 0.0 is not possible; allowed: above 0."),
        ({"seed": -1}, "seed: -1 is not possible; allowed: from 0 to below 2**63."),
        ({"ema": 1.0}, "ema: 1.0 is not possible; allowed: from 0 to below 1."),
        ({"choose": "first"}, "choose: 'first' is not possible; allowed: best, last."),
        ({"precision": "int4"}, "precision: 'int4' is not possible; allowed: auto, fp32, bf16, fp16."),
    ],
)
def test_impossible_settings(given: dict[str, object], message: str) -> None:
    with pytest.raises(PconvError) as caught:
        Settings(**given)
    assert str(caught.value) == message


def test_a_log_on_a_full_disk_is_named() -> None:
    full = log.Log(Path("/dev"), tensorboard=False)
    full._path = Path("/dev/full")
    with pytest.raises(
        BuildError, match=r"^/dev/full: cannot be written \(No space left .*\)\. Free some space, then go on"
    ):
        full.write(1, loss=0.5)


def test_tensorboard_forgets_what_is_done_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for done, steps in ((0, [1, 2, 3]), (2, [3, 4])):  # killed behind a checkpoint at 2
        session = log.Log(tmp_path, tensorboard=True)
        session.rewind(session.bytes(), done)
        for step in steps:
            session.write(step, loss=float(10 * done + step))
        session.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (1, 1),
        (2, 2),
        (3, 23),
        (4, 24),
    ]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written = log.Log(tmp_path, tensorboard=True)
    written.write(3, loss=0.5, epoch=1)
    written.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 3, "loss": 0.5, "epoch": 1}
    monkeypatch.setattr(log, "find_spec", lambda name: None)
    with pytest.raises(PconvError, match=r"--tensorboard: .* pip install tensorboard\.$"):
        log.Log(tmp_path, tensorboard=True)
