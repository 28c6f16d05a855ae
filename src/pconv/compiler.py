"""The whole lower half as one function: model in, engine out."""

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache as memoize
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pconv import targets, toolchain, tuning
from pconv._version import __version__
from pconv.cache import Cache
from pconv.errors import BuildError, ModelError, did_you_mean
from pconv.files import PIECE, check_apart, write_atomically
from pconv.progress import Progress
from pconv.runtime import Engine, load
from pconv.runtime.opencl_device import device_identity
from pconv.targets import Target
from pconv.tuning import Tuning

if TYPE_CHECKING:
    from pconv.codegen.program import Program
    from pconv.lower import Plan

log = logging.getLogger("pconv.compiler")

Job = tuple[Target, Tuning | None]
"""What to compile for, and what tuning knows about it."""

OUT_ADVICE = "Name another place for the output."


def compile(
    model: Any,
    *,
    inputs: Any = None,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    dense: Iterable[str] = (),
    fold: int = 1,
    tuned: str | os.PathLike[str] | None = None,
    cc: str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Engine:
    """Compile a model for this machine and open it.

    `model` is a path to an .onnx file, an onnx or onnx_ir model, or a torch module (then `inputs` are example
    tensors or shapes). `dtype` is "fp32", "fp16" or "fp16-fp32acc" (halves stored, floats computed with), as far as the
    target has it; inputs and outputs are float32 all the same. `cpu` and `dtype` may be several with commas between
    ("fp16,fp32"): the file holds them all, and the most demanding that the CPU can run is taken when it is opened.
    Layers named in `dense` ignore their zeros. For batches, `fold` images run side by side in the lanes of layers whose
    images are small: 2, 4, 8 or 16, no more than the target has lanes. A file that was compiled before comes from the
    cache; with `cache=False` the model is lowered anew. `tuned` is a file of `pconv tune`, by default what was tuned on
    this machine. `progress(what, done, total)` is called as steps get done.

    Raises: ModelError, UnsupportedError for the model; BuildError for the compiler and the cache;
    ArtefactError when `target` is not this machine's (use `compile_file`).
    """
    path = compile_file(
        model,
        inputs=inputs,
        target=target,
        cpu=cpu,
        dtype=dtype,
        dense=dense,
        fold=fold,
        tuned=tuned,
        cc=cc,
        cache=cache,
        progress=progress,
    )
    return load(path, threads=threads)


def compile_file(
    model: Any,
    *,
    inputs: Any = None,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    dense: Iterable[str] = (),
    fold: int = 1,
    tuned: str | os.PathLike[str] | None = None,
    cc: str | None = None,
    cache: bool = True,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Compile a model to a shared library, also for another machine; return `out`, or its path in the cache.

    Raises: as `compile` does; BuildError when `out` cannot be written, or is the model itself.
    """
    if out is not None:
        check_apart(Path(out), model, OUT_ADVICE)
    dense = _names(dense)
    jobs = _jobs(target, cpu, dtype, tuned)
    store = Cache()
    shortcut = _shortcut_key(model, inputs, jobs, dense, fold, cc) if cache else None
    library = store.find_sealed(shortcut) if shortcut is not None else None
    if library is None:
        from pconv.build import build
        from pconv.codegen import generate

        plans, remarks = _lower(model, inputs, jobs, dense, fold, progress, out)
        library = build(generate(*plans), cc=cc, cache=store, progress=progress)
        # Unless the file was replaced before it was read.
        if shortcut is not None and shortcut == _shortcut_key(model, inputs, jobs, dense, fold, cc):
            library = store.link(shortcut, library, "\n".join(remarks))
    elif shortcut is not None:
        _warn(model, store.note(shortcut).splitlines())
    if out is None:
        return library
    with library.open("rb") as file:
        return write_atomically(Path(out), file, OUT_ADVICE)


def generate_program(
    model: Any,
    *,
    inputs: Any = None,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    dense: Iterable[str] = (),
    fold: int = 1,
    tuned: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> "Program":
    """Compile a model as far as C text and weights: what `build` and `pconv.deploy` start from.

    Raises: as `compile` does.
    """
    from pconv.codegen import generate

    jobs = _jobs(target, cpu, dtype, tuned)
    plans, _ = _lower(model, inputs, jobs, _names(dense), fold, progress)
    return generate(*plans)


def inspect(
    model: Any,
    stage: str,
    layer: str | None = None,
    *,
    inputs: Any = None,
    target: str | None = None,
    cpu: str | None = None,
    dtype: str | None = None,
    dense: Iterable[str] = (),
    fold: int = 1,
    tuned: str | os.PathLike[str] | None = None,
) -> str:
    """Return the text of one stage, `graph`, `plan` or `c`, whole or for one layer.

    Raises: ModelError for the model, or when there is no such layer or stage.
    """
    from pconv import graph

    if stage not in ("graph", "plan", "c"):
        raise ModelError(f"stage {stage!r} is unknown; allowed graph, plan, c.")
    if stage == "graph":
        text = graph.describe(graph.normalise(graph.load(model, inputs=inputs)))
        return text if layer is None else _only(text, layer)
    from pconv.codegen.c.model import render_kernel
    from pconv.codegen.opencl import render_step
    from pconv.lower.describe import describe_plan, describe_step

    chosen = choose_target(target, cpu, dtype)
    records = _tuning(chosen, target in (None, "native"), tuned)
    ((plan,), _) = _lower(model, inputs, [(chosen, records)], _names(dense), fold, None)
    if stage == "plan" and layer is None:
        return describe_plan(plan)
    names = [step.name for step in plan.all_steps]
    if layer is None:
        from pconv.codegen import generate

        sources = generate(plan).sources
        return sources["model.cl" if chosen.arch == "opencl" else "model.c"]
    if layer not in names:
        raise ModelError(_unknown_layer(layer, names))
    step = plan.all_steps[names.index(layer)]
    if stage == "plan":
        return describe_step(step)
    return (
        render_step(step, chosen) if chosen.arch == "opencl" else "\n".join(map(render_kernel, step.kernels))
    )


def _names(dense: Iterable[str]) -> frozenset[str]:
    """Take one name for itself, not for its letters."""
    return frozenset([dense] if isinstance(dense, str) else dense)


def read_model(model: Any, inputs: Any = None) -> Any:
    """Return the normalised graph of a model as the lowering sees it.

    Raises: ModelError, UnsupportedError.
    """
    from pconv import graph

    return graph.view(graph.normalise(graph.load(model, inputs=inputs)))


def _lower(
    model: Any,
    inputs: Any,
    jobs: Sequence[Job],
    dense: frozenset[str],
    fold: int,
    progress: Progress | None,
    out: str | os.PathLike[str] | None = None,
) -> "tuple[list[Plan], list[str]]":
    """Return a plan for each job, and what there is to say of the model, which is said here.

    Raises: BuildError when `out` is a file of the model's weights.
    """
    from pconv import graph
    from pconv.lower import lower
    from pconv.lower.choice import pick_modelled

    loaded = graph.load(model, inputs=inputs)
    if out is not None:
        for file in graph.weight_files(loaded):
            check_apart(Path(out), file, OUT_ADVICE, "a file of the model's weights")
    remarks = _remarks(loaded)
    _warn(model, remarks)
    view = graph.view(graph.normalise(loaded))
    names = [node.name for node in view.nodes]
    for name in sorted(dense):
        if name not in names:
            raise ModelError(_unknown_layer(name, names))
    plans = [
        lower(view, target, dense, progress, tuned.pick if tuned else pick_modelled, fold)
        for target, tuned in jobs
    ]
    if fold > 1 and all(plan.images == 1 for plan in plans):
        alone = [
            f"no layer runs {fold} images side by side: none has small images, one behind them needs what was there "
            "before, or an output has no batch. It is compiled as without fold."
        ]
        _warn(model, alone)
        remarks += alone
    return plans, remarks


def _remarks(loaded: Any) -> list[str]:
    """Say what a model's owner should know: the answers are right, the numbers or the speed may not be as expected."""
    from pconv import graph
    from pconv.graph.prune import broken_promises

    said = [
        f"its {count} {kind} constants are read as float32"
        for kind, count in graph.other_floats(loaded).items()
    ]
    if problems := broken_promises(loaded):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        said.append(
            f"its weights do not fit its sparsity map: {problems[0].rstrip('.')}{more}. It is compiled as it is, "
            "slower where zeros were filled in; prune it again, or train with the zeros held. `pconv verify` lists "
            "every layer."
        )
    return said


def _warn(model: Any, remarks: Iterable[str]) -> None:
    name = model if isinstance(model, (str, os.PathLike)) else "the model"
    for remark in remarks:
        log.warning("%s: %s", name, remark)


def choose_target(name: str | None = None, cpu: str | None = None, dtype: str | None = None) -> Target:
    """Return a target by its name, this machine's by default; one for OpenCL is for the device at hand, if any.

    Raises: BuildError when there is none of that name, or it lacks the type.
    """
    return _at_hand(targets.get(name or "native", cpu, dtype))


def _at_hand(target: Target) -> Target:
    return replace(target, cpu=device_identity()) if target.arch == "opencl" else target


def _jobs(
    name: str | None, cpu: str | None, dtype: str | None, tuned: str | os.PathLike[str] | None
) -> list[Job]:
    """Return the targets that a file is to hold, the most demanding first, each with its records of tuning."""
    chosen = map(_at_hand, targets.get_all(name or "native", cpu, dtype))
    jobs = [(target, _tuning(target, name in (None, "native"), tuned)) for target in chosen]
    missing = [records.missing for _, records in jobs if records]
    if tuned is not None and all(missing):
        log.warning("%s: %s; compiled as without it", tuned, missing[0])
    return jobs


def _tuning(target: Target, native: bool, path: str | os.PathLike[str] | None) -> Tuning | None:
    """Return the records of tuning: this machine's own, or a file's; another target has none of its own.

    Where the target is another machine, its processor is whatever the file's records are for.

    Raises: BuildError when a file is named that is not there, or no tuning file.
    """
    if path is not None:
        if not Path(path).is_file():
            raise BuildError(
                f"{path}: no such tuning file; make one with `pconv tune --tuning`, or leave it out."
            )
        return tuning.load(Path(path), target, None if native else tuning.ANY)
    here = native or bool(target.arch == "opencl" and target.cpu)
    return tuning.load(tuning.default_path(target), target) if here else None


def _unknown_layer(name: str, names: list[str]) -> str:
    hint = did_you_mean(name, names) or "`pconv inspect --stage plan` lists them."
    return f"there is no layer {name!r}; {hint}"


def _only(text: str, layer: str) -> str:
    lines = [line for line in text.splitlines() if layer in line.split()]
    if not lines:
        raise ModelError(_unknown_layer(layer, [w for line in text.splitlines() for w in line.split()[:2]]))
    return "\n".join(lines)


def _shortcut_key(
    model: Any, inputs: Any, jobs: Sequence[Job], dense: frozenset[str], fold: int, cc: str | None
) -> str | None:
    """Return the hash of a model file and all options, None where the file alone does not tell all.

    A file whose weights lie in other files is not hashed here; its program is (in `build`).
    """
    if not isinstance(model, (str, os.PathLike)) or inputs is not None or not Path(model).is_file():
        return None
    digest = hashlib.sha256()
    before = b""
    try:
        with open(model, "rb") as file:
            while block := file.read(PIECE):
                if b"location" in before + block[:8] or b"location" in block:
                    return None
                digest.update(block)
                before = block[-8:]
    except OSError:
        return None  # who reads the model next says what is wrong
    options: tuple[Any, ...] = (sorted(dense), fold)
    chosen = [target for target, _ in jobs]
    if chosen[0].arch != "opencl":
        compiler = toolchain.choose(cc, chosen[0])
        options += (compiler.version, compiler.command[1:])
    records = [(tuned.dumps(), tuned.missing) if tuned else "" for _, tuned in jobs]
    said = (__version__, _own_sources(), _readers(), chosen, Path(model).stem, records, *options)
    digest.update(repr(said).encode())
    return digest.hexdigest()


@memoize
def _readers() -> list[tuple[str, str]]:
    """Return the versions of the packages that read models, as far as they are there."""
    names = {"onnx", "onnx-ir"}
    return sorted((d.name, d.version) for d in metadata.distributions() if d.name in names)


@memoize
def _own_sources() -> str:
    """Return the hash of this package itself, so that its every change is a new version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".c", ".h"):
            digest.update(path.read_bytes())
    return digest.hexdigest()
