"""Different cardinalities; a UAI graph read, given evidence and a factor, solved, written."""

import numpy as np
import pytest
from checks import quietly
from oracle import brute

import factorgraph_ebm as fg


def test_alarm(data, tmp_path):
    graph = fg.read(data / "bif" / "alarm.uai")
    x = graph["x"]
    assert x.shape == (37,) and np.max(x.n_states) == 4
    given = fg.read_evidence(data / "bif" / "alarm.uai.evid", graph)
    assert isinstance(given["x"], np.ma.MaskedArray)
    extended = fg.FactorGraph(
        [
            *graph.factors,
            fg.Table([x[2], x[5]], energies=np.zeros((x[2].n_states, x[5].n_states)), name="mine"),
        ]
    )
    best = quietly(fg.minimize, extended, given={**given, x[7]: 1})
    assert best["x"].shape == (37,) and best["x"][7] == 1
    held = np.ma.getmaskarray(given["x"])
    np.testing.assert_array_equal(best["x"][~held], given["x"].data[~held])
    assert fg.energy(extended, best) == best.energy
    belief = quietly(fg.marginals, extended, given)
    assert belief["x"].shape == (37, 4)
    absent = np.arange(4) >= np.asarray(x.n_states)[:, None]
    assert not belief["x"][absent].any()
    fg.write(extended, tmp_path / "out.uai")
    again = fg.read(tmp_path / "out.uai")
    assert fg.energy(again, {"x": best["x"]}) == pytest.approx(best.energy, rel=1e-12)


def test_members_of_different_sizes():
    rng = np.random.default_rng(15)
    y = fg.output("y", shape=3, n_states=[2, 3, 4])
    tables = [rng.normal(size=s) for s in [(2, 3), (3, 4), (2, 3, 4)]]
    graph = fg.FactorGraph([fg.Table(y, members=[[0, 1], [1, 2], [0, 1, 2]], energies=tables)])
    joint, belief = brute(graph), fg.marginals(graph)
    assert belief.exact  # both pairs lie inside the triple
    np.testing.assert_allclose(belief["y"], joint.marginals(1.0)["y"], atol=1e-12)
    assert fg.minimize(graph).energy == pytest.approx(joint.minimum, rel=1e-12)
    assert fg.energy(graph, {"y": [1, 2, 3]}) == pytest.approx(tables[0][1, 2] + tables[1][2, 3] + tables[2][1, 2, 3])
