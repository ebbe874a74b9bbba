"""Compiled unions are kept by declaration: what hits, what must not, and what is not kept alive."""

from __future__ import annotations

import concurrent.futures
import gc
import types
import weakref

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample, gather_groups
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.graph.expressions import Constant
from factorgraph_ebm.inference.energies import assignment_energies


def chain(n, energies=None, *, k=3, pair=None, name="y"):
    y = fg.output(name, shape=n, n_states=k)
    energies = np.zeros((n, k)) if energies is None else energies
    pair = np.zeros((k, k)) if pair is None else pair
    return fg.FactorGraph([fg.Table([y], energies=energies), fg.Table([y[1:], y[:-1]], energies=pair)])


def same(one, other):
    """Whether one compiled structure serves both."""
    return compile_union(one).compiled is compile_union(other).compiled


def bound_energy(union, values, states):
    """Energies of a union of chains, nothing given, all in `states` (cells)."""
    numbers = union.bind(values, np.zeros(len(states), np.int64))
    chosen = np.zeros(len(union.compiled.variable_cell), np.int64)
    chosen[union.compiled.cell_variable] = states
    return assignment_energies(union, numbers, chosen)


def test_equal_declarations_hit_and_bind_their_own_numbers(rng):
    one, other = (chain(50, rng.normal(size=(50, 3)), pair=rng.normal(size=(3, 3))) for _ in range(2))
    assert same([Sample(one)], [Sample(other)])
    states = rng.integers(0, 3, 50)
    for graph in (one, other, one):
        found = bound_energy(compile_union([Sample(graph)]), [{}], states)
        assert found[0] == pytest.approx(declared_energy(graph, states))


def declared_energy(graph, states):
    unary, links = graph.factors
    return unary.energies({}, states[None]).sum() + links.energies({}, np.array([states[1:], states[:-1]])).sum()


def edges_of(pairs):
    y = fg.output("y", shape=4, n_states=3)
    return fg.FactorGraph([fg.Potts(y[np.array(pairs)], 1.0, axis=1)])


def spins(states, count=5):
    y = fg.output("y", shape=4, states=list(states))
    assert len(states) == count
    return fg.FactorGraph([fg.Product([y[1:], y[:-1]], weight=1.0), fg.Product([y[0], y[1], y[2]], weight=1.0)])


def test_what_changes_the_structure_misses():
    y = fg.output("y", shape=4, n_states=3)
    w = fg.Parameter("w", (3, 3))
    sparse = [scipy.sparse.csr_matrix(np.array(m)) for m in ([[1, 1, 0, 0]], [[1, 0, 1, 0]])]
    different = [
        chain(4),
        chain(5),
        chain(4, k=2),
        chain(4, name="z"),
        chain(4, np.zeros((1, 3))),
        chain(4, pair=np.zeros((3, 3, 3))),
        edges_of([[0, 1], [1, 2]]),
        edges_of([[0, 1], [2, 1]]),
        fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0)]),
        fg.FactorGraph([fg.Product([y[1:], y[:-1]], 1.0)]),
        fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0)] * 2),
        fg.FactorGraph([fg.Table([y[1:], y[:-1]], w)]),
        fg.FactorGraph([fg.Table([y[1:], y[:-1]], w.T)]),
        fg.FactorGraph([fg.Potts([y[0], y[1]], 1.0)]),
        fg.FactorGraph([fg.Potts([y[1], y[0]], 1.0)]),
        *[fg.FactorGraph([fg.Potts(y, 1.0, members=m)]) for m in sparse],
        spins([0, 1, 2, 3, 4]),
        spins([-1, 1, 2, 3, 4]),  # the labels of a Product are constants of the compiled graph
        spins([4, 3, 2, 1, 0]),
        fg.FactorGraph([], variables=[y]),
        fg.FactorGraph([]),
    ]
    found = [compile_union([Sample(g)]).compiled for g in different]
    assert len({id(c) for c in found}) == len(different)
    for graph, compiled in zip(different, found):  # all of them are kept, too
        assert compile_union([Sample(graph)]).compiled is compiled


def test_the_mask_of_given_cells_is_part_of_the_structure():
    graph = chain(20)
    masks = [None, np.zeros(20, bool), np.arange(20) == 3, np.arange(20) == 4, np.ones(20, bool)]
    found = [id(compile_union([Sample(graph, m)]).compiled) for m in masks]
    assert found[0] == found[1] and len(set(found[1:])) == 4
    assert same([Sample(chain(20), masks[2])], [Sample(chain(20), np.arange(20) == 3)])
    soft = compile_union([Sample(graph, None, masks[2])]).compiled
    assert soft is not compile_union([Sample(graph, masks[2])]).compiled
    assert compile_union([Sample(graph)], rewrite=False).compiled is not compile_union([Sample(graph)]).compiled


