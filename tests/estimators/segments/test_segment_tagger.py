"""SegmentTagger: what it learns and tells, and the conventions of scikit-learn."""

import numpy as np
import pytest
import scipy.sparse
from segmentations import all_segmentations

import factorgraph_ebm as fg
from factorgraph_ebm.errors import EvidenceError, FormatError, MethodError
from factorgraph_ebm.estimators.segments.targets import tags_of_segments
from factorgraph_ebm.estimators.tagging.spans import spans


def draw(sequences, seed, noise=0.6):
    """Segments A of exactly three tokens and B of exactly two, and noisy words about the label of each token.

    Where one segment of a label ends and the next begins is told by lengths alone.
    """
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(sequences):
        segments, of_token = [], []
        for label in rng.choice(["A", "B", "O"], rng.integers(3, 8)).tolist():
            length = {"A": 3, "B": 2, "O": 1}[label]
            if label != "O":
                segments.append((len(of_token), len(of_token) + length, label))
            of_token += [label] * length
        numbers = np.array([(label == "A", label == "B", label == "O") for label in of_token], float)
        X.append(numbers + noise * rng.normal(size=numbers.shape))
        y.append(segments)
    return X, y


@pytest.fixture(scope="module")
def fitted():
    X, y = draw(150, 0)
    return fg.SegmentTagger(c2=0.1).fit(X, y)


def test_it_sees_what_a_tagger_of_tokens_does_not(fitted):
    """First-order tags cannot count to three: lengths are what tells segments side by side apart."""
    X, y = draw(150, 0)
    other, right = draw(150, 1)
    tags = [tags_of_segments(each, len(x), "O", "BIO") for x, each in zip(X, y)]
    said = fg.SequenceTagger(c2=0.1, boundaries=True).fit(X, tags).predict(other)
    first_order = span_f1(right, [spans(each) for each in said])
    assert fitted.score(other, right) == span_f1(right, fitted.predict(other))
    assert fitted.score(other, right) > first_order + 0.15
    assert fitted.score(other, right) > 0.85


def span_f1(right, said):
    true, found = ({(i, *each) for i, listed in enumerate(all_of) for each in listed} for all_of in (right, said))
    return 2 * len(true & found) / (len(true) + len(found))


def test_it_recovers_what_it_is_shown():
    X, y = draw(60, 3, noise=0.05)
    tagger = fg.SegmentTagger(c2=0.01).fit(X, y)
    assert tagger.predict(X) == y
    assert tagger.score(X, y) == 1.0
    assert tagger.lengths_ == {"A": 3, "B": 2, "O": 1}
    weight = tagger.length_features_
    assert weight["A", 3] > weight["A", 2] and weight["B", 2] > weight["B", 1]


def test_training_ends_at_the_optimum_of_the_regularised_likelihood():
    """The objective and its optimum by the definition: sums over all segmentations, differences for slopes."""
    X = [np.array([[1.0, 0.5], [0.0, 1.0], [1.0, 1.0]]), np.array([[0.5, -1.0], [1.0, 0.0]])]
    y = [[(0, 2, "A")], [(1, 2, "A")]]
    tagger = fg.SegmentTagger(c2=0.5, all_possible_states=True, all_possible_transitions=True, boundaries=False)
    tagger.fit(X, y)
    lengths = [2, 1]
    begin = {("A", 1): 0, ("A", 2): 1, ("O", 1): 2}
    values = {name: value.copy() for name, value in tagger._fitted.values.items()}

    def energy(x, segments):
        found = sum(x[s:t].sum(axis=0) @ values["token"][:, 0, k] for s, t, k in segments)
        found += sum(values["length"][begin["AO"[k], t - s]] for s, t, k in segments)
        return found + sum(values["transition"][a[2], b[2]] for a, b in zip(segments, segments[1:]))

    def objective():
        total = 0.5 * sum(np.sum(value**2) for value in values.values())
        for x, right in zip(X, [[(0, 2, 0), (2, 3, 1)], [(0, 1, 1), (1, 2, 0)]]):
            every = np.array([energy(x, segments) for segments in all_segmentations(len(x), lengths)])
            total += energy(x, right) + np.log(np.sum(np.exp(-every)))
        return total

    np.testing.assert_allclose(tagger.objective_, objective(), rtol=1e-9)
    for value in values.values():
        for i in np.ndindex(value.shape):
            kept = value[i]
            value[i] = kept + 1e-4
            above = objective()
            value[i] = kept - 1e-4
            below = objective()
            value[i] = kept
            assert abs(above - below) / 2e-4 < 1e-3


