"""Levels and schedules: every message once, and on forests none before what it depends on."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm import arrays as a
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.schedules import Operators, flooding, sequential
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.inference.tables import run_of, scope_of


class Traffic:
    """What the steps of a schedule send, in order. A message is named by the element where its row begins."""

    def __init__(self, union, *, minimize=True):
        self.layout, self.compiled = union.layout, union.compiled
        self.operators = Operators(union.layout, minimize=minimize)
        compiled = union.compiled
        self.runs = [run_of(compiled, r) for r in range(len(union.layout.kinds))]
        self.factors = []  # of each run, of each factor: its messages, slot by slot
        self.receiver = {}
        for run in self.runs:
            starts = [m + k * np.arange(run.size) for m, k in zip(run.messages, run.states)]
            self.factors.append(np.array(starts).T.tolist())
            self.receiver.update(zip(np.ravel(starts).tolist(), scope_of(compiled, run).ravel().tolist()))
        start = compiled.variable_slot_start.astype(int)
        self.slots = [compiled.slot_message[i:j].tolist() for i, j in zip(start[:-1], start[1:])]
        self.split = (compiled.variable_slot_split - compiled.variable_slot_start[:-1]).tolist()

    def of(self, schedule):
        """[(chunk, "variable" or "factor" that sends, messages)], step by step."""
        steps = schedule(self.layout, self.operators)
        found = []
        for chunk, (first, stop) in enumerate(zip(steps.start[:-1], steps.start[1:])):
            for p in range(first, stop):
                sender = "variable" if steps.kernel[p] < 0 else "factor"
                sent = []
                for i in range(steps.low[p], steps.high[p]):
                    if sender == "factor":
                        target = steps.target[p]
                        messages = self.factors[steps.run[p]][i]
                        for s, m in enumerate(messages):
                            if target == a.ALL or target == s or (target < a.ALL and target != a.all_but(s)):
                                sent.append(m)
                    else:
                        below, above = self.slots[i][: self.split[i]], self.slots[i][self.split[i] :]
                        sent += {a.ALL: below + above, 0: below, 1: above}[int(steps.target[p])]
                found.append((chunk, sender, sent))
        return found

    def partners(self):
        """For each message, the others of its factor and the others of its variable."""
        of_factor = {m: [o for o in row if o != m] for rows in self.factors for row in rows for m in row}
        of_variable = {m: [o for o in row if o != m] for row in self.slots for m in row}
        return of_factor, of_variable


def drawn_unions(forest):
    """Random graphs with random cells given, alone and several at once, a third of them with soft variables."""
    for seed in range(80_000, 80_040):
        rng = np.random.default_rng(seed)
        samples = []
        for i in range(1 + 3 * (seed % 2)):
            graph = case_of(4 * seed + i, forest=forest).graph
            known = rng.random(graph.n_cells) < 0.2
            soft = (rng.random(graph.n_cells) < 0.5) & ~known if seed % 3 == 0 else None
            samples.append(Sample(graph, known, soft))
        yield compile_union(samples)


@pytest.mark.parametrize("forest", [True, False])
def test_the_slots_of_variables_are_the_slots_of_factors(forest):
    for union in drawn_unions(forest):
        traffic = Traffic(union)
        owner = {m: v for v, row in enumerate(traffic.slots) for m in row}
        assert owner == traffic.receiver
        assert sum(len(row) for row in traffic.slots) == len(owner) == len(union.compiled.scope)


@pytest.mark.parametrize("forest", [True, False])
def test_the_last_variable_of_a_factor_has_the_highest_level(forest):
    for union in drawn_unions(forest):
        compiled = union.compiled
        level = compiled.variable_level.astype(int)
        highest = np.zeros(len(level), int)
        for first, run in zip(compiled.run_field_start, Traffic(union).runs):
            last = int(compiled.run_field[first + a.RUN_LAST])
            scope = scope_of(compiled, run)
            others = np.delete(scope, last, axis=0)
            assert (level[scope[last]] > level[others].max(axis=0)).all()
            np.maximum.at(highest, scope[last], level[others].max(axis=0) + 1)
        np.testing.assert_array_equal(level, highest)  # and no higher than that


@pytest.mark.parametrize("forest", [True, False])
@pytest.mark.parametrize("schedule", [sequential, flooding])
def test_every_message_is_sent_once_in_an_iteration(schedule, forest):
    for union in drawn_unions(forest):
        for minimize in (True, False):
            traffic = Traffic(union, minimize=minimize)
            steps = traffic.of(schedule)
            for sender in ("variable", "factor"):
                sent = collections.Counter(m for _, who, messages in steps if who == sender for m in messages)
                assert sent == dict.fromkeys(traffic.receiver, 1)


@pytest.mark.parametrize("schedule", [sequential, flooding])
def test_a_chunk_sends_within_its_samples(schedule):
    for union in drawn_unions(False):
        compiled, traffic = union.compiled, Traffic(union)
        for chunk, _, messages in traffic.of(schedule):
            for m in messages:
                assert compiled.sample_chunk[compiled.variable_sample[traffic.receiver[m]]] == chunk
        for chunk in np.unique(compiled.sample_chunk):
            inside = compiled.sample_chunk == chunk
            assert compiled.sample_forest[inside].all() or inside.sum() == 1


def test_on_a_forest_nothing_is_sent_before_what_it_depends_on():
    """By induction, each message is final when it is sent: one iteration is exact."""
    for union in drawn_unions(True):
        assert union.compiled.sample_forest.all()
        traffic = Traffic(union)
        of_factor, of_variable = traffic.partners()
        to_variable, to_factor = set(), set()
        for _, sender, messages in traffic.of(sequential):
            for m in messages:
                if sender == "factor":
                    assert all(other in to_factor for other in of_factor[m])
                else:
                    assert all(other in to_variable for other in of_variable[m])
            (to_variable if sender == "factor" else to_factor).update(messages)


def test_levels_of_a_grid_are_its_diagonals():
    """Raster order: sequential passing on a grid is that of the literature."""
    y = fg.output("y", shape=(7, 5), n_states=2)
    graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0), fg.Potts([y[:, 1:], y[:, :-1]], 1.0)])
    compiled = compile_union([Sample(graph)]).compiled
    level = compiled.variable_level[compiled.cell_variable].reshape(7, 5)
    np.testing.assert_array_equal(level, np.add.outer(np.arange(7), np.arange(5)))


def test_levels_of_a_chain_meet_in_the_middle():
    y = fg.output("y", shape=101, n_states=2)
    compiled = compile_union([Sample(fg.FactorGraph([fg.Potts([y[1:], y[:-1]], 1.0)]))]).compiled
    level = compiled.variable_level[compiled.cell_variable]
    np.testing.assert_array_equal(level, np.minimum(np.arange(101), np.arange(101)[::-1]))
