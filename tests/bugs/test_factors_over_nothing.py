"""A factor over nothing is a constant: compiling one raised IndexError, an empty row of `members` ValueError."""

import numpy as np
import pytest

import factorgraph_ebm as fg

y = fg.output("y", 2, n_states=2)


@pytest.mark.parametrize(
    "factor",
    [
        fg.Table([], energies=3.0),
        fg.Table(y, members=[[]], energies=[np.array(3.0)]),
        fg.Table(y, members=[[], [0]], energies=[np.array(3.0), np.zeros(2)]),
    ],
)
def test_constants_add_to_every_energy(factor):
    graph = fg.FactorGraph([fg.Table([y], energies=[0.0, 1.0]), factor])
    assert fg.minimize(graph).energy == 3.0
    assert fg.log_partition(graph) == pytest.approx(-3.0 + 2 * np.log(1 + np.exp(-1)), rel=1e-14)
    alone = fg.FactorGraph([factor])
    assert fg.minimize(alone).energy == 3.0
