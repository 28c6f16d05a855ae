"""Times of single kernels, and right answers of whole networks, on this machine's OpenCL device.

    python benchmarks/opencl.py layers                     our sparse kernels against our dense ones
    python benchmarks/opencl.py zoo                        every network, dense and pruned, against ONNX Runtime
    python benchmarks/opencl.py zoo resnet18 --target opencl-fp16 -o x.json

The results name the device. Times of a CPU's OpenCL (PoCL) say nothing about a GPU. Weights are random, pruned by
magnitude in one shot, which is right for timing and for comparing answers and says nothing about accuracy.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pconv import compile, zoo
from pconv.bench import machine
from pconv.bench.case import DENSE, Case, network
from pconv.bench.registry import FAMILIES
from pconv.build import build
from pconv.codegen import generate
from pconv.compiler import choose_target
from pconv.lower import lower
from pconv.runtime import Engine, load
from pconv.runtime.opencl_device import choose_device, label
from pconv.targets import devices
from variants import Pruning, make_variants

RESULTS = Path(__file__).parent / "results"
RATE = 8.0
GROUPS = (1, 4)
RUNS = 15
SMALL = {"resnet18": 64, "resnet34": 64, "resnet50": 64, "mobilenet_v2": 64, "dncnn": 48}
"""Images smaller than the zoo's own, where PoCL would take minutes; the layers' kinds stay the same."""
OPTIONS = "PYOPENCL_BUILD_OPTIONS"
TARGETS = ("opencl", "opencl-fp16")


def main() -> None:
    """Measure or check, and write the results."""
    arguments = _arguments()
    if arguments.quick:
        os.environ[OPTIONS] = "-cl-opt-disable"
    document: dict[str, Any] = {
        "build_options": os.environ.get(OPTIONS, ""),
        "machine": machine.record(("numpy", "pyopencl", "onnxruntime")),
        "device": describe_device(),
        "results": [],
    }
    output = arguments.output or RESULTS / f"opencl_{arguments.what}.json"
    rows = measure_layers if arguments.what == "layers" else check_zoo
    for row in rows(arguments.names, arguments.target or list(TARGETS)):
        print(json.dumps({name: value for name, value in row.items() if name != "samples_ms"}), flush=True)
        document["results"].append(row)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {output}")


def describe_device() -> dict[str, Any]:
    """Name the device, its driver, and whether it is a GPU."""
    device = choose_device()
    return {
        "name": label(device),
        "driver": device.driver_version.strip(),
        "is_gpu": bool(device.type & 4),  # CL_DEVICE_TYPE_GPU
        "compute_units": device.max_compute_units,
    }


def measure_layers(names: list[str], targets: list[str]) -> Iterator[dict[str, Any]]:
    """Time each layer of the registry's sizes of networks as it is, and as a dense one."""
    for case in FAMILIES["layers"]:
        if names and case.name not in names:
            continue
        for target in targets:
            sparse = time_case(case, target, frozenset())
            if case.sparsity == DENSE:
                yield {"target": target, "layer": case.name, **sparse}
                continue
            dense = time_case(case, target, frozenset([case.name]))
            gain = median(dense["samples_ms"]) / median(sparse["samples_ms"])
            yield {"target": target, "layer": case.name, **sparse, "faster_than_dense": round(gain, 2)}
            yield {"target": target, "layer": case.name, "asked": "dense", **dense}


def time_case(case: Case, target: str, dense: frozenset[str]) -> dict[str, Any]:
    """Time the kernel of one layer by the device's clock."""
    plan = lower(network([case]), choose_target(target), dense)
    with load(build(generate(plan))) as engine:
        samples = [_kernel_ms(engine, case.name) for _ in range(RUNS)]
        layer = next(entry for entry in engine.manifest["layers"] if entry["name"] == case.name)
    return {
        "kernel": layer["micro_kernel"],
        "macs": layer["macs"],
        "median_ms": round(median(samples), 4),
        "samples_ms": [round(sample, 4) for sample in samples],
    }


def _kernel_ms(engine: Engine, name: str) -> float:
    return next(layer.ms for layer in engine.report(runs=1).layers if layer.name == name)


def check_zoo(names: list[str], targets: list[str]) -> Iterator[dict[str, Any]]:
    """Compare every network, dense and pruned, with ONNX Runtime: the error relative to the largest output."""
    import onnxruntime

    for name in names or zoo.names():
        n, channels, height, width = zoo.input_shape(name)
        shape = (n, channels, SMALL.get(name, height), SMALL.get(name, width))
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        with TemporaryDirectory(prefix="pconv-opencl-") as folder:
            for variant in make_variants(name, [Pruning(RATE, g) for g in GROUPS], Path(folder), shape=shape):
                session = onnxruntime.InferenceSession(variant.path, providers=["CPUExecutionProvider"])
                (expected,) = session.run(None, {session.get_inputs()[0].name: x})
                for target in targets:
                    with compile(variant.path, target=target, cache=False) as engine:
                        error = float(np.abs(engine(x) - expected).max() / np.abs(expected).max())
                        engine.path.unlink()
                    yield {
                        "network": name,
                        "variant": variant.name,
                        "input": list(shape),
                        "target": target,
                        "relative_error": error,
                    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["layers", "zoo"], help="kernel times, or answers of networks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="layers or networks (default: all)")
    parser.add_argument(
        "--target", action="append", choices=devices(), help="default: opencl and opencl-fp16"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="no optimisations by the driver: PoCL compiles in a third of the time",
    )
    parser.add_argument("-o", "--output", type=Path, help="the JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
