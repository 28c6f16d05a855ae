"""The whole way, as one readable function: `run` says what is measured, and on what.

Refuses to time an engine whose answers are not those of the network in torch.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pconv.demo.result import OURS_DENSE, OURS_PRUNED, PEER_DENSE, DemoResult, Event, OnEvent
from pconv.extras import require_torch
from pconv.files import make_folder

if TYPE_CHECKING:
    from torch import nn

    from pconv.demo.data import Floats, Images
    from pconv.demo.jobs import Job, OnShare
    from pconv.runtime import Engine
    from pconv.sparsity import SparsityMap

    Predict = Callable[[Floats], NDArray[Any]]

CHECKED_IMAGES = 16


def run(
    dataset: str = "digits",
    *,
    threads: int = 1,
    seconds: float = 3.0,
    folder: Path | None = None,
    on_event: OnEvent = lambda event: None,
) -> DemoResult:
    """Train or load a network, prune and fine-tune it, compile it dense and pruned, check, score and time.

    Models are left in `folder` where one is given.

    Raises: PconvError for an unknown dataset, a missing extra or a wrong answer; ModelError without data.
    """
    require_torch("demo")
    from pconv.compiler import compile
    from pconv.demo.jobs import find_job
    from pconv.demo.train import accuracy

    job = find_job(dataset)
    clock = _Clock(on_event)
    with clock.stage("data"):
        data = job.data()
    with _place(folder) as place:
        with clock.stage(job.dense_stage) as progress:
            dense = job.dense(data, progress)
        with clock.stage("prune and fine-tune") as progress:
            pruned, sparsity = _prune(job, dense, data.train, progress)
        with clock.stage("compile"):
            dense_file = _write(dense, data.test.shape, place / f"{dataset}-dense.onnx")
            pruned_file = _write(pruned, data.test.shape, place / f"{dataset}-pruned.onnx", sparsity)
            ours_dense = compile(dense_file, threads=threads)
            ours_pruned = compile(pruned_file, threads=threads)
            dense_bytes, pruned_bytes = (
                engine.save(file.with_suffix(".so")).stat().st_size
                for engine, file in ((ours_dense, dense_file), (ours_pruned, pruned_file))
            )
        engines = {OURS_DENSE: (_single(ours_dense), dense), OURS_PRUNED: (_single(ours_pruned), pruned)}
        peer, note = _peer(dense_file, ours_dense.inputs[0].name, threads)
        if peer is not None:
            engines[PEER_DENSE] = (peer, dense)
    with clock.stage("check"):
        errors = {name: check(name, call, module, data.test) for name, (call, module) in engines.items()}
    with clock.stage("score"):
        accuracy_dense = accuracy(engines[OURS_DENSE][0], data.test)
        accuracy_pruned = accuracy(engines[OURS_PRUNED][0], data.test)
    with clock.stage("time") as progress:
        calls = {name: call for name, (call, _) in engines.items()}
        samples = _time(calls, data.test, seconds, threads, progress)
    dense_elems = sum(parameter.numel() for parameter in dense.parameters())
    removed_elems = sum(layer.total_elems - layer.kept_elems for layer in sparsity.layers.values())
    return DemoResult(
        dataset=dataset,
        network=job.network,
        recipe=job.recipe,
        train_images=len(data.train),
        test_images=len(data.test),
        accuracy_dense=accuracy_dense,
        accuracy_pruned=accuracy_pruned,
        compression_rate=dense_elems / (dense_elems - removed_elems),
        parameter_bytes_dense=4 * dense_elems,
        parameter_bytes_pruned=4 * (dense_elems - removed_elems),
        file_bytes_dense=dense_bytes,
        file_bytes_pruned=pruned_bytes,
        threads=threads,
        samples_ms=samples,
        max_rel_err=errors,
        sparsity=sparsity,
        seconds=clock.seconds,
        notes=(note,) if note else (),
    )


def check(name: str, predict: Predict, module: nn.Module, images: Images) -> float:
    """Compare an engine with the network in torch on some pictures, and return the largest relative error.

    Raises: PconvError when it is too large.
    """
    from pconv.bench.compare import checked
    from pconv.demo.train import predictor

    x = images.normalised(slice(0, CHECKED_IMAGES))
    answers = [predict(x[i : i + 1]) for i in range(len(x))]
    return checked(name, [np.concatenate(answers)], [predictor(module)(x)])


class _Clock:
    """Announce each stage and keep its seconds."""

    def __init__(self, on_event: OnEvent) -> None:
        self.seconds: dict[str, float] = {}
        self._on_event = on_event

    @contextmanager
    def stage(self, name: str) -> Iterator[OnShare]:
        begin = time.perf_counter()
        self._on_event(Event(name))
        yield self._progress(name)
        self.seconds[name] = time.perf_counter() - begin
        self._on_event(Event(name, 1.0))

    def _progress(self, name: str) -> OnShare:
        return lambda share, note: self._on_event(Event(name, share, note))


def _prune(
    job: Job,
    dense: nn.Module,
    images: Images,
    progress: OnShare,
) -> tuple[nn.Module, SparsityMap]:
    from pconv.pruning import prune

    pruned = copy.deepcopy(dense)
    pruner = prune(pruned, job.recipe)
    job.tune(pruned, images, dense, pruner.step, progress)
    return pruned, pruner.finish()


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield make_folder(folder, "Choose another folder with -o.")
        return
    with tempfile.TemporaryDirectory(prefix="pconv-demo-") as name:
        yield Path(name)


def _write(
    module: nn.Module, shape: tuple[int, ...], path: Path, sparsity: SparsityMap | None = None
) -> Path:
    """Export a module; the map goes into the file once it is shown that no zero was filled in."""
    from pconv.graph import load
    from pconv.graph.prune import layer_weights, save, write_sparsity

    model = load(module, inputs=shape)
    if sparsity is not None:
        sparsity.check(layer_weights(model))
        write_sparsity(model, sparsity)
    save(model, path)
    return path


def _single(engine: Engine) -> Predict:
    """Make an engine with one output a function of one array."""
    return lambda x: np.asarray(engine(x))


def _peer(path: Path, input_name: str, threads: int) -> tuple[Predict | None, str]:
    """Load the dense network into ONNX Runtime, or say why it is not among the results."""
    from pconv.bench.peers import get

    peer = get("onnxruntime")
    missing = peer.available()
    if missing is not None:
        return None, missing
    call = peer.load(path, threads)
    return lambda x: call({input_name: x})[0], ""


def _time(
    calls: dict[str, Predict],
    images: Images,
    seconds: float,
    threads: int,
    progress: OnShare,
) -> dict[str, list[float]]:
    from pconv.bench import timing

    x = images.normalised(slice(0, 1))
    with timing.alone(lambda: progress(0.0, "waiting for another benchmark to end")):
        return timing.interleave(
            {name: partial(call, x) for name, call in calls.items()},
            seconds,
            settle_s=timing.SETTLE_S if threads > 1 else 0.0,
            on_round=lambda share: progress(share, ""),
        )
