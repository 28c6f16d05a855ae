"""Tables from results/speed_*.json, one file a CPU; pure text, so that the tests can hold the docs to the results."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pages
from pconv import units
from pconv.bench.distance import FARTHER, near_share
from pconv.bench.machine import system
from pconv.bench.peers import PEERS

RESULTS = pages.RESULTS
OURS = "pconv"
TITLES = {
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenet_v2": "MobileNetV2",
    "vgg16_cifar": "VGG-16, CIFAR",
    "resnet18_cifar": "ResNet-18, CIFAR",
}

INSTRUCTIONS = {"v16": "AVX-512", "v8": "AVX2", "v4": "NEON"}
"""By the width of a vector, as the names of the micro-kernels say it."""

SHARES = {
    "sparse_3x3_kept": "sparse 3x3, kept weights",
    "sparse_3x3_peak": "sparse 3x3",
    "sparse_peak": "sparse",
    "peak": "all",
}
"""What there is a share of the FMA peak of, as the results and the page name it."""

Record = Mapping[str, Any]


def path_of(target: str) -> Path:
    """Name the results file of a core, or of the CPUs of an instruction set."""
    return RESULTS / f"speed_{target}.json"


def read() -> dict[str, dict[str, Any]]:
    """Read the results, by core or instruction set, the widest first; empty where nothing was measured."""
    files = sorted(RESULTS.glob(path_of("*").name), reverse=True)
    return {file.stem.removeprefix("speed_"): json.loads(file.read_text(encoding="utf-8")) for file in files}


def cpu_title(document: Record) -> str:
    """Name the CPU of a results file, and the instructions of the code that was measured on it."""
    records = document["networks"].values()
    names = [c["micro_kernel"] for r in records for layers in r["layers"] for c in layers["convolutions"]]
    found = [INSTRUCTIONS[width] for width in INSTRUCTIONS if any(f"_{width}_" in name for name in names)]
    machine = next(iter(records))["machine"]
    cpu = machine["cpu"].replace("(R)", "")
    return f"{', '.join([cpu, *found])}, {machine['cores']} cores"


def network_table(name: str, record: Record) -> str:
    """Show every engine on one network, the fastest first, with times faster than the fastest other engine."""
    counts = thread_counts(record)
    bases = {threads: fastest_dense(record, threads) for threads in counts}
    headings = [
        TITLES.get(name, name),
        *(f"{n} thread{'s' * (n > 1)}" for n in counts),
        "GFLOP/s",
        "dense eq.",
        "error",
    ]
    rows = []
    first = sorted(of_threads(record, counts[0]), key=lambda result: result["median_ms"])
    for result in first:
        times = [find(record, n, result["engine"], key(result)) for n in counts]
        cells = [
            "-" if r is None else f"{units.milliseconds(r['median_ms'])} ({_times(bases[n], r)})"
            for n, r in zip(counts, times, strict=True)
        ]
        executed, equivalent = gflops(record, result)
        error = result["max_rel_err"]
        rates = [f"{executed:.0f}" if executed is not None else "-", f"{equivalent:.0f}"]
        rows.append([label(record, result), *cells, *rates, "reference" if error is None else f"{error:.0e}"])
    return pages.table(headings, rows)


def ratio_table(document: Record, threads: int) -> str:
    """Show how many times faster each pruned network of ours is than every engine with the dense one."""
    titles = {e: r["title"] for record in document["networks"].values() for e, r in record["peers"].items()}
    engines = {engine: titles[engine] for engine in PEERS if engine in titles}
    headings = [
        "pconv, pruned",
        "fastest other engine",
        "pconv, dense",
        *engines.values(),
        "DeepSparse, equal zeros",
    ]
    rows = []
    for name, record in document["networks"].items():
        for variant in record["variants"]:
            ours = find(record, threads, OURS, key(variant))
            if ours is None or not variant["group"]:
                continue
            base = fastest_dense(record, threads)
            others = [find(record, threads, engine, (1.0, 0)) for engine in (OURS, *engines)]
            others.append(find(record, threads, "deepsparse", key(variant)))
            cells = [f"{_times(base, ours)} ({record['peers'][base['engine']]['title']})" if base else "-"]
            cells += [_times(other, ours) for other in others]
            rows.append([f"{TITLES.get(name, name)}, {variant_label(variant)}", *cells])
    return pages.table(headings, rows)


def peak_table(document: Record) -> str:
    """Show which share of the measured FMA peak the convolutions reach on one thread.

    Where it was not counted what the kept weights have, there is nothing.
    """
    rows = []
    for name, record in document["networks"].items():
        labels = {key(variant): variant for variant in record["variants"]}
        for layers in record["layers"]:
            shares = [layers.get(f"{share}_percent") for share in SHARES]
            title = f"{TITLES.get(name, name)}, {variant_label(labels[key(layers)])}"
            rows.append([title, *("-" if share is None else f"{share:.0f}%" for share in shares)])
    return pages.table(["convolutions", *SHARES.values()], rows)


def scaling_table(document: Record) -> str:
    """Show what the second thread brings, ours and the fastest other engine's."""
    rows = []
    for name, record in document["networks"].items():
        if not {1, 2} <= set(thread_counts(record)):
            continue
        for variant in record["variants"]:
            one, two = (find(record, n, OURS, key(variant)) for n in (1, 2))
            rows.append([f"{TITLES.get(name, name)}, pconv, {variant_label(variant)}", _times(one, two)])
        if (one := fastest_dense(record, 1)) is not None:
            title = record["peers"][one["engine"]]["title"]
            two = find(record, 2, one["engine"], key(one))
            rows.append([f"{TITLES.get(name, name)}, {title}, dense", _times(one, two)])
    return pages.table(["two threads over one", "times faster"], rows)


