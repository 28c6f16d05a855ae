"""What tuning measured: for each layer seen on this CPU, the schedule that was fastest.

One JSON file per CPU, in the cache directory or wherever it was copied to. A record holds for one CPU, one version
of the generator and one layer key (shape, layouts, class of sparsity; `pconv.lower.choice.layer_key`), and serves
every network that has such a layer. It is not of one number of threads, as compiled code is not: the report says with
how many it was measured. A layer without a record runs as modelled, and its report says why.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pconv.cache import Cache
from pconv.errors import BuildError
from pconv.files import write_atomically
from pconv.targets import Target
from pconv.targets.detect import cpu_model

if TYPE_CHECKING:
    from pconv.lower.choice import Choice

FORMAT = 1
GENERATOR = 1
"""Raise it when a change of schedules or C text makes old measurements worthless.

By hand, as most changes do not: a hash of the sources would throw hours of tuning away for a comment.
"""

ANY = "any"
"""Whatever processor it will be."""

ADVICE = "Name another file with --tuning."


@dataclass(frozen=True, slots=True)
class Record:
    """One layer's fastest schedule, and its time against the modelled schedule's, measured side by side."""

    schedule: str
    ratio: float
    ms: float
    threads: int
    tried: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """The records for one CPU. `missing` says why none of them holds here, where there is a reason."""

    cpu: str
    records: Mapping[str, Record] = field(default_factory=dict)
    missing: str = ""

    def pick(self, key: str, choices: Sequence["Choice"]) -> tuple["Choice", str]:
        """Take the recorded choice for a layer, else the modelled one; say which, or why not."""
        record = self.records.get(key)
        if record is None:
            seen = "this layer was not tuned on this CPU" if self.records else ""
            return choices[0], self.missing or seen
        for choice in choices:
            if choice.name == record.schedule:
                return choice, _taken(record)
        return choices[0], f"tuned to {record.schedule!r}, which is no longer offered; tune again"

    def merged(self, records: Mapping[str, Record]) -> "Tuning":
        """Return these records with newer ones over them."""
        return Tuning(self.cpu, {**self.records, **records})

    def dumps(self) -> str:
        """Return the file's text."""
        records = {key: asdict(record) for key, record in sorted(self.records.items())}
        document = {"format": FORMAT, "generator": GENERATOR, "cpu": self.cpu, "records": records}
        return json.dumps(document, indent=1) + "\n"

    def save(self, path: Path) -> Path:
        """Write the file whole.

        Raises: BuildError when it cannot be written.
        """
        return write_atomically(path, self.dumps().encode(), ADVICE)


def _taken(record: Record) -> str:
    threads = f"{record.threads} thread" + "s" * (record.threads != 1)
    return f"tuned: {record.ratio:.2f} of the modelled schedule's time on {threads}"


def cpu_name(target: Target, processor: str | None = None) -> str:
    """Name what records hold for: the processor (this machine's, or that of a device) and the instruction set."""
    here = target.cpu if target.arch == "opencl" else cpu_model()
    return f"{processor or here}, {target.name}"


def default_path(target: Target, processor: str | None = None) -> Path:
    """Return where a processor's records stand, by default this machine's."""
    slug = re.sub(r"[^a-z0-9]+", "-", cpu_name(target, processor).lower()).strip("-")
    return Cache().root / "tuning" / f"{slug}.json"


def load(path: Path, target: Target, processor: str | None = None) -> Tuning:
    """Read the records for this CPU; none, with the reason and the file's CPU, where the file has none that hold here.

    With `processor` they are to be for that one; `ANY` takes those of any with the target's instruction set, as a
    compiler for another machine has to.

    Raises: BuildError when the file is no tuning file.
    """
    cpu = cpu_name(target, processor)
    if not path.is_file():
        return Tuning(cpu)
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        said = document["format"], document["generator"], document["cpu"]
        if processor == ANY and str(said[2]).endswith(f", {target.name}"):
            cpu = said[2]
        differ = [
            f"not tuned: the records are for {name} {found}, here it is {here}"
            for name, found, here in zip(
                ("format", "generator", "CPU"), said, (FORMAT, GENERATOR, cpu), strict=True
            )
            if found != here
        ]
        if differ:  # and what its records look like, who knows
            return Tuning(str(said[2]), missing=differ[0])
        records = {key: _record(record) for key, record in document["records"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise BuildError(
            f"{path}: this is no tuning file of pconv ({type(error).__name__}: {error}). If it was one, delete it: "
            "`pconv tune` makes a new one."
        ) from error
    return Tuning(cpu, records)


def _record(entry: Mapping[str, Any]) -> Record:
    record = Record(**entry)
    if not isinstance(record.schedule, str) or not all(
        isinstance(value, int | float) for value in (record.ratio, record.ms, record.threads, record.tried)
    ):
        raise TypeError("a record holds a schedule's name and numbers")
    return replace(record, ratio=float(record.ratio), ms=float(record.ms))