def test_whether_samples_share_their_numbers_is_part_of_the_structure(rng):
    """Two sentences with one table, or with one each: the store has another size."""
    pair = rng.normal(size=(3, 3))
    shared = [Sample(chain(6, pair=pair)), Sample(chain(6, pair=pair))]
    own = [Sample(chain(6, pair=pair)), Sample(chain(6, pair=2 * pair))]
    states = np.tile([0, 1, 2, 2, 1, 0], 2)
    for samples in (shared, own, shared):
        found = bound_energy(compile_union(samples), [{}, {}], states)
        np.testing.assert_allclose(found, [declared_energy(s.graph, states[:6]) for s in samples])


def sentences(rng, n=9_000):
    table = fg.Parameter("T", (3, 3))
    found = []
    for length in rng.integers(1, 41, n):
        y = fg.output("y", shape=int(length), n_states=3)
        x = fg.observed("x", shape=int(length), dim=3)
        found.append(Sample(fg.FactorGraph([fg.Table([y], energies=x), fg.Table([y[1:], y[:-1]], energies=table)])))
    return found


def test_nine_thousand_sentences_of_forty_lengths(rng):
    seed = int(rng.integers(2**31))
    one, other = (sentences(np.random.default_rng(seed)) for _ in range(2))
    union = compile_union(one)
    assert union.n_samples == 9_000 and union.compiled.sample_forest.all()
    assert same(one, other)
    assert len({id(compile_union([s]).compiled) for s in one}) == 40  # one by one: as many as there are lengths


def test_the_first_caller_s_numbers_are_not_kept_alive():
    graph = chain(3_001, np.ones((3_001, 3)))
    union = compile_union([Sample(graph)])
    union.bind([{}], np.zeros(3_001, np.int64))
    numbers = weakref.ref(graph.factors[0].slots[0].source.array)
    assert numbers().shape == (3_001, 3)
    del graph, union
    gc.collect()
    assert numbers() is None
    states = np.zeros(3_001, np.int64)
    other = compile_union([Sample(chain(3_001))])  # from the cache, with numbers of its own
    assert bound_energy(other, [{}], states).tolist() == [0.0]


def test_threads_compile_and_bind_at_once(rng):
    """Twelve structures, eight threads, each structure asked for by all: right numbers for everyone."""
    sizes = rng.permutation(np.repeat(np.arange(200, 212), 8)).tolist()

    def energy(n):
        graph = chain(n, np.full((n, 3), float(n)))
        union = compile_union([Sample(graph)])
        return bound_energy(union, [{}], np.zeros(n, np.int64))[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(energy, sizes)) == [float(n) ** 2 for n in sizes]


def test_a_grid_takes_less_than_sixty_bytes_a_factor(rng):
    """Everything that a union holds on to, declarations and numbers included; messages are not part of it."""
    y = fg.output("y", shape=(300, 300), n_states=2)
    unary = fg.Table([y], energies=rng.normal(size=(300, 300, 2)))
    links = [fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)]
    graph = fg.FactorGraph([unary, *links])
    union = compile_union([Sample(graph)])
    n_factors = sum(f.size for f in graph.factors)
    assert n_factors == 90_000 + 2 * 300 * 299
    assert reachable_bytes(union) < 60 * n_factors


def reachable_bytes(thing):
    """Bytes of the arrays that can be reached, each block of memory once."""
    blocks, seen, left = {}, set(), [thing]
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            while isinstance(one.base, np.ndarray):
                one = one.base
            blocks[one.__array_interface__["data"][0]] = one.nbytes
        else:
            left += gc.get_referents(one)
    return sum(blocks.values())


def test_many_tables_of_one_size_are_hardly_compared(monkeypatch):
    """Each of a network has a table of its own; those that differ at an end are told apart at a glance."""
    rng = np.random.default_rng(0)
    y = fg.output("y", shape=60, n_states=2)
    tables = rng.normal(size=(58, 2, 2))
    tables[57] = tables[3]
    graph = fg.FactorGraph([fg.Table([y[i], y[i + 1]], energies=t) for i, t in enumerate(tables)])
    compared = []
    equals = Constant.equals
    monkeypatch.setattr(Constant, "equals", lambda self, other: (compared.append(1), equals(self, other))[1])
    groups = gather_groups([Sample(graph, None)])
    assert len(compared) <= 2
    assert [g.owns for g in groups] == [True] * 57 + [False] and groups[57].store == groups[3].store
    assert Constant(np.zeros((0, 2))).fingerprint == ()
    assert Constant(np.array([-0.0, 1.0])).fingerprint == Constant(np.array([0.0, 1.0])).fingerprint