@pytest.mark.parametrize("loss", ["perceptron", "hinge", "softmax_margin"])
def test_other_losses_learn_too(loss):
    X, y = draw(60, 0, noise=0.3)
    tagger = fg.SegmentTagger(loss=loss, c2=0.1, max_iterations=15).fit(X, y)
    assert tagger.score(*draw(60, 1, noise=0.3)) > 0.9


def test_features_of_segments_are_heard():
    """Whether a segment is a palindrome is no matter of its tokens one by one."""
    rng = np.random.default_rng(0)

    def make(n):
        X, y = [], []
        for _ in range(n):
            words = rng.choice(list("abcd"), 9).tolist()
            at = int(rng.integers(0, 6))
            words[at : at + 4] = [*words[at : at + 2], *words[at : at + 2][::-1]]
            X.append([{"word": word} for word in words])
            y.append([(at, at + 4, "PAL")])
        return X, y

    def palindrome(sequence, start, stop):
        words = [token["word"] for token in sequence[start:stop]]
        return {"palindrome": words == words[::-1], "words": "".join(words) if len(words) < 3 else "long"}

    X, y = make(60)
    plain, told = (
        fg.SegmentTagger(max_length=4, c2=0.1, segment_features=each).fit(X, y) for each in (None, palindrome)
    )
    other = make(40)
    assert told.score(*other) > 0.7 > 0.4 > plain.score(*other)
    assert told.segment_features_["palindrome", "PAL"] > 0.5


def test_probabilities_of_segments_add_up(fitted):
    X, _ = draw(5, 2)
    found = fitted.predict_marginals(X, 0.0)
    for x, of, proba in zip(X, found, fitted.predict_proba(X)):
        for t in range(len(x)):
            shares = [(label, p) for (start, stop, label), p in of.items() if start <= t < stop]
            np.testing.assert_allclose(sum(p for _, p in shares), 1.0, rtol=1e-9)
            for k, label in enumerate(fitted.classes_):
                np.testing.assert_allclose(proba[t, k], sum(p for name, p in shares if name == label), atol=1e-12)
    asked = [[(0, 3, "A"), (0, 2, "A"), (0, 9, "A"), (len(x) - 1, len(x) + 1, "B")] for x in X]
    for of, p, segments in zip(found, fitted.segment_probability(X, asked), asked):
        assert p.tolist() == [of[segments[0]], of[segments[1]], 0.0, 0.0]
    few = fitted.predict_marginals(X)
    assert all(p >= 1e-6 for of in few for p in of.values())
    assert len(few[0]) < len(found[0])


def test_the_n_best_are_told_with_their_probabilities(fitted):
    X, _ = draw(4, 2)
    for best, several in zip(fitted.predict(X), fitted.predict_n_best(X, 3)):
        assert several[0][0] == best
        assert several[0][1] >= several[1][1] >= several[2][1] > 0.0
    everything = np.array([p for _, p in fitted.predict_n_best([np.ones((2, 3))], 100)[0]])
    np.testing.assert_allclose(sum(everything), 1.0, rtol=1e-9)
    entropy = fitted.entropy([np.ones((2, 3)), np.zeros((0, 3))])
    np.testing.assert_allclose(entropy, [-np.sum(everything * np.log(everything)), 0.0], rtol=1e-9)


