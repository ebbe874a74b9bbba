"""LinearConstraint: kernels against tables, a thousand variables against plain sums, units, given cells, refusals."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
import scipy.sparse
from oracle import brute
from rows import KINDS, Run, check_kernels, draw_messages

import factorgraph_ebm as fg

HOLDS = {"<=": operator.le, "==": operator.eq, ">=": operator.ge}
WIDE = 1000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("states", [(2, 3), (1, 2), (2, 2, 2), (3, 1, 2), (2, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("relation", list(HOLDS))
def test_kernels(relation, states, kind, rng):
    """Factors of which some cells are given, so that the bound has moved: one row each, sums from either end."""
    for weights in ([3.0, 1.0, 2.0, 1.0, 2.0], [-2.0, 3.0, 0.0, -1.0, 2.0], [1.0] * 5, [-1.0, -4.0, 2.0, -1.0, -3.0]):
        scope = fg.output("x", shape=len(states), n_states=np.array(states))
        given = fg.output("g", n_states=7)
        n, arity = 7, len(states)
        bound = float(rng.integers(-2, 9))
        factor = fg.LinearConstraint([*scope, given], weights[: arity + 1], relation, bound)
        slots = tuple(range(arity))
        remaining = factor.remaining((*states, 7), slots, (arity,))
        if remaining is None:  # so small that a table is faster
            continue
        rows = remaining.rows(np.arange(7)[None, :])
        every = np.indices((*states, 7)).reshape(arity + 1, -1)
        total = (np.array(weights[: arity + 1]) @ every).reshape(*states, 7)
        tables = np.moveaxis(np.where(HOLDS[relation](total, bound), 0.0, np.inf), -1, 0)
        constants = np.array(remaining.constants)
        np.testing.assert_array_equal(fg.LinearConstraint.dense_tables(rows, states, constants), tables)
        incoming = draw_messages(rng, n, states, kind)
        kernels = fg.LinearConstraint.message_kernels(states)
        space = fg.LinearConstraint.scratch_size(states, constants)
        check_kernels(lambda soft: Run(states, incoming, rows, constants, soft), kernels, tables, space)  # noqa: B023


def sums(energies, weights, soft):
    """Energy of every sum of all variables, and the messages to each: plain dynamic programming over whole numbers.

    Returns offset, energy of each sum, and a function j -> energy of each sum of the others.
    """
    n, k = energies.shape
    steps = (weights[:, None] * np.arange(k)).astype(int)
    low, high = int(steps.min(axis=1).sum()), int(steps.max(axis=1).sum())
    join = (lambda a, b: -np.logaddexp(-a, -b)) if soft else np.minimum

    def extend(table, j):
        out = np.full_like(table, np.inf)
        for v in range(k):
            shift = steps[j, v]
            source = table[max(0, -shift) : len(table) - max(0, shift)]
            place = slice(max(0, shift), len(table) - max(0, -shift))
            out[place] = join(out[place], source + energies[j, v])
        return out

    size = high - low + 1
    nothing = np.where(np.arange(2 * size + 1) == size, 0.0, np.inf)  # sums -size .. size
    forward, backward = [nothing], [nothing]
    for j in range(n):
        forward.append(extend(forward[-1], j))
        backward.append(extend(backward[-1], n - 1 - j))
    return size, steps, forward, backward


@pytest.mark.parametrize("relation", list(HOLDS))
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("signs", ["positive", "any"])
def test_a_few_hundred_variables_against_plain_sums(relation, soft, signs, rng):
    """Every belief, not just the total; every sum is kept, none is clamped."""
    n, k = 120, 3
    weights = rng.integers(1, 5, n) * (1 if signs == "positive" else rng.choice([-1, 1], n))
    energies = rng.normal(size=(n, k)) * 2.0
    size, steps, forward, backward = sums(energies, weights, soft)
    share = {"<=": 0.05, "==": 0.5, ">=": 0.98}[relation]
    bound = float(np.floor(np.quantile(rng.integers(0, k, (99, n)) @ weights, share)))
    x = fg.output("x", shape=n, n_states=k)
    graph = fg.FactorGraph([fg.LinearConstraint(x, weights, relation, bound), fg.Table([x], energies=energies)])
    totals = np.arange(-size, size + 1)
    allowed = np.where(HOLDS[relation](totals, bound), 0.0, np.inf)
    join = (lambda e: -np.logaddexp.reduce(-e)) if soft else np.min
    whole = join(forward[-1] + allowed)
    beliefs = np.empty((n, k))
    for j in range(n):
        before, after = forward[j], backward[n - 1 - j]
        reachable = np.flatnonzero(np.isfinite(after))
        others = np.full(len(totals), np.inf)
        for t in reachable:
            shift = t - size
            source = before[max(0, -shift) : len(before) - max(0, shift)]
            place = slice(max(0, shift), len(before) - max(0, -shift))
            moved = source + after[t]
            others[place] = -np.logaddexp(-others[place], -moved) if soft else np.minimum(others[place], moved)
        for v in range(k):
            ends = totals + steps[j, v]
            fits = HOLDS[relation](ends, bound)
            beliefs[j, v] = energies[j, v] + join(np.where(fits, others, np.inf))
    if soft:
        belief = fg.marginals(graph)
        assert belief.exact and belief.log_partition == pytest.approx(-whole, rel=1e-12)
        np.testing.assert_allclose(belief["x"], np.exp(whole - beliefs), rtol=1e-9, atol=1e-13)
    else:
        best = fg.minimize(graph)
        assert best.exact and best.energy == pytest.approx(whole, rel=1e-12)
        assert HOLDS[relation](best["x"] @ weights, bound)
        np.testing.assert_allclose(fg.min_marginals(graph)["x"], beliefs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("relation", list(HOLDS))
def test_a_thousand_variables(relation, rng):
    """A knapsack of a thousand: its optimum and its partition sum, by one forward recursion over all sums."""
    weights = rng.integers(1, 10, WIDE)
    energies = np.stack([np.zeros(WIDE), rng.normal(size=WIDE)], axis=1)
    bound = float(weights.sum() // 2 + {"<=": -300, "==": 11, ">=": 300}[relation])
    x = fg.output("x", shape=WIDE, n_states=2)
    graph = fg.FactorGraph([fg.LinearConstraint(x, weights, relation, bound), fg.Table([x], energies=energies)])
    ends = HOLDS[relation](np.arange(weights.sum() + 1), bound)
    for soft in (False, True):
        table = np.where(np.arange(weights.sum() + 1) == 0, 0.0, np.inf)
        for w, own in zip(weights, energies, strict=True):
            one = np.concatenate([np.full(w, np.inf), table[:-w] + own[1]])
            table = -np.logaddexp(-table, -one) if soft else np.minimum(table, one)
        if soft:
            assert fg.log_partition(graph) == pytest.approx(np.logaddexp.reduce(-table[ends]), rel=1e-11)
        else:
            best = fg.minimize(graph)
            assert best.exact and best.energy == pytest.approx(table[ends].min(), rel=1e-12)
            assert HOLDS[relation](best["x"] @ weights, bound)


def test_given_cells_move_the_bound(rng):
    """990 of 1000 given: as the constraint over the ten that are left."""
    weights = rng.integers(-3, 9, WIDE)
    energies = rng.normal(size=(WIDE, 2))
    states = rng.integers(0, 2, WIDE)
    free = np.sort(rng.permutation(WIDE)[:10])
    known = np.setdiff1d(np.arange(WIDE), free)
    bound = float(weights[known] @ states[known] + 5)
    x = fg.output("x", shape=WIDE, n_states=2)
    graph = fg.FactorGraph([fg.LinearConstraint(x, weights, "<=", bound), fg.Table([x], energies=energies)])
    y = fg.output("y", shape=10, n_states=2)
    small = [fg.LinearConstraint(y, weights[free], "<=", 5), fg.Table([y], energies=energies[free])]
    best = fg.minimize(graph, given={x[known]: states[known]})
    expected = fg.minimize(fg.FactorGraph(small), method="enumerate")
    np.testing.assert_array_equal(best["x"][free], expected["y"])
    belief = fg.marginals(graph, given={x[known]: states[known]})
    expected = fg.marginals(fg.FactorGraph(small), method="enumerate")
    np.testing.assert_allclose(belief["x"][free], expected["y"], rtol=1e-10)


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")  # loops, some frustrated
@pytest.mark.parametrize("seed", range(60))
def test_drawn_groups(seed):
    """Several factors with weights, relations and bounds of their own; any cells given; ragged; a cell twice."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(1, 4))
    x = fg.output("x", shape=7, n_states=k)
    relation = list(HOLDS)[seed % 3]
    unit = [1.0, 0.25, 0.1, 1 / 3, math.pi][seed % 5]
    lengths = rng.integers(0, 5, 4)
    if seed % 2:
        members = [rng.permutation(7)[:n].tolist() for n in lengths]
        if seed % 4 == 1:
            members[0] = [3, 1, 3]
        weights = [unit * rng.integers(-3, 4, len(m)) for m in members]
        bound = unit * rng.integers(-3, 6, 4)
        factor = fg.LinearConstraint(x, members=members, weights=weights, relation=relation, bound=bound)
        rows, bounds = weights, bound
    else:
        members = [[i, i + 1, i + 3] for i in range(4)]
        shape = [(3,), (4, 3), (1, 3)][seed % 3]
        weights = unit * rng.integers(-3, 4, shape)
        bound = unit * rng.integers(-3, 6, [(), (4,)][seed // 2 % 2])
        factor = fg.LinearConstraint([x[0:4], x[1:5], x[3:7]], weights, relation, bound)
        rows, bounds = np.broadcast_to(weights, (4, 3)), np.broadcast_to(bound, 4)
    graph = fg.FactorGraph([factor, fg.Table([x], energies=rng.normal(size=(7, k)))])
    held = {("x", int(i)): int(rng.integers(0, k)) for i in rng.permutation(7)[: rng.integers(0, 8)]}
    joint = brute(graph, held)
    expected = np.ones(len(joint.states), bool)
    for scope, row, b in zip(members, rows, bounds, strict=True):
        total = joint.states[:, scope] @ row
        close = np.isclose(total, b, rtol=0, atol=1e-9)
        expected &= close if relation == "==" else close | HOLDS[relation](total, b)
    np.testing.assert_array_equal(np.isfinite(joint.energies), expected)
    for states, energy in list(zip(joint.states, joint.energies, strict=True))[:40]:
        assert fg.energy(graph, {"x": states}) == pytest.approx(energy, rel=1e-12)
    given = {x[i]: s for (_, i), s in held.items()}
    for method in ("enumerate", "bp"):
        best = fg.minimize(graph, given=given, method=method)
        if not joint.feasible:
            assert not best.feasible
        elif best.exact:
            assert best.energy == pytest.approx(joint.minimum)
    if joint.feasible:
        belief = fg.marginals(graph, given=given, method="enumerate")
        assert belief.log_partition == pytest.approx(joint.log_partition(1.0))


def test_the_rows_of_a_sparse_matrix(rng):
    A = scipy.sparse.csr_array(np.where(rng.random((5, 8)) < 0.5, rng.integers(-3, 4, (5, 8)), 0))
    b = rng.integers(0, 4, 5)
    x = fg.output("x", shape=8, n_states=2)
    factor = fg.LinearConstraint(x, members=A, relation="<=", bound=b)
    for _ in range(20):
        states = rng.integers(0, 2, 8)
        expected = np.where(A @ states <= b, 0.0, math.inf)
        np.testing.assert_array_equal(fg.factor_energies(fg.FactorGraph([factor]), {"x": states})[0], expected)
    with pytest.raises(fg.FactorError, match="are its data"):
        fg.LinearConstraint(x, members=A, weights=[1.0], relation="<=", bound=b)


@pytest.mark.parametrize("form", ["list", "axis", "lists", "matrix"])
def test_our_own_format_keeps_it(form, tmp_path, rng):
    x = fg.output("x", shape=(3, 4), n_states=3)
    if form == "list":
        factor = fg.LinearConstraint(list(x.T), rng.integers(-2, 3, (3, 4)), "<=", 0.1 * np.arange(3), name="c")
    elif form == "axis":
        factor = fg.LinearConstraint(x, [0.1, 0.2, -0.3, 1 / 3], ">=", math.inf, axis=1, name="c")
    elif form == "lists":
        members, weights = [[0, 5], [], [3, 2, 3]], [[1.5, -2.0], [], [0.1, math.pi, 1e-300]]
        factor = fg.LinearConstraint(x.ravel(), weights, "==", 1.5, members=members, name="c")
    else:
        matrix = scipy.sparse.csr_array(rng.integers(-1, 2, (2, 12)))
        factor = fg.LinearConstraint(x.ravel(), members=matrix, relation="<=", bound=[3, -1], name="c")
    graph = fg.FactorGraph([factor])
    fg.write(graph, tmp_path / "graph.fgz")
    again = fg.read(tmp_path / "graph.fgz")
    assert again.key == graph.key
    one, two = again.factor("c"), graph.factor("c")
    assert (one.inequalities, one.which.tolist()) == (two.inequalities, two.which.tolist())
    fg.write(again, tmp_path / "again.fgz")
    assert (tmp_path / "again.fgz").read_bytes() == (tmp_path / "graph.fgz").read_bytes()


def test_unlike_constraints_do_not_share_what_is_compiled():
    """Structure is cached by declaration: weights, relation and bound are part of it."""
    x = fg.output("x", shape=9, n_states=2)
    own = fg.Table([x], energies=np.stack([np.zeros(9), -1.0 - np.arange(9)], axis=1))
    for weights in (np.ones(9), np.arange(9) + 1.0):
        for relation in HOLDS:
            for bound in (3.0, 7.0):
                graph = fg.FactorGraph([fg.LinearConstraint(x, weights, relation, bound), own])
                best = fg.minimize(graph, method="bp")
                assert best.exact and HOLDS[relation](weights @ best["x"], bound)
                assert best.energy == pytest.approx(brute(graph).minimum)


def test_two_constraints_on_two_variables_are_one_factor(rng):
    """x + y <= 3 and x - y >= 1: merged, so no loop; negative sums are entries counted from the end."""
    x, y = fg.output("x", n_states=5), fg.output("y", n_states=5)
    graph = fg.FactorGraph(
        [
            fg.LinearConstraint([x, y], [1, 1], "<=", 3),
            fg.LinearConstraint([x, y], [1, -1], ">=", 1),
            fg.Table([x, y], energies=rng.normal(size=(5, 5))),
        ]
    )
    joint = brute(graph)
    belief = fg.marginals(graph, method="bp")
    assert belief.exact and belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-12)


def test_messages_of_unlike_constraints_to_given_variables(rng):
    """What each factor sends to a cell that is given, against its table; folded and engine factors alike."""
    x = fg.output("x", shape=6, n_states=3)
    weights = [[1, 1, 1], [1, -2, 1], [1, 1, 2], [3, 1, 1]]
    factor = fg.LinearConstraint([x[:4], x[1:5], x[2:6]], weights, "<=", [3, 1, 4, 5])
    graph = fg.FactorGraph([factor, fg.Table([x], energies=rng.normal(size=(6, 3)))])
    twin = fg.FactorGraph([fg.Table([x[:4], x[1:5], x[2:6]], energies=factor.table()), graph.factors[1]])
    for cells in ([2], [2, 4], [0, 1, 3]):
        given = {x[cells]: [1, 0, 2][: len(cells)]}
        mine, table = (fg.marginals(g, given=given, method="bp") for g in (graph, twin))
        for way in ("to_variable", "to_factor"):
            for a, b in zip(getattr(mine.messages, way)[0], getattr(table.messages, way)[0], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-6)


def test_units():
    x = fg.output("x", shape=3, n_states=4)

    def own(weights, relation="<=", bound=1.0):
        (one,) = fg.LinearConstraint(x, weights, relation, bound).inequalities
        return one.weights, one.bound, one.whole

    assert own([2, 4, 6], "<=", 7) == ((1, 2, 3), 3, True)
    assert own([2, 4, 6], ">=", 7) == ((1, 2, 3), 4, True)
    assert own([2, 4, 6], "==", 7) == ((1, 2, 3), math.inf, True)  # never
    assert own([0.1, 0.2, -0.3], "==", 0.3) == ((1, 2, -3), 3, True)  # 0.1 + 0.2 is not 0.3
    assert own([0.75, 0.5, 1.25], ">=", 0.6) == ((3, 2, 5), 3, True)
    assert own([0, 0, 0], "<=", 5) == ((0, 0, 0), 5, True)
    assert own([1 / 3, 2 / 3, 1.0], "==", 2 / 3) == ((1, 2, 3), 2, True)
    assert own([1e-12, -3e-12, 0.0], "<=", 2.5e-12) == ((1, -3, 0), 2, True)  # small is not 0
    assert own([1e200, 2e200, 3e200], ">=", 3e200) == ((1, 2, 3), 3, True)
    assert own([math.pi, 1, 1])[2] is False
    assert own([1, 1, 1], "<=", math.inf) == ((1, 1, 1), math.inf, True)
    assert fg.energy(fg.FactorGraph([fg.LinearConstraint(x, [0.1, 0.2, -0.3], "==", 0)]), {"x": [1, 1, 1]}) == 0


@pytest.mark.parametrize("relation", list(HOLDS))
@pytest.mark.parametrize("bound", [-1.0, 0.0, 1e300, math.inf])
def test_bounds_that_always_or_never_hold(relation, bound):
    x = fg.output("x", shape=30, n_states=2)
    graph = fg.FactorGraph([fg.LinearConstraint(x, np.full(30, -2.0), relation, bound)])
    holds = {"<=": bound >= 0, "==": False, ">=": False}[relation]
    if bound in (-1.0, 0.0):
        holds = None
    belief = fg.marginals(graph)
    if holds is None:
        totals = -2.0 * np.arange(31)
        count = sum(math.comb(30, m) for m in np.flatnonzero(HOLDS[relation](totals, bound)))
        assert belief.log_partition == pytest.approx(math.log(count) if count else -math.inf)
    else:
        assert belief.log_partition == pytest.approx(30 * math.log(2) if holds else -math.inf)


def test_what_is_refused():
    x = fg.output("x", shape=(4, 40), n_states=2)
    ones = np.ones(40)
    with pytest.raises(fg.FactorError, match='must be "<=", "==" or ">=", not \'<\''):
        fg.LinearConstraint(x, ones, "<", 3, axis=1)
    with pytest.raises(fg.FactorError, match="needs a bound"):
        fg.LinearConstraint(x, ones, "<=", axis=1)
    with pytest.raises(fg.FactorError, match="needs weights"):
        fg.LinearConstraint(x, relation="<=", bound=3, axis=1)
    with pytest.raises(fg.FactorError, match=r"must end with one weight for each variable, \(40,\)"):
        fg.LinearConstraint(x, np.ones(4), "<=", 3, axis=1)
    with pytest.raises(fg.FactorError, match="not all finite"):
        fg.LinearConstraint(x, np.full(40, np.inf), "<=", 3, axis=1)
    with pytest.raises(fg.FactorError, match="a constraint is not learned"):
        fg.LinearConstraint(x, fg.Parameter("w", (40,)), "<=", 3, axis=1)
    with pytest.raises(fg.ScopeError, match=r"Write x\[0\] for one factor"):
        fg.LinearConstraint([x], ones, "<=", 3)
    with pytest.raises(fg.FactorError, match=r"weights\[1\] of LinearConstraint has shape \(2,\)"):
        fg.LinearConstraint(x[0], members=[[0], [1]], weights=[[1.0], [1.0, 2.0]], relation="<=", bound=3)
    graph = fg.FactorGraph([fg.LinearConstraint(x, np.sqrt(np.arange(40)), "<=", 3, axis=1)])
    with pytest.raises(fg.FactorError, match="no common unit, and it is over 40 variables"):
        fg.minimize(graph)
    fine = fg.FactorGraph([fg.LinearConstraint(x, 1.0 + 1e-6 * np.arange(40), "<=", 20, axis=1)])
    with pytest.raises(fg.FactorError, match="Round the weights and the bound to multiples of a coarser unit"):
        fg.minimize(fine)
