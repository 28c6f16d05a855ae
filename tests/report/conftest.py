"""A demo's result that nobody measured."""

import numpy as np
import pytest

from pconv.demo.result import DemoResult
from pconv.patterns import LIBRARIES
from pconv.recipe import Recipe
from pconv.sparsity import SparsityMap


@pytest.fixture
def result() -> DemoResult:
    """conv1 is pattern-only in two shapes, 3 to 1; conv2 keeps one kernel of four; fc is dense."""
    elog = LIBRARIES["elog4"]
    conv1 = np.stack([elog[0].mask(), elog[0].mask(), elog[0].mask(), elog[1].mask()])[:, None]
    conv2 = np.zeros((4, 4, 3, 3), bool)
    conv2[:, 1] = elog[1].mask()
    return DemoResult(
        dataset="digits",
        network="two 3x3 convolutions",
        recipe=Recipe(exclude=("fc",)),
        train_images=1200,
        test_images=450,
        accuracy_dense=0.9911,
        accuracy_pruned=0.9867,
        compression_rate=4.0,
        parameter_bytes_dense=4000,
        parameter_bytes_pruned=1000,
        file_bytes_dense=1_234_000,
        file_bytes_pruned=321_000,
        threads=1,
        samples_ms={
            "pconv dense": [0.8, 1.0, 1.2],
            "pconv pruned": [0.2, 0.25, 0.3],
            "onnxruntime dense": [0.9, 1.0, 1.1],
        },
        max_rel_err={"pconv dense": 2e-7, "pconv pruned": 3e-7},
        sparsity=SparsityMap.detect({"conv1": conv1, "conv2": conv2, "fc": np.ones((10, 4), bool)}),
        seconds={"train": 12.0, "time": 3.0},
        notes=("something is missing",),
    )
