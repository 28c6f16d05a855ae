"""The tables and charts say what the results say."""

import copy
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pconv.errors import PconvError

ROOT = Path(__file__).parents[2]
MACHINE = {
    "cpu": "A CPU", "cores": 2, "os": "Linux 6", "compiler": "zig clang 1", "fma_peak_gflops": 100.0,
    "versions": {"pconv": "0.1.0", "ncnn": "1.0"},
}  # fmt: skip
COMPILED = {
    "machine": MACHINE,
    "compile": [
        {"model": model, "group": group, "cold_s": 21.4, "cached_s": 0.93, "load_ms": 12.3, "file_bytes": 74e6,
         "dense_bytes": 553e6}
        for model, group in (("vgg16", 0), ("vgg16", 1), ("resnet18", 1))
    ],
}  # fmt: skip
PEERS = {
    "onnxruntime": {"title": "ONNX Runtime", "max_rel_err": 1e-4, "why_off": ""},
    "ncnn": {"title": "ncnn", "max_rel_err": 5e-3, "why_off": "Winograd convolutions"},
    "deepsparse": {"title": "DeepSparse", "max_rel_err": 1e-4, "why_off": ""},
    "onnxruntime-int8": {"title": "int8", "max_rel_err": 0.2, "why_off": "8 bits"},
}


def result(
    engine: str, threads: int, ms: float, group: int = 0, error: float | None = 1e-6
) -> dict[str, Any]:
    return {
        "engine": engine, "threads": threads, "median_ms": ms, "group": group, "max_rel_err": error,
        "compression": 7.99 if group else 1.0, "samples_ms": [ms] * 9,
        "dtype": "int8" if engine.endswith("int8") else "float32",
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    results = [
        result("onnxruntime", 1, 300.0, error=None),
        result("ncnn", 1, 120.0, error=2e-3),
        result("deepsparse", 1, 150.0),
        result("deepsparse", 1, 140.0, group=4),
        result("onnxruntime-int8", 1, 100.0, error=0.02),
        result("pconv", 1, 250.0),
        result("pconv", 1, 30.0, group=4),
        result("ncnn", 2, 70.0, error=2e-3),
        result("pconv", 2, 130.0),
        result("pconv", 2, 15.0, group=4),
    ]
    variants = [
        {"compression": 1.0, "group": 0, "rate": 1.0, "macs": 15e9, "dense_macs": 15e9},
        {"compression": 7.99, "group": 4, "rate": 8.0, "macs": 2.1e9, "dense_macs": 15e9},
    ]
    shares = {"peak_percent": 80.0, "sparse_peak_percent": None, "sparse_3x3_peak_percent": None}
    shares["convolutions"] = [{"micro_kernel": "f32_conv3x3s1_dense_g4_relu_1x6_v8_fc051e"}]
    sparse = {**shares, "peak_percent": 81.0, "sparse_peak_percent": 90.0, "sparse_3x3_peak_percent": 91.2}
    sparse["sparse_3x3_kept_percent"] = 104.4
    vgg = {
        "machine": MACHINE, "peers": PEERS, "skipped": {"tvm": "tvm: it is not tuned"}, "variants": variants,
        "results": results,
        "tvm_tuning": [{"threads": 2, "trials": 900, "tasks": 17, "seconds": 1260}],
        "layers": [{"compression": 1.0, "group": 0, **shares}, {"compression": 7.99, "group": 4, **sparse}],
    }  # fmt: skip
    return {"networks": {"vgg16": vgg}}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_every_engine_on_one_network_the_fastest_first(script: Any, document: dict[str, Any]) -> None:
    lines = script("speed_tables").network_table("vgg16", document["networks"]["vgg16"]).splitlines()
    assert lines[0] == "| VGG-16 | 1 thread | 2 threads | GFLOP/s | dense eq. | error |"
    assert lines[2] == "| pconv, 8x in groups of 4 | 30.0 ms (4.00x) | 15.0 ms (4.67x) | 140 | 1000 | 1e-06 |"
    assert lines[3] == "| int8, dense | 100 ms (1.20x) | - | 300 | 300 | 2e-02 |"
    assert lines[5] == "| DeepSparse, 8x in groups of 4 | 140 ms (0.86x) | - | - | 214 | 1e-06 |"
    assert lines[-1] == "| ONNX Runtime, dense | 300 ms (0.40x) | - | 100 | 100 | reference |"


def test_ratios_are_over_the_dense_network_of_each_engine(script: Any, document: dict[str, Any]) -> None:
    lines = script("speed_tables").ratio_table(document, 1).splitlines()
    heads, cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], lines[2]))
    assert dict(zip(heads, cells, strict=True)) == {
        "pconv, pruned": "VGG-16, 8x in groups of 4",
        "fastest other engine": "4.00x (ncnn)",
        "pconv, dense": "8.33x",
        "ONNX Runtime": "10.00x",
        "ncnn": "4.00x",
        "DeepSparse": "5.00x",
        "int8": "3.33x",
        "DeepSparse, equal zeros": "4.67x",
    }
    assert len(lines) == 3