def notes(document: Record) -> list[str]:
    """Say where the numbers come from, who was allowed what, and who is missing."""
    records = document["networks"].values()
    said = dict.fromkeys(_machine_line(record["machine"]) for record in records)
    samples = [len(r["samples_ms"]) for record in records for r in record["results"]]
    exact = [r["max_rel_err"] or 0.0 for record in records for r in record["results"] if r["engine"] == OURS]
    lines = [*said]
    lines.append(
        f"fp32, batch 1; medians of {min(samples)} to {max(samples)} calls, the engines taking turns in one run a "
        "network. The weights are random: this is speed, not accuracy."
    )
    lines.append(
        "Every answer was first compared with ONNX Runtime's on the same weights. pconv is at most "
        f"{max(exact):.0e} of the largest value off."
    )
    lines.append(_spread_line(document))
    lines += _distance_line(document)
    for group, what in ((True, "fastest pruned"), (False, "dense")):
        lines.append(f"Faster than our {what} network: {'; '.join(_lost(document, group)) or 'none'}.")
    peers = {name: peer for record in records for name, peer in record["peers"].items()}
    for name, peer in peers.items():
        errors = [
            r["max_rel_err"]
            for record in records
            for r in record["results"]
            if r["engine"] == name and r["max_rel_err"]
        ]
        if peer["why_off"] and errors:
            lines.append(
                f"{peer['title']} is up to {max(errors):.0e} off ({peer['why_off']}; allowed {peer['max_rel_err']:g})."
            )
    for network, record in document["networks"].items():
        for tuned in record["tvm_tuning"]:
            lines.append(
                f"TVM was tuned for {TITLES.get(network, network)} on {tuned['threads']} thread"
                f"{'s' * (tuned['threads'] > 1)} with {tuned['trials']} trials, in {tuned['seconds'] / 60:.0f} minutes."
            )
    missing: dict[str, list[str]] = {}
    for network, record in document["networks"].items():
        for reason in record["skipped"].values():
            missing.setdefault(reason, []).append(TITLES.get(network, network))
    lines += [f"Left out: {reason} ({', '.join(where)})" for reason, where in missing.items()]
    for network, record in document["networks"].items():
        known = record["peers"].keys() | record["skipped"].keys()
        if absent := [_in_a_list(peer.title) for name, peer in PEERS.items() if name not in known]:
            lines.append(f"Not asked to take part in {TITLES.get(network, network)}: {', '.join(absent)}.")
    return lines


