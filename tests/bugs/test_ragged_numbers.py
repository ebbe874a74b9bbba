"""Factors of a ragged declaration with one number each all read the first one's number."""

import numpy as np
import pytest
from oracle import brute

import factorgraph_ebm as fg


@pytest.mark.parametrize("penalty", [[1.0, 10.0, 100.0], 10.0])
def test_each_ragged_factor_reads_its_own_number(penalty):
    y = fg.output("y", shape=4, n_states=2)
    graph = fg.FactorGraph([fg.Potts(y, penalty, members=[[0, 1], [1, 2], [2, 3]])])
    given = [{y[0]: 0, y[3]: 1}, {y[0]: 1}]
    for best, known in zip(fg.minimize(graph, given=given), [{("y", 0): 0, ("y", 3): 1}, {("y", 0): 1}], strict=True):
        assert best.energy == brute(graph, known).minimum
    belief = fg.marginals(graph)
    np.testing.assert_allclose(belief["y"], brute(graph).marginals(1.0)["y"], atol=1e-12)
    product = fg.FactorGraph([fg.Product(y, np.array([-3.0, 5.0, -4.0]), members=[[0, 1], [1, 2], [2, 3]])])
    assert fg.minimize(product).energy == brute(product).minimum
