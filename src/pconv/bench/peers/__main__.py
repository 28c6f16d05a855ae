"""What the peers need before a comparison: `python -m pconv.bench.peers list | install | tune`."""

import argparse
import subprocess
import sys
from pathlib import Path

from pconv.bench.peers import PEERS, environments, running
from pconv.bench.peers.tvm import Tvm
from pconv.errors import PconvError


def main(arguments: list[str] | None = None) -> None:
    """Run one of the commands; 2 is the exit code of what a person can correct."""
    parser = argparse.ArgumentParser(prog="python -m pconv.bench.peers", description=__doc__)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("list", help="which peers run here, and how to get the others").set_defaults(
        run=_list
    )
    install = commands.add_parser("install", help="make the environments of peers that live apart; downloads")
    install.add_argument("names", nargs="*", help=f"default: all of {', '.join(sorted(_apart()))}")
    install.set_defaults(run=_install)
    tune = commands.add_parser("tune", help="tune TVM for a model; takes a quarter of an hour and more")
    tune.add_argument("model", help="an ONNX file")
    tune.add_argument("--threads", type=int, default=1)
    tune.add_argument("--trials", type=int, default=900, help="of all layers together")
    tune.set_defaults(run=_tune)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except PconvError as error:
        print(f"pconv: error: {error}", file=sys.stderr)
        sys.exit(2)


def _apart() -> dict[str, str]:
    return {e.apart: ", ".join(e.packages) for e in environments() if e.apart}


def _list(_: argparse.Namespace) -> None:
    for peer in PEERS.values():
        print(f"{peer.name:18} {peer.available() or peer.version()}")


def _install(given: argparse.Namespace) -> None:
    known = {environment.apart: environment for environment in environments() if environment.apart}
    for name in given.names or known:
        if name not in known:
            raise PconvError(f"environment {name!r} is unknown; allowed {', '.join(sorted(known))}.")
        print(f"{name}: {', '.join(known[name].packages)} into {known[name].folder}", flush=True)
        known[name].create()


def _tune(given: argparse.Namespace) -> None:
    tvm, path = Tvm(), Path(given.model)
    if (reason := tvm.available()) is not None:
        raise PconvError(reason)
    if not path.is_file():
        raise PconvError(f"{path}: no such file; give an ONNX file, such as zoo.to_onnx writes.")

    def make(draft: Path) -> None:
        interpreter = tvm.environment.interpreter
        command = running.python(interpreter, "tvm_tuning", path, given.threads, given.trials, draft)
        if subprocess.run(command).returncode:
            raise PconvError(f"{path}: TVM did not tune it (see above).")

    print(f"tuned: {tvm.keep(tvm.tuned(path, given.threads), make)}")


if __name__ == "__main__":
    main()
