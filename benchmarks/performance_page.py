"""Write the measured parts of docs/performance.md, and its charts, from benchmarks/results/speed.json.

python benchmarks/performance_page.py
"""

from pathlib import Path
from typing import Any

import speed_tables
from pconv.report.charts import Bar, latency_chart
from speed_tables import OURS, TITLES, Record

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "charts"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NOT_MEASURED = "Not measured yet: `make bench` measures this machine and writes the tables here."


def render(document: Record | None) -> str:
    """Give the text between the markers."""
    if document is None or not document["networks"]:
        return NOT_MEASURED
    parts = ["## Times faster than other engines"]
    counts = {n for record in document["networks"].values() for n in speed_tables.thread_counts(record)}
    for threads in sorted(counts):
        parts += [f"On {threads} thread{'s' * (threads > 1)}:", speed_tables.ratio_table(document, threads)]
    parts += ["## Share of the FMA peak", "One thread, executed multiply-adds only, over the layers' time."]
    parts += [speed_tables.peak_table(document)]
    if {1, 2} <= counts:
        parts += ["## The second thread", speed_tables.scaling_table(document)]
    for name, record in document["networks"].items():
        parts += [f"## {TITLES.get(name, name)}", f"![latency on one thread](charts/{name}.svg)"]
        parts += [speed_tables.network_table(name, record)]
    parts += ["## How it was measured", "\n".join(f"- {note}" for note in speed_tables.notes(document))]
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
        note = f"{faster:.1f}x the fastest dense engine" if kind == "pruned" and base is not None else ""
        bars.append(Bar(speed_tables.label(record, result), result["median_ms"], kind, note))
    return latency_chart(bars)


def replace(text: str, inner: str) -> str:
    """Put `inner` between the markers of a text."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{inner}\n{END}{tail}"


def main() -> None:
    """Write the page and the charts."""
    document: dict[str, Any] = speed_tables.read() or {"networks": {}}
    PAGE.write_text(replace(PAGE.read_text(encoding="utf-8"), render(document)), encoding="utf-8")
    CHARTS.mkdir(exist_ok=True)
    for name, record in document["networks"].items():
        (CHARTS / f"{name}.svg").write_text(chart(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
