"""Weights with every kind of zeros, as a hypothesis strategy."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def pruned_weights(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Draw [oc, ic / groups, kh, kw] weights and the number of groups.

    Kernels take shapes of a small library, filters may share them in groups, whole filters may be gone.
    """
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    oc = groups * draw(st.integers(1, 9))
    icg = draw(st.integers(1, 7))
    kh, kw = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (1, 3), (5, 5)]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    library = random.random((draw(st.integers(1, 12)), kh, kw)) < draw(st.sampled_from([0.3, 0.5, 1.0]))
    density, share = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])), draw(st.sampled_from([1, 2, 4, 16]))
    chosen = random.integers(len(library), size=(-(-oc // share), icg))
    kept = random.random(chosen.shape) < density
    mask = (library[chosen] & kept[..., None, None]).repeat(share, axis=0)[:oc]
    mask = mask[random.permutation(oc)]
    # Whole numbers, so that sums are exact in any order.
    values = random.integers(1, 9, mask.shape) * random.choice([-1, 1], mask.shape)
    return np.where(mask, values, 0).astype(np.float32), groups
