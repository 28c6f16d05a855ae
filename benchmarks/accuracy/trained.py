"""What the scripts of this folder that train share: a run that is told about, and its network compiled and scored."""

from pathlib import Path
from typing import Any

import numpy as np

import pconv
from pconv.cli import console
from pconv.demo.cifar import cifar10
from pconv.demo.train import accuracy
from pconv.graph import load
from pconv.graph.prune import read_sparsity
from pconv.sparsity import SparsityMap
from pconv.training import Event, Result, train
from pconv.training.result import MODEL

MAX_DIFFERENT_IMAGES = 2


def run(name: str, *given: Any, **options: Any) -> Result:
    """Do what `pconv.training.train` does; its epochs are told under that name, and a killed run goes on."""
    with console.progress(name) as track:

        def on_event(event: Event) -> None:
            track(f"{name}  {event.text}", event.share)
            if event.milestone:
                print(f"{name}: {event.text}", flush=True)

        done = train(*given, resume=True, on_event=on_event, **options)
    assert done is not None
    return done


def compiled(done: Result, data: Path) -> dict[str, Any]:
    """Compile what a run wrote and score it; of a pruned network, say also what its 3x3 layers keep.

    Raises: SystemExit where the compiled network's score is another one.
    """
    model = done.folder / MODEL
    engine, sparsity = pconv.compile(model, threads=1), read_sparsity(load(model))
    score = accuracy(lambda x: np.asarray(engine(x)), cifar10(data).test)
    require_alike(round(score * done.test_images), round(done.accuracy * done.test_images))
    kept = {} if sparsity is None else rates_3x3(sparsity, engine)
    return {"accuracy_compiled": score, **kept}


def require_alike(compiled: int, measured: int) -> None:
    """Stop where a compiled network gets another number of images right than torch measured.

    Raises: SystemExit.
    """
    if (different := abs(compiled - measured)) > MAX_DIFFERENT_IMAGES:
        raise SystemExit(
            f"compiled: {compiled} images are right, {measured} were by torch: {different} differ; "
            f"allowed are {MAX_DIFFERENT_IMAGES}."
        )


def rates_3x3(sparsity: SparsityMap, engine: pconv.Engine) -> dict[str, float]:
    """Give total / kept of all 3x3 layers but the first together, in weights and in multiply-adds."""
    macs = {step["name"]: step["dense_macs"] for step in engine.manifest["layers"]}
    kernels = {
        n: layer for n, layer in sparsity.layers.items() if layer.shape[2:] == (3, 3) and layer.shape[1] > 3
    }
    return {
        "rate_weights": sum(k.total_elems for k in kernels.values())
        / sum(k.kept_elems for k in kernels.values()),
        "rate_macs": sum(macs[n] for n in kernels) / sum(macs[n] * k.density for n, k in kernels.items()),
    }
