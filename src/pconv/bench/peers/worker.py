"""The other end of `running.Worker`: loads one model into one peer, then answers requests until there are no more."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pconv.bench import timing
from pconv.bench.peers import get
from pconv.errors import PconvError


def main(arguments: list[str]) -> None:
    """Serve: NAME MODEL THREADS INPUTS."""
    name, model, threads, inputs_path = arguments
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines print what they like; the pipe carries replies only

    def reply(**said: Any) -> None:
        replies.write(json.dumps(said) + "\n")
        replies.flush()

    try:
        call = get(name).load(Path(model), int(threads))
        with np.load(inputs_path) as file:
            inputs = {key: file[key] for key in file.files}
        reply()
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "turn":
                reply(samples_ms=timing.turn(lambda: call(inputs), request["seconds"]))
            else:
                np.savez(request["to"], *call(inputs))
                reply()
    except BrokenPipeError:
        pass  # nobody waits for the reply
    except PconvError as error:
        reply(error=str(error))
    except Exception as error:
        said = (str(error).strip() or "no reason given").splitlines()[0]
        reply(error=f"{type(error).__name__}: {said[:200]}")
