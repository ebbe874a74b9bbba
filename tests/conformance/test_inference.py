"""Every registered method against brute force: exact where it says so, honest where it does not.

A method joins by being registered. Forests (after known cells are sliced away and equal or nested scopes
merged, API C1) must be solved exactly by `auto`, `bp` and `enumerate`; on any graph, a status, a bound or a
probability may be weak but never wrong.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from checks import (
    betas_of,
    check_marginals,
    check_minimum,
    expected_exact,
    joint_of,
    quietly,
)
from hypothesis import given
from hypothesis import strategies as st
from oracle import can_sum_first
from strategies import Case, case_of, cases

import factorgraph_ebm as fg
from factorgraph_ebm.inference import METHODS, singles

EXACT_ON_FORESTS = {"auto", "bp"}
NAMES = sorted({"auto", *METHODS})
BLOCK = 40


def answer(verb, case: Case, method: str, **options):
    """The answer, or None where the method says that it cannot answer such a question."""
    try:
        return quietly(verb, case.graph, case.given, parameters=case.parameters, method=method, **options)
    except fg.MethodError:
        assert method not in ("auto", "bp", "enumerate"), "these answer every question on small graphs"
        return None


def check_case(case: Case, method: str) -> None:
    joint = joint_of(case)
    exact = method == "enumerate" or (method in EXACT_ON_FORESTS and expected_exact(case))
    best = answer(fg.minimize, case, method)
    if best is not None:
        check_minimum(case, best, joint, exact=exact)
    for beta in betas_of(case):
        belief = answer(fg.marginals, case, method, beta=beta)
        if belief is not None:
            check_marginals(case, belief, joint, beta, exact=exact)


def check_block(block: int, *, forest: bool, methods: list[str] = NAMES, size: int = BLOCK) -> None:
    """`size` plain draws; a failure names the seed: `case_of(seed, forest=...)` is the graph."""
    for seed in range(block * size, (block + 1) * size):
        case = case_of(seed, forest=forest)
        for method in methods:
            try:
                check_case(case, method)
            except Exception as problem:
                raise AssertionError(f"case_of({seed}, forest={forest}), method {method!r}\n{case!r}") from problem


@pytest.mark.parametrize("block", range(16))
def test_drawn_forests_are_exact(block):
    check_block(block, forest=True)


@pytest.mark.parametrize("block", range(10))
def test_drawn_loopy_graphs_are_honest(block):
    check_block(1000 + block, forest=False)


@pytest.mark.parametrize("method", ["auto", "bp", "enumerate"])
def test_lists_of_all_kinds_in_one_run(method):
    """Forests and loops, parameters and observed reals, with and without answers, in one union: each as if alone."""
    for group in range(12):
        drawn = [case_of(50_000 + 12 * group + i, forest=i % 3 != 0, prefix=f"{i} ") for i in range(12)]
        parameters = {name: value for case in drawn for name, value in case.parameters.items()}
        lists = [case.graph for case in drawn], [case.given for case in drawn]
        joints = [joint_of(case) for case in drawn]
        exact = [method == "enumerate" or expected_exact(case) for case in drawn]
        minima = quietly(fg.minimize, *lists, parameters=parameters, method=method)
        for case, best, joint, proved in zip(drawn, minima, joints, exact, strict=True):
            check_minimum(case, best, joint, exact=proved)
        for beta in (0.0, 0.1, 1.0, 10.0, 1e3):
            beliefs = quietly(fg.marginals, *lists, parameters=parameters, method=method, beta=beta)
            for case, belief, joint, proved in zip(drawn, beliefs, joints, exact, strict=True):
                check_marginals(case, belief, joint, beta, exact=proved)


@pytest.mark.thousands
@pytest.mark.parametrize("block", range(70))
def test_thousands_of_forests(block):
    check_block(100 + block, forest=True, methods=["auto"], size=100)


@pytest.mark.thousands
@pytest.mark.parametrize("block", range(30))
def test_thousands_of_loopy_graphs(block):
    check_block(300 + block, forest=False, methods=["auto", "bp"], size=100)


@given(cases(forest=True))
def test_shrinkable_forests(case):
    check_case(case, "bp")


@given(cases(forest=False))
def test_shrinkable_loopy_graphs(case):
    check_case(case, "auto")


SCHEDULES = ["flooding", "sequential", "residual"]


@given(
    cases(forest=False, kinds=["normal", "forbidden", "integer forbidden", "cold"]),
    st.sampled_from(SCHEDULES),
    st.sampled_from([0.0, 0.5]),
)
def test_schedules_and_damping_stay_honest(case, schedule, damping):
    joint = joint_of(case)
    options = {
        "method": "bp",
        "schedule": schedule,
        "damping": damping,
        "max_iterations": 30,
        "parameters": case.parameters,
    }
    check_minimum(case, quietly(fg.minimize, case.graph, case.given, **options), joint)
    for beta in (0.1, 1.0, 10.0):
        check_marginals(case, quietly(fg.marginals, case.graph, case.given, beta=beta, **options), joint, beta)


@given(cases(forest=False), st.sampled_from(SCHEDULES))
def test_tables_in_single_precision_stay_honest(case, schedule):
    """However small and few the tables are: answers are of the numbers as declared, and a bound is below them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(singles, "MANY", 0)
        patch.setattr(singles, "WIDE", 0)
        options = {"schedule": schedule, "dtype": "float32", "parameters": case.parameters}
        best = quietly(fg.minimize, case.graph, case.given, method="bp", max_iterations=30, **options)
    check_minimum(case, best, joint_of(case))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_forests_are_exact_with_every_schedule(schedule):
    """A schedule is a way to run on loops; asking for one must not cost exactness on a forest."""
    for seed in range(5000, 5040):
        case = case_of(seed, forest=True)
        joint = joint_of(case)
        options = {"method": "bp", "schedule": schedule, "parameters": case.parameters}
        check_minimum(case, quietly(fg.minimize, case.graph, case.given, **options), joint, exact=True)
        check_marginals(case, quietly(fg.marginals, case.graph, case.given, **options), joint, 1.0, exact=True)