def test_empty_and_short_sequences_have_answers(fitted):
    X = [np.zeros((0, 3)), np.ones((1, 3)), np.zeros((0, 3))]
    assert fitted.predict(X)[0] == fitted.predict(X)[2] == []
    assert fitted.predict_tags(X)[0] == []
    assert fitted.predict([]) == []
    assert [len(each) for each in fitted.predict_proba(X)] == [0, 1, 0]
    assert fitted.predict_n_best(X, 2)[0] == [([], 1.0)]
    again = fg.SegmentTagger().fit([*X, np.ones((2, 3))], [[], [(0, 1, "A")], [], [(0, 2, "A")]])
    assert again.lengths_ == {"A": 2}


def test_a_training_set_of_single_tokens_has_no_transitions():
    tagger = fg.SegmentTagger(c2=0.1).fit([[["a"]], [["b"]]], [[(0, 1, "A")], []])
    assert tagger.predict([[["a"]], [["b"]]]) == [[(0, 1, "A")], []]
    assert tagger.transition_features_ == {}


def test_tags_of_a_scheme_in_and_out():
    X = [[["the"], ["dog"], ["saw"], ["the"], ["cat"]], [["it"], ["ran"]]]
    y = [["B-NP", "I-NP", "O", "B-NP", "I-NP"], ["B-NP", "O"]]
    tagger = fg.SegmentTagger(scheme="BIO", c2=0.01).fit(X, y)
    assert tagger.predict_tags(X) == y
    assert tagger.predict_tags(X, "BILOU")[0] == ["B-NP", "L-NP", "O", "B-NP", "L-NP"]
    assert tagger.predict(X)[1] == [(0, 1, "NP")]
    assert tagger.score(X, y) == 1.0
    assert tagger.token_features_["dog", "NP"] > 0.0 and ("dog", "O") not in tagger.token_features_
    assert set(tagger.transition_features_) == {("NP", "O"), ("O", "NP")}


def test_segments_may_cover_everything():
    X = [[["a"], ["b"], ["b"]], [["b"], ["a"]]]
    y = [[(0, 1, "A"), (1, 3, "B")], [(0, 1, "B"), (1, 2, "A")]]
    tagger = fg.SegmentTagger(outside=None, c2=0.01).fit(X, y)
    assert tagger.predict(X) == y
    assert tagger.predict_tags(X)[0] == ["B-A", "B-B", "I-B"]
    assert fg.SegmentTagger(outside=None).fit(X, y).score([[["a"]]], [[(0, 1, "A")]]) == 1.0


def test_what_cannot_be_is_refused(fitted):
    X, y = [[["a"], ["b"]]], [[(0, 2, "A")]]
    with pytest.raises(EvidenceError, match="has 2 tokens, and those of 'A' have at most 1"):
        fg.SegmentTagger(max_length=1).fit(X, y)
    with pytest.raises(EvidenceError, match="overlap"):
        fg.SegmentTagger().fit(X, [[(0, 2, "A"), (1, 2, "B")]])
    with pytest.raises(EvidenceError, match="no token"):
        fg.SegmentTagger().fit([[]], [[]])
    with pytest.raises(MethodError, match="c2= is a number from 0"):
        fg.SegmentTagger(c2=-1.0).fit(X, y)
    with pytest.raises(MethodError, match="XYZ"):
        fg.SegmentTagger(scheme="XYZ").fit(X, y)
    with pytest.raises(MethodError, match='are "O", and outside= is'):
        fg.SegmentTagger(scheme="BIO", outside="-").fit(X, y)
    with pytest.raises(EvidenceError, match="segment_features returned str for tokens 0 to 1"):
        fg.SegmentTagger(segment_features=lambda x, s, t: "long").fit(X, y)
    with pytest.raises(MethodError, match="not fitted yet"):
        fg.SegmentTagger().predict(X)
    with pytest.raises(EvidenceError, match="X has 1 sequences and segments 2"):
        fitted.segment_probability([np.ones((1, 3))], [[], []])


