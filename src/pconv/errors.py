"""Every error that pconv raises on purpose.

PconvError
├── ModelError      the model file or module cannot be read, or its weights are not usable
│   └── UnsupportedError   it is readable, but asks for something pconv does not do (yet)
├── RecipeError     a recipe has an unknown key, layer or an impossible rate
├── InputError      an array handed to a compiled model has the wrong shape, dtype or name
├── BuildError      no compiler, the compiler failed, or its output cannot be written
├── ArtefactError   a compiled file is broken, of another version, or for another machine
└── DeviceError     a phone or another machine is not there, or does not do what it is asked

A message is one line that says where, what, what is allowed, and the next step. The command line prints it
without a traceback and exits with 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """Return what a message says of a misspelt name: `did you mean X?`; nothing where no known name is near."""
    near = get_close_matches(word, map(str, known), n=1)
    return f"did you mean {near[0]}?" if near else ""


class PconvError(Exception):
    """Base of all errors raised on purpose."""


class ModelError(PconvError):
    """The model cannot be read or its weights are not usable."""


class UnsupportedError(ModelError):
    """The model asks for something outside what pconv supports."""


class RecipeError(PconvError):
    """A pruning recipe is not valid, or does not fit the model."""


class InputError(PconvError, ValueError):
    """An array given to an engine does not fit the model's input."""


class BuildError(PconvError):
    """Compiling or writing the shared library failed."""


class ArtefactError(PconvError):
    """A compiled file cannot be loaded on this machine."""


class DeviceError(PconvError):
    """A device is not there, not ready, or could not do what it was asked."""
