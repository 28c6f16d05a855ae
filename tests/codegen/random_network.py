"""Random networks: values of any size, read by any number of operators, some of them returned."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import numpy as np

from pconv.bench.case import Case, NetworkBuilder, Sparsity, out_shape
from pconv.graph import GraphView
from pconv.graph.nodes import Shape
from pconv.graph.spec import RISING, Attrs

SPARSITIES = (
    *(Sparsity(), Sparsity(2.0), Sparsity(3.0, None, 4)),
    *(Sparsity(2.0, "scp8"), Sparsity(2.0, "scp8", 2), Sparsity(1.0, "elog4", removed=1)),
)
OPERATORS = (
    *("Conv",) * 8,
    *("Concat", "MaxPool", "AveragePool", "Pad", "Subsample", "DepthToSpace"),
    *("Resize", "Transpose", "ChannelShuffle"),
    *("Add", "Sub", "Mul", "Mul", "Affine", "PRelu", "Activation"),
)
ACTIVATIONS = (
    *("none", "relu", "clip", "tanh", "sigmoid", "leaky", "hardswish", "silu", "elu"),
    *("gelu", "gelutanh", "quickgelu"),
)


def random_network(seed: int, nodes: int) -> GraphView:
    """Grow a network node by node from one image; the last values and a few others are its outputs."""
    random = Random(seed)
    builder = NetworkBuilder()
    image = (random.randint(1, 40), random.randint(1, 40))
    values = [builder.input("x", (1, random.randint(1, 12), *image))]
    while len(builder.nodes) < nodes:
        shapes = {name: builder.shapes[name] for name in values}
        case, tensors = _draw(random, shapes, f"n{len(builder.nodes)}", random.choice(values[-6:]))
        shape = out_shape(case)
        if all(0 < size <= 64 for size in shape) and np.prod(shape) <= 30_000:
            values.append(builder.layer(case, tensors))
    read = {name for node in builder.nodes for name in node.tensors}
    builder.outputs += [name for name in values if name not in read or random.random() < 0.2]
    return builder.graph(f"random{seed}")


def _draw(random: Random, shapes: Mapping[str, Shape], name: str, x: str) -> tuple[Case, list[str]]:
    """Draw an operator on `x`, and what else it reads."""
    _, channels, *image = shapes[x]
    activation: Attrs = {"activation": random.choice(ACTIVATIONS), "act_min": -0.5, "act_max": 1.0}
    size, stride = random.choice([1, 2, 3, 3, 5]), random.choice([1, 1, 2, 3])
    pads = tuple(random.randint(0, size // 2) for _ in range(4))
    window: Attrs = {"kernel_shape": (size, size), "strides": (stride, stride), "pads": pads}
    op, tensors = random.choice(OPERATORS), [x]
    attrs: Attrs = {}
    match op:
        case "Conv":
            return _draw_conv(random, shapes, name, x, activation)
        case "Add" | "Sub" | "Mul":
            others = (channels, 1), (tuple(image), (1, 1))
            fitting = [v for v in shapes if shapes[v][1] in others[0] and shapes[v][2:] in others[1]]
            gates = [v for v in fitting if shapes[v] != shapes[x]]
            tensors.append(random.choice(gates or fitting))
            attrs = activation
        case "Affine" | "PRelu" | "Activation":
            attrs = activation
        case "Resize":
            factor, size = random.choice([(2, ()), (0, (random.randint(1, 30), random.randint(1, 30)))])
            return Case(name, op, channels, tuple(image), factor, size), tensors
        case "Transpose":
            attrs = {"perm": random.choice([(0, 1, 3, 2), (0, 2, 3, 1), (0, 3, 1, 2)])}
        case "ChannelShuffle":
            attrs = {"group": random.choice([g for g in (1, 2, 3) if channels % g == 0])}
        case "Concat":
            aligned = [v for v in shapes if len(shapes[v]) == 4 and shapes[v][2:] == tuple(image)]
            tensors += random.choices(aligned, k=random.randint(0, 2))
        case "MaxPool":
            attrs = window
        case "AveragePool":
            attrs = window | {"count_include_pad": random.randint(0, 1)}
        case "Pad":
            modes = ["constant", "edge", *(["reflect"] if min(image) > max(pads) else [])]
            attrs = {"pads": pads, "mode": random.choice(modes)}
        case "Subsample":
            sizes = (channels, *(-(-side // stride) for side in image))
            after = (random.randint(0, 2), random.randint(0, 2))
            attrs = {"starts": (0, 0, 0), "steps": (stride, stride), "sizes": sizes, "channel_pad": after}
        case "DepthToSpace":
            attrs = {"blocksize": 2 if channels % 4 == 0 else 1, "mode": random.choice(["CRD", "DCR"])}
    return Case(name, op, channels, tuple(image), attrs=attrs), tensors


def _draw_conv(
    random: Random, shapes: Mapping[str, Shape], name: str, x: str, activation: Attrs
) -> tuple[Case, list[str]]:
    """Draw a convolution: half of them keep the shape, so that there is something to add."""
    _, channels, *image = shapes[x]
    size = random.choice([1, 3, 3, 3, 5])
    attrs: Attrs = {"pads": (size // 2,) * 4, **activation}
    filters = channels
    if random.random() < 0.2:
        attrs["group"] = channels
    elif random.random() < 0.5:
        stride = random.choice([1, 2, 3])
        attrs["pads"] = tuple(random.randint(0, size // 2) for _ in range(4))
        attrs |= {"strides": (stride, random.choice([stride, 1])), "dilations": (random.choice([1, 2]),) * 2}
        filters = random.randint(1, 16)
    sparsity = random.choice([s for s in SPARSITIES if size == 3 or s.patterns is None])
    case = Case(name, "Conv", channels, tuple(image), filters, (size, size), attrs, sparsity)
    fitting = [v for v in shapes if shapes[v] == out_shape(case)]
    if fitting and random.random() < 0.6:
        return case, [x, random.choice(fitting)]
    if all(side % 2 == 0 for side in out_shape(case)[2:]) and activation["activation"] in RISING:
        # Elu with a negative depth falls, and is not pooled.
        elu: Attrs = {"act_min": 0.5} if activation["activation"] == "elu" else {}
        case = replace(case, attrs={**attrs, **elu, "pool": "max2x2"})
    return case, [x]
