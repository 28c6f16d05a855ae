"""Random windows and random residual networks against ONNX Runtime."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .models import check, make, node, rand

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(3, 12), st.integers(3, 12))


@settings(max_examples=60, deadline=None)
@given(sizes, pairs, pairs, pairs, st.tuples(*[st.integers(0, 2)] * 4), st.sampled_from([1, 2, 4]))
def test_any_convolution(size, kernel, strides, dilations, pads, group):
    assume(all(s > (k - 1) * d for s, k, d in zip(size, kernel, dilations, strict=True)))
    conv = node("Conv", "x w b", "y", strides=strides, dilations=dilations, pads=pads, group=group)
    check(make([conv], {"x": (1, 4, *size)}, ["y"], {"w": rand(8, 4 // group, *kernel), "b": rand(8)}))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["MaxPool", "AveragePool"]), sizes, pairs, pairs, st.booleans(), st.booleans(), st.data()
)
def test_any_pool(op, size, kernel, strides, ceil, count, data):
    # ONNX Runtime refuses pads as large as the kernel.
    pads = [data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    attrs = {"count_include_pad": int(count)} if op == "AveragePool" else {}
    pool = node(op, "x", "y", kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=int(ceil), **attrs)
    check(make([pool], {"x": (1, 2, *size)}, ["y"], opset=19))


steps = st.tuples(
    st.sampled_from(["Conv", "Relu", "Tanh", "Add", "MaxPool"]), st.integers(0, 9), st.integers(0, 9)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=1, max_size=12), st.booleans())
def test_any_wiring(steps, extra_output):
    """Wire operators of one shape at random: whatever fuses, the numbers and the output names stay."""
    names, nodes = ["x"], []
    for i, (op, a, b) in enumerate(steps):
        first, second = names[-1 - a % len(names)], names[-1 - b % len(names)]
        out = f"v{i}"
        if op == "Conv":
            nodes.append(node("Conv", f"{first} w", out, pads=[1, 1, 1, 1]))
        elif op == "Add":
            nodes.append(node("Add", f"{first} {second}", out))
        elif op == "MaxPool":
            nodes.append(node("MaxPool", first, out, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        else:
            nodes.append(node(op, first, out))
        names.append(out)
    outputs = [names[-1], names[len(names) // 2]] if extra_output and len(names) > 2 else [names[-1]]
    check(make(nodes, {"x": (1, 2, 6, 6)}, outputs, {"w": rand(2, 2, 3, 3) / 4}), tolerance=1e-4)
