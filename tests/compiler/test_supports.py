"""Supports of random trees of contractions against the configurations themselves, and codes and checks on the way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorgraph_ebm.compiler import supports
from factorgraph_ebm.compiler.codes import BITS, guess_rows, lay_codes, rows_of
from factorgraph_ebm.compiler.contraction import Leaves, join_leaves
from factorgraph_ebm.compiler.row_checks import Checks, find_checks
from factorgraph_ebm.compiler.supports import BLOCK, Excess, Supports, guessed_pairs, join_rows


class Drawn:
    """Random relations over a few variables, and the tree of an order of elimination."""

    def __init__(self, seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 8))
        self.states = rng.choice([2, 2, 3, 5], n)
        scopes = [(v,) for v in range(n)]
        scopes += [(v - 1, v) for v in range(1, n)]  # one component
        scopes += [tuple(rng.choice(n, 2, replace=False).tolist()) for _ in range(n)]
        scopes += [tuple(rng.choice(n, min(n, 3), replace=False).tolist()) for _ in range(2)]
        self.scopes = scopes
        self.tables = [np.where(rng.random(self.states[list(s)]) < share, np.inf, 0.0) for s in scopes]
        start = np.concatenate([[0], np.cumsum([len(s) for s in scopes])]).astype(np.int64)
        variable = np.array([v for s in scopes for v in s], np.int64)
        stride = np.concatenate([np.array(t.strides, np.int64) // 8 for t in self.tables])
        self.leaves = Leaves(start, variable, stride)
        self.order = rng.permutation(n).astype(np.int64)
        self.nodes = join_leaves(self.leaves, self.states, self.order, np.zeros(n, np.uint8))
        self.codes = lay_codes(self.nodes, len(scopes), self.states, self.order)
        assert self.codes is not None
        at = np.concatenate([[0], np.cumsum([t.size for t in self.tables])])[:-1].astype(np.int64)
        energy = np.concatenate([t.ravel() for t in self.tables])
        self.rows = rows_of(self.codes, self.leaves, self.states, at, energy)
        self.checks = Checks(
            self.nodes, self.codes, self.rows, self.states, find_checks(self.nodes, len(scopes), n)
        )  # fmt: skip

    def below(self, tensor: int) -> list[int]:
        """Leaves below a tensor."""
        if tensor < len(self.scopes):
            return [tensor]
        n = tensor - len(self.scopes)
        return [t for child in (self.nodes.x[n], self.nodes.y[n]) if child >= 0 for t in self.below(int(child))]

    def relation(self, tensor: int) -> set[tuple[int, ...]]:
        """States of the axes of a tensor, in the order of its codes, that what is below allows."""
        axes = self.axes(tensor)
        below = self.below(tensor)
        held = sorted({v for t in below for v in self.scopes[t]})
        found = set()
        for states in itertools.product(*(range(self.states[v]) for v in held)):
            of = dict(zip(held, states))
            if all(self.tables[t][tuple(of[v] for v in self.scopes[t])] == 0.0 for t in below):
                found.add(tuple(of[v] for v in axes))
        return found

    def axes(self, tensor: int) -> list[int]:
        start = self.nodes.start
        return self.codes.axis[start[tensor] : start[tensor + 1]].tolist()

    def code(self, tensor: int, states: tuple[int, ...]) -> int:
        first = self.nodes.start[tensor]
        return sum(int(s) << int(self.codes.shift[first + i]) for i, s in enumerate(states))


def check_rows(drawn: Drawn, found: Supports) -> None:
    for t in range(len(drawn.scopes)):
        low, high = found.leaves.start[t : t + 2]
        assert found.leaves.code[low:high].tolist() == sorted(drawn.code(t, s) for s in drawn.relation(t))
        table = drawn.tables[t].ravel()[found.leaves.place[low:high]]
        assert (table == 0.0).all() and (found.leaves.element[low:high] == found.leaves.place[low:high]).all()
    if not found.allowed[0]:
        assert any(not drawn.relation(t) for t in range(len(found.rows)))
        return
    for n, link in enumerate(found.links):
        tensor = len(drawn.scopes) + n
        assert found.rows[tensor] == len(drawn.relation(tensor))
        block = link.block.reshape(-1, BLOCK).astype(int)
        pairs = ((block[:, 1] - block[:, 0]) * (block[:, 3] - block[:, 2])).sum()
        assert len(link.to) == pairs and set(link.to.tolist()) == set(range(found.rows[tensor]))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.3, 0.6]), st.booleans())
def test_rows_are_what_is_below_allows(seed, share, sort):
    drawn = Drawn(seed, share)
    with pytest.MonkeyPatch.context() as patch:
        if sort:
            patch.setattr(supports, "LITTLE", -1)
            patch.setattr(supports, "SORTING", 0)
        found = join_rows(drawn.nodes, drawn.codes, drawn.rows)
    assert isinstance(found, Supports)
    check_rows(drawn, found)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.5]))
def test_struck_rows_are_those_that_no_allowed_configuration_has(seed, share):
    drawn = Drawn(seed, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factorgraph_ebm.compiler.row_checks.FEW", 0)
        struck = join_rows(drawn.nodes, drawn.codes, drawn.rows, drawn.checks)
    whole = join_rows(drawn.nodes, drawn.codes, drawn.rows)
    scope = range(len(drawn.states))
    allowed = [
        of for of in itertools.product(*(range(k) for k in drawn.states))
        if all(t[tuple(of[v] for v in s)] == 0.0 for s, t in zip(drawn.scopes, drawn.tables))
    ]  # fmt: skip
    assert struck.allowed[0] == whole.allowed[0] == bool(allowed)
    if not allowed:
        return
    assert (struck.rows <= whole.rows).all() and struck.pairs <= whole.pairs
    for n in range(len(struck.links)):
        tensor = len(drawn.scopes) + n
        used = {tuple(of[v] for v in drawn.axes(tensor)) for of in allowed}
        assert len(used) <= struck.rows[tensor] and len(scope) > 0
        assert struck.links[n].to.max() <= struck.rows[tensor]


def test_what_would_be_too_large_is_left():
    drawn = Drawn(3, 0.0)
    whole = join_rows(drawn.nodes, drawn.codes, drawn.rows)
    assert isinstance(whole, Supports)
    assert isinstance(join_rows(drawn.nodes, drawn.codes, drawn.rows, most_pairs=whole.pairs), Supports)
    few = join_rows(drawn.nodes, drawn.codes, drawn.rows, most_pairs=whole.pairs - 1)
    assert isinstance(few, Excess) and few.pairs > whole.pairs - 1
    assert isinstance(join_rows(drawn.nodes, drawn.codes, drawn.rows, most_bytes=whole.bytes), Supports)
    assert isinstance(join_rows(drawn.nodes, drawn.codes, drawn.rows, most_bytes=whole.bytes / 4), Excess)


def test_a_guess_is_right_where_nothing_is_forbidden():
    drawn = Drawn(5, 0.0)
    nodes, leaves = drawn.nodes, len(drawn.scopes)
    tensors = leaves + len(nodes.x)
    sizes = [
        np.array([np.log2(drawn.states[axis[a:b]]).sum() for a, b in itertools.pairwise(start)])
        for start, axis in ((nodes.start, nodes.axis), (nodes.union_start, nodes.union))
    ]
    guess = np.empty(tensors + len(nodes.x))
    guess[:leaves] = np.log2(np.diff(drawn.rows.start))
    guess_rows(nodes.x, nodes.y, leaves, nodes.start, *sizes, guess)
    found = join_rows(nodes, drawn.codes, drawn.rows)
    assert guessed_pairs(guess, tensors) == pytest.approx(found.pairs, rel=1e-9)


def test_codes_that_would_be_too_long_are_refused():
    n = BITS + 1
    leaves = Leaves(np.array([0, n]), np.arange(n), np.ones(n, np.int64))
    states, order = np.full(n, 2), np.arange(n)
    nodes = join_leaves(leaves, states, order, np.zeros(n, np.uint8))
    assert lay_codes(nodes, 1, states, order) is None
    fewer = Leaves(np.array([0, n - 1]), np.arange(n - 1), np.ones(n - 1, np.int64))
    nodes = join_leaves(fewer, states, order[:-1], np.zeros(n, np.uint8))
    codes = lay_codes(nodes, 1, states, order[:-1])
    assert codes is not None and codes.bits.tolist() == [BITS] + [0] * len(nodes.x)
