"""Every registered structure: its kernels equal its own table, its numbers' pullback equals finite
differences.

A structure joins by being registered; the suite then asks for one line in EXAMPLES that says how to declare
it.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import scipy.sparse
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.graph import as_numbers

#: name -> declaration over the list of `n` views of one array, numbers drawn by `rng`; `lead` is the group
#: part of their shape.
EXAMPLES = {
    "Table": lambda scope, states, lead, rng: fg.Table(scope, energies=forbid(rng.normal(size=(*lead, *states)), rng)),
    "Potts": lambda scope, states, lead, rng: fg.Potts(scope, penalty=forbid(rng.normal(size=lead), rng)),
    "Product": lambda scope, states, lead, rng: fg.Product(scope, weight=rng.normal(size=lead)),
    "Cardinality": lambda scope, states, lead, rng: fg.Cardinality(
        scope, energies=forbid(rng.normal(size=(*lead, len(states) + 1)), rng)
    ),
    "AtMostOne": lambda scope, states, lead, rng: fg.AtMostOne(scope),
    "ExactlyOne": lambda scope, states, lead, rng: fg.ExactlyOne(scope),
    "AtLeastOne": lambda scope, states, lead, rng: fg.AtLeastOne(scope),
    "Or": lambda scope, states, lead, rng: fg.Or(scope),
    "And": lambda scope, states, lead, rng: fg.And(scope),
    "Implies": lambda scope, states, lead, rng: fg.Implies(scope),
    "Parity": lambda scope, states, lead, rng: fg.Parity(scope),
    "AllDifferent": lambda scope, states, lead, rng: fg.AllDifferent(scope),
    "LinearConstraint": lambda scope, states, lead, rng: fg.LinearConstraint(
        scope,
        weights=rng.integers(-3, 4, (*lead, len(states))),
        relation=rng.choice(["<=", "==", ">="]),
        bound=rng.integers(-3, 5, lead),
    ),
    "Maximum": lambda scope, states, lead, rng: fg.Maximum(scope),
    "SparseTable": lambda scope, states, lead, rng: sparse(scope, states, lead, rng),
    "TruncatedLinear": lambda scope, states, lead, rng: fg.TruncatedLinear(
        scope, weight=forbid(rng.exponential(size=lead), rng), limit=rng.choice([0.0, 1.0, 1.5, np.inf], size=lead)
    ),
    "TruncatedQuadratic": lambda scope, states, lead, rng: fg.TruncatedQuadratic(
        scope, weight=forbid(rng.exponential(size=lead), rng), limit=rng.choice([0.0, 1.0, 4.5, np.inf], size=lead)
    ),
}
MANY = (2, 3, 5)
ARITIES = {
    "Table": (1, 2, 3),
    "Potts": (2,),
    "Product": (1, 2, 3),
    "Cardinality": MANY,
    "AtMostOne": MANY,
    "ExactlyOne": MANY,
    "AtLeastOne": MANY,
    "Or": MANY,
    "And": MANY,
    "Implies": (2,),
    "Parity": MANY,
    "AllDifferent": (2, 3),
    "LinearConstraint": (2, 3, 4),
    "Maximum": (2, 3, 4),
    "SparseTable": (1, 2, 3),
    "TruncatedLinear": (2,),
    "TruncatedQuadratic": (2,),
}
DOMAINS = [
    {"n_states": 2},
    {"n_states": 4},
    {"states": [-1, +1]},
    {"states": [0.5, -1.0, 3.0]},
    {"n_states": 1},
]
ON_OFF = [{"n_states": 2}, {"states": [-1, +1]}, {"states": ["no", "yes"]}]
#: structures over variables of two states
LOGIC = ("Cardinality", "AtMostOne", "ExactlyOne", "AtLeastOne", "Or", "And", "Implies", "Parity")


def sparse(scope, states, lead, rng):
    """Two thirds of all configurations, in the words of the variables."""
    entries = math.prod(states)
    listed = rng.choice(entries, size=max(1, 2 * entries // 3), replace=False)
    rows = np.array(np.unravel_index(listed, states)).T.tolist()
    names = scope[0].states or range(states[0])
    energies = forbid(rng.normal(size=(*lead, len(rows))), rng)
    return fg.SparseTable(scope, [[names[s] for s in row] for row in rows], energies, rng.choice([np.inf, 0.7]))


def forbid(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(np.shape(numbers)) < 0.1, np.inf, numbers)


def examples():
    for kind, build in EXAMPLES.items():
        for arity in ARITIES[kind]:
            for number, domain in enumerate(ON_OFF if kind in LOGIC else DOMAINS):
                for shared in (True, False) if has_numbers(kind) else (True,):
                    yield pytest.param(
                        build,
                        arity,
                        domain,
                        shared,
                        id=f"{kind}-{arity}-{number}-{'shared' if shared else 'own'}",
                    )


def has_numbers(kind):
    return kind not in (*LOGIC, "AllDifferent", "Maximum") or kind == "Cardinality"


def declare(build, arity, domain, shared, rng):
    """Three factors over windows of an array: neighbours overlap, so the structure sends real messages."""
    y = fg.output("y", shape=arity + 2, **domain)
    k = int(y.n_states)
    return y, build(windows(y, arity), (k,) * arity, () if shared else (3,), rng)


def windows(y, arity):
    return [y[s : s + 3] for s in range(arity)]


def test_every_structure_has_an_example():
    assert set(EXAMPLES) == set(STRUCTURES) == set(ARITIES)


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_energies_are_table_entries(build, arity, domain, shared, rng):
    y, factor = declare(build, arity, domain, shared, rng)
    table = np.broadcast_to(factor.table(), (3, *(int(y.n_states),) * arity))
    graph = fg.FactorGraph([factor])
    for _ in range(5):
        states = rng.integers(0, y.n_states, y.shape)
        labels = states if y.states is None else np.array(y.states)[states]
        expected = [table[(g, *states[g : g + arity])] for g in range(3)]
        np.testing.assert_array_equal(fg.factor_energies(graph, {"y": labels})[0], expected)
        np.testing.assert_array_equal(
            factor.energies({}, np.array([states[s : s + 3] for s in range(arity)])), expected
        )


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 20.0, math.inf])
def test_kernels_equal_the_table(build, arity, domain, shared, beta, rng):
    """Message by message: the graph with the structure, and with the Table that it says it is."""
    y, factor = declare(build, arity, domain, shared, rng)
    unary = fg.Table([y], energies=rng.normal(size=(*y.shape, int(y.n_states))))
    twin = fg.Table(windows(y, arity), energies=factor.table())
    fast, plain = fg.FactorGraph([factor, unary]), fg.FactorGraph([twin, unary])
    options = {"method": "bp", "schedule": "flooding", "max_iterations": 3, "tolerance": 0.0, "beta": beta}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        mine, table = fg.marginals(fast, **options), fg.marginals(plain, **options)
    assert mine.status == table.status
    if mine.status is fg.Status.INFEASIBLE:
        return
    np.testing.assert_allclose(mine["y"], table["y"], atol=1e-12)
    if np.isfinite(table.log_partition):
        assert mine.log_partition == pytest.approx(table.log_partition, rel=1e-11, abs=1e-11)
    else:
        assert mine.log_partition == table.log_partition
    for way in ("to_variable", "to_factor"):
        for a, b in zip(getattr(mine.messages, way)[0], getattr(table.messages, way)[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
            assert (np.min(a, axis=-1) == 0).all()


@pytest.mark.parametrize("build, arity, domain, shared", list(examples()))
def test_minimum_equals_the_oracle(build, arity, domain, shared, rng):
    y, factor = declare(build, arity, domain, shared, rng)
    graph = fg.FactorGraph([factor, fg.Table([y], energies=rng.normal(size=(*y.shape, int(y.n_states))))])
    joint = brute(graph)
    best = fg.minimize(graph, method="enumerate")
    if joint.feasible:
        assert best.energy == pytest.approx(joint.minimum, rel=1e-12)
    else:
        assert best.status is fg.Status.INFEASIBLE


# numbers: every source, against finite differences


def sources(rng):
    """name -> (source of shape (3, 2, 2), values of everything that it reads)."""
    shape = (3, 2, 2)
    whole = fg.Parameter("w", shape)
    bank = fg.Parameter("w", (5, 2, 2))
    features = rng.normal(size=(3, 4))
    linear = fg.Parameter("w", (4, 2, 2))
    x = fg.observed("x", shape=3, dim=4)
    direct = fg.observed("x", shape=3, dim=(2, 2))
    a = {"w": rng.normal(size=shape)}
    b = {"w": rng.normal(size=(5, 2, 2))}
    c = {"w": rng.normal(size=(4, 2, 2))}
    return {
        "Parameter": (whole, a),
        "view": (bank[np.array([4, 0, 4])], b),
        "reshaped view": (bank.reshape(5, 4)[1:4].reshape(3, 2, 2).transpose(0, 2, 1), b),
        "view of a view": (bank[1:][np.array([0, 0, 3])], b),
        "transposed indices": (bank[[[0, 1], [1, 0]]][:, :, 0, 0], b),
        "Linear": (fg.Linear(features, linear), c),
        "Linear sparse": (fg.Linear(scipy.sparse.csr_matrix(np.where(features > 0, features, 0)), linear), c),
        "Linear observed": (fg.Linear(x, linear), {**c, "x": features}),
        "Linear of Parameters": (fg.Linear(fg.Parameter("v", (3, 4)), linear), {**c, "v": features}),
        "observed real": (as_numbers(direct), {"x": rng.normal(size=shape)}),
        "Computed": (
            fg.Computed(np.square, whole, shape=shape, pullback=lambda v, gradient: (2 * v * gradient,)),
            a,
        ),
    }


@pytest.mark.parametrize("name", list(sources(np.random.default_rng(0))))
def test_pullback_equals_finite_differences(name, rng):
    source, values = sources(rng)[name]
    gradient = rng.normal(size=source.shape)
    rows = slice(0, source.shape[0])
    into = {key: np.zeros_like(value) for key, value in values.items()}
    source.pullback(values, rows, gradient.reshape(source.shape[0], -1), into)
    for key, value in values.items():
        expected, step = np.zeros_like(value), 1e-6
        for place in np.ndindex(value.shape):
            up, down = value.copy(), value.copy()
            up[place] += step
            down[place] -= step
            difference = source.evaluate({**values, key: up}) - source.evaluate({**values, key: down})
            expected[place] = (gradient * difference).sum() / (2 * step)
        np.testing.assert_allclose(into[key], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", list(sources(np.random.default_rng(0))))
def test_rows_are_the_rows_of_the_whole(name, rng):
    """numbers and pullback take any slice of rows; pullback adds; only the names asked for are written."""
    source, values = sources(rng)[name]
    whole = np.asarray(source.evaluate(values))
    assert whole.shape == source.shape
    assert set(source.names) == set(values)
    n = source.shape[0]
    flat = whole.reshape(n, -1)
    for rows in (slice(0, n), slice(0, 1), slice(1, n), slice(n, n)):
        out = np.full((len(range(n)[rows]), flat.shape[1]), np.nan)
        source.numbers(values, rows, out)
        np.testing.assert_allclose(out, flat[rows], rtol=1e-14)  # a matrix product may round otherwise
    gradient = rng.normal(size=flat.shape)
    once = {key: np.zeros_like(value) for key, value in values.items()}
    source.pullback(values, slice(0, n), gradient, once)
    parts = {key: np.ones_like(value) for key, value in values.items()}
    for rows in (slice(0, 1), slice(1, n)):
        source.pullback(values, rows, gradient[rows], parts)
    for key in values:
        np.testing.assert_allclose(parts[key], 1 + once[key], rtol=1e-12, atol=1e-12)
    source.pullback(values, slice(0, n), gradient, {})


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_table_map_is_linear_in_the_numbers(kind, rng):
    """Energy of entry e = constant[e] + coefficient[e] * number[index[e]]: what every fallback uses."""
    for arity in ARITIES[kind]:
        k = 2 if kind in LOGIC else 3
        y, factor = declare(EXAMPLES[kind], arity, {"n_states": k}, True, rng)
        numbers = np.asarray(factor.slots[0].source.evaluate({}), float).ravel() if factor.slots else np.zeros(0)
        labels = [np.arange(float(k))] * arity
        found = factor.table_map((k,) * arity, labels)
        picked = np.where(found.index >= 0, np.append(numbers, 0.0)[found.index], 0.0)
        with np.errstate(invalid="ignore"):
            product = np.where(found.coefficient == 0, 0.0, found.coefficient * picked)
        expected = np.asarray(factor.table())[0]
        np.testing.assert_array_equal((found.constant + product).reshape(expected.shape), expected)


@pytest.mark.parametrize("name", [n for n in sources(np.random.default_rng(0)) if "observed" not in n])
def test_a_union_has_the_rows_of_its_samples(name, rng):
    """merge: the rows of one sample after those of another; what both share stays once; pullbacks add."""
    one, values = sources(rng)[name]
    two, _ = sources(rng)[name]  # other constants, the same parameters
    width = one.size // one.shape[0]
    n = one.shape[0]
    whole = np.asarray(one.merge([two, one], width).evaluate(values)).reshape(-1, width)
    parts = [np.asarray(s.evaluate(values)).reshape(n, width) for s in (one, two, one)]
    if len(whole) == n:  # equal numbers, stored once
        np.testing.assert_allclose(parts[1], parts[0], rtol=1e-14)
        np.testing.assert_allclose(whole, parts[0], rtol=1e-14)
        return
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-14)
    gradient = rng.normal(size=whole.shape)
    merged = {key: np.zeros_like(value) for key, value in values.items()}
    one.merge([two, one], width).pullback(values, slice(0, 3 * n), gradient, merged)
    single = {key: np.zeros_like(value) for key, value in values.items()}
    for place, source in enumerate((one, two, one)):
        source.pullback(values, slice(0, n), gradient[place * n : (place + 1) * n], single)
    for key in values:
        np.testing.assert_allclose(merged[key], single[key], rtol=1e-12, atol=1e-12)