def test_int8_and_ours_are_not_the_fastest_dense_engine(script: Any, document: dict[str, Any]) -> None:
    tables, record = script("speed_tables"), document["networks"]["vgg16"]
    assert tables.fastest_dense(record, 1)["engine"] == "ncnn"
    record["results"] = [r for r in record["results"] if r["engine"] in ("onnxruntime-int8", "pconv")]
    assert tables.fastest_dense(record, 1) is None
    assert "| pconv, 8x in groups of 4 | 30.0 ms (-) |" in tables.network_table("vgg16", record)


def test_peak_scaling_and_notes(script: Any, document: dict[str, Any]) -> None:
    tables = script("speed_tables")
    assert "| VGG-16, 8x in groups of 4 | 104% | 91% | 90% | 81% |" in tables.peak_table(document)
    assert "| VGG-16, dense | - | - | - | 80% |" in tables.peak_table(document)
    assert "| VGG-16, pconv, 8x in groups of 4 | 2.00x |" in tables.scaling_table(document)
    assert "| VGG-16, ncnn, dense | 1.71x |" in tables.scaling_table(document)
    notes = "\n".join(tables.notes(document))
    assert "A CPU, 2 cores, Linux 6; pconv 0.1.0, ncnn 1.0" in notes
    assert "medians of 9 to 9 calls" in notes and "at most 1e-06 of the largest value off" in notes
    assert "ncnn is up to 2e-03 off (Winograd convolutions; allowed 0.005)." in notes
    assert "TVM was tuned for VGG-16 on 2 threads with 900 trials, in 21 minutes." in notes
    assert "Left out: tvm: it is not tuned (VGG-16)" in notes
    assert "spans 0% of its median, 0% where" in notes
    assert "Faster than our fastest pruned network: none." in notes
    assert "dense network: VGG-16 on 1 thread: ncnn, DeepSparse, int8; VGG-16 on 2 threads: ncnn." in notes
    assert "Not asked to take part in VGG-16: OpenVINO, MNN, TFLite, torch.compile." in notes


def test_readme_rows(script: Any, document: dict[str, Any]) -> None:
    text = script("readme_table").render(COMPILED, {"x86-64-v3": document})
    row = "| VGG-16, 8x | 1 | 300 ms | 120 ms (ncnn) | 250 ms (0.48x) | - | 30.0 ms (4.00x) |"
    assert row in text
    assert "| VGG-16, 8x | 2 | - | 70.0 ms (ncnn) | 130 ms (0.54x) | - | 15.0 ms (4.67x) |" in text
    assert (
        "- In brackets, how many times faster than the fastest other engine, on the dense network in fp32."
        in text
    )
    assert "takes 21 s, and 0.9 s when it is cached; its file of 74 MB (the dense weights: 553 MB)" in text
    assert text.count("Compiling") == 1 and text.endswith(" loads in 12 ms. Measured on the A CPU.")