def test_bp_cannot_be_improved_by_one_pass_of_local_search():
    """Decoding of loopy min-sum ends in a local optimum: no single cell can be changed for the better."""
    for seed in range(6000, 6060):
        case = case_of(seed, forest=False, kinds=["normal", "integer", "tied", "forbidden"])
        joint = joint_of(case)
        best = quietly(fg.minimize, case.graph, case.given, parameters=case.parameters, method="bp")
        if not best.feasible or best.energy == math.inf:
            continue
        states = np.concatenate([np.zeros(0, int)] + [best.indices[n].ravel() for n in joint.where.variables])
        near = joint.states[(joint.states != states).sum(1) == 1]
        slack = 1e-9 * max(1.0, abs(best.energy))
        assert all(joint.energy_of(other) >= best.energy - slack for other in near), f"case_of({seed}, forest=False)"


def some_cells(case: Case, joint, seed: int):
    """Half of the free cells: their global numbers, and the views that ask for them; and the others' numbers."""
    free = [(v, i) for v in joint.where.variables.values() if v.role != "observed" for i in range(v.size)]
    free = [(v, i) for v, i in free if (v.name, i) not in case.known]
    rng = np.random.default_rng(seed)
    asked = [pair for pair in free if rng.random() < 0.5]
    cells = [joint.where.cell(v.name, i) for v, i in asked]
    views = [v.ravel()[i] for v, i in asked]
    return cells, views, {joint.where.cell(v.name, i) for v, i in free} - set(cells)


@pytest.mark.parametrize("forest", [True, False])
def test_summing_some_and_minimising_others(forest):
    """latent="marginalize": the sum inside, the minimum outside, exact where the sums can go first."""
    proved = 0
    for seed in range(7000, 7070):
        case = case_of(seed, forest=forest, kinds=["normal", "integer", "forbidden", "integer forbidden"])
        joint = joint_of(case)
        if not joint.feasible:
            continue
        cells, views, summed = some_cells(case, joint, seed)
        for beta in (0.1, 1.0, 10.0, math.inf) if case.integral else (0.1, 1.0, 10.0):
            rows, free = joint.eliminate(cells, beta)
            for method in ("auto", "enumerate", "junction_tree", "bp"):
                options = {"asked": views, "latent": "marginalize", "beta": beta, "method": method}
                best = quietly(fg.minimize, case.graph, case.given, parameters=case.parameters, **options)
                where = f"case_of({seed}, forest={forest}), method {method!r}, beta {beta}"
                assert not math.isnan(best.energy), where
                if method in ("enumerate", "junction_tree") or can_sum_first(case.graph, case.known, summed):
                    assert best.exact, where
                if best.exact:
                    proved += 1
                    slack = 1e-10 * max(1.0, abs(free.min()))
                    assert abs(best.energy - free.min()) <= slack, where
                    said = [int(best.indices[view]) for view in views]
                    assert abs(free[(rows == said).all(1)][0] - free.min()) <= slack, where
    assert proved > 200


