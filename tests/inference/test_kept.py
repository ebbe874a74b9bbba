"""What is read from an answer after the fact: messages made when asked for are those of a plain run."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind
from checks import check_marginals, conditioned, expected_exact, joint_of, quietly, rounding
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.schedules import sequential
from factorgraph_ebm.inference import forms, run
from factorgraph_ebm.inference.kept import rows_of
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing


def chain(rng, states, scale=1.0, forbidden=0.0):
    """A chain with a branch; with a scale of 1e4 products of weights lose digits."""
    n = int(rng.integers(4, 10))
    y, z = fg.output("y", shape=n, n_states=states), fg.output("z", shape=2, n_states=2)
    pair = scale * rng.normal(size=(n - 1, states, states))
    pair[rng.random(pair.shape) < forbidden] = np.inf
    return fg.FactorGraph(
        [
            fg.Table([y], energies=scale * rng.normal(size=(n, states))),
            fg.Table([y[:-1], y[1:]], energies=pair, name="pair"),
            fg.Table([y[1:3], z], energies=rng.normal(size=(states, 2)), name="branch"),
        ]
    )


def loop(rng, states, scale=1.0):
    y = fg.output("y", shape=(3, 3), n_states=states)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=scale * rng.normal(size=(3, 3, states))),
            fg.Table([y[1:], y[:-1]], energies=0.2 * rng.normal(size=(2, 3, states, states)), name="pair"),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.2 * rng.normal(size=(3, 2)), name="potts"),
        ]
    )


def mixed(rng):
    """Forests of two and more states, some that lose digits in a fast form or forbid something, and loops."""
    for _ in range(3):
        yield chain(rng, 2)
        yield loop(rng, 2)
        yield chain(rng, 3, 1e4)
        yield chain(rng, 5, forbidden=0.2)
        yield loop(rng, 3)
        yield loop(rng, 2, 1e3)
        yield fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=[0.0, 1.0])])


@pytest.mark.parametrize("small", [0, 4096])
@pytest.mark.parametrize("minimize", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_messages_of_lists_are_those_of_a_plain_run(seed, minimize, small, monkeypatch):
    """Bit by bit for forests; those of loops are at rest, whatever form they were passed in."""
    monkeypatch.setattr(forms, "SMALL", small)
    union, numbers = bind(*mixed(np.random.default_rng(seed)))
    layout, compiled = union.layout, union.compiled
    answer = run("bp", Problem(union, numbers, 1.0, minimize, None, np.inf, None), {"tolerance": 1e-10})
    plain = Passing(layout, numbers, minimize=minimize)
    steps = sequential(layout, plain.operators)
    solved = sorted(set(compiled.sample_chunk[compiled.sample_forest].tolist()))
    others = sorted(set(compiled.sample_chunk.tolist()) - set(solved))
    for chunk in solved:
        plain.run(steps, int(steps.start[chunk]), int(steps.start[chunk + 1]), -1.0)
    plain.send()
    assert len(solved) > 0 and len(others) == 9
    expected = plain.energies()
    for rows in rows_of(layout, solved):
        np.testing.assert_array_equal(answer.messages.to_variable[rows], expected.to_variable[rows])
        np.testing.assert_array_equal(answer.messages.to_factor[rows], expected.to_factor[rows])
    plain.to_variable[:], plain.to_factor[:] = answer.messages.to_variable, answer.messages.to_factor
    resting = set(others) & set(compiled.sample_chunk[answer.residual <= 1e-10].tolist())
    assert len(resting) > 3
    for chunk in resting:
        # The largest change depends on what a form keeps fixed, and its last sweep changed that little.
        assert plain.run(steps, int(steps.start[chunk]), int(steps.start[chunk + 1]), 0.0) < 1e-9
    assert not np.isnan(answer.messages.to_variable).any() and not np.isnan(answer.messages.to_factor).any()


def test_factor_marginals_and_messages_of_a_list_are_those_of_single_calls():
    """To rounding: the slots of a variable may be summed in another order beside other graphs."""
    graphs = list(mixed(np.random.default_rng(5)))
    together = quietly(fg.marginals, graphs, method="bp")
    assert sum(mine.exact for mine in together) == 12
    for graph, mine in zip(graphs, together, strict=True):
        alone = quietly(fg.marginals, graph, method="bp")
        assert mine.status is alone.status
        if not mine.converged:
            continue
        for key in graph.keys:
            np.testing.assert_allclose(mine.factor_marginals[key], alone.factor_marginals[key], atol=1e-9)
            for way in ("to_variable", "to_factor"):
                for one, two in zip(getattr(mine.messages, way)[key], getattr(alone.messages, way)[key], strict=True):
                    np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("block", range(4))
def test_drawn_forests_in_lists_are_read_exactly(block):
    """Lists of ten: marginals of cells and factors by enumeration, whoever is beside a sample."""
    for seed in range(5 * block, 5 * block + 5):
        cases = [
            case_of(830_000 + 10 * seed + i, forest=True, limit=200, constants_only=True, prefix=f"g{i}")
            for i in range(10)
        ]
        found = quietly(fg.marginals, [c.graph for c in cases], [c.given for c in cases], method="bp")
        for case, belief in zip(cases, found, strict=True):
            check_marginals(case, belief, joint_of(case), 1.0, exact=expected_exact(case))


@pytest.mark.parametrize("block", range(4))
def test_min_marginals_of_drawn_forests_in_lists(block):
    kinds = ["normal", "integer", "forbidden", "integer forbidden", "tied", "cold"]
    checked = 0
    for seed in range(5 * block, 5 * block + 5):
        cases = [
            case_of(840_000 + 10 * seed + i, forest=True, limit=200, constants_only=True, kinds=kinds)
            for i in range(10)
        ]
        found = quietly(fg.min_marginals, [c.graph for c in cases], [c.given for c in cases], method="bp")
        for case, least in zip(cases, found, strict=True):
            joint = joint_of(case)
            if not expected_exact(case) or not joint.feasible or not conditioned(joint):
                continue
            for name, variable in joint.where.variables.items():
                rows = np.asarray(least[name])
                for i, row in enumerate(rows.reshape(variable.size, rows.shape[-1])):
                    cell = joint.where.cell(name, i)
                    for s in range(joint.where.cell_states[cell]):
                        held = joint.energies[joint.states[:, cell] == s]
                        expected = held.min(initial=np.inf)
                        assert row[s] == expected or abs(row[s] - expected) <= 1e-10 + rounding(joint), (name, i, s)
                        checked += 1
    assert checked > 100
