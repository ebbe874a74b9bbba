"""What is left of a factor when some variables are given: rows made by a rule; and large declarations."""

from __future__ import annotations

import time

import numpy as np
import pytest
import scipy.sparse
from oracle import brute

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import Union, compile_union, gather_groups
from factorgraph_ebm.factors.automaton_kernels import automaton
from factorgraph_ebm.factors.on_off import OnOff
from factorgraph_ebm.graph.table_map import Compact, Remaining, c_strides, constants_map


class Exclusive(OnOff):
    """AtMostOne, told only by its table and by a rule for what is left of it."""

    __slots__ = ()

    kind = "Exclusive"

    def __init__(self, scope, **options):
        self.read_scope(scope, options.get("axis"), options.get("members"), options.get("name"))

    def compact(self, state_shape):
        table = np.where(np.indices(state_shape).sum(axis=0) <= 1, 0.0, np.inf)
        return Compact(constants_map(table.ravel()), c_strides(state_shape))

    def remaining(self, state_shape, free, given):
        limits = np.array([0.0, 0.0, np.inf, np.inf, np.inf])
        width = 3 if len(free) > 1 else len(free) + 1

        def rows(states):
            used = np.minimum(states.sum(axis=0), 2)
            return limits[used[:, None] + np.arange(width)]

        return Remaining("AtMostOne", width, automaton((0, 1, 2), (1, 2, 2)), rows=rows)


@pytest.mark.parametrize("form", ["list", "axis", "members"])
def test_rows_by_a_rule(form, rng):
    x = fg.output("x", shape=(3, 4), n_states=2)
    scope, options = {
        "list": ([*x.T], {}),
        "axis": (x, {"axis": 1}),
        "members": (x.ravel(), {"members": [[0, 1, 2, 3], [4, 5], [8, 9, 10], [11]]}),
    }[form]
    unary = fg.Table([x], energies=rng.integers(-3, 3, size=(3, 4, 2)))
    other = fg.Parity(x[0, :3])
    for factors in ([Exclusive(scope, **options), unary], [Exclusive(scope, **options), unary, other]):
        graph = fg.FactorGraph(factors)
        asked = [{}]
        for share in (0.2, 0.5, 0.8, 1.0):
            asked.append({("x", i): int(rng.random() < 0.1) for i in range(12) if rng.random() < share})
        given = [{x.ravel()[i]: s for (_, i), s in known.items()} for known in asked]
        for known, best, belief in zip(asked, fg.minimize(graph, given), fg.marginals(graph, given), strict=True):
            joint = brute(graph, known)
            if not joint.feasible:
                assert belief.status is fg.Status.INFEASIBLE
                continue
            assert best.energy == joint.minimum
            np.testing.assert_allclose(belief["x"], joint.marginals(1.0)["x"], atol=1e-12)
            assert belief.log_partition == pytest.approx(joint.log_partition(1.0), rel=1e-12, abs=1e-12)
        *_, last = fg.steps(graph, given[2], max_iterations=5)
        if brute(graph, asked[2]).feasible:
            np.testing.assert_allclose(last.beliefs["x"], brute(graph, asked[2]).marginals(1.0)["x"], atol=1e-9)


def test_a_code_compiles_in_no_time(rng):
    """5,000 checks of degree 6 over 10,000 bits: one run, one row of numbers."""
    bits = fg.output("bits", shape=10_000, n_states=2)
    columns = np.concatenate([rng.permutation(10_000) for _ in range(3)])
    matrix = scipy.sparse.csr_matrix((np.ones(30_000), (np.repeat(np.arange(5000), 6), columns)), shape=(5000, 10_000))
    graph = fg.FactorGraph([fg.Parity(bits, members=matrix)])
    samples = [Sample(graph)]
    compile_union([Sample(fg.FactorGraph([fg.Parity(bits[:6])]))])  # compiles what is compiled once
    began = time.process_time()
    union = Union(samples, gather_groups(samples))
    assert time.process_time() - began < 0.5
    sizes = union.compiled.run_field[union.compiled.run_field_start[:-1]]
    assert sizes.sum() == 5000 and union.store_size <= 2 * len(sizes)


def test_declarations_alike_share_their_rows():
    x = fg.output("x", shape=30, n_states=2)
    graph = fg.FactorGraph([fg.AtMostOne(x[3 * i : 3 * i + 3]) for i in range(10)])
    union = compile_union([Sample(graph)])
    assert len(union.layout.kinds) <= 3 and union.store_size == 3
