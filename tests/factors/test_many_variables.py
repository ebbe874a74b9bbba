"""Structures over a thousand variables, against a recursion over counts: exact, whatever the energies.

    from the end:   B_n(k) = -c(k),  B_i(k) = log(exp(B_(i+1)(k) - off_i) + exp(B_(i+1)(k + 1) - on_i))

Every structure over two states is a function c of how many are on, a gate one such function for each output.
"""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg

N = 1000


def counted(c, unary, minimum):
    """Value of c(number on) + unary (n, 2), and of each variable in each state: -log sum exp(-E), or min E."""
    n = len(unary)
    add = np.minimum if minimum else lambda a, b: -np.logaddexp(-a, -b)
    behind = np.full((n + 1, n + 1), np.inf)
    behind[n] = c
    for i in range(n - 1, -1, -1):
        behind[i, :n] = add(behind[i + 1, :n] + unary[i, 0], behind[i + 1, 1:] + unary[i, 1])
    before = np.full(n + 1, np.inf)
    before[0] = 0.0
    values = np.full((n, 2), np.inf)
    total = np.minimum.reduce if minimum else soft_minimum
    for i in range(n):
        values[i, 0] = total(before[:n] + behind[i + 1, :n]) + unary[i, 0]
        values[i, 1] = total(before[:n] + behind[i + 1, 1:]) + unary[i, 1]
        off, on = before + unary[i, 0], np.append(np.inf, before[:-1]) + unary[i, 1]
        before = add(off, on)
    return behind[0, 0], values


def soft_minimum(energies):
    low = energies.min()
    return low if low == np.inf else low - np.log(np.exp(low - energies).sum())


def expected(kind, c, unary, minimum):
    """As `counted`, for a structure of the library."""
    if kind not in ("Or", "And"):
        return counted(c, unary, minimum)
    total = np.minimum if minimum else lambda a, b: -np.logaddexp(-a, -b)
    n = len(unary) - 1
    on = np.arange(n + 1)
    truth = on > 0 if kind == "Or" else on == n
    value, rows = np.inf, np.full((n, 2), np.inf)
    last = np.full(2, np.inf)
    for output in range(2):
        v, r = counted(np.where(truth == output, 0.0, np.inf), unary[:n], minimum)
        last[output] = v + unary[n, output]
        value, rows = total(value, last[output]), total(rows, r + unary[n, output])
    return value, np.concatenate([rows, last[None]])


def energies_of_counts(kind, n, rng):
    k = np.arange(n + 1)
    return {
        "Cardinality": np.where(rng.random(n + 1) < 0.3, np.inf, rng.normal(0.001 * (k - n / 3) ** 2, 30.0)),
        "AtMostOne": np.where(k <= 1, 0.0, np.inf),
        "ExactlyOne": np.where(k == 1, 0.0, np.inf),
        "AtLeastOne": np.where(k >= 1, 0.0, np.inf),
        "Parity": np.where(k % 2 == 0, 0.0, np.inf),
    }.get(kind)


def unaries(name, n, rng):
    u = rng.normal(size=(n, 2)) * 3
    if name == "rather off":
        u[:, 1] += 12.0
    if name == "rather on":
        u[:, 0] += 12.0
    if name == "certain":
        u = rng.uniform(-1e4, 1e4, size=(n, 2))
    if name == "certainly on":
        u[:, 0] += 1e4
    if name == "forced":
        u[rng.permutation(n)[:20], 0] = np.inf
        u[rng.permutation(n)[:300], 1] = np.inf
    if name == "one forced on":
        u[17, 0] = np.inf
    if name == "all forced off":
        u[:, 1] = np.inf
    if name == "one huge":
        u[5, 0] = 1e300
    if name == "contradiction":
        u[400] = np.inf
    return u


KINDS = ["Cardinality", "AtMostOne", "ExactlyOne", "AtLeastOne", "Parity", "Or", "And"]
UNARIES = [
    "plain", "rather off", "rather on", "certain", "certainly on", "forced", "one forced on", "all forced off",
    "one huge", "contradiction",
]  # fmt: skip


def declare(kind, scope, c):
    return fg.Cardinality(scope, energies=c) if kind == "Cardinality" else getattr(fg, kind)(scope)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNARIES)
