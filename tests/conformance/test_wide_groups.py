"""Groups of many factors and variables of many states: kernels work in blocks, and every block has an end.

Factors that share no variable are each a small sum, written in numpy for all of them at once.
"""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg

SIZES = [1, 2, 255, 256, 257, 700]
STATES = [1, 2, 3, 4, 5, 8, 9, 16, 17, 33]


def declarations(scope, arity, n, k, rng):
    """name -> (declaration, its tables (n, *states)): every structure, numbers shared and own."""
    numeric = np.arange(float(k))
    product = np.ones((k,) * arity)
    for s in range(arity):
        product = product * numeric.reshape([-1 if i == s else 1 for i in range(arity)])
    for shared in (True, False):
        how, lead = ("shared", ()) if shared else ("own", (n,))
        tables = rng.normal(size=(*lead, *(k,) * arity))
        tables[rng.random(tables.shape) < 0.05] = np.inf
        weight = rng.normal(size=lead) / k**arity
        yield f"Table, {how}", fg.Table(scope, energies=tables), tables
        each = (..., *[None] * arity)
        listed = rng.choice(k**arity, size=-(-(k**arity) // 2), replace=False)
        energies = rng.normal(size=(*lead, len(listed)))
        tables = np.full((*lead, k**arity), np.inf)
        tables[..., listed] = energies
        rows = np.array(np.unravel_index(listed, (k,) * arity)).T
        yield f"SparseTable, {how}", fg.SparseTable(scope, rows, energies), tables.reshape(*lead, *(k,) * arity)
        yield f"Product, {how}", fg.Product(scope, weight=weight), np.asarray(weight)[each] * product
        every = np.indices((k,) * arity)
        largest = every[:-1].max(axis=0) == every[-1]
        yield f"Maximum, {how}", fg.Maximum(scope), np.where(largest, 0.0, np.inf)
        ordered = np.sort(every, axis=0)
        differ = (ordered[1:] != ordered[:-1]).all(axis=0)
        if k >= arity:  # else nothing is allowed
            yield f"AllDifferent, {how}", fg.AllDifferent(scope), np.where(differ, 0.0, np.inf)
        weights = rng.integers(-1, 3, (*lead, arity))
        sums = np.tensordot(weights, every, 1)
        bounds = np.asarray(rng.integers(0, k + 1, lead))
        tables = np.where(sums <= bounds[each], 0.0, np.inf)
        yield f"LinearConstraint, {how}", fg.LinearConstraint(scope, weights, "<=", bounds), tables
        if arity == 2:
            penalty = np.where(rng.random(lead) < 0.1, np.inf, rng.normal(size=lead))
            tables = np.where(np.eye(k, dtype=bool), 0.0, np.asarray(penalty)[each])
            yield f"Potts, {how}", fg.Potts(scope, penalty=penalty), tables
            steps = abs(numeric[:, None] - numeric)
            weight = np.where(rng.random(lead) < 0.1, np.inf, rng.exponential(size=lead))
            for kind, distance in [(fg.TruncatedLinear, steps), (fg.TruncatedQuadratic, steps**2)]:
                for limit in (float(distance.max() + 1) / 2, np.inf):
                    reach = np.minimum(distance, limit)
                    with np.errstate(invalid="ignore"):
                        tables = np.where(reach == 0.0, 0.0, np.asarray(weight)[each] * reach)
                    yield f"{kind.kind}, {how}", kind(scope, weight=weight, limit=limit), tables


def sizes_and_states():
    yield from ((2, 257, k) for k in STATES)
    yield from ((2, n, k) for n in SIZES for k in (2, 3, 6))
    yield from ((3, n, k) for n in (1, 257) for k in (2, 3, 5))
    yield from ((4, n, 2) for n in (3, 257))


@pytest.mark.parametrize("arity, n, k", sorted(set(sizes_and_states())))
def test_many_small_sums(arity, n, k, rng):
    y, beta = fg.output("y", shape=(n, arity), n_states=k), 0.5
    unary = rng.normal(size=(n, arity, k))
    scope = [y[:, s] for s in range(arity)]
    for name, factor, tables in declarations(scope, arity, n, k, rng):
        energies = np.broadcast_to(tables, (n, *(k,) * arity)).copy()
        for s in range(arity):
            energies += unary[:, s].reshape(n, *[k if i == s else 1 for i in range(arity)])
        flat = energies.reshape(n, -1)
        low = flat.min(1)
        graph = fg.FactorGraph([factor, fg.Table([y], energies=unary)])
        if np.isinf(low).any():
            assert fg.minimize(graph).status is fg.Status.INFEASIBLE
            continue
        best = fg.minimize(graph)
        assert best.exact, name
        assert best.energy == pytest.approx(low.sum(), rel=1e-12), name
        where = np.array(np.unravel_index(flat.argmin(1), (k,) * arity)).T
        np.testing.assert_array_equal(best["y"], where, err_msg=name)
        weights = np.exp(-beta * (flat - low[:, None]))
        total = weights.sum(1)
        belief = fg.marginals(graph, beta=beta)
        assert belief.exact, name
        assert belief.log_partition == pytest.approx((np.log(total) - beta * low).sum(), rel=1e-11, abs=1e-10), name
        joint = (weights / total[:, None]).reshape(energies.shape)
        for s in range(arity):
            others = tuple(i + 1 for i in range(arity) if i != s)
            np.testing.assert_allclose(belief["y"][:, s], joint.sum(others), atol=1e-12, err_msg=name)
        np.testing.assert_allclose(belief.factor_marginals[0], joint, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("k", [2, 3, 5, 8, 16, 21])
def test_wide_chains(k, rng):
    """300 cells in a row: forward sums in plain numpy."""
    n = 300
    y = fg.output("y", shape=n, n_states=k)
    unary, tables = rng.normal(size=(n, k)), rng.normal(size=(n - 1, k, k)) * 2
    tables[(rng.random(tables.shape) < 0.1) & ~np.eye(k, dtype=bool)] = np.inf  # staying is always allowed
    for energies in (tables, tables[0]):
        pairs = np.broadcast_to(energies, (n - 1, k, k))
        forward, least, shift = np.exp(-unary[0]), unary[0], 0.0
        for t in range(1, n):
            forward = (forward @ np.exp(-pairs[t - 1])) * np.exp(-unary[t])
            shift, forward = shift + np.log(forward.sum()), forward / forward.sum()
            least = (least[:, None] + pairs[t - 1]).min(0) + unary[t]
        graph = fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=energies), fg.Table([y], energies=unary)])
        belief, best = fg.marginals(graph), fg.minimize(graph)
        assert best.exact and belief.exact
        assert belief.log_partition == pytest.approx(shift, rel=1e-12)
        np.testing.assert_allclose(belief["y"][-1], forward, atol=1e-12)
        assert best.energy == pytest.approx(least.min(), rel=1e-12)