def two_cpus(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the document, and the same from a CPU with longer vectors, where all takes half the time."""
    wider = copy.deepcopy(document)
    vgg = wider["networks"]["vgg16"]
    vgg["machine"] = {**MACHINE, "cpu": "Wide(R) CPU"}
    for measured in vgg["results"]:
        measured["median_ms"] /= 2
    for layer in (layer for layers in vgg["layers"] for layer in layers["convolutions"]):
        layer["micro_kernel"] = layer["micro_kernel"].replace("_v8_", "_v16_")
    return {"x86-64-v3": document, "x86-64-v4": wider}


def test_every_cpu_has_its_own_section_and_table(script: Any, document: dict[str, Any]) -> None:
    documents = two_cpus(document)
    titles = ["A CPU, AVX2, 2 cores", "Wide CPU, AVX-512, 2 cores"]
    page = script("performance_page").render(documents)
    assert re.findall("^## (.*)$", page, re.MULTILINE) == titles
    assert re.findall(r"charts/.*\.svg", page) == ["charts/x86-64-v3/vgg16.svg", "charts/x86-64-v4/vgg16.svg"]
    narrow, wide = page.split(f"## {titles[1]}")
    assert "| 30.0 ms (4.00x) | 15.0 ms (4.67x) |" in narrow and "- A CPU, 2 cores, Linux 6;" in narrow
    assert "| 15.0 ms (4.00x) | 7.50 ms (4.67x) |" in wide and "- Wide(R) CPU, 2 cores, Linux 6;" in wide
    readme = script("readme_table").render(COMPILED, documents)
    assert [line[:-1] for line in readme.splitlines() if line.endswith(":")] == titles
    assert readme.count("| network | threads |") == 2 and readme.count("In brackets") == 1


def test_a_file_is_read_by_its_target(
    script: Any, document: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    tables = script("speed_tables")
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.read() == {}
    documents = two_cpus(document)
    for target, measured in documents.items():
        tables.path_of(target).write_text(json.dumps(measured), encoding="utf-8")
    assert tables.read() == documents


def test_results_of_another_cpu_are_not_mixed_in(
    script: Any, document: dict[str, Any], tmp_path: Path
) -> None:
    speed, file = script("speed"), tmp_path / "speed_x.json"
    assert speed.started(file) == {"networks": {}}
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        PconvError, match=r"speed_x.json holds results of A CPU, and this is .*give another with"
    ):
        speed.started(file)
    document["networks"]["vgg16"]["machine"] = {**MACHINE, "cpu": speed.cpu_model()}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert speed.started(file) == document


def test_the_chart_shows_every_engine(script: Any, document: dict[str, Any]) -> None:
    svg = script("performance_page").chart(document["networks"]["vgg16"])
    for text in ("ONNX Runtime, dense", "pconv, 8x in groups of 4", "4.0x the fastest other, dense in fp32"):
        assert text in svg


def test_the_charts_are_those_of_the_results(script: Any) -> None:
    page, tables = script("performance_page"), script("speed_tables")
    expected = set()
    for target, document in tables.read().items():
        for name, record in document["networks"].items():
            expected.add(file := page.CHARTS / target / f"{name}.svg")
            drawn = file.read_text(encoding="utf-8")
            assert all(tables.label(record, result) in drawn for result in tables.of_threads(record, 1))
    assert set(page.CHARTS.rglob("*.svg")) == expected


def test_a_network_is_a_section_of_its_cpu(script: Any, document: dict[str, Any]) -> None:
    text = script("performance_page").render({"x86-64-v3": document})
    assert re.findall("^##+ (.*)$", text, re.MULTILINE) == [
        "A CPU, AVX2, 2 cores",
        "Times faster than other engines",
        "Share of the FMA peak",
        "The second thread",
        "VGG-16",
        "How it was measured",
    ]