def test_joints_of_any_two_cells():
    """Exact wherever the answer is, at every beta, however far apart the two lie."""
    checked = 0
    for seed in range(17_000, 17_080):
        case = case_of(seed, forest=seed % 2 == 0, kinds=["normal", "integer", "integer forbidden"])
        joint = joint_of(case)
        cells, views, _ = some_cells(case, joint, seed)
        if not joint.feasible or len(cells) < 2:
            continue
        for beta in betas_of(case):
            belief = quietly(
                fg.marginals,
                case.graph,
                case.given,
                parameters=case.parameters,
                joint=[(views[-1], views[0])],
                beta=beta,
            )
            if belief.exact:
                checked += 1
                expected = joint.joint_marginal([cells[-1], cells[0]], beta)
                np.testing.assert_allclose(belief.joint[views[-1], views[0]], expected, atol=1e-10)
    assert checked > 150


def test_what_can_be_summed_first_on_a_forest_is_exact():
    """A chain of outputs, each with its own hidden cause: the causes go first, so the answer is proved."""
    rng = np.random.default_rng(0)
    y, z = fg.output("y", shape=4, n_states=3), fg.latent("z", shape=4, n_states=2)
    graph = fg.FactorGraph(
        [
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(3, 3))),
            fg.Table([y, z], energies=rng.normal(size=(4, 3, 2))),
        ]
    )
    case = Case(graph, {}, {}, {}, {}, "normal", False)
    joint = joint_of(case)
    rows, free = joint.eliminate(range(4), 0.7)
    for method in ("auto", "bp"):
        best = fg.minimize(graph, latent="marginalize", beta=0.7, method=method)
        assert best.exact
        assert best.energy == pytest.approx(free.min(), rel=1e-12)
        assert best["y"].tolist() == rows[free.argmin()].tolist()
        with pytest.raises(KeyError, match="summed"):
            best["z"]
        with pytest.raises(fg.EvidenceError, match="z"):
            fg.energy(graph, best)


def test_ranking_is_by_energy():
    for seed in range(8000, 8040):
        case = case_of(seed, forest=True, kinds=["normal", "integer", "forbidden"])
        variables = [v for v in case.graph.variables.values() if v.dim is None and v.size and v.role == "output"]
        if not variables or case.known:
            continue
        y = variables[0].ravel()[0] if variables[0].shape else variables[0]
        count = int(np.max(y.n_states))
        labels = list(range(count)) if y.states is None else list(y.states)
        candidates = [{y: label} for label in labels]
        for latent in ("minimize", "marginalize"):
            ranking = quietly(fg.rank, case.graph, candidates, case.given, latent=latent, parameters=case.parameters)
            joint = joint_of(case)
            if latent == "minimize":
                expected = joint.min_marginals()[variables[0].name].reshape(
                    -1, joint.min_marginals()[variables[0].name].shape[-1]
                )[0][:count]
            else:
                rows, free = joint.eliminate([joint.where.cell(variables[0].name, 0)], 1.0)
                expected = np.full(count, math.inf)
                expected[rows[:, 0]] = free
            np.testing.assert_allclose(np.asarray(ranking.energies), expected, rtol=1e-10, atol=1e-10)
            order = [ranking.energies[i] for i in ranking.order]
            assert order == sorted(order)


def test_min_marginals_and_joints():
    for seed in range(9000, 9030):
        case = case_of(seed, forest=True, kinds=["normal", "integer", "forbidden"])
        joint = joint_of(case)
        if not joint.feasible:
            continue
        found = fg.min_marginals(case.graph, case.given, parameters=case.parameters)
        for name, rows in joint.min_marginals().items():
            mine = np.asarray(found[name])
            assert mine.shape == rows.shape
            variable = joint.where.variables[name]
            counts = np.broadcast_to(np.asarray(variable.n_states), variable.shape)
            present = np.arange(rows.shape[-1]) < counts[..., None]
            np.testing.assert_allclose(mine[present], rows[present], rtol=1e-12, atol=1e-12)


def test_joint_of_two_variables_far_apart():
    rng = np.random.default_rng(3)
    y = fg.output("y", shape=4, n_states=[2, 3, 2, 4])
    graph = fg.FactorGraph(
        [
            fg.Table([y[i], y[i + 1]], energies=rng.normal(size=(k, m)))
            for i, (k, m) in enumerate([(2, 3), (3, 2), (2, 4)])
        ]
    )
    joint = joint_of(Case(graph, {}, {}, {}, {}, "normal", False))
    belief = fg.marginals(graph, joint=[(y[0], y[3]), (y[3], y[1])])
    np.testing.assert_allclose(belief.joint[y[0], y[3]], joint.joint_marginal([0, 3], 1.0), atol=1e-12)
    np.testing.assert_allclose(belief.joint[y[3], y[1]], joint.joint_marginal([3, 1], 1.0), atol=1e-12)
