"""A trainer for those who have none: images and a network in, a trained and pruned network in a folder out.

`run.train` does it all. `data/` reads images, `loop` trains, `checkpoint` keeps what a kill must not lose,
`distributed` is several processes, `result` writes. The pruning methods are `pconv.pruning`'s.
"""

from pconv.extras import require_torch

require_torch("pconv.training")

from .log import Event  # noqa: E402 - not before the check
from .result import Result  # noqa: E402
from .run import default_settings, train  # noqa: E402
from .settings import Settings  # noqa: E402
from .start import Teacher  # noqa: E402

__all__ = ["Event", "Result", "Settings", "Teacher", "default_settings", "train"]
