"""Gibbs sampling against brute force: what it leaves as it is, what a single variable is drawn from, and what it says.

A sweep that begins at an exact draw ends at one, whether or not sweeps can get everywhere, so draws from many such
starts are independent and exact: chi-square applies to the letter. As in `test_sample`, the threshold is a probability
of 1e-9 for each statistic, and seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from bound import bind
from checks import BETAS, conditioned
from frequencies import check_frequencies
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import case_of, cases
from unions import bind_cases

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.selection import select_samples
from factorgraph_ebm.engine.ties import margins
from factorgraph_ebm.inference import gibbs, number_maps
from factorgraph_ebm.inference.conditionals import conditional_energies
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.gibbs import Chain, Sweeps, gibbs_sweeps, sample_keys
from factorgraph_ebm.inference.solving import clamp

KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal", "cold"]


def rows_of(joint, states: np.ndarray) -> np.ndarray:
    """Numbers of configurations (n, cells) among `joint.states`."""
    number = {row.tobytes(): i for i, row in enumerate(joint.states.astype(np.int64))}
    return np.array([number[row.tobytes()] for row in states.astype(np.int64)], int)


def moved(bound, joint, beta: float, sweeps: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `joint` in which `n` exact draws of one sample are after some sweeps."""
    begun = rng.choice(len(joint.states), n, p=joint.probabilities(beta))
    prepared, compiled = Sweeps(bound.union, bound.numbers), bound.union.compiled
    free = compiled.cell_variable >= 0
    ended = joint.states[begun].astype(np.int64)
    for i in range(n):
        chain = Chain(prepared, bound.engine([joint.states[begun[i]]]), sample_keys(7, i, np.zeros(1, int)))
        chain.advance(beta, sweeps)
        ended[i, free] = chain.state[compiled.cell_variable[free]]
    return rows_of(joint, ended)


def check_invariance(bound, beta: float, n: int, seed: int) -> None:
    joint = bound.joint(0)
    if joint.feasible and len(joint.states) > 1 and conditioned(joint):
        found = moved(bound, joint, beta, 2, n, np.random.default_rng(seed))
        check_frequencies(found, joint.probabilities(beta))


# What sweeps leave as it is


@pytest.mark.parametrize("largest", [0, 1 << 16])
@pytest.mark.parametrize("block", range(4))
def test_exact_draws_stay_exact(block, largest, monkeypatch):
    """On drawn graphs of all structures; also where every structure is asked through its message kernel."""
    monkeypatch.setattr(number_maps, "LARGEST_MAP", largest)
    for seed in range(10 * block, 10 * block + 10):
        case = case_of(seed, forest=seed % 2 == 0, limit=100, kinds=KINDS)
        bound = bind_cases([case], np.random.default_rng(seed), rewrite=seed % 3 > 0, share=0.1)
        check_invariance(bound, [0.0, 0.1, 1.0, 1.0, 10.0][seed % 5], 600, seed)


