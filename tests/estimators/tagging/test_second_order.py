"""Second-order tags against all taggings, and the tagger that is made of them."""

import itertools
from unittest import mock

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.errors import FactorError, InfeasibleError, MethodError
from factorgraph_ebm.estimators.tagging import second_order
from factorgraph_ebm.estimators.tagging.answers import Asked
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Rules, Sequences, blocks, samples_of, singles
from factorgraph_ebm.estimators.tagging.second_order import SecondOrder
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses import as_loss

F = 3


class Drawn:
    """A tagger of order 2 with drawn weights, and drawn sequences."""

    def __init__(self, k, tokens, seed, share, boundaries=False, limited=False, as_list=False):
        rng = np.random.default_rng(seed)
        self.k = k
        rules = None
        if limited:
            start, end = np.ones(k, bool), np.ones(k, bool)
            start[-1] = k == 1
            rules = Rules(start, rng.random((k, k)) < 0.8, end)
        self.declaration = Declaration(k, F, 0, boundaries, rules, 2)
        self.learned = rng.random((k, k, k)) < share
        # A table, or the list of pairs of states that many tags have.
        with mock.patch.object(second_order, "ROW", 0 if as_list else second_order.ROW):
            self.second = SecondOrder(self.declaration, self.learned)
        self.values = {name: rng.normal(size=p.shape) for name, p in self.declaration.parameters().items()}
        self.values["second"][~self.learned] = 0.0
        self.start = np.concatenate([[0], np.cumsum(tokens)]).astype(np.int64)
        n = int(self.start[-1])
        self.x = rng.normal(size=(n, F)) * (rng.random((n, F)) < 0.7)
        self.allowed = rng.random((n, k)) < 0.8 if limited else None
        self.sequences = Sequences(self.start, scipy.sparse.csr_array(self.x), None, self.allowed)
        self.asked = Asked(self.second, self.values, self.sequences, None, self.second)

    def energy(self, tags, first):
        """Of the tags of the sequence whose first token is `first`."""
        values, rules, total = self.values, self.declaration.rules, 0.0
        for t, k in enumerate(tags):
            total += float(self.x[first + t] @ values["state"][:, k])
            total += float(values["transition"][tags[t - 1], k]) if t else 0.0
            total += float(values["second"][tags[t - 2], tags[t - 1], k]) if t > 1 else 0.0
            if self.allowed is not None and not self.allowed[first + t, k]:
                total = np.inf
            if rules is not None and (not rules.pair[tags[t - 1], k] if t else not rules.start[k]):
                total = np.inf
        if self.declaration.boundaries and len(tags):
            total += float(values["start"][tags[0]] + values["end"][tags[-1]])
        return total

    def each(self):
        for i, (low, high) in enumerate(zip(self.start[:-1].tolist(), self.start[1:].tolist())):
            listed = np.array(list(itertools.product(range(self.k), repeat=high - low)), np.int64)
            yield i, low, high, listed, np.array([self.energy(tags, low) for tags in listed.tolist()])


def drawn(limited):
    """Up to three tags, up to two sequences of up to five tokens; from no triple to all triples with weights."""
    return st.builds(
        Drawn, st.integers(1, 3), st.lists(st.integers(0, 5), min_size=1, max_size=2).filter(any),
        st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 1.0]), st.booleans(), limited, st.booleans(),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(drawn(st.booleans()))
