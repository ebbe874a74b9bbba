"""The residual schedule: its queue stays whole, and it fires what has changed most."""

from __future__ import annotations

import numpy as np
import pytest
from bound import bind

import factorgraph_ebm as fg
from factorgraph_ebm import arrays as a
from factorgraph_ebm.engine.residual import BUCKETS, LARGEST, make_queue
from factorgraph_ebm.inference.passing import Passing

TOLERANCE = 1e-6


def bucket_of(priority):
    """Bucket b holds [LARGEST / 2^(b+1), LARGEST / 2^b); the first also LARGEST, the last all that is smaller."""
    return int(np.clip(np.floor(np.log2(LARGEST / priority)), 0, BUCKETS - 1)) if priority < LARGEST else 0


def lists_of(queue):
    """The factors of each bucket, first to last, read forwards and checked against reading backwards."""
    found = []
    for b in range(BUCKETS):
        forward, backward = [], []
        f = queue.ends[2 * b]
        while f >= 0:
            assert len(forward) <= len(queue.bucket), "a loop of links"
            forward.append(int(f))
            f = queue.following[f]
        f = queue.ends[2 * b + 1]
        while f >= 0:
            assert len(backward) <= len(queue.bucket), "a loop of links"
            backward.append(int(f))
            f = queue.preceding[f]
        assert forward == backward[::-1]
        found.append(forward)
    return found


def check(queue, tolerance=TOLERANCE):
    lists = lists_of(queue)
    queued = [f for listed in lists for f in listed]
    assert len(queued) == len(set(queued))
    for f, (priority, bucket) in enumerate(zip(queue.priority, queue.bucket)):
        assert (f in queued) == (bucket >= 0) == (priority > tolerance)
        assert 0.0 <= priority <= LARGEST
        if bucket >= 0:
            assert f in lists[bucket]
            # On an edge between buckets the logarithm may round either way.
            assert bucket in (bucket_of(priority * (1 - 1e-12)), bucket_of(min(LARGEST, priority * (1 + 1e-12))))
    return lists


def loopy(rng, *, hard=False):
    y = fg.output("y", shape=(5, 5), n_states=3)
    pair = rng.normal(size=(4, 5, 3, 3)) / 2
    if hard:
        pair[rng.random(pair.shape) < 0.2] = np.inf
    triples = fg.Table([y[:, :3], y[:, 1:4], y[:, 2:]], energies=rng.normal(size=(5, 3, 3, 3, 3)) / 2)
    return fg.FactorGraph([fg.Table([y], rng.normal(size=(5, 5, 3))), fg.Table([y[1:], y[:-1]], pair), triples])


def test_a_fresh_queue_holds_its_factors_in_order():
    lists = check(make_queue(9, np.array([4, 0, 7])))
    assert lists[0] == [4, 0, 7] and not any(lists[1:])
    assert not any(check(make_queue(3, np.zeros(0, np.int64))))
    assert not any(check(make_queue(0, np.zeros(0, np.int64))))


@pytest.mark.parametrize("minimize", [True, False])
@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("hard", [False, True])
def test_one_firing_after_another(minimize, damping, hard, rng):
    """The first of the highest bucket fires; others change by what they were sent and by nothing else."""
    union, numbers = bind(loopy(rng, hard=hard))
    compiled = union.compiled
    passing = Passing(union.layout, numbers, minimize=minimize)
    n = int(compiled.run_field[compiled.run_field_start[:-1] + a.RUN_SIZE].sum())
    queue = make_queue(n, np.arange(n))
    scopes = factor_scopes(compiled)
    for _ in range(300):
        lists = check(queue)
        first = next((listed[0] for listed in lists if listed), None)
        before = queue.priority.copy()
        left = passing.fire(queue, 1, TOLERANCE, damping)
        assert left == queue.priority.max()
        if first is None:
            assert left <= TOLERANCE
            break
        if damping == 0.0:
            assert queue.priority[first] == 0.0
        for f in range(n):
            if f != first:
                assert queue.priority[f] >= before[f]
                if not scopes[f] & scopes[first]:
                    assert queue.priority[f] == before[f]


def factor_scopes(compiled):
    """The variables of each factor, as sets."""
    found = []
    for first in compiled.run_field_start[:-1]:
        size, arity, scope = (int(compiled.run_field[first + i]) for i in (a.RUN_SIZE, a.RUN_ARITY, a.RUN_SCOPE))
        found += [set(c) for c in compiled.scope[scope : scope + size * arity].reshape(arity, size).T.tolist()]
    return found


def test_one_call_of_many_firings_is_many_calls_of_one(rng):
    union, numbers = bind(loopy(rng))
    ends = []
    for calls, firings in ((1, 200), (200, 1), (8, 25)):
        passing = Passing(union.layout, numbers, minimize=False)
        n = 20 + 15
        queue = make_queue(n, np.arange(n))
        for _ in range(calls):
            passing.fire(queue, firings, TOLERANCE, 0.0)
        ends.append([*queue, passing.to_variable, passing.to_factor])
    for other in ends[1:]:
        for x, y in zip(ends[0], other):
            np.testing.assert_array_equal(x, y)


def test_what_is_at_rest_is_not_fired(rng):
    """After rest in one half of the graph, only the other half is worked on."""
    union, numbers = bind(loopy(rng), loopy(rng))
    passing = Passing(union.layout, numbers, minimize=False)
    scopes = factor_scopes(union.compiled)
    first = [f for f, scope in enumerate(scopes) if union.compiled.variable_sample[list(scope)[0]] == 0]
    queue = make_queue(len(scopes), np.array(first))
    for _ in range(100):
        if passing.fire(queue, len(first), 1e-12, 0.0) <= 1e-12:
            break
    other = np.setdiff1d(np.arange(len(scopes)), first)
    assert (queue.priority[other] == 0.0).all()
    messages = passing.to_variable.copy()
    passing.fire(queue, 1000, 1e-12, 0.0)
    np.testing.assert_array_equal(passing.to_variable, messages)
