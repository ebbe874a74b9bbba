"""The graph of segments against all segmentations: log Z, probabilities, the best ones, losses and their gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segmentations import Drawn, all_segmentations, drawn

from factorgraph_ebm.estimators.segments.energies import SegmentEnergies, SegmentTransitions
from factorgraph_ebm.estimators.tagging.answers import Asked
from factorgraph_ebm.estimators.tagging.declaration import blocks, samples_of, singles
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses import as_loss, hinge


@settings(max_examples=20, deadline=None)
@given(drawn())
def test_log_z_and_probabilities_are_those_of_all_segmentations(case):
    asked = Asked(case.declaration, case.values, case.sequences)
    free, marginals, states = asked.free_energies(), asked.marginals(), case.states
    for i, low, high, listed, energy in case.each():
        total = -np.log(np.sum(np.exp(-energy)))
        np.testing.assert_allclose(free[i], total, rtol=1e-12, atol=1e-12)
        right = np.zeros((high - low, states.n_states))
        for segments, each in zip(listed, energy):
            for start, stop, label in segments:
                share = np.exp(total - each)
                right[start, states.begin(label, stop - start)] += share
                for t in range(start + 1, stop):
                    right[t, states.inside_at[label] + stop - t - 1] += share
        np.testing.assert_allclose(marginals[low:high], right, rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(drawn(), st.integers(1, 5))
def test_the_best_segmentations_are_the_best_of_all(case, n):
    asked = Asked(case.declaration, case.values, case.sequences)
    best, several = asked.best(), asked.k_best(n)
    for i, low, high, listed, energy in case.each():
        least = np.sort(energy)[:n]
        # Segmentations may cost the same, so energies are compared.
        np.testing.assert_allclose(case.energy(_segments(case, best[low:high]), low), least[0], atol=1e-12)
        said = [_segments(case, states) for states, _ in several[i]]
        assert len({tuple(each) for each in said}) == len(least)
        assert all(each in listed for each in said)
        np.testing.assert_allclose([each for _, each in several[i]], least, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose([case.energy(each, low) for each in said], least, rtol=1e-12, atol=1e-12)


def _segments(case, states):
    return list(zip(*(column.tolist() for column in case.states.decode(states))))


@settings(max_examples=15, deadline=None)
@given(drawn(), st.booleans(), st.integers(0, 1000))
def test_the_likelihood_and_its_gradient_are_those_of_all_segmentations(case, whole, seed):
    problem, rights = _problem(case, as_loss("likelihood"), whole, seed)
    w = problem.layout.vector(case.values)
    found = evaluate(problem, w)
    loss, gradient = 0.0, {name: np.zeros(value.shape) for name, value in case.values.items()}
    for i, low, _high, listed, energy in case.each():
        total = -np.log(np.sum(np.exp(-energy)))
        loss += case.energy(rights[i], low) - total
        _count(case, gradient, rights[i], low, 1.0)
        for segments, each in zip(listed, energy):
            _count(case, gradient, segments, low, -np.exp(total - each))
    np.testing.assert_allclose(found.losses.sum(), loss, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.gradient, problem.layout.vector(gradient), rtol=1e-8, atol=1e-10)


def _problem(case, loss, whole, seed):
    rng = np.random.default_rng(seed)
    rights, states = [], []
    for _, low, high, listed, _ in case.each():
        rights.append(listed[rng.integers(len(listed))])
        table = np.array(rights[-1], np.int64).reshape(-1, 3)
        states.append(case.states.encode(*table.T) if high > low else np.zeros(0, np.int64))
    ranges = blocks(case.sequences) if whole else singles(case.sequences)
    data = samples_of(case.declaration, case.sequences, np.concatenate(states), ranges)
    layout = layout_of(data.graphs)
    # A parameter that no graph has (no sequence of two tokens) has no place in the vector.
    case.values = {name: value for name, value in case.values.items() if name in layout.offset}
    case.values.setdefault("transition", np.zeros((len(case.lengths),) * 2))
    return make_problem(data, layout, loss, Inference(), np.ones(len(data.graphs))), rights


def _count(case, gradient, segments, first, share):
    """Add share * the slopes of the energy of some segments."""
    for i, (start, stop, label) in enumerate(segments):
        s, t = first + start, first + stop
        gradient["token"][:, 0, label] += share * case.x[s:t].sum(axis=0)
        gradient["length"][case.states.begin(label, stop - start)] += share
        if case.boundaries:
            gradient["token"][:, 1, label] += share * case.x[s]
            gradient["token"][:, 2, label] += share * case.x[t - 1]
        if case.segment:
            gradient["segment"][:, label] += share * case.z[s, stop - start - 1]
        if i:
            gradient["transition"][segments[i - 1][2], label] += share


@pytest.mark.parametrize("loss", ["perceptron", hinge(margin="hamming"), "softmax_margin"])
def test_other_losses_of_blocks_are_the_sums_of_those_of_sequences(loss):
    case = Drawn([1, 3], [4, 1, 0, 5], 3)
    together, _ = _problem(case, as_loss(loss), True, 0)
    apart, _ = _problem(case, as_loss(loss), False, 0)
    w = together.layout.vector(case.values)
    one, two = evaluate(together, w), evaluate(apart, w)
    np.testing.assert_allclose(one.losses.sum(), two.losses.sum(), rtol=1e-12)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-9, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(drawn(), st.integers(0, 1000))
def test_segmentations_with_energies_of_infinity_are_left_out(case, seed):
    """Forbidden labels side by side, and forbidden lengths, have probability 0 exactly."""
    rng = np.random.default_rng(seed)
    case.values["transition"] = np.where(rng.random((len(case.lengths),) * 2) < 0.3, np.inf, 0.5)
    length = rng.normal(size=case.states.n_begins)
    length[rng.random(len(length)) < 0.3] = np.inf
    case.values["length"] = length
    asked = Asked(case.declaration, case.values, case.sequences)
    free = asked.free_energies()
    for i, _, _, _, energy in case.each():
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(free[i], -np.log(np.sum(np.exp(-energy))), rtol=1e-12, atol=1e-12)
    if (free < np.inf).all():
        begins = asked.marginals()[:, : case.states.n_begins]
        assert (begins[:, np.isinf(length)] == 0.0).all()
        for _, low, high, _, energy in case.each():
            best = case.energy(_segments(case, asked.best()[low:high]), low)
            np.testing.assert_allclose(best, energy.min(), rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5))
def test_states_and_segmentations_correspond_one_to_one(lengths, n):
    case = Drawn(lengths, [n], 0)
    graph = case.declaration.graph(case.sequences)
    energies = graph.factor("segment").slots[0].source.evaluate(case.values)
    seen = set()
    for segments in all_segmentations(n, lengths):
        states = case.states.encode(*np.array(segments, np.int64).T)
        assert _segments(case, states) == segments
        assert np.isfinite(energies[np.arange(n), states]).all()
        assert (case.states.cell[states[:-1], states[1:]] != case.states.FORBIDDEN).all()
        seen.add(tuple(states.tolist()))
    assert len(seen) == len(all_segmentations(n, lengths))


def test_numbers_and_pullbacks_agree_in_parts_and_as_a_whole():
    case = Drawn([2, 3], [4, 2], 1)
    parameters = case.declaration.parameters()
    of_segments = {name: p for name, p in parameters.items() if name != "transition"}
    transitions = SegmentTransitions(case.states, parameters["transition"])
    energies = SegmentEnergies(case.states, of_segments, case.start, case.sequences.x, case.sequences.pair_x)
    rng = np.random.default_rng(0)
    for source in (energies, transitions):
        rows, width = source.shape
        whole = source.evaluate(case.values)
        for part in (slice(0, 2), slice(2, rows)):
            out = np.empty((part.stop - part.start, width))
            source.numbers(case.values, part, out)
            np.testing.assert_array_equal(out, whole[part])
        slopes = np.where(np.isfinite(whole), rng.normal(size=whole.shape), 0.0)
        one, two = ({name: np.zeros(p.shape) for name, p in parameters.items()} for _ in range(2))
        source.pullback(case.values, slice(0, rows), slopes, one)
        for part in (slice(0, 2), slice(2, rows)):
            source.pullback(case.values, part, slopes[part], two)
        direction = {name: rng.normal(size=p.shape) for name, p in parameters.items()}
        moved = source.evaluate({name: case.values[name] + direction[name] for name in parameters})
        allowed = np.isfinite(whole)
        along = np.sum(slopes[allowed] * (moved[allowed] - whole[allowed]))
        for found in (one, two):
            np.testing.assert_allclose(sum(np.sum(found[name] * direction[name]) for name in found), along, rtol=1e-12)