X = fg.output("x", shape=6, n_states=2)
Y = fg.output("y", shape=4, n_states=4)
WEIGHTS = np.random.default_rng(1)
STRUCTURES = {
    "table of three": [fg.Table([Y[0], Y[1], Y[2]], WEIGHTS.normal(size=(4, 4, 4)))],
    "potts": [fg.Potts([Y[1:], Y[:-1]], penalty=[0.7, -1.0, 2.0])],
    "truncated linear": [fg.TruncatedLinear([Y[1:], Y[:-1]], weight=0.8, limit=1.5)],
    "truncated quadratic": [fg.TruncatedQuadratic([Y[1:], Y[:-1]], weight=0.5, limit=3.0)],
    "product": [fg.Product([X[1:], X[:-1]], weight=WEIGHTS.normal(size=5))],
    "product of three": [fg.Product([X[0], X[1], X[2]], weight=-1.3)],
    "sparse": [fg.SparseTable(list(X), [[0] * 6, [1] * 6, [0, 1] * 3], energies=[0.0, -1.0, -2.0], otherwise=0.5)],
    "cardinality": [fg.Cardinality(X, energies=[0.0, 1.0, -1.0, 0.5, 0.0, 2.0, -2.0])],
    "at most one": [fg.AtMostOne(X[:3])],
    "at least one": [fg.AtLeastOne(X[2:])],
    "or": [fg.Or(X[:4])],
    "and": [fg.And(X[:4])],
    "implies": [fg.Implies([X[1:], X[:-1]])],
    "linear constraint": [fg.LinearConstraint(X, weights=[1, 2, 3, 1, 2, 3], relation="<=", bound=6)],
    "maximum": [fg.Maximum(Y[:3])],
    "all different": [fg.AllDifferent(Y[:3])],
    "parity": [fg.Parity(X[:4])],
    "exactly one": [fg.ExactlyOne(X[:3])],
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure(name):
    factors = STRUCTURES[name]
    used = {v.name: v for f in factors for v in f.scope.variables}
    unary = [fg.Table([v], WEIGHTS.normal(size=(v.size, v.n_states)).reshape(*v.shape, v.n_states)) for v in
             ({"x": X, "y": Y}[n] for n in used)]  # fmt: skip
    case = type("Case", (), {"graph": fg.FactorGraph([*factors, *unary]), "values": {}})
    bound = bind_cases([case], np.random.default_rng(0), share=0.0)
    check_invariance(bound, 1.0, 3000, 0)


def test_what_is_summed_out_elsewhere_is_drawn_too():
    h, y = fg.latent("h", shape=3, n_states=2), fg.output("y", n_states=3)
    graph = fg.FactorGraph([fg.Table([h, y], WEIGHTS.normal(size=(3, 2, 3))), fg.Parity(h)])
    union, numbers = bind(graph, soft=[h])
    plain, same = bind(graph)
    state, key = np.zeros(5, np.int64), sample_keys(0, 0, np.zeros(1, int))
    found = gibbs_sweeps(union, numbers, state, 1.0, 7, key)[union.compiled.cell_variable]
    assert found.tolist() == gibbs_sweeps(plain, same, state, 1.0, 7, key)[plain.compiled.cell_variable].tolist()


# What a single variable is drawn from


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0, math.inf])
@pytest.mark.parametrize("seed", range(12))
def test_a_variable_is_drawn_from_its_conditional(seed, beta):
    """All others are held, so that sweep after sweep draws it independently."""
    rng = np.random.default_rng(seed)
    bound = bind_cases([case_of(seed + 300, forest=False, limit=100, kinds=KINDS, prefix=p) for p in "ab"], rng)
    compiled, state = bound.union.compiled, bound.draw_states(rng)
    start = compiled.variable_start.astype(int)
    energy = conditional_energies(bound.union, bound.numbers, state)
    several = np.flatnonzero(np.diff(start) > 1)
    for v in rng.permutation(several)[:3]:
        row = energy[start[v] : start[v + 1]]
        held = state.copy()
        held[v] = -1
        sweeps = Sweeps(bound.union, clamp(bound.union, bound.numbers, held))
        chain = Chain(sweeps, state, sample_keys(seed, 0, np.arange(2)))
        drawn = np.empty(1000, int)
        for i in range(len(drawn)):
            chain.advance(beta, 1)
            drawn[i] = chain.state[v]
        others = np.arange(len(state)) != v
        assert (chain.state[others] == state[others]).all()
        if row.min() == np.inf:
            assert (drawn == state[v]).all(), "all states are forbidden: it stays"
            continue
        above = row - row.min()
        if beta == math.inf:
            weight = (above <= margins(row.min())).astype(float)
        else:
            weight = np.where(np.isinf(above), 0.0, np.exp(-beta * np.where(np.isinf(above), 0.0, above)))
        check_frequencies(drawn, weight / weight.sum())


def test_what_is_tied_is_tied_here_as_elsewhere():
    """At beta = inf, relative to the least energy: 5e-4 is nothing beside a million, and 2e-3 is something."""
    energy = np.array([-1e6 + 2e-3, -1e6, -1e6 + 5e-4, np.inf])
    union, numbers = bind(fg.FactorGraph([fg.Table([fg.output("y", shape=4000, n_states=4)], energy)]))
    state = np.zeros(len(union.compiled.variable_cell), np.int64)
    key = sample_keys(1, 2, np.zeros(1, int))
    drawn = gibbs_sweeps(union, numbers, state, np.inf, 1, key)[union.compiled.cell_variable]
    check_frequencies(drawn, (energy - energy.min() <= margins(energy.min())) / 2)


