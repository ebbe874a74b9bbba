"""Sums of sorted lists against all sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from factorgraph_ebm.inference.ranking import Listed, first_of, rank_samples


def listed(rng, variables, m):
    """m assignments of some variables in order, with many ties."""
    states = np.array(list(itertools.product(range(2), repeat=len(variables))))
    states = states[rng.permutation(len(states))[:m]]
    energies = rng.integers(0, 3, len(states)).astype(float)
    order = np.lexsort((*states.T[::-1], energies))
    return Listed(energies[order], np.array(variables, np.int64), states[order])


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20, 1000])
def test_the_least_sums(k):
    rng = np.random.default_rng(k)
    for _ in range(30):
        place = rng.permutation(7)
        groups = np.split(np.arange(7)[rng.permutation(7)], np.sort(rng.integers(1, 7, 3)))
        parts = [listed(rng, sorted(group.tolist()), int(rng.integers(1, 9))) for group in groups if len(group)]
        whole = []
        for rows in itertools.product(*(range(len(p.energies)) for p in parts)):
            states = np.zeros(7, int)
            for part, row in zip(parts, rows):
                states[part.variables] = part.states[row]
            whole.append((sum(p.energies[r] for p, r in zip(parts, rows)), states.tolist()))
        whole = sorted(whole)[:k]
        short = [p._replace(energies=p.energies[:k], states=p.states[:k]) for p in parts]
        found = rank_samples("any", [short], place, k)
        assert found.energies.tolist() == [[e for e, _ in whole]]
        # Column `place` of the sorted states is the variable that has this place.
        assert found.states.tolist() == [[states[p] for p in place] for _, states in whole]
        assert found.lengths.tolist() == [len(whole)]


def test_the_first_of_equal_ones():
    values = np.array([2.0, 1.0, np.inf, 1.0, 0.0, 2.0, 1.0])
    assert [first_of(values, k).tolist() for k in (1, 2, 3)] == [[4], [4, 1], [4, 1, 3]]
    assert first_of(values, 5).tolist() == [4, 1, 3, 6, 0]
    assert first_of(values, 50).tolist() == [4, 1, 3, 6, 0, 5]
    assert first_of(np.full(3, np.inf), 2).tolist() == []


def test_samples_of_different_lengths():
    none, one = np.zeros(0, np.int64), np.zeros((1, 1), np.int64)
    parts = [[Listed(np.array([1.0]), np.array([1]), one)], [Listed(np.zeros(0), np.array([0]), one[:0])], []]
    found = rank_samples("any", parts, np.array([1, 0]), 3)
    assert found.energies.tolist() == [[1.0], [np.inf], [0.0]] and found.lengths.tolist() == [1, 0, 1]
    assert found.states.tolist() == [[0, -1]] and rank_samples("any", [], none, 3).states.shape == (0, 0)
