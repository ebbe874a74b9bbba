"""Potts compared declarations, not domains: [3] against 3 was refused, 2 against 3 in an edge list was not."""

import numpy as np
import pytest

import factorgraph_ebm as fg


def test_equal_domains_are_equal_however_declared():
    x, z = fg.output("x", 1, n_states=3), fg.output("z", 1, n_states=np.array([3]))
    y = fg.output("y", 3, n_states=[2, 3, 3])
    assert fg.Potts([z, x], penalty=1.0).size == 1
    assert fg.Potts(y[[[1, 2]]], axis=1, penalty=1.0).size == 1
    with pytest.raises(fg.VariableError):
        fg.Potts(y[[[0, 1]]], axis=1, penalty=1.0)
    with pytest.raises(fg.VariableError):
        fg.Potts([y[1:], y[:-1]], penalty=1.0)