def test_answers_are_those_of_all_taggings(case):
    free = case.asked.free_energies()
    for i, _, _, _, energy in case.each():
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(free[i], -np.log(np.sum(np.exp(-energy))), rtol=1e-12, atol=1e-12)
    if np.isinf(free).any():
        with pytest.raises(InfeasibleError):
            case.asked.best()
        return
    best, marginals, several = case.asked.best(), case.asked.marginals(), case.asked.k_best(3)
    entropy = case.asked.entropies()
    for i, low, high, listed, energy in case.each():
        p = np.exp(free[i] - energy)
        right = np.array([[p[listed[:, t] == k].sum() for k in range(case.k)] for t in range(high - low)])
        np.testing.assert_allclose(marginals[low:high], right.reshape(-1, case.k), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(entropy[i], -np.sum(p[p > 0] * np.log(p[p > 0])), rtol=1e-9, atol=1e-11)
        least = np.sort(energy[np.isfinite(energy)])[:3]
        np.testing.assert_allclose(case.energy(best[low:high].tolist(), low), least[0], atol=1e-12)
        np.testing.assert_allclose([each for _, each in several[i]], least, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose([case.energy(tags.tolist(), low) for tags, _ in several[i]], least, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(drawn(st.just(False)), st.booleans(), st.integers(0, 1000))
def test_the_likelihood_and_its_gradient_are_those_of_all_taggings(case, whole, seed):
    tags = np.random.default_rng(seed).integers(0, case.k, int(case.start[-1]))
    ranges = blocks(case.sequences) if whole else singles(case.sequences)
    data = samples_of(case.second, case.sequences, case.second.encode(tags, case.start), ranges)
    layout = layout_of(data.graphs)
    problem = make_problem(data, layout, as_loss("likelihood"), Inference(), np.ones(len(data.graphs)))
    found = evaluate(problem, layout.vector(case.values))
    loss, gradient = 0.0, {name: np.zeros(value.shape) for name, value in case.values.items()}

    def count(of, first, share):
        for t, k in enumerate(of):
            gradient["state"][:, k] += share * case.x[first + t]
            if t:
                gradient["transition"][of[t - 1], k] += share
            if t > 1 and case.learned[of[t - 2], of[t - 1]].any():
                gradient["second"][of[t - 2], of[t - 1], k] += share
        if case.declaration.boundaries and of:
            gradient["start"][of[0]] += share
            gradient["end"][of[-1]] += share

    for _, low, high, listed, energy in case.each():
        total = -np.log(np.sum(np.exp(-energy)))
        loss += case.energy(tags[low:high].tolist(), low) - total
        count(tags[low:high].tolist(), low, 1.0)
        for other, p in zip(listed.tolist(), np.exp(total - energy)):
            count(other, low, -p)
    np.testing.assert_allclose(found.losses.sum(), loss, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.gradient, layout.vector(gradient), rtol=1e-8, atol=1e-10)


def test_it_equals_triples_answered_by_a_junction_tree():
    case = Drawn(4, [7, 3, 1, 2], 5, 1.0)
    free, marginals = case.asked.free_energies(), case.asked.marginals()
    for i, (low, high) in enumerate(zip(case.start[:-1].tolist(), case.start[1:].tolist())):
        y = fg.output("y", shape=high - low, n_states=case.k)
        graph = fg.FactorGraph([
            fg.Table([y], energies=case.x[low:high] @ case.values["state"]),
            fg.Table([y[:-1], y[1:]], energies=case.values["transition"]),
            fg.Table([y[:-2], y[1:-1], y[2:]], energies=case.values["second"]),
        ])  # fmt: skip
        belief = fg.marginals(graph, method="junction_tree")
        np.testing.assert_allclose(-belief.log_partition, free[i], rtol=1e-12)
        np.testing.assert_allclose(belief["y"], marginals[low:high], rtol=1e-9, atol=1e-12)


def test_states_are_as_many_as_the_weights_tell_apart():
    assert SecondOrder(Declaration(5, F, order=2), np.zeros((5, 5, 5), bool)).n_tags == 5
    assert SecondOrder(Declaration(5, F, order=2), np.ones((5, 5, 5), bool)).n_tags == 5 + 25


def alternating(n, seed):
    """The third of three tokens in a row has the tag of the first, whatever the second has; words tell little."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for length in rng.integers(1, 40, n):
        tags = rng.choice(["a", "b"], 2).tolist()
        while len(tags) < length:
            tags.append(tags[-2] if rng.random() < 0.95 else "ab"["ba".index(tags[-2])])
        y.append(tags[:length])
        X.append([{"word": tag if rng.random() < 0.7 else "ab"["ba".index(tag)]} for tag in y[-1]])
    return X, y


def test_the_second_order_tells_more_than_the_first():
    X, y = alternating(100, 0)
    other = alternating(100, 1)
    one, two = (fg.SequenceTagger(order=order, c2=0.1).fit(X, y) for order in (1, 2))
    assert two.score(*other) > one.score(*other) + 0.1
    weight = two.second_features_
    assert weight["a", "b", "a"] > weight["a", "b", "b"] and weight["b", "a", "b"] > weight["b", "a", "a"]
    assert one.second_features_ == {}


def test_a_tagger_of_order_two_keeps_its_promises(tmp_path):
    X, y = alternating(40, 0)
    tagger = fg.SequenceTagger(order=2, c2=0.1, boundaries=True).fit(X, y, validation=alternating(10, 2))
    tagger.save(tmp_path / "tagger.npz")
    again = fg.SequenceTagger.load(tmp_path / "tagger.npz")
    assert again.predict(X) == tagger.predict(X) and again.second_features_ == tagger.second_features_
    shown = tagger.explain(X[0])
    (best, p), *_ = tagger.predict_n_best(X[:1], 2)[0]
    assert shown.tags == best
    np.testing.assert_allclose(np.exp(tagger._ask(X[:1], None, None).free_energies()[0] - shown.energy), p, rtol=1e-9)
    assert sum(term.kind == "second" for _, terms in shown for term in terms) == max(0, len(best) - 2)
    forced = tagger.predict(X[:1], forced=[["b"] * len(X[0])])
    assert forced == [["b"] * len(X[0])]
    for t in range(len(X[1])):
        np.testing.assert_allclose(
            tagger.span_probability(X[1], t, t + 1, "a"), tagger.predict_marginals(X[1:2])[0][t]["a"], rtol=1e-9
        )
    assert tagger.predict([[]]) == [[]]


def test_rules_of_a_scheme_hold():
    X = [[["in"], ["New"], ["York"], ["City"]], [["Rome"]]]
    y = [["O", "B-L", "I-L", "I-L"], ["B-L"]]
    tagger = fg.SequenceTagger(order=2, scheme="BIO", c2=0.1).fit(X, y)
    assert tagger.predict(X) == y
    best = [tags for tags, _ in tagger.predict_n_best([[["York"], ["City"]]], 10)[0]]
    assert sorted(best) == [["B-L", "B-L"], ["B-L", "I-L"], ["B-L", "O"], ["O", "B-L"], ["O", "O"]]
    with pytest.raises(FactorError, match="forbidden"):
        fg.SequenceTagger(order=2, scheme="BIO").fit(X, [["O", "I-L", "I-L", "I-L"], ["B-L"]])


def test_short_sequences_have_no_weights_of_three_tags():
    tagger = fg.SequenceTagger(order=2, c2=0.1).fit([[["a"], ["b"]], [["b"]]], [["A", "B"], ["B"]])
    assert tagger.predict([[["a"], ["b"], ["a"]]]) == [["A", "B", "A"]]
    assert tagger.second_features_ == {}
    alone = fg.SequenceTagger(order=1, c2=0.1).fit([[["a"]], [["b"]]], [["A"], ["B"]])
    assert alone.predict([[["a"], ["b"]]]) == [["A", "B"]]


def test_partial_fit_goes_on():
    X, y = alternating(60, 0)
    tagger = fg.SequenceTagger(order=2, loss="perceptron")
    for _ in range(5):
        tagger.partial_fit(X, y, classes=["a", "b"])
    assert tagger.score(X, y) > 0.7


def test_what_cannot_be_is_refused():
    X, y = [[["a"], ["b"]]], [["A", "B"]]
    with pytest.raises(MethodError, match="order= is 1 or 2"):
        fg.SequenceTagger(order=3).fit(X, y)
    with pytest.raises(MethodError, match="every tag is known"):
        fg.SequenceTagger(order=2).fit(X, [["A", None]])
    with pytest.raises(MethodError, match="pair_features= goes with order=1"):
        fg.SequenceTagger(order=2, pair_features="a").fit(X, y)
