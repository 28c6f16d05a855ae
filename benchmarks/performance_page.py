"""Write the measured parts of docs/performance.md, and its charts, from benchmarks/results/speed_*.json.

python benchmarks/performance_page.py
"""

import argparse
from collections.abc import Mapping

import pages
import speed_tables
from pconv.report.charts import Bar, latency_chart
from speed_tables import OURS, TITLES, Record

PAGE, MARK = pages.DOCS / "performance.md", "results"
CHARTS = pages.DOCS / "charts"


def body() -> str:
    """Give what the stored results say."""
    return render(speed_tables.read())


def render(documents: Mapping[str, Record]) -> str:
    """Give the text between the marks: a section for each CPU."""
    return "\n\n".join(section(target, documents[target]) for target in documents)


def section(target: str, document: Record) -> str:
    """Show what was measured on one CPU."""
    networks = document["networks"]
    parts = [f"## {speed_tables.cpu_title(document)}", "### Times faster than other engines"]
    counts = {n for record in networks.values() for n in speed_tables.thread_counts(record)}
    for threads in sorted(counts):
        parts += [f"On {threads} thread{'s' * (threads > 1)}:", speed_tables.ratio_table(document, threads)]
    parts += [
        "### Share of the FMA peak",
        "One thread, multiply-adds over the layers' time: those that were executed, and in the first column those that "
        "the kept weights have, of which Winograd's way executes fewer.",
    ]
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


def main() -> None:
    """Write the page and the charts."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    pages.write(PAGE, MARK, body())
    for target, document in speed_tables.read().items():
        (CHARTS / target).mkdir(parents=True, exist_ok=True)
        for name, record in document["networks"].items():
            (CHARTS / target / f"{name}.svg").write_text(chart(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