@pytest.mark.parametrize("beta", [0.3, 1.0, 2.5])
def test_many_draws_of_one_conditional(beta):
    """200,000 cells that are alike: a beta that is wrong by a fiftieth would be seen, and draws that hang together."""
    n, energy = 200_000, np.array([0.4, 0.0, np.inf, 1.7, 0.9])
    union, numbers = bind(fg.FactorGraph([fg.Table([fg.output("y", shape=n, n_states=5)], energy)]))
    cell, key = union.compiled.cell_variable, sample_keys(1, 2, np.zeros(1, int))
    state = np.zeros(n + 1, np.int64)
    drawn = [gibbs_sweeps(union, numbers, state, beta, 1, key, first=i)[cell] for i in range(2)]
    p = np.exp(-beta * energy) / np.exp(-beta * energy).sum()
    check_frequencies(np.concatenate(drawn), p)
    pairs = np.outer(p, p).ravel()
    check_frequencies(5 * drawn[0] + drawn[1], pairs)
    check_frequencies(5 * drawn[0][0::2] + drawn[0][1::2], pairs)


@given(cases(forest=False, limit=200), st.integers(0, 2**32 - 1), st.sampled_from(BETAS))
@settings(max_examples=40)
def test_from_an_allowed_assignment_to_an_allowed_one(case, seed, beta):
    rng = np.random.default_rng(seed)
    bound = bind_cases([case, case], rng)
    state, key = bound.draw_states(rng), sample_keys(seed, 0, np.arange(2))
    before = assignment_energies(bound.union, bound.numbers, state)
    after = gibbs_sweeps(bound.union, bound.numbers, state, beta, 3, key)
    found = assignment_energies(bound.union, bound.numbers, after)
    assert np.isfinite(found[np.isfinite(before)]).all()
    if beta == math.inf and case.kind != "huge":
        finite = np.isfinite(before)
        assert (found[finite] <= before[finite] + 1e-6).all(), "local search, with ties at random"


@pytest.mark.parametrize("kind", ["cardinality", "linear constraint", "sparse", "maximum"])
def test_both_ways_to_read_a_structure_agree(kind, monkeypatch):
    union, numbers = bind(fg.FactorGraph([*STRUCTURES[kind], fg.Table([X], WEIGHTS.normal(size=(6, 2)))]))
    start = np.zeros(len(union.compiled.variable_cell), np.int64)
    keys = [sample_keys(3, i, np.zeros(1, int)) for i in range(50)]
    one = [gibbs_sweeps(union, numbers, start, 0.7, 4, key).tolist() for key in keys]
    monkeypatch.setattr(number_maps, "LARGEST_MAP", 0)
    assert [gibbs_sweeps(union, numbers, start, 0.7, 4, key).tolist() for key in keys] == one
    assert len({tuple(row) for row in one}) > 5


def test_energies_times_beta():
    """Powers of two cost no digit, so the draws are the same to the last."""
    y = fg.output("y", shape=(4, 4), n_states=3)
    u, p = WEIGHTS.normal(size=(4, 4, 3)), 0.8

    def drawn(scale, beta):
        graph = fg.FactorGraph([fg.Table([y], scale * u), fg.Potts([y[1:], y[:-1]], penalty=scale * p)])
        return fg.sample(graph, 9, method="gibbs", beta=beta, rng=4)["y"].tolist()

    assert drawn(1.0, 0.5) == drawn(0.5, 1.0) != drawn(1.0, 1.0)
    assert drawn(8.0, 0.0) == drawn(1.0, 0.0)


# Keys


def test_known_answers_of_philox():
    """The test vectors of Random123 for philox4x32-10 (its file kat_vectors): the first two words of each answer."""
    for words, key, first, second in [
        ((0, 0, 0, 0), 0, 0x6627E8D5, 0xE169C58D),
        ((2**32 - 1,) * 4, 2**64 - 1, 0x408F276D, 0x41C83B0E),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), 0x299F31D0A4093822, 0xD16CFE09, 0x94FDCCEB),
    ]:
        a, b, c, d = words
        (found,) = sample_keys(key, d << 32 | c, np.array([b << 32 | a], np.uint64))
        assert int(found) == first << 32 | second


