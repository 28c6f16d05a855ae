"""Measure how fast pconv is against the engines of today; writes results/speed_CPU.json.

    python benchmarks/speed.py                                   all networks; an hour the first time, then half
    python benchmarks/speed.py --only resnet18 --seconds 5       a quick look at one
    python benchmarks/speed.py --only vgg16 --peers ncnn,mnn     against some engines

fp32, batch 1. A network is one run per thread count in which all engines take turns, after every answer was checked.
DeepSparse runs the pruned files too, at equal zeros. A file holds the networks of one CPU; one that is measured again
replaces itself alone. Pruning is one shot by magnitude on random weights, which is right for timing and says nothing
about accuracy. Of several threads, turns count in which the cores were as near as they ever were; `line_ns` has what
was measured before and after each turn. Where they were apart for most of the time, nothing is stored.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cores
import speed_tables
from pconv import compile
from pconv.bench import peers, session
from pconv.bench.compare import Network, compare
from pconv.bench.distance import Distance
from pconv.bench.peers.tvm import Tvm
from pconv.errors import PconvError
from pconv.targets import native
from pconv.targets.detect import cpu_model
from variants import Pruning, Variant, make_variants, measure_layers, work

THREADS = (1, 2)
_FEW_1X1 = {"rate_1x1": 4.0}


def _prunings(rates: Sequence[float], groups: Sequence[int], **settings: Any) -> tuple[Pruning, ...]:
    return tuple(Pruning(rate, group, settings) for rate, group in product(rates, groups))


NETWORKS: Mapping[str, tuple[Pruning, ...]] = {
    "vgg16": _prunings((8.0, 12.0), (1, 4)),
    "resnet18": _prunings((8.0,), (1, 4), **_FEW_1X1),
    "resnet50": _prunings((8.0,), (1, 4), **_FEW_1X1),
    "mobilenet_v2": _prunings((4.0,), (1, 4)),
    "vgg16_cifar": _prunings((8.0,), (1, 4)),
    "resnet18_cifar": _prunings((8.0,), (1, 4), **_FEW_1X1),
}


def main() -> None:
    """Measure network by network; what is done is written at once."""
    arguments = _arguments()
    ready, missing = peers.split(peers.named(arguments.peers))
    for reason in missing.values():
        print(f"skipped: {reason}")
    document = started(arguments.output)
    for name in arguments.only or NETWORKS:
        record = measure(name, ready, missing, arguments.threads, arguments.seconds)
        cores.require_near(name, record["line_ns"])
        document["networks"][name] = record
        order = [network for network in NETWORKS if network in document["networks"]]
        document["networks"] = {network: document["networks"][network] for network in order}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(speed_tables.network_table(name, document["networks"][name]), flush=True)
    print(f"wrote {arguments.output}")


def started(output: Path) -> dict[str, Any]:
    """Read what a file holds already.

    Raises: PconvError when it was measured on another CPU.
    """
    if not output.exists():
        return {"networks": {}}
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    here = cpu_model()
    for record in document["networks"].values():
        if record["machine"]["cpu"] != here:
            raise PconvError(
                f"{output} holds results of {record['machine']['cpu']}, and this is {here}; a file is of one CPU, "
                "give another with --output."
            )
    return document


def measure(
    name: str,
    ready: Sequence[peers.Peer],
    missing: Mapping[str, str],
    threads: Sequence[int],
    seconds: float,
) -> dict[str, Any]:
    """Measure one network in all engines, then the layers of its pruned variants in ours."""
    # Without the advice, which names places on this machine.
    skipped = {peer: reason.split("; ")[0] for peer, reason in missing.items()}

    def skip(peer: str, reason: str) -> None:
        if peer not in skipped:
            print(f"{name}: skipped: {reason}", flush=True)
        skipped.setdefault(peer, reason.split("; ")[0])

    distance = Distance()
    with TemporaryDirectory(prefix="pconv-speed-") as folder:
        print(f"{name}: exporting and pruning", flush=True)
        variants = make_variants(name, NETWORKS[name], Path(folder))
        with ExitStack() as stack:
            networks = [_compiled(stack, name, variant) for variant in variants]
            results = compare(
                name,
                networks,
                ready,
                threads,
                seconds,
                distance=distance,
                on_event=lambda text, share: None if share else print(f"{name}: {text}", flush=True),
                on_wait=lambda: print("another benchmark is running; waiting for its end", flush=True),
                on_skip=skip,
            )
            counted = [
                v.labels | {"rate": v.rate, "file_bytes": n.engine.path.stat().st_size} | work(n.engine)
                for v, n in zip(variants, networks, strict=True)
            ]
        tuned = [record for n in threads if (record := Tvm().tuning(variants[0].path, n))]
        print(f"{name}: measuring the convolutions", flush=True)
        layers = [measure_layers(variant) for variant in variants]
    return {
        "machine": session.describe_machine(ready),
        "settings": {"seconds": seconds, "batch": 1},
        "line_ns": distance.readings,
        "peers": session.describe_peers(ready),
        "skipped": skipped,
        "tvm_tuning": tuned,
        "variants": counted,
        "results": [result.as_json() for result in results],
        "layers": layers,
    }


def _compiled(stack: ExitStack, name: str, variant: Variant) -> Network:
    print(f"{name}: compiling, {variant.name}", flush=True)
    engine = stack.enter_context(compile(variant.path))
    return Network(variant.path, engine, variant.compression, variant.group)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how fast pconv is against other engines.")
    parser.add_argument("--only", action="append", choices=list(NETWORKS), help="a network; may be repeated")
    parser.add_argument("--seconds", type=float, default=60.0, help="per network and thread count")
    parser.add_argument("--threads", type=_counts, default=THREADS, metavar="N,N")
    parser.add_argument("--peers", default=peers.ALL, metavar="NAME,NAME", help="default: all")
    parser.add_argument(
        "-o", "--output", type=Path, default=speed_tables.path_of(native().cpu or native().name)
    )
    return parser.parse_args()


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    try:
        main()
    except PconvError as error:
        sys.exit(f"speed.py: error: {error}")
