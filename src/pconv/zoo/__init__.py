"""Networks by name, with random weights from a seed and torchvision's state-dict names.

One family a file, each with `build(num_classes, **options)`; a network is one line of `NETWORKS`.
Looking names up needs numpy's world only; building a network needs torch.
"""

from pconv.zoo.api import create, input_shape, to_onnx
from pconv.zoo.table import names

__all__ = ["create", "input_shape", "names", "to_onnx"]
