"""What a model's symbols are called: every one begins with the model's own name.

A static library shares one space of names with its program, and two models share micro-kernels by name. So the
files are compiled with a header that renames all that they define.
"""

import re
from collections.abc import Mapping

from pconv.build import NATIVE
from pconv.codegen.program import Program
from pconv.errors import BuildError

_OURS = re.compile(r"\b(?:pconv|pool)_\w+")
_FUNCTION = re.compile(r"^PCONV_API [^;]*?\b(pconv_\w+)\([^;]*;", re.MULTILINE)


def identifier(name: str) -> str:
    """Make a model's name a prefix for C: letters, digits, underscores, a letter in front.

    Raises: BuildError when nothing of it is left, or it is a prefix of the run time's own.
    """
    made = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    made = f"model_{made}" if made[:1].isdigit() else made
    if not made or made in ("pconv", "pool"):
        raise BuildError(f"name {name!r}: no name for a C library; allowed letters and digits. Use --name.")
    return made


def class_name(name: str) -> str:
    """Make a prefix the name of a class: resnet20_cifar becomes Resnet20Cifar."""
    return "".join(part.capitalize() for part in name.split("_"))


def renames(program: Program, name: str) -> Mapping[str, str]:
    """Return the new name of every symbol that a model's files may define."""
    headers = [path.read_text() for path in sorted(NATIVE.rglob("*.h"))]
    ours = sorted({found for text in headers for found in _OURS.findall(text)})
    kernels = sorted(file.removesuffix(".c") for file in program.files if file != "model.c")
    return {old: f"{name}_{old.removeprefix('pconv_')}" for old in (*ours, *kernels)}


def declarations(name: str) -> str:
    """Return the functions of pconv.h as a static library calls them."""
    header = (NATIVE / "pconv.h").read_text()
    return "\n".join(
        re.sub(r"\s+", " ", found[0]).replace(f"{found[1]}(", f"{name}_{found[1].removeprefix('pconv_')}(")
        for found in ((match[0], match[1]) for match in _FUNCTION.finditer(header))
    )
