"""The learning rate as a function of the step alone, so that there is no scheduler to save."""

import math


def rate(peak: float, step: int, total: int, warmup: float) -> float:
    """Rise linearly over the warm-up, then fall as a cosine to zero after the last step.

    Source: SGDR (Loshchilov and Hutter, 2016), without restarts; the warm-up is Goyal et al.'s (2017).
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
