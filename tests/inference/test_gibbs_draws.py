"""`fg.sample` with method="gibbs": draws near the exact ones, starts, chains, and what is said about them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from checks import joint_of
from frequencies import check_frequencies, drawn_rows
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.inference import METHODS, gibbs


@pytest.mark.parametrize("seed", range(10))
def test_drawn_graphs(seed):
    """Where no energy is large, ten sweeps forget: chi-square of draws of chains, as of independent ones."""
    case = case_of(80_000 + seed, forest=False, limit=60, kinds=["denormal", "tied"])
    joint = joint_of(case)
    if joint.feasible and np.isfinite(joint.rest).all():
        drawn = fg.sample(case.graph, 3000, case.given, parameters=case.parameters, method="gibbs", rng=seed)
        check_frequencies(drawn_rows(case, drawn, joint, 3000), joint.probabilities(1.0))


def test_a_grid_as_the_exact_sampler_draws_it():
    y = fg.output("y", shape=(3, 3), states=["a", "b"])
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=0.6), fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.6)])
    held = {y[1, 1]: "b", y[0, 0]: "a"}
    belief = fg.marginals(graph, held)
    drawn = fg.sample(graph, 4000, held, method="gibbs", rng=2)["y"]
    assert (drawn[:, 1, 1] == "b").all() and (drawn[:, 0, 0] == "a").all()
    np.testing.assert_allclose((drawn == "b").mean(axis=0), belief["y", "b"], atol=6 * 0.5 / math.sqrt(4000))


def test_a_restricted_boltzmann_machine():
    """Program 08: visible, hidden and class units, all drawn, then with an image given."""
    rng = np.random.default_rng(0)
    v, h = fg.observed("v", shape=5, n_states=2), fg.latent("h", shape=3, n_states=2)
    y = fg.output("y", n_states=3)
    w = rng.normal(size=(5, 3))
    graph = fg.FactorGraph(
        [
            fg.Product([v[:, None], h[None, :]], weight=w),
            fg.Product([v], weight=rng.normal(size=5)),
            fg.Table([h, y], energies=rng.normal(size=(3, 2, 3))),
        ]
    )
    for options in ({"asked": ["v", "y"]}, {"given": {"v": [0, 1, 1, 0, 1]}}):
        exact = fg.marginals(graph, method="enumerate", **options)
        drawn = fg.sample(graph, 4000, method="gibbs", rng=1, **options)
        for name, k in (("v", 2), ("h", 2), ("y", 3)):
            found = np.stack([(drawn[name] == s).mean(axis=0) for s in range(k)], axis=-1)
            np.testing.assert_allclose(found, exact[name], atol=6 * 0.5 / math.sqrt(4000))


@pytest.mark.parametrize("seed", range(4))
def test_constraints_over_many_variables(seed):
    """A start that violates nothing is found, and nothing is violated after it."""
    rng = np.random.default_rng(seed)
    x = fg.output("x", shape=(30, 4), n_states=2)
    number = np.where(np.abs(np.arange(121) - 25) < 4, 0.0, np.inf)
    graph = fg.FactorGraph(
        [fg.Cardinality(x, energies=number), fg.AtMostOne(x, axis=1), fg.Table([x], rng.normal(size=(30, 4, 2)))]
    )
    drawn = fg.sample(graph, 40, method="gibbs", rng=seed)["x"]
    assert (drawn.sum(axis=2) <= 1).all() and (np.abs(drawn.sum(axis=(1, 2)) - 25) < 4).all()
    assert len({row.tobytes() for row in drawn}) > 30


def test_lists_seeds_and_chains():
    y = fg.output("y", shape=5, n_states=3)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
    one, two = fg.sample([graph, graph], 12, method="gibbs", rng=3)
    assert one["y"].tolist() != two["y"].tolist()
    again = fg.sample([graph, graph], 12, method="gibbs", rng=np.random.default_rng(3), threads=1)
    assert again[1]["y"].tolist() == two["y"].tolist()
    assert fg.sample(graph, 3, method="gibbs", chains=8, burn_in=0, thin=1)["y"].shape == (3, 5)
    assert fg.sample(graph, 0, method="gibbs")["y"].shape == (0, 5)
    assert fg.sample([], 4, method="gibbs") == [] and fg.sample(fg.FactorGraph([]), 4, method="gibbs") == {}
    # Draw i is of chain i % chains, the sweeps of which do not depend on how many draws there are.
    few, more = (fg.sample(graph, n, method="gibbs", chains=1, rng=5)["y"] for n in (4, 8))
    assert few.tolist() == more[:4].tolist()


def test_threads_share_chains():
    y = fg.output("y", shape=(20, 20), n_states=3)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=0.5), fg.AtMostOne(fg.output("x", shape=9, n_states=2))])
    drawn = [fg.sample(graph, 10, method="gibbs", rng=3, threads=threads, chains=5)["y"] for threads in (1, 2, 8, None)]
    for each in drawn[1:]:
        assert each.tolist() == drawn[0].tolist()


def test_chains_that_disagree_are_reported():
    """Cells that must be equal cannot move one at a time: each chain stays where it began."""
    y = fg.output("y", shape=12, n_states=2)
    frozen = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=math.inf)])
    with pytest.warns(fg.ConvergenceWarning, match="draws of 6 chains disagree: they differ inf times") as record:
        drawn = fg.sample(frozen, 600, method="gibbs", chains=6, rng=0)["y"]
    assert record[0].filename == __file__
    assert {tuple(row) for row in drawn.tolist()} == {(0,) * 12, (1,) * 12}
    soft = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=0.5)])
    with pytest.warns(fg.ConvergenceWarning, match=r"\(sample 1\)"):
        fg.sample([soft, frozen], 600, method="gibbs", chains=6, rng=0)
    fg.sample(soft, 600, method="gibbs", rng=0)


def test_forbidden_starts(monkeypatch):
    x = fg.output("x", n_states=2)
    nothing = fg.FactorGraph([fg.Table([x], energies=[math.inf, math.inf])])
    with pytest.raises(fg.InfeasibleError, match="every assignment of sample 1 is forbidden"):
        fg.sample([fg.FactorGraph([], variables=[x]), nothing], 8, method="gibbs")
    y = fg.output("y", shape=(3, 3), n_states=3)
    hard = fg.FactorGraph([fg.AllDifferent(y, axis=0), fg.AllDifferent(y, axis=1)])
    squares = fg.sample(hard, 12, method="gibbs", rng=0)["y"]
    assert (np.sort(squares, axis=1) == np.arange(3)[:, None]).all() and (np.sort(squares) == np.arange(3)).all()
    # With a method that finds nothing, and proves nothing either.
    lost = METHODS["bp"]._replace(best=lambda problem, **options: _nothing(problem))
    monkeypatch.setattr(gibbs, "BP", lost)
    monkeypatch.setattr(gibbs, "choose", lambda *a: type("Choice", (), {"method": lost}))
    with pytest.raises(fg.MethodError, match="found no allowed assignment of sample 1 to begin from, and no proof"):
        fg.sample([fg.FactorGraph([], variables=[y]), hard], 3, method="gibbs", rng=0)


def _nothing(problem):
    n = problem.union.n_samples
    return METHODS["icm"].best(problem, max_iterations=0)._replace(
        status=(fg.Status.ITERATION_LIMIT,) * n, states=np.zeros(len(problem.compiled.variable_cell), np.int64)
    )


def test_auto_never_draws_approximately():
    y = fg.output("y", shape=(60, 60), n_states=3)
    grid = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])
    with pytest.raises(fg.MethodError, match='Or write method="gibbs", which is approximate'):
        fg.sample(grid, 3)
    with pytest.raises(fg.MethodError, match='method "auto" has no option "burn_in"'):
        fg.sample(grid, 3, burn_in=3)
    assert fg.sample(grid, 3, method="gibbs", burn_in=3)["y"].shape == (3, 60, 60)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"beta": math.inf}, "cannot draw at beta=inf"),
        ({"burn_in": -1}, "burn_in= is a number of sweeps before the first draw of each chain, 0 or more, not -1"),
        ({"thin": 0}, "thin= is a number of sweeps between two draws of a chain, 1 or more, not 0"),
        ({"chains": 2.0}, "chains= is a number of chains, 1 or more, not 2.0"),
        ({"chains": True}, "not True"),
        ({"burnin": 3}, 'no option "burnin". Did you mean "burn_in"'),
    ],
)
def test_what_cannot_be_asked(options, said):
    x = fg.output("x", n_states=2)
    with pytest.raises(fg.MethodError, match=said):
        fg.sample(fg.FactorGraph([], variables=[x]), 3, method="gibbs", **options)
    for verb in (fg.minimize, fg.marginals):
        with pytest.raises(fg.MethodError, match="cannot answer"):
            verb(fg.FactorGraph([], variables=[x]), method="gibbs")


LONG = """
import signal
import numpy as np
import factorgraph_ebm as fg

signal.signal(signal.SIGINT, signal.default_int_handler)
x = fg.output("x", shape=(20, 50), n_states=2)
graph = fg.FactorGraph([fg.Cardinality(x, 0.1 * abs(np.arange(1001) - 450)), fg.Potts([x[1:], x[:-1]], penalty=0.3)])
fg.sample(graph, 4, method="gibbs", burn_in=1)
print("begun", flush=True)
try:
    fg.sample(graph, 9, method="gibbs", burn_in=10**9, chains={chains}, threads={threads})
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="sends a signal")
@pytest.mark.parametrize("chains, threads", [(1, 1), (4, 2)])
def test_ctrl_c_ends_sweeps(chains, threads):
    program = LONG.format(chains=chains, threads=threads)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert said == "interrupted\n", errors