@pytest.mark.parametrize("seed", range(30))
def test_draws_do_not_depend_on_what_else_is_in_the_union(seed):
    rng = np.random.default_rng(seed)
    drawn = [case_of(1000 * i + seed, forest=i == 1, limit=100, kinds=KINDS, prefix="abc"[i]) for i in range(3)]
    bound = bind_cases(drawn, rng, share=0.0)
    state, key = bound.draw_states(rng), sample_keys(seed, 5, np.array([11, 12, 13]))
    whole = gibbs_sweeps(bound.union, bound.numbers, state, 0.8, 4, key)
    for chosen in ([2, 0], [1], [0, 1, 2], [2, 1, 0]):
        part = select_samples(bound.union, chosen)
        found = gibbs_sweeps(part.union, part.take(bound.numbers), state[part.variables], 0.8, 4, key[chosen])
        assert found.tolist() == whole[part.variables].tolist()
    for order in ([0], [1], [2], [2, 0, 1]):
        other = bind_cases([drawn[i] for i in order], np.random.default_rng(0), share=0.0)
        cells = [np.maximum(bound.union.compiled.cell_variable[bound.cells(i)], 0) for i in order]
        found = gibbs_sweeps(other.union, other.numbers, other.engine([state[c] for c in cells]), 0.8, 4, key[order])
        assert found.tolist() == other.engine([whole[c] for c in cells]).tolist()


@pytest.mark.parametrize("threads", [2, 3, 50, None])
def test_threads_share_samples(threads):
    rng = np.random.default_rng(0)
    drawn = [case_of(500 + i, forest=i % 2 == 0, limit=100, kinds=KINDS, prefix=f"{i} ") for i in range(30)]
    bound = bind_cases(drawn, rng)
    state, key = bound.draw_states(rng), sample_keys(0, 0, np.arange(30))
    one, many = (gibbs_sweeps(bound.union, bound.numbers, state, 1.0, 9, key, threads=t) for t in (1, threads))
    assert one.tolist() == many.tolist()


def test_sweeps_may_be_spread_over_calls(monkeypatch):
    y = fg.output("y", shape=(5, 5), n_states=3)
    union, numbers = bind(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=0.3), fg.AllDifferent(y[:3, 0])]))
    state, key = np.zeros(26, np.int64), sample_keys(0, 0, np.zeros(1, int))
    state[union.compiled.cell_variable[[0, 5, 10]]] = [0, 1, 2]
    kept = state.copy()
    whole = gibbs_sweeps(union, numbers, state, 1.0, 5, key)
    assert (state == kept).all()
    half = gibbs_sweeps(union, numbers, state, 1.0, 2, key)
    assert gibbs_sweeps(union, numbers, half, 1.0, 3, key, first=2).tolist() == whole.tolist()
    assert gibbs_sweeps(union, numbers, half, 1.0, 3, key).tolist() != whole.tolist()
    monkeypatch.setattr(gibbs, "paced", lambda count, seconds: 1)
    assert gibbs_sweeps(union, numbers, state, 1.0, 5, key).tolist() == whole.tolist()
    assert gibbs_sweeps(union, numbers, state, 1.0, 0, key).tolist() == state.tolist()


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"beta": -1.0}, "beta="),
        ({"beta": math.nan}, "beta="),
        ({"sweeps": -1}, "sweeps="),
        ({"state": np.array([0, 2, 0])}, "-1 is none"),
        ({"state": np.array([0, -1, 0])}, "-1 is none"),
        ({"state": np.zeros(2, np.int64)}, "each of 3 variables"),
        ({"key": np.zeros(2, np.uint64)}, "each of 1 samples, not 2"),
    ],
)
def test_what_sweeps_refuse(wrong, said):
    x = fg.output("x", shape=2, n_states=2)
    union, numbers = bind(fg.FactorGraph([fg.Potts([x[0], x[1]], penalty=1.0)]))
    right = {"state": np.zeros(3, np.int64), "beta": 1.0, "sweeps": 1, "key": np.zeros(1, np.uint64)}
    gibbs_sweeps(union, numbers, **right)
    with pytest.raises(fg.MethodError, match=said):
        gibbs_sweeps(union, numbers, **{**right, **wrong})
