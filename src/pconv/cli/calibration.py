"""Owns the options of calibration images and the way from them to one array."""

import zipfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from pconv.calibration import spread
from pconv.cli import arrays, options
from pconv.cli.console import Tracker
from pconv.errors import InputError

PANEL = "Calibration"
MOST = 256

Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help=r"Images like those that the model will see, no labels: a folder of pictures or .npy files, or one "
        r".npy or .npz of \[n, c, h, w] (floats as the model reads them; bytes are treated as pictures).",
        rich_help_panel=PANEL,
    ),
]
Most = Annotated[
    int,
    typer.Option(
        "--images",
        metavar="N",
        min=1,
        help="Use this many at most, spread over all; of large ones fewer are used, as memory allows.",
        rich_help_panel=PANEL,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="H,W",
        help=r"Scale pictures to this size. \[default: the model's input, where the file fixes it]",
        rich_help_panel=PANEL,
    ),
]


def read(
    path: Path | None, model: Path, most: int, size: str | None, scale: arrays.Scale, track: Tracker
) -> NDArray[Any] | None:
    """Read calibration images as the model wants them; None where no path is given.

    Shapes: [n, c, h, w] float32
    Raises: InputError when there is no such file, it holds no images, or no size is known.
    """
    if size is not None and (path is None or not path.is_dir()):
        raise InputError(f"--size {size}: it is for pictures in a folder; name one with --calibrate.")
    if path is None and scale != arrays.AS_READ:
        raise InputError("--mean, --std: they are for pictures; name some with --calibrate.")
    if path is None:
        return None
    track(f"reading {path}")
    if path.is_dir():
        shape = _input_shape(model, size)
        inputs = arrays.read_folder(path, {"input": shape}, scale, most)
        return np.concatenate([one["input"] for one in inputs])
    images = _load(path)
    return scale.as_read(images[spread(len(images), most)])


def _load(path: Path) -> NDArray[Any]:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            many = (
                {"": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
            )
    except OSError as error:
        raise InputError(f"--calibrate {path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"--calibrate {path}: allowed are a folder of images, a .npy or a .npz; write one with numpy.save."
        ) from error
    images = [array for array in many.values() if array.ndim == 4 and len(array)]
    if len(images) != 1:
        raise InputError(
            f"--calibrate {path}: it holds {len(images)} arrays of [n, c, h, w]; allowed is one. Save the images alone."
        )
    return arrays.numbers(images[0], f"--calibrate {path}")


def _input_shape(model: Path, size: str | None) -> tuple[int, ...]:
    """Say how a single picture has to look, from the model and --size."""
    from pconv.graph import load

    inputs = [value for value in load(model).graph.inputs if not value.is_initializer()]
    shape = inputs[0].shape if inputs else None
    known = [] if shape is None else [n if isinstance(n, int) else None for n in shape]
    if size is not None:
        try:
            height, width = options.integers(size)
            if min(height, width) < 1:
                raise ValueError
        except ValueError:
            raise InputError(f"--size {size}: allowed is H,W, e.g. --size 224,224.") from None
        known[2:] = [height, width]
    if len(known) != 4 or None in known[1:]:
        raise InputError(
            f"--calibrate: the model leaves its input's size open ({shape}); give --size H,W, or images as a .npy."
        )
    return (1, *(n for n in known[1:] if n is not None))
