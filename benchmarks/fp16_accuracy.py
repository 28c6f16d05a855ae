"""Top-1 of ResNet-20 in halves against floats, on AArch64: real weights, CIFAR-10's first test images, in qemu.

python benchmarks/fp16_accuracy.py [--images 1000]    run; writes results/fp16_accuracy.json, docs/aarch64.md
python benchmarks/fp16_accuracy.py --tables           only write the table

Needs qemu-aarch64 and the data (PCONV_DATA). Every type runs on the core that it names, and reads the same images;
1,000 of them take about forty minutes of one core.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import pages
from aarch64 import tables
from pconv import graph, targets, zoo
from pconv.build import build_executable
from pconv.codegen import generate
from pconv.demo.cifar import cifar10
from pconv.demo.data import find_folder
from pconv.lower import lower

RESULTS = pages.RESULTS / "fp16_accuracy.json"
PAGE, MARK = tables.PAGE, "accuracy"
CORES = {"fp32": "cortex-a53", "fp16-fp32acc": "cortex-a53", "fp16": "cortex-a76"}
MAIN_C = """
#include "pconv.h"
#include <stdio.h>

int main(void) {
    static float in[3 * 32 * 32], out[10];
    char error[256];
    pconv_model *model = pconv_open(1, error, sizeof error);
    if (!model) return fputs(error, stderr), 5;
    const float *inputs[] = {in};
    float *outputs[] = {out};
    while (fread(in, sizeof in, 1, stdin) == 1) {
        if (pconv_run(model, inputs, outputs, 1)) return 6;
        fwrite(out, sizeof out, 1, stdout);
    }
    pconv_close(model);
    return 0;
}
"""


def main() -> None:
    """Score every type, write the result, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--tables", action="store_true", help="only write the table")
    chosen = parser.parse_args()
    if not chosen.tables:
        RESULTS.write_text(json.dumps(score(chosen.images), indent=1) + "\n")
    pages.write(PAGE, MARK, body())


def body() -> str:
    """Give what the stored results say."""
    return tables.render_accuracy(json.loads(RESULTS.read_text("utf-8")))


def score(number: int) -> dict[str, Any]:
    """Run the first `number` images through every type; return what the results' file says."""
    images = cifar10().test.part(slice(0, number))
    pixels = images.normalised(slice(None))
    weights = find_folder("cifar10_resnets") / "cifar10_resnets" / "resnet20.pth"
    module = zoo.create("resnet20_cifar", weights=weights)
    view = graph.view(graph.normalise(graph.load(module, inputs=[(1, 3, 32, 32)])))
    scores = {}
    for dtype, core in CORES.items():
        target = targets.get("linux-aarch64", None if core == "cortex-a53" else core, dtype)
        with tempfile.TemporaryDirectory() as folder:
            program = build_executable(generate(lower(view, target)), MAIN_C, Path(folder) / "main")
            command = ["qemu-aarch64", "-cpu", core, "-L", "/usr/aarch64-linux-gnu", str(program)]
            done = subprocess.run(command, input=pixels.tobytes(), capture_output=True, check=True)
        scores[dtype] = np.frombuffer(done.stdout, np.float32).reshape(len(images), 10)
        print(dtype, (scores[dtype].argmax(1) == images.labels).mean(), flush=True)
    reference = scores["fp32"]
    results = {
        dtype: {
            "core": CORES[dtype],
            "top1_percent": round(100 * float((found.argmax(1) == images.labels).mean()), 2),
            "other_answers": int((found.argmax(1) != reference.argmax(1)).sum()),
            "max_rel_err": float(np.abs(found - reference).max() / np.abs(reference).max()),
        }
        for dtype, found in scores.items()
    }
    return {
        "network": "resnet20_cifar",
        "images": len(images),
        "emulator": "qemu-aarch64",
        "results": results,
    }


if __name__ == "__main__":
    main()
