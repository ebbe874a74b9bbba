"""The residual schedule: its units know what they read and write, and those whose inputs changed most fire first."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind, passing_of

import factorgraph_ebm as fg
from factorgraph_ebm import arrays as a
from factorgraph_ebm.arrays import ALL
from factorgraph_ebm.compiler.schedules import flooding
from factorgraph_ebm.engine.residual import GROUP, HUB, LARGEST, PLACE, UP
from factorgraph_ebm.inference.firing import Firing
from factorgraph_ebm.inference.forms import Differences, Odds, Weights
from factorgraph_ebm.inference.passing import Passing

TOLERANCE = 1e-6


def loopy(rng, *, hard=False):
    y = fg.output("y", shape=(5, 5), n_states=3)
    pair = rng.normal(size=(4, 5, 3, 3)) / 2
    if hard:
        pair[rng.random(pair.shape) < 0.2] = np.inf
    triples = fg.Table([y[:, :3], y[:, 1:4], y[:, 2:]], energies=rng.normal(size=(5, 3, 3, 3, 3)) / 2)
    return fg.FactorGraph([fg.Table([y], rng.normal(size=(5, 5, 3))), fg.Table([y[1:], y[:-1]], pair), triples])


def hubs(rng, n=150):
    """A ring of pairs, each also tied to one of two variables in the middle, and triples around them."""
    y, z = fg.output("y", shape=n, n_states=2), fg.output("z", shape=2, n_states=2)
    centre = z[np.arange(n) % 2]
    return fg.FactorGraph(
        [
            fg.Table([y], rng.normal(size=(n, 2))),
            fg.Table([y, y[np.arange(1, n + 1) % n]], rng.normal(size=(n, 2, 2)) / 2),
            fg.Table([y, centre], rng.normal(size=(n, 2, 2)) / 40),
            fg.Table([y[: n - 3], y[2 : n - 1], centre[: n - 3]], rng.normal(size=(n - 3, 2, 2, 2)) / 40),
        ]
    )


def grid(rng, size=12, strength=1.0):
    y = fg.output("y", shape=(size, size), n_states=2)
    return fg.FactorGraph(
        [
            fg.Table([y], rng.normal(size=(size, size, 2))),
            fg.Table([y[1:], y[:-1]], strength * rng.normal(size=(size - 1, size, 2, 2)) / 2),
            fg.Table([y[:, 1:], y[:, :-1]], strength * rng.normal(size=(size, size - 1, 2, 2)) / 2),
        ]
    )


GRAPHS = {"loopy": loopy, "hubs": hubs, "grid": grid}


def scopes_of(compiled, units, u):
    """(factors, arity) variables of the factors of a unit."""
    b = units.block[u]
    field = compiled.run_field[compiled.run_field_start[units.run[b]] :]
    n, arity, first = field[a.RUN_SIZE], field[a.RUN_ARITY], field[a.RUN_SCOPE]
    return compiled.scope[first : first + n * arity].reshape(arity, n)[:, units.low[b] : units.high[b]].T, field[6]


def read_and_written(compiled, units, u):
    """The variables that a unit reads and writes, as lists with a variable once for each factor."""
    scopes, last = scopes_of(compiled, units, u)
    if units.sends[u] == ALL:
        return scopes.ravel().tolist(), scopes.ravel().tolist()
    ends = scopes[:, 1 - last].tolist(), scopes[:, last].tolist()
    return ends if units.sends[u] == UP else ends[::-1]


def readers_of(units, v):
    listed = units.reader[units.reader_start[v] : units.reader_start[v + 1]]
    return listed[listed >= 0].tolist()


@pytest.mark.parametrize("name", list(GRAPHS))
@pytest.mark.parametrize("most", [1, 5, 64])
def test_units_send_every_message_once_and_know_who_reads_it(name, most, rng):
    union, numbers = bind(GRAPHS[name](rng))
    compiled = union.compiled
    firing = Firing(Passing(union.layout, numbers, minimize=False), 0, 0.0, TOLERANCE, most=most)
    units = firing.units
    n = len(units.block)
    assert sorted(zip(units.run.tolist(), units.low.tolist())) == sorted(set(zip(units.run, units.low)))
    sent = [len(read_and_written(compiled, units, u)[1]) for u in range(n)]
    assert sum(sent) == firing.n_messages == len(compiled.slot_message)
    used = [tuple(set(variables) for variables in read_and_written(compiled, units, u)) for u in range(n)]
    hub_seen = False
    for u in range(n):
        scopes, last = scopes_of(compiled, units, u)
        b = units.block[u]
        sides = [set(), set()]
        for i in range(units.range_start[b], units.range_start[b + 1]):
            sides[units.range_side[i]] |= set(range(units.range_low[i], units.range_high[i]))
        assert sides[0] == set(scopes[:, last]) and sides[1] == set(np.delete(scopes, last, axis=1).ravel())
        variables = scopes.ravel().tolist()
        shares = len(set(variables)) < len(variables)
        assert units.shares[b] == shares
        found = units.neighbour[units.neighbour_start[u] : units.neighbour_start[u + 1]].tolist()
        assert len(found) == len(set(found))
        for v in units.hub[units.hub_start[u] : units.hub_start[u + 1]]:
            readers = readers_of(units, v)
            assert len(readers) == len(set(readers)) > HUB
            hub_seen = True
            found += [g for g in readers if units.block[g] != b or shares]
        expected = {g for g in range(n) if used[u][1] & used[g][0] and (units.block[g] != b or shares)}
        assert set(found) == expected
    assert hub_seen == (name == "hubs" and most < 64)


@pytest.mark.parametrize("minimize", [True, False])
@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("hard", [False, True])
def test_one_unit_after_another(minimize, damping, hard, rng):
    """What fires has more than half of the largest priority of its round; what it changes goes to those who read it."""
    union, numbers = bind(loopy(rng, hard=hard))
    compiled = union.compiled
    firing = Firing(Passing(union.layout, numbers, minimize=minimize), 0, damping, TOLERANCE, most=1)
    queue, units = firing.queue, firing.units
    n = len(units.block)
    largest = LARGEST
    for _ in range(400):
        before = queue.priority.copy()
        place = int(queue.cursor[PLACE])
        new = place == n or not (before[place:] > queue.threshold[0]).any()
        if new:
            largest = before.max()
            place = 0
        (left,) = firing.fire(1)
        queue.cursor[1] = 0  # a factor of three variables sends three messages
        assert left == queue.priority.max()
        assert ((queue.priority >= 0.0) & (queue.priority <= LARGEST)).all()
        for g, top in enumerate(queue.top):
            assert top >= queue.priority[g * GROUP : (g + 1) * GROUP].max()
        if largest <= TOLERANCE:
            assert new and left <= TOLERANCE
            break
        assert queue.threshold[0] == max(largest / 2, TOLERANCE)
        fired = place + int(np.argmax(before[place:] > queue.threshold[0]))
        assert before[fired] > largest / 2 and queue.cursor[PLACE] == fired + 1
        if damping == 0.0:
            assert queue.priority[fired] == 0.0
        written = set(read_and_written(compiled, units, fired)[1])
        for u in range(n):
            if u != fired:
                assert queue.priority[u] >= before[u]
                if not written & set(read_and_written(compiled, units, u)[0]):
                    assert queue.priority[u] == before[u]


@pytest.mark.parametrize("name", list(GRAPHS))
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_one_call_of_many_messages_is_many_calls_of_one(name, damping, rng):
    union, numbers = bind(GRAPHS[name](rng))
    ends = []
    for calls, messages, times in ((1, 300, 1), (300, 1, 1), (12, 25, 1), (1, 25, 12)):
        passing = Passing(union.layout, numbers, minimize=False)
        firing = Firing(passing, 0, damping, TOLERANCE, most=1)
        for _ in range(calls):
            firing.fire(messages, times)
        ends.append([*firing.queue, passing.to_variable, passing.to_factor])
    for other in ends[1:]:
        for x, y in zip(ends[0], other):
            np.testing.assert_array_equal(x, y)


def test_a_call_ends_where_nothing_is_left_to_send(rng):
    passing = passing_of(grid(rng), minimize=False)
    firing = Firing(passing, 0, 0.0, TOLERANCE)
    residuals = firing.fire(firing.n_messages, 1000)
    assert len(residuals) < 100
    assert residuals[-1] <= TOLERANCE < min(residuals[:-1])
    messages = passing.to_variable.copy()
    assert firing.fire(firing.n_messages, 5) == residuals[-1:]
    np.testing.assert_array_equal(passing.to_variable, messages)


@pytest.mark.parametrize(
    "form, name, damping, most",
    [(form, "grid", *rest) for form in (Passing, Weights, Odds, Differences) for rest in ((0.0, 64), (0.5, 7))]
    + [(form, "hubs", 0.0, 3) for form in (Passing, Weights)],
)
def test_what_is_at_rest_is_at_rest_for_flooding(form, name, damping, most, rng):
    """No message changes by more than the tolerance when all are sent again, in every form."""
    union, numbers = bind(GRAPHS[name](rng))
    passing = form(union.layout, numbers, minimize=form is Differences)
    firing = Firing(passing, 0, damping, 1e-9, most=most)
    for _ in range(300):
        if firing.iterate(10)[-1] <= 1e-9:
            break
    else:
        raise AssertionError("does not come to rest")
    before = passing.to_variable.copy()
    firing.settle()
    np.testing.assert_array_equal(passing.to_variable, before)
    steps = flooding(union.layout, passing.operators)
    degree = np.diff(union.compiled.variable_slot_start.astype(np.int64)).max()
    assert passing.run(steps, 0, int(steps.start[-1]), 0.0) <= 1e-9 * degree


def test_settled_variables_have_answered_everything(rng):
    passing = passing_of(grid(rng), minimize=False)
    firing = Firing(passing, 0, 0.0, TOLERANCE, most=4)
    for _ in range(5):
        firing.fire(37)
        firing.settle()
        assert not firing.queue.stale.any()
        late = passing.to_factor.copy()
        passing.send()
        np.testing.assert_allclose(passing.to_factor, late, rtol=1e-13, atol=1e-13)


def test_only_what_changed_is_sent_again(rng):
    """Far from a changed number messages stay as they are, bit for bit."""
    union, numbers = bind(grid(rng, size=30, strength=0.3))
    passing = Passing(union.layout, numbers, minimize=False)
    firing = Firing(passing, 0, 0.0, TOLERANCE, most=8)
    while firing.iterate(10)[-1] > TOLERANCE:
        pass
    before = passing.to_variable.copy()
    v = int(firing.variables[1]) // 2
    numbers.unary[int(union.compiled.variable_start[v])] += 3.0
    for u in readers_of(firing.units, v):
        firing.queue.priority[u] = firing.queue.top[u // GROUP] = 3.0
    firing.queue.stale[:] = 1
    while firing.iterate(10)[-1] > TOLERANCE:
        pass
    assert 0.3 < (passing.to_variable == before).mean() < 1.0


def test_a_graph_without_factors_over_two_variables_has_nothing_to_send():
    passing = passing_of(fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], energies=[0.0, 1.0])]), minimize=False)
    firing = Firing(passing, 0, 0.0, TOLERANCE)
    assert firing.n_messages == 0 and firing.iterate(1) == [0.0] and firing.fire(1) == [0.0]
