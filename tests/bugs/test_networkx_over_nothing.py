"""Ragged factors of which one is over nothing could not be read back from networkx."""

import numpy as np

import factorgraph_ebm as fg


def test_an_empty_row_of_members_survives():
    y = fg.output("y", 3, n_states=2)
    graph = fg.FactorGraph([fg.Table(y, members=[[], [0, 1]], energies=[np.array(3.0), np.eye(2)])])
    again = fg.from_networkx(fg.to_networkx(graph))
    assert fg.minimize(again).energy == 3.0 == fg.minimize(graph).energy
    assert fg.log_partition(again) == fg.log_partition(graph)
