"""Maximum: kernels against tables, given cells, large scopes against products of cumulative sums, what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from oracle import brute
from rows import KINDS, Run, check_kernels, draw_messages

import factorgraph_ebm as fg

WIDE = 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("arity", [2, 3, 4])
@pytest.mark.parametrize("output", ["free", "given"])
def test_kernels(k, arity, output, kind, rng):
    """Factors of which some inputs, and perhaps the output, are given: each with a row of its own."""
    n, states = 6, (k,) * arity
    incoming = draw_messages(rng, n, states, kind)
    largest, wanted = rng.integers(0, k, n), rng.integers(0, k, n)
    rows = np.zeros((n, 2 * k + 1))
    rows[:, :k] = np.where(np.arange(k) == largest[:, None], 0.0, np.inf)
    every = np.indices(states)
    if output == "free":
        allowed = [np.maximum(every[:-1].max(0), largest[i]) == every[-1] for i in range(n)]
    else:
        rows[:, k : 2 * k] = np.where(np.arange(k) == wanted[:, None], 0.0, np.inf)
        rows[:, 2 * k] = np.inf
        allowed = [np.maximum(every.max(0), largest[i]) == wanted[i] for i in range(n)]
    tables = np.where(np.array(allowed), 0.0, np.inf)
    np.testing.assert_array_equal(fg.Maximum.dense_tables(rows, states, np.zeros(0)), tables)
    kernels, space = fg.Maximum.message_kernels(states), fg.Maximum.scratch_size(states, np.zeros(0))
    check_kernels(lambda soft: Run(states, incoming, rows, soft=soft), kernels, tables, space)


def noisy_inputs(rng, k, n=WIDE):
    """n inputs and an output with energies of their own; high states are dear, so that the maximum is in doubt."""
    x, y = fg.output("x", shape=n, n_states=k), fg.output("y", n_states=k)
    dear = rng.uniform(0.0, 1.0, (n, k)) + 2.5 * np.arange(k)
    own = rng.uniform(0.0, 2.0, k) - 6.0 * np.arange(k)
    graph = fg.FactorGraph([fg.Maximum([*x, y]), fg.Table([x], energies=dear), fg.Table([y], energies=own)])
    return graph, dear.astype(np.longdouble), own.astype(np.longdouble)


@pytest.mark.parametrize("k", [2, 5])
def test_a_thousand_inputs_sum_to_products_of_cumulative_sums(k, rng):
    graph, dear, own = noisy_inputs(rng, k)
    belief = fg.marginals(graph)
    up_to = np.log(np.cumsum(np.exp(-dear), axis=1))  # log of sums over v <= s

    def log_exactly(logs):
        """log P(max = s) from log P(max <= s)"""
        below = np.concatenate([np.full(logs.shape[:-1] + (1,), -np.inf), logs[..., :-1]], axis=-1)
        with np.errstate(divide="ignore"):
            return logs + np.log1p(-np.exp(below - logs))

    log_y = log_exactly(up_to.sum(axis=0)) - own
    log_z = np.logaddexp.reduce(log_y)
    assert belief.exact and belief.log_partition == pytest.approx(float(log_z), rel=1e-12)
    np.testing.assert_allclose(belief["y"], np.exp(log_y - log_z).astype(float), rtol=1e-9)
    others = up_to.sum(axis=0) - up_to
    with np.errstate(divide="ignore"):
        log_h = log_exactly(others)
    for v in range(k):
        alternatives = [others[:, v] - own[v]] + [log_h[:, s] - own[s] for s in range(v + 1, k)]
        log_p = np.logaddexp.reduce(alternatives, axis=0) - dear[:, v] - log_z
        np.testing.assert_allclose(belief["x"][:, v], np.exp(log_p).astype(float), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("k", [2, 5])
def test_a_thousand_inputs_minimised(k, rng):
    graph, dear, own = noisy_inputs(rng, k)
    best = fg.minimize(graph)
    least = np.minimum.accumulate(dear, axis=1)
    values = least.sum(axis=0) + (dear - least).min(axis=0) + own
    assert best.exact and best.energy == pytest.approx(float(values.min()), rel=1e-12)
    assert best["y"] == int(np.argmin(values)) == best["x"].max()
    found = fg.min_marginals(graph)
    np.testing.assert_allclose(found["y"], values.astype(float), rtol=1e-12)


def test_no_digit_is_lost_where_a_large_maximum_is_rare():
    """P(max = 2) = 1e-30: as a difference of cumulative products it would be 0."""
    x, y = fg.output("x", shape=50, n_states=3), fg.output("y", n_states=3)
    energies = [0.0, 1.0, 30 * math.log(10.0)]
    belief = fg.marginals(fg.FactorGraph([fg.Maximum([*x, y]), fg.Table([x], energies=energies)]))
    low = 1.0 + math.exp(-1.0)
    assert belief["y"][2] == pytest.approx(50 * 1e-30 / low, rel=1e-12)


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")  # loops, some frustrated
@pytest.mark.parametrize("seed", range(30))
def test_given_cells(seed):
    """Any cells given, all of them too; a cell twice in a scope; ragged scopes; against enumeration by hand."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 4))
    x = fg.output("x", shape=6, n_states=k)
    members = [rng.integers(0, 6, rng.integers(2, 6)).tolist() for _ in range(3)]
    graph = fg.FactorGraph([fg.Maximum(x, members=members), fg.Table([x], energies=rng.normal(size=(6, k)))])
    held = {("x", int(i)): int(rng.integers(0, k)) for i in rng.permutation(6)[: rng.integers(0, 7)]}
    joint = brute(graph, held)
    given = {x[i]: s for (_, i), s in held.items()}
    expected = [
        all(max(row[i] for i in scope[:-1]) == row[scope[-1]] for scope in members) for row in joint.states.tolist()
    ]
    np.testing.assert_array_equal(np.isfinite(joint.energies), expected)
    for method in ("enumerate", "bp"):
        best = fg.minimize(graph, given=given, method=method)
        if not joint.feasible:
            assert not best.feasible
        elif best.exact:
            assert best.energy == pytest.approx(joint.minimum)
            assert fg.energy(graph, best) == pytest.approx(best.energy)
    if joint.feasible:
        belief = fg.marginals(graph, given=given, method="enumerate")
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0))


