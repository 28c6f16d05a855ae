"""Owns the way from files to input arrays (.npy, pictures, random numbers), and back."""

import io
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.calibration import spread
from pconv.cli import console, options
from pconv.errors import InputError
from pconv.files import check_apart
from pconv.pictures import as_bytes

Array = NDArray[Any]
Shapes = Mapping[str, Sequence[int]]

SEED = 0
PICTURES = (".npy", ".jpg", ".jpeg", ".png", ".bmp", ".webp")
MOST_FILES = 64


@dataclass(frozen=True)
class Scale:
    """What makes pixels in 0..1 what a model reads: less `mean`, over `std`; one number, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def parse(cls, mean: str, std: str) -> "Scale":
        """Read --mean and --std.

        Raises: PconvError for what is no list of numbers, or a std that is not above 0.
        """
        each = "0.5 or 0.5,0.4,0.4"
        made = cls(options.numbers(mean, "--mean", each), options.numbers(std, "--std", each))
        if not all(map(math.isfinite, made.mean)) or not all(0 < value < math.inf for value in made.std):
            raise InputError(f"--mean {mean} --std {std}: allowed are finite numbers, for --std above 0.")
        return made

    def as_read(self, images: Array) -> Array:
        """Give arrays of images as the model reads them: bytes are pictures and are scaled, floats are that already.

        Shapes: [n, c, h, w] -> the same, float32
        """
        if images.dtype != np.uint8 or images.ndim != 4:
            return images.astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(self(np.moveaxis(images, 1, -1)), -1, 1))

    def __call__(self, pixels: Array) -> Array:
        """Scale pictures.

        Shapes: [..., c], bytes -> the same, float32
        Raises: InputError when there are neither one nor c numbers.
        """
        channels = pixels.shape[-1]
        for option, given in (("--mean", self.mean), ("--std", self.std)):
            if len(given) not in (1, channels):
                raise InputError(
                    f"{option}: {len(given)} numbers for {channels} channels; allowed one, or one a channel."
                )
        scaled = pixels.astype(np.float32) / 255 - np.asarray(self.mean, np.float32)
        return np.asarray(scaled / np.asarray(self.std, np.float32))


AS_READ = Scale((0.0,), (1.0,))
"""Pixels as they are, in 0..1: the default of --mean and --std."""


def read_inputs(texts: Sequence[str], shapes: Shapes, scale: Scale) -> dict[str, Array]:
    """Read one file for every input: FILE where there is one input, else NAME=FILE; random numbers for none.

    Pictures become [1, c, h, w] of the input's size, in 0..1, then scaled.

    Raises: InputError for a file that cannot be read, an unknown input, or one that is missing.
    """
    if not texts:
        console.note(f"no --input: random numbers for {', '.join(shapes)} (seed {SEED})")
        draw = np.random.default_rng(SEED)
        return {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    files: dict[str, str] = {}
    for name, file in (_split(text, shapes) for text in texts):
        if files.setdefault(name, file) != file:
            raise InputError(f"input {name}: {files[name]} and {file} are given; allowed one file.")
    for name in shapes:
        if name not in files:
            raise InputError(f"input {name}: no file is given; add --input {name}=FILE.")
    return {name: _read(Path(file), shapes[name], scale) for name, file in files.items()}


def read_folder(folder: Path, shapes: Shapes, scale: Scale, most: int = MOST_FILES) -> list[dict[str, Array]]:
    """Read the pictures and .npy files of a folder, in the order of their names, as inputs.

    Of more than `most`, so many are taken that are spread over all: files often stand class by class.

    Raises: InputError when a file cannot be read or has another shape, or none is there.
    """
    if len(shapes) != 1:
        raise InputError(f"{folder}: a folder serves models of one input; this one has {', '.join(shapes)}.")
    ((name, shape),) = shapes.items()
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not files:
        raise InputError(f"{folder}: no images; allowed are files in {', '.join(PICTURES)}.")
    chosen = [files[i] for i in spread(len(files), most)]
    arrays = {path: scale.as_read(_read(path, shape, scale)) for path in chosen}
    for path, array in arrays.items():
        if array.shape != tuple(shape):
            raise InputError(f"{path}: shape {array.shape}, allowed {tuple(shape)}.")
        if not np.isfinite(array).all():
            raise InputError(f"{path}: it holds NaN or infinity; allowed are finite numbers.")
    return [{name: array} for array in arrays.values()]


def _split(text: str, shapes: Shapes) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if equals and name in shapes:
        return name, file
    if len(shapes) == 1 and (not equals or Path(text).exists()):
        return next(iter(shapes)), text
    allowed = " or ".join(f"--input {known}=FILE" for known in shapes)
    raise InputError(f"--input {text}: the model has no such input; allowed {allowed}.")


def _read(path: Path, shape: Sequence[int], scale: Scale) -> Array:
    if path.suffix.lower() != ".npy":
        return _read_picture(path, shape, scale)
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'no .npy file'}).") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no .npy file, or cut off. Write one with numpy.save.") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: an .npz under another name. Write one array with numpy.save.")
    return numbers(array, str(path))


def numbers(array: Array, where: str) -> Array:
    """Give the array back if it holds numbers.

    Raises: InputError.
    """
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: it holds {array.dtype}, not numbers. Save an array of floats or integers."
        )
    return array


def _read_picture(path: Path, shape: Sequence[int], scale: Scale) -> Array:
    if find_spec("PIL") is None:
        raise InputError(f"{path}: reading pictures needs Pillow; pip install pillow, or give a .npy file.")
    from PIL import Image, UnidentifiedImageError

    if len(shape) != 4 or shape[1] not in (1, 3):
        raise InputError(
            f"{path}: a picture fits inputs of shape (n, 1 or 3, h, w), not {tuple(shape)}; give a .npy."
        )
    channels, height, width = shape[1:]
    try:
        with Image.open(path) as opened:
            picture = as_bytes(opened, "RGB" if channels == 3 else "L").resize((width, height))
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: neither a picture nor a .npy file. Leave it out, or save it again."
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # as of broken files
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}).") from error
    pixels = scale(np.asarray(picture).reshape(height, width, channels))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def check_output(path: Path, outputs: int, inputs: Iterable[str] = ()) -> None:
    """Check, before a model runs, that its outputs can be written: one as .npy, several as .npz.

    Raises: InputError when the name does not fit their number; BuildError when it cannot be written, or is one of the
    files of the inputs.
    """
    suffix = ".npy" if outputs == 1 else ".npz"
    if path.suffix != suffix:
        raise InputError(
            f"--output {path}: the model has {console.count(outputs, 'output')}; allowed a name that ends in {suffix}."
        )
    console.check_writable(path)
    for given in inputs:
        check_apart(path, given.partition("=")[2] or given, "Choose another place with -o.", "the input")


def write_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """Write what `check_output` let pass.

    Raises: BuildError when it cannot be written.
    """
    written = io.BytesIO()
    if path.suffix == ".npy":
        np.save(written, next(iter(outputs.values())))
    else:
        with zipfile.ZipFile(written, "w") as archive:  # as numpy.savez does, which takes not every name
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    console.write(path, written.getvalue())