def _lost(document: Record, pruned: bool) -> Iterable[str]:
    """Name per network and thread count the engines that were faster than ours with the dense network."""
    for name, record in document["networks"].items():
        for threads in thread_counts(record):
            results = of_threads(record, threads)
            ours = [r["median_ms"] for r in results if r["engine"] == OURS and bool(r["group"]) == pruned]
            others = [r for r in results if r["engine"] != OURS and not r["group"]]
            faster = [r for r in others if ours and r["median_ms"] < min(ours)]
            if faster:
                titles = ", ".join(_in_a_list(record["peers"][r["engine"]]["title"]) for r in faster)
                yield f"{TITLES.get(name, name)} on {threads} thread{'s' * (threads > 1)}: {titles}"


def _in_a_list(title: str) -> str:
    return title.replace(", ", " ")


def _spread_line(document: Record) -> str:
    """Say how far apart the calls of one engine were."""
    spreads = []
    for record in document["networks"].values():
        for result in record["results"]:
            low, middle, high = quantiles(result["samples_ms"], n=4, method="inclusive")
            spreads.append(100 * (high - low) / middle)
    return (
        f"The middle half of an engine's calls spans {median(spreads):.0f}% of its median, {max(spreads):.0f}% where "
        "it spans the most: smaller differences than that say little."
    )


def _distance_line(document: Record) -> list[str]:
    """Say how often the cores were apart, where that was measured around each turn of several threads."""
    readings = {name: record.get("line_ns", []) for name, record in document["networks"].items()}
    shares = {TITLES.get(name, name): 1 - near_share(all_ns) for name, all_ns in readings.items() if all_ns}
    if not shares:
        return []
    least = min(min(all_ns) for all_ns in readings.values() if all_ns)
    each = ", ".join(f"{title} {share:.0%}" for title, share in shares.items())
    return [
        f"A cache line took {least:.0f} ns from core to core at best. The host moved the cores further apart, to more "
        f"than {FARTHER:g} times that, for a part of the time on two threads ({each}); such turns do not count."
    ]


def thread_counts(record: Record) -> list[int]:
    """List the thread counts of a network's results."""
    return sorted({result["threads"] for result in record["results"]})


def of_threads(record: Record, threads: int) -> list[Record]:
    """List the results on so many threads."""
    return [result for result in record["results"] if result["threads"] == threads]


def find(record: Record, threads: int, engine: str, wanted: tuple[float, int]) -> Record | None:
    """Find one result by engine, and by compression and group."""
    for result in of_threads(record, threads):
        if result["engine"] == engine and key(result) == wanted:
            return result
    return None


def fastest_dense(record: Record, threads: int) -> Record | None:
    """Find the fastest other engine with fp32 and the dense network."""
    dense = [
        result
        for result in of_threads(record, threads)
        if result["engine"] != OURS and result["dtype"] == "float32" and key(result) == (1.0, 0)
    ]
    return min(dense, key=lambda result: result["median_ms"], default=None)


def gflops(record: Record, result: Record) -> tuple[float | None, float]:
    """Give executed GFLOP/s, and what the dense network would need; others' executed ones are known when dense."""
    variant = next(variant for variant in record["variants"] if key(variant) == key(result))
    known = result["engine"] == OURS or not result["group"]
    executed, dense = (2e-6 * variant[count] / result["median_ms"] for count in ("macs", "dense_macs"))
    return (executed if result["engine"] == OURS else dense if known else None), dense


def label(record: Record, result: Record) -> str:
    """Name an engine and its weights."""
    title = OURS if result["engine"] == OURS else record["peers"][result["engine"]]["title"]
    variant = next(variant for variant in record["variants"] if key(variant) == key(result))
    return f"{title}, {variant_label(variant)}"


def variant_label(variant: Record) -> str:
    """Say how a network was pruned."""
    if not variant["group"]:
        return "dense"
    shared = f" in groups of {variant['group']}" if variant["group"] > 1 else ""
    return f"{variant['rate']:g}x{shared}"


def _times(slower: Record | None, faster: Record | None) -> str:
    if slower is None or faster is None:
        return "-"
    return f"{slower['median_ms'] / faster['median_ms']:.2f}x"


def key(record: Record) -> tuple[float, int]:
    """Say which weights a record is about: compression and group."""
    return record["compression"], record["group"]


def _machine_line(machine: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    # The FMA peak is measured anew for each network, and shown with its layers.
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {system(machine)}; {versions}; "
        f"pconv built with {machine.get('compiler')}."
    )