def test_a_thousand_variables(kind, name, rng):
    x = fg.output("x", shape=N, n_states=2)
    c, unary = energies_of_counts(kind, N, rng), unaries(name, N, rng)
    graph = fg.FactorGraph([declare(kind, x, c), fg.Table([x], energies=unary)])
    best, belief = fg.minimize(graph), fg.marginals(graph)
    least, least_of_states = expected(kind, c, unary, True)
    free, free_of_states = expected(kind, c, unary, False)
    if least == np.inf:
        assert best.status == belief.status == fg.Status.INFEASIBLE
        assert belief.log_partition == -np.inf
        return
    size = np.abs(unary[np.isfinite(unary) & (np.abs(unary) < 1e200)]).max()
    assert best.status is fg.Status.OPTIMAL
    assert best.energy == pytest.approx(least, rel=1e-13, abs=1e-9)
    assert fg.energy(graph, best) == best.energy
    assert belief.status is fg.Status.OPTIMAL
    assert belief.log_partition == pytest.approx(-free, rel=1e-12, abs=1e-9)
    digits = 1e-12 + 1e-15 * N * size
    np.testing.assert_allclose(belief["x"], np.exp(free - free_of_states), atol=digits)
    found = fg.min_marginals(graph)["x"]
    np.testing.assert_allclose(found, least_of_states, rtol=1e-12, atol=digits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_with_different_variables_given(kind, rng):
    """What is left of each is another factor; a rest of one variable is folded, none is a constant."""
    x = fg.output("x", shape=N, n_states=2)
    c, unary = energies_of_counts(kind, N, rng), unaries("rather off", N, rng)
    graph = fg.FactorGraph([declare(kind, x, c), fg.Table([x], energies=unary)])
    asked = []
    for known in (0, 1, 40, N - 2, N - 1, N):
        cells = np.sort(rng.permutation(N)[:known])
        states = np.zeros(known, int)
        states[: min(known, 3) if kind in ("Cardinality", "Parity") else known % 2] = 1
        asked.append((cells, states))
    asked.append((np.array([N - 1]), np.array([0])))
    asked.append((np.array([N - 1]), np.array([1])))
    given = [{x[cells]: states} for cells, states in asked]
    for (cells, states), best, belief in zip(asked, fg.minimize(graph, given), fg.marginals(graph, given), strict=True):
        held = unary.copy()
        held[cells, 1 - states] = np.inf
        least, _ = expected(kind, c, held, True)
        free, free_of_states = expected(kind, c, held, False)
        if least == np.inf:
            assert best.status == belief.status == fg.Status.INFEASIBLE
            continue
        assert best.status == belief.status == fg.Status.OPTIMAL
        assert best.energy == pytest.approx(least, rel=1e-13, abs=1e-10)
        assert belief.log_partition == pytest.approx(-free, rel=1e-12, abs=1e-10)
        np.testing.assert_allclose(belief["x"], np.exp(free - free_of_states), atol=1e-11)
        np.testing.assert_array_equal(best["x"][cells], states)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", ["flooding", "residual"])
def test_other_schedules(kind, schedule, rng):
    n = 60
    x = fg.output("x", shape=n, n_states=2)
    c, unary = energies_of_counts(kind, n, rng), unaries("rather off", n, rng)
    graph = fg.FactorGraph([declare(kind, x, c), fg.Table([x], energies=unary), fg.Potts([x[:1], x[1:2]], 0.7)])
    belief = fg.marginals(graph, schedule=schedule, tolerance=1e-12)
    twin = fg.marginals(graph)
    np.testing.assert_allclose(belief["x"], twin["x"], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_summed_and_minimised_at_once(kind, rng):
    """Latents are summed out of a minimisation: of a factor over both, sums come first."""
    n, h = 150, 140
    x = fg.output("x", shape=n - h, n_states=2)
    z = fg.latent("z", shape=h, n_states=2)
    c, unary = energies_of_counts(kind, n, rng), unaries("rather off", n, rng)
    graph = fg.FactorGraph(
        [declare(kind, [*z, *x], c), fg.Table([z], energies=unary[:h]), fg.Table([x], energies=unary[h:])]
    )
    best = fg.minimize(graph, latent="marginalize")
    held = unary.copy()
    held[h + np.arange(n - h), 1 - best["x"]] = np.inf
    free, _ = expected(kind, c, held, False)
    assert best.energy == pytest.approx(free, rel=1e-10)
    for i in range(n - h):
        other = unary.copy()
        states = best["x"].copy()
        states[i] = 1 - states[i]
        other[h + np.arange(n - h), 1 - states] = np.inf
        assert expected(kind, c, other, False)[0] >= free - 1e-9


def test_what_would_be_a_table_says_so():
    x = fg.output("x", shape=N, n_states=2)
    graph = fg.FactorGraph([fg.AtMostOne(x, name="clique"), fg.Table([x], energies=np.zeros((N, 2)))])
    assert "clique  AtMostOne(x) 1 factor" in str(graph)
    assert "AtMostOne" in repr(graph.factors[0])
    with pytest.raises(fg.FactorError, match=r"AtMostOne\(x\) is over 1,000 variables at once"):
        graph.factors[0].table()
    with pytest.raises(fg.FactorError, match="1,000 variables"):
        fg.AtMostOne(x, members=[range(1000)]).table()
    belief = fg.marginals(graph)
    with pytest.raises(fg.MethodError, match=r'factor "clique".*1,000 variables.*joint='):
        belief.factor_marginals["clique"]
    with pytest.raises(fg.MethodError, match=r"beta = inf.*AtMostOne over 1,000 free variables.*min_marginals"):
        fg.marginals(graph, beta=np.inf)
    with pytest.raises(fg.MethodError):
        fg.marginals(graph, method="enumerate")
    with pytest.raises(fg.FactorGraphError):
        fg.to_networkx(graph)
    twice = fg.FactorGraph([fg.AtMostOne([*x, x[0]])])
    with pytest.raises(fg.FactorError, match=r"AtMostOne.*would need 2 \*\* \d+ bytes"):
        fg.minimize(twice)


def test_two_large_factors_on_one_scope_stay_two(rng):
    x = fg.output("x", shape=100, n_states=2)
    graph = fg.FactorGraph([fg.ExactlyOne(x), fg.Parity(x), fg.Table([x], energies=rng.normal(size=(100, 2)))])
    with pytest.warns(fg.ConvergenceWarning):
        best = fg.minimize(graph, max_iterations=3)
    assert best.status is not fg.Status.OPTIMAL
    small = fg.FactorGraph([fg.AtLeastOne(x[:5]), fg.Parity(x[:5]), fg.Table([x], energies=rng.normal(size=(100, 2)))])
    assert fg.minimize(small).status is fg.Status.OPTIMAL
    nested = fg.FactorGraph([fg.AtMostOne(x), fg.AtMostOne(x[3:7]), fg.Table([x], energies=rng.normal(size=(100, 2)))])
    with pytest.warns(fg.ConvergenceWarning):
        fg.minimize(nested, max_iterations=3)


def test_a_parity_check_matrix(rng):
    """5,000 checks of degree 6 over 10,000 bits, as codes are written: a word that is in the code costs nothing."""
    import scipy.sparse

    bits = fg.output("bits", shape=10_000, n_states=2)
    rows = np.repeat(np.arange(5000), 6)
    columns = np.concatenate([rng.permutation(10_000) for _ in range(3)])
    matrix = scipy.sparse.csr_matrix((np.ones(30_000), (rows, columns)), shape=(5000, 10_000))
    unary = np.stack([np.zeros(10_000), np.full(10_000, 3.0)], axis=1)
    checks = fg.Parity(bits, members=matrix, name="checks")
    graph = fg.FactorGraph([checks, fg.Table([bits], energies=unary)])
    assert graph.factor("checks").members is matrix
    best = fg.minimize(graph, stop="feasible")
    assert best.energy == 0.0 and not best["bits"].any()
    word = np.zeros(10_000, int)
    word[columns[0]] = 1
    odd = fg.factor_energies(graph, {"bits": word})["checks"]
    assert np.isinf(odd).sum() == (matrix @ word % 2).sum() > 0
