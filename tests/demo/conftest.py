"""Where the real weights are."""

from pathlib import Path

import pytest

from pconv.demo.data import find_folder
from pconv.errors import ModelError


@pytest.fixture(scope="session")
def data_folder() -> Path:
    try:
        return find_folder("cifar10_resnets")
    except ModelError as error:
        pytest.skip(str(error))
