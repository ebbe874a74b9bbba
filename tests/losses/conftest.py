"""Every loss of the registry, as the conformance tests see it: a loss joins by its line in `LOSSES`."""

import inspect

import numpy as np
import pytest

from factorgraph_ebm import losses

COST = [[0.0, 1.0, 2.0], [0.5, 0.0, 0.0], [3.0, 1.0, 0.0]]


def bent(correct, wrong, free_energy):
    """A smooth function, with other slopes in each energy."""
    return np.logaddexp(0.0, correct - wrong) + 0.1 * (correct - free_energy) ** 2


# Losses that must be told more, or that are other losses when told so.
TOLD = {
    "custom": [lambda: losses.custom(bent)],
    "hinge": [lambda: losses.hinge(2.5), lambda: losses.hinge("hamming"), lambda: losses.hinge({"y": COST})],
    "margin": [
        lambda: losses.margin(lambda d: np.maximum(0, 1 + d) ** 2, lambda d: 2 * np.maximum(0, 1 + d), convex=True),
        lambda: losses.margin(np.tanh, lambda d: 1 - np.tanh(d) ** 2, lower_bound=-1.0),
    ],
    "softmax_margin": [lambda: losses.softmax_margin(COST)],
    "square_exponential": [lambda: losses.square_exponential(3.0)],
    "square_square": [lambda: losses.square_square(2.5)],
    "lvq2": [lambda: losses.lvq2(2.5)],
    "contrastive_divergence": [lambda: losses.contrastive_divergence(4)],
}


def cases():
    for name, make in losses.LOSSES.items():
        if all(p.default is not p.empty for p in inspect.signature(make).parameters.values()):
            yield pytest.param(make, id=name)
        for number, told in enumerate(TOLD.get(name, ())):
            yield pytest.param(told, id=f"{name}-{number}")


@pytest.fixture(params=cases())
def loss(request):
    return request.param()
