"""Tune TVM for one model with its own tuner; runs in TVM's environment (see `__main__`).

    ONNX -> Relax, NHWC -> tasks (one a distinct kernel) -> MetaSchedule: search, build, time -> one library

Tasks that the search has no use for (no loops that reuse anything) keep TVM's default schedule.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pconv.bench.peers.base import keep_only
from pconv.bench.peers.tvm import LIBRARY, RECORD

TRIALS_PER_TASK = 96
TRIALS_PER_ITERATION = 32


def main(arguments: list[str]) -> None:
    """Tune: MODEL THREADS TRIALS FOLDER; leaves the library and a record of how it was made."""
    path, threads, trials, folder = (
        Path(arguments[0]),
        int(arguments[1]),
        int(arguments[2]),
        Path(arguments[3]),
    )
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import tvm

    begin = time.perf_counter()
    # LLVM would halve the vectors of some CPUs with AVX-512, for the sake of scalar code around them.
    target = tvm.target.Target(
        {"kind": "llvm", "mcpu": _cpu(), "mattr": ["-prefer-256-bit"], "num-cores": threads}
    )
    module = prepare(path, target)
    tasks = tune(module, target, threads, trials, folder)
    tuned_s = time.perf_counter() - begin
    build(module, target, folder)
    record = {"trials": trials, "tasks": tasks, "seconds": round(tuned_s), "threads": threads, "mcpu": _cpu()}
    keep_only(folder, LIBRARY)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def prepare(path: Path, target: Any) -> Any:
    """Read the model; channels last, constants folded, operators fused."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax import transform
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(path), keep_params_in_input=False)
    passes = [
        transform.DecomposeOpsForInference(),
        transform.CanonicalizeBindings(),
        transform.ConvertLayout({"relax.nn.conv2d": ["NHWC", "HWIO"]}),
        transform.Normalize(),
        transform.FoldConstant(),
        relax.pipeline.zero_pipeline(),
        transform.AttachAttrLayoutFreeBuffers(),
    ]
    with target:
        return tvm.transform.Sequential(passes)(module)


def tune(module: Any, target: Any, threads: int, trials: int, folder: Path) -> int:
    """Search for every task; the records go to `folder`. Returns: the number of tasks."""
    import cloudpickle
    from tvm.s_tir import meta_schedule as ms

    # The processes that build and time cannot import this package.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    tasks = [t for t in ms.relax_integration.extract_tasks(module, target) if _worth_tuning(t.task_name)]
    strategy = ms.search_strategy.EvolutionarySearch(
        population_size=256, genetic_num_iters=3, genetic_max_fail_count=5
    )
    contexts, weights = ms.relax_integration.extracted_tasks_to_tune_contexts(
        tasks, work_dir=str(folder), strategy=strategy, num_threads=os.cpu_count() or 1, seed=0
    )
    timed = ms.runner.EvaluatorConfig(number=1, repeat=1, min_repeat_ms=60, enable_cpu_cache_flush=False)
    ms.tune.tune_tasks(
        tasks=contexts,
        task_weights=weights,
        work_dir=str(folder),
        max_trials_global=trials,
        max_trials_per_task=TRIALS_PER_TASK,
        num_trials_per_iter=TRIALS_PER_ITERATION,
        builder=ms.builder.LocalBuilder(max_workers=os.cpu_count() or 1, timeout_sec=60, f_build=_build_one),
        runner=ms.runner.LocalRunner(
            timeout_sec=30, initializer=functools.partial(_pin, threads), evaluator_config=timed
        ),
        cost_model=ms.cost_model.XGBModel(num_warmup_samples=32),
        module_equality="structural",
    )
    return len(tasks)


def build(module: Any, target: Any, folder: Path) -> None:
    """Apply the best records, pack weights the way they want them, and compile."""
    import tvm
    from tvm.relax import transform
    from tvm.s_tir import meta_schedule as ms

    with target, ms.database.JSONDatabase(work_dir=str(folder)):
        module = transform.MetaScheduleApplyDatabase(enable_warning=False)(module)
        pack = [
            transform.SplitLayoutRewritePreproc(),
            transform.LiftTransformParams(),
            transform.FoldConstant(),
        ]
        module = tvm.transform.Sequential(pack)(module)
    tvm.compile(module, target=target).export_library(str(folder / LIBRARY))


def _build_one(module: Any, target: Any, _params: Any) -> Any:
    """Build as TVM's default does, but without the import of its GPU intrinsics: 16 s a process."""
    from tvm.driver import build
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    return build(RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module), target=target)


def _pin(threads: int) -> None:
    """Time on the last cores, away from the first one, which the system likes to use."""
    cores: Sequence[int] = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[-threads:]))
    os.environ["TVM_NUM_THREADS"] = str(threads)


def _worth_tuning(task: str) -> bool:
    return not any(word in task for word in ("mean", "transpose", "reshape"))


def _cpu() -> str:
    from tvm.target.codegen import llvm_get_system_cpu

    return str(llvm_get_system_cpu())


if __name__ == "__main__":
    main(sys.argv[1:])