def test_energies_need_no_table(rng):
    x, y = fg.output("x", shape=(3, WIDE), n_states=4), fg.output("y", shape=3, n_states=4)
    graph = fg.FactorGraph([fg.Maximum([*x.T, y], name="top")])
    states = rng.integers(0, 3, (3, WIDE))
    found = fg.factor_energies(graph, {"x": states, "y": [states[0].max(), 3, states[2].max()]})["top"]
    assert found.tolist() == [0.0, math.inf, 0.0]
    with pytest.raises(fg.FactorError, match="1,001 variables at once"):
        graph.factor("top").table()


def test_what_is_refused():
    y, z = fg.output("y", shape=(4, 2), n_states=3), fg.output("z", shape=4, n_states=2)
    with pytest.raises(fg.ScopeError, match=r"4 factors over 1 variable each. Write y\[0\]"):
        fg.Maximum([y[:, 0]])
    with pytest.raises(fg.ScopeError, match="needs an input and an output"):
        fg.Maximum(y[:, 0], members=[[0, 1], [2]])
    with pytest.raises(fg.VariableError, match="one domain"):
        fg.Maximum([y[:, 0], z])
    mixed = fg.output("m", shape=4, n_states=np.array([2, 2, 3, 3]))
    assert fg.Maximum(mixed, members=[[0, 1], [2, 3, 3]]).size == 2
    with pytest.raises(fg.VariableError, match=r"m\[1\], m\[2\] have 2, 3 states"):
        fg.Maximum(mixed, members=[[2, 3, 3], [1, 2]])


def test_labels_are_compared_by_their_order():
    part = fg.output("part", shape=3, states=["fine", "worn", "broken"])
    graph = fg.FactorGraph([fg.Maximum([*part])])
    for labels in itertools.product(part.states, repeat=3):
        a, b, out = (part.states.index(label) for label in labels)
        assert fg.energy(graph, {"part": list(labels)}) == (0.0 if max(a, b) == out else math.inf)
