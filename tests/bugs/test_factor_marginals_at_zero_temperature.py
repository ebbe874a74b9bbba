"""At beta = inf a factor's marginals were uniform over its own ties, not over the minimisers of the graph."""

import numpy as np

import factorgraph_ebm as fg


def test_pairs_are_counted_over_minimisers():
    y = fg.output("y", 3, n_states=2)
    graph = fg.FactorGraph([fg.Table([y[1:], y[:-1]], energies=[[0.0, 0.0], [0.0, 3.0]], name="not both")])
    belief = fg.marginals(graph, beta=np.inf)  # minimisers: 000 001 010 100 101
    np.testing.assert_allclose(belief["y", 1], [0.4, 0.2, 0.4], atol=1e-15)
    np.testing.assert_allclose(belief.factor_marginals["not both"][0], [[0.4, 0.4], [0.2, 0.0]], atol=1e-15)