def test_sparse_and_dense_features_are_the_same():
    X, y = draw(20, 0)
    dense = fg.SegmentTagger(c2=0.1, max_iterations=20).fit(X, y)
    sparse = fg.SegmentTagger(c2=0.1, max_iterations=20).fit([scipy.sparse.csr_array(x) for x in X], y)
    assert dense.objective_ == sparse.objective_


def test_any_number_of_threads_learns_the_same():
    X, y = draw(300, 0)
    one, two = (fg.SegmentTagger(c2=0.1, max_iterations=5, threads=n).fit(X, y) for n in (1, 2))
    assert one.objective_ == two.objective_
    for name, value in one._fitted.values.items():
        np.testing.assert_array_equal(value, two._fitted.values[name])


def test_a_saved_tagger_answers_as_before(tmp_path):
    def shape(sequence, start, stop):
        return {"size": stop - start, "last": sequence[stop - 1][0]}

    X = [[["the"], ["dog"], ["saw"], ["the"], ["cat"]], [["it"], ["ran"]]]
    y = [[(0, 2, "NP"), (3, 5, "NP")], [(0, 1, "NP")]]
    tagger = fg.SegmentTagger(c1=0.01, c2=0.1, segment_features=shape, max_length=3).fit(X, y)
    tagger.save(tmp_path / "tagger.npz")
    again = fg.SegmentTagger.load(tmp_path / "tagger.npz", segment_features=shape)
    assert again.predict_marginals(X) == tagger.predict_marginals(X)
    assert again.lengths_ == tagger.lengths_ and again.classes_ == tagger.classes_
    assert again.segment_features_ == tagger.segment_features_
    assert again.get_params()["c1"] == 0.01
    with pytest.raises(MethodError, match="segment_features="):
        fg.SegmentTagger.load(tmp_path / "tagger.npz").predict(X)
    (tmp_path / "other").write_bytes(b"no archive")
    with pytest.raises(FormatError):
        fg.SegmentTagger.load(tmp_path / "other")
    fg.EnergyModel(fg.FactorGraph([fg.Table([fg.output("y", n_states=2)], [0.0, 1.0])]), loss="energy").save(
        tmp_path / "model.npz"
    )
    with pytest.raises(FormatError, match="not a saved segment tagger"):
        fg.SegmentTagger.load(tmp_path / "model.npz")


def test_it_keeps_the_conventions_of_scikit_learn():
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    tagger = fg.SegmentTagger(max_length={"A": 4}, c2=0.3)
    copy = base.clone(tagger)
    assert copy.get_params() == tagger.get_params() and copy is not tagger
    assert tagger.set_params(c2=2.0).c2 == 2.0
    X, y = draw(30, 0)
    search = selection.GridSearchCV(fg.SegmentTagger(max_iterations=10), {"c2": [0.1, 10.0]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.5 and search.best_params_["c2"] in (0.1, 10.0)


def test_a_file_keeps_the_objective_and_the_names_of_choices(tmp_path):
    x, y = [[{"w": "a"}, {"w": "b"}], [{"w": "b"}]], [[(0, 2, "P")], []]
    choices = {"loss": fg.losses.hinge(margin="hamming"), "optimizer": fg.optimizers.sgd(0.1), "max_iterations": 2}
    found = fg.SegmentTagger(**choices).fit(x, y)
    found.save(tmp_path / "segments.npz")
    again = fg.SegmentTagger.load(tmp_path / "segments.npz")
    assert (again.objective_, again.history_, again.n_iter_) == (found.objective_, found.history_, 2)
    assert (again.loss, again.optimizer) == ("hinge", "sgd")
    with pytest.raises(fg.EvidenceError, match=r"segments\[0\]"):
        again.segment_probability(x, [[(0, 2)], []])
    with pytest.raises(fg.MethodError, match="threads="):
        fg.SegmentTagger(threads=0).fit(x, y)
