"""Belief propagation and local search: when they stop, what they say, and what they never return."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import factorgraph_ebm as fg
from factorgraph_ebm import Status


def ising(size: int, coupling: float, seed: int = 0, n_states: int = 2) -> fg.FactorGraph:
    """A grid with random fields and random couplings of both signs."""
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(size, size), n_states=n_states)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(size, size, n_states))),
            fg.Potts([y[1:], y[:-1]], penalty=coupling * rng.normal(size=(size - 1, size))),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=coupling * rng.normal(size=(size, size - 1))),
        ]
    )


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")
@pytest.mark.parametrize("method", ["bp", "icm"])
@pytest.mark.parametrize("seed", range(6))
def test_no_single_change_improves_an_answer(method, seed):
    graph = ising(5, 2.0, seed, n_states=3)
    best = fg.minimize(graph, method=method)
    states = best["y"]
    for cell in np.ndindex(states.shape):
        for state in range(3):
            other = states.copy()
            other[cell] = state
            assert fg.energy(graph, {"y": other}) >= best.energy - 1e-12


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")
@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
def test_a_lower_bound_is_below_the_least_energy(schedule):
    for seed in range(10):
        graph = ising(3, 1.5, seed)
        least = fg.minimize(graph, method="enumerate").energy
        best = fg.minimize(graph, method="bp", schedule=schedule)
        assert best.lower_bound <= least + 1e-12
        assert best.energy >= least - 1e-12
        assert best.status is not Status.OPTIMAL or best.energy <= least + 1e-12


def test_not_converging_is_said_with_advice():
    graph = ising(6, 4.0)
    with pytest.warns(fg.ConvergenceWarning, match="damping"):
        belief = fg.marginals(graph, method="bp", max_iterations=2)
    assert belief.status is Status.ITERATION_LIMIT and not belief.converged and not belief.exact
    assert belief.iterations == 2 and belief.residual > 0
    assert_allclose(belief["y"].sum(-1), 1.0)


def test_tolerance_zero_never_stops_early():
    with pytest.warns(fg.ConvergenceWarning):
        assert fg.marginals(ising(4, 0.1), method="bp", tolerance=0, max_iterations=77).iterations == 77


@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_fixed_points_do_not_depend_on_schedule_or_damping(schedule, damping):
    graph = ising(5, 0.5, seed=3)
    plain = fg.marginals(graph, method="bp", tolerance=1e-12)
    other = fg.marginals(graph, method="bp", schedule=schedule, damping=damping, tolerance=1e-12)
    assert other.converged
    assert_allclose(other["y"], plain["y"], atol=1e-9)
    assert_allclose(other.log_partition, plain.log_partition, atol=1e-9)


def test_a_warm_start_from_its_own_answer_is_at_rest():
    graph = ising(5, 0.5, seed=3)
    cold = fg.marginals(graph, method="bp", tolerance=1e-9)
    warm = fg.marginals(graph, method="bp", tolerance=1e-9, start=cold)
    assert warm.iterations < cold.iterations
    assert_allclose(warm["y"], cold["y"], atol=1e-7)


def test_a_warm_start_carries_no_proof_over():
    """A state forbidden under the old numbers must be found again under new ones that allow it."""
    y = fg.output("y", shape=(2, 2), n_states=2)
    u = fg.observed("u", shape=(2, 2), dim=2)
    ring = [fg.Potts([y[1:], y[:-1]], penalty=np.inf), fg.Potts([y[:, 1:], y[:, :-1]], penalty=np.inf)]
    graph = fg.FactorGraph([fg.Table([y], energies=u), *ring])
    only_one, only_zero = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    only_one[0, 0, 0] = only_zero[1, 1, 1] = np.inf
    first = fg.marginals(graph, given={"u": only_one}, method="bp")
    assert_allclose(first["y", 1], 1.0)
    second = fg.marginals(graph, given={"u": only_zero}, method="bp", start=first)
    assert_allclose(second["y", 0], 1.0)


def test_stop_feasible_returns_an_allowed_assignment():
    y = fg.output("y", shape=(4, 4), n_states=4)
    differ = np.where(np.eye(4, dtype=bool), np.inf, 0.0)
    field = np.random.default_rng(1).normal(size=(4, 4, 4))
    edges = [fg.Table([y[1:], y[:-1]], energies=differ), fg.Table([y[:, 1:], y[:, :-1]], energies=differ)]
    graph = fg.FactorGraph([fg.Table([y], energies=field), *edges])
    best = fg.minimize(graph, method="bp", stop="feasible", tolerance=0, max_iterations=500)
    assert best.status is Status.FEASIBLE and best.feasible
    assert best.iterations < 500


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")
def test_a_time_limit_returns_the_best_so_far():
    graph = ising(40, 3.0)
    best = fg.minimize(graph, method="bp", tolerance=0, max_iterations=10**9, time_limit=0.05)
    assert best.status is Status.TIME_LIMIT
    assert best["y"].shape == (40, 40) and np.isfinite(best.energy)


def test_a_list_is_bit_identical_to_single_calls():
    graphs = [ising(4, 0.6, seed) for seed in range(5)]
    together = fg.marginals(graphs, method="bp")
    for graph, belief in zip(graphs, together):
        alone = fg.marginals(graph, method="bp")
        assert_array_equal(belief["y"], alone["y"])
        assert belief.iterations == alone.iterations
        assert belief.log_partition == pytest.approx(alone.log_partition, rel=1e-14)


def test_what_is_infeasible_is_proved_on_loops_too():
    y = fg.output("y", shape=(2, 2), n_states=2)
    agree = [fg.Potts([y[1:], y[:-1]], penalty=np.inf), fg.Potts([y[:, 1:], y[:, :-1]], penalty=np.inf)]
    ends = np.zeros((2, 2, 2))
    ends[0, 0, 0] = ends[1, 1, 1] = np.inf
    graph = fg.FactorGraph([fg.Table([y], energies=ends), *agree])
    best = fg.minimize(graph, method="bp")
    assert best.status is Status.INFEASIBLE
    assert fg.marginals(graph, method="bp").log_partition == -np.inf
    with pytest.raises(fg.InfeasibleError):
        best["y"]


def test_contradicting_evidence_through_hard_links_keeps_every_digit():
    """20 x -40 against 20 x -40.5 through equality: 800 nats against 810, where probabilities underflow."""
    y = fg.output("y", shape=41, n_states=2)
    unary = np.zeros((41, 2))
    unary[:20, 0], unary[21:, 1] = -40.0, -40.5
    graph = fg.FactorGraph([fg.Table([y], energies=unary), fg.Potts([y[1:], y[:-1]], penalty=np.inf)])
    belief = fg.marginals(graph)
    assert_allclose(belief["y", 0], 1 / (1 + np.exp(10.0)), rtol=1e-12)
    assert_allclose(belief.log_partition, 810 + np.log1p(np.exp(-10.0)), rtol=1e-14)


def test_trace_has_one_entry_for_each_iteration():
    belief = fg.marginals(ising(4, 0.5), method="bp")
    assert len(belief.trace["residual"]) == len(belief.trace["seconds"]) == belief.iterations
    assert belief.trace["residual"][-1] == belief.residual


@pytest.mark.parametrize(
    "option, message",
    [
        ({"damping": 1.0}, "in \\[0, 1\\)"),
        ({"schedule": "flood"}, "schedule= is one of"),
        ({"stop": "now"}, "stop= is None"),
        ({"tolerance": -1.0}, "tolerance="),
        ({"max_iterations": 1.5}, "max_iterations="),
    ],
)
def test_values_of_options_are_checked(option, message):
    with pytest.raises(fg.MethodError, match=message):
        fg.minimize(ising(3, 1.0), method="bp", **option)


def test_the_trace_of_an_answer_ends_with_its_energy_and_bound():
    for method in ("bp", "icm"):
        best = fg.minimize(ising(4, 1.0), method=method)
        trace = best.trace
        assert set(trace) == {"residual", "energy", "bound", "seconds"}
        assert {len(values) for values in trace.values()} == {best.iterations}
        assert trace["energy"][-1] == pytest.approx(best.energy, abs=1e-12)
        assert trace["bound"][-1] == best.lower_bound
        assert (trace["energy"][1:] <= trace["energy"][:-1] + 1e-12).all()
