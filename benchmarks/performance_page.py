"""Write the measured parts of docs/performance.md, and its charts, from benchmarks/results/speed_*.json.

python benchmarks/performance_page.py
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import speed_tables
from pconv.report.charts import Bar, latency_chart
from speed_tables import OURS, TITLES, Record

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "charts"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NOT_MEASURED = "Not measured yet: `make bench` measures this machine and writes the tables here."


def render(documents: Mapping[str, Record]) -> str:
    """Give the text between the markers: a section for each CPU."""
    return "\n\n".join(section(target, documents[target]) for target in documents) or NOT_MEASURED


def section(target: str, document: Record) -> str:
    """Show what was measured on one CPU."""
    networks = document["networks"]
    parts = [f"## {speed_tables.cpu_title(document)}", "### Times faster than other engines"]
    counts = {n for record in networks.values() for n in speed_tables.thread_counts(record)}
    for threads in sorted(counts):
        parts += [f"On {threads} thread{'s' * (threads > 1)}:", speed_tables.ratio_table(document, threads)]
    parts += ["### Share of the FMA peak", "One thread, executed multiply-adds only, over the layers' time."]
    parts += [speed_tables.peak_table(document)]
    if {1, 2} <= counts:
        parts += ["### The second thread", speed_tables.scaling_table(document)]
    for name, record in networks.items():
        parts += [f"### {TITLES.get(name, name)}", f"![latency on one thread](charts/{target}/{name}.svg)"]
        parts += [speed_tables.network_table(name, record)]
    parts += ["### How it was measured", "\n".join(f"- {note}" for note in speed_tables.notes(document))]
    return "\n\n".join(parts)


def chart(record: Record) -> str:
    """Draw the latencies of one network on its fewest threads."""
    threads = speed_tables.thread_counts(record)[0]
    base = speed_tables.fastest_dense(record, threads)
    bars = []
    for result in sorted(speed_tables.of_threads(record, threads), key=lambda r: -r["median_ms"]):
        ours = result["engine"] == OURS
        kind = ("pruned" if result["group"] else "dense") if ours else "peer"
        faster = base["median_ms"] / result["median_ms"] if base is not None else 0.0
        note = (
            f"{faster:.1f}x the fastest other, dense in fp32" if kind == "pruned" and base is not None else ""
        )
        bars.append(Bar(speed_tables.label(record, result), result["median_ms"], kind, note))
    return latency_chart(bars)


def replace(text: str, inner: str) -> str:
    """Put `inner` between the markers of a text."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{inner}\n{END}{tail}"


def main() -> None:
    """Write the page and the charts."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    documents = speed_tables.read()
    PAGE.write_text(replace(PAGE.read_text(encoding="utf-8"), render(documents)), encoding="utf-8")
    for target, document in documents.items():
        (CHARTS / target).mkdir(parents=True, exist_ok=True)
        for name, record in document["networks"].items():
            (CHARTS / target / f"{name}.svg").write_text(chart(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
