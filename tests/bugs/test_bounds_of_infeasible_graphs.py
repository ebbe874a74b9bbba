"""inf - inf in the comparison of an energy with its bound warned (bp on a loop, icm on anything)."""

import numpy as np

import factorgraph_ebm as fg


def test_no_warning_where_everything_is_forbidden():
    y = fg.output("y", 3, n_states=2)
    loop = [
        fg.Potts([y, y[[1, 2, 0]]], penalty=1.0),
        fg.Table([y[0]], energies=[np.inf, 0.0]),
        fg.Table([y[0]], energies=[0.0, np.inf]),
    ]
    assert fg.minimize(fg.FactorGraph(loop), method="bp").status is fg.Status.INFEASIBLE
    local = fg.minimize(fg.FactorGraph([fg.Table([y], energies=[np.inf, np.inf])]), method="icm")
    assert local.energy == np.inf and not local.feasible
