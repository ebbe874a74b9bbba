"""The tagger against all taggings of short sequences, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import taggings

import factorgraph_ebm as fg

X, Y = taggings.draw(30)
NEW, _ = taggings.draw(12, seed=1)
PRECISE = fg.optimizers.lbfgs(tolerance=1e-9)


@pytest.fixture(scope="module")
def tagger():
    return fg.SequenceTagger(c2=0.1, optimizer=PRECISE).fit(X, Y)


@pytest.fixture(scope="module")
def rich():
    """A tagger with every kind of weight."""
    choices = {"boundaries": True, "pair_features": "word", "all_possible_transitions": True}
    return fg.SequenceTagger(c2=0.1, optimizer=PRECISE, **choices).fit(X, Y)


def loss_of(name, energies, right):
    """Of one sequence, from the energies of all of its taggings and one that is right."""
    wrong = {tags: sum(a != b for a, b in zip(tags, right)) for tags in energies}
    if name == "likelihood":
        return energies[right] + taggings.log_sum(energies.values())
    if name == "softmax_margin":
        return energies[right] + taggings.log_sum(e - wrong[tags] for tags, e in energies.items())
    if name == "hinge":
        return energies[right] - min(e - wrong[tags] for tags, e in energies.items())
    return energies[right] - min(energies.values())


@pytest.mark.parametrize("loss", ["likelihood", "softmax_margin", "hinge", "perceptron"])
def test_the_objective_is_the_sum_of_losses_and_penalties(loss):
    tagger = fg.SequenceTagger(loss=loss, c2=0.2, max_iterations=15).fit(X, Y)
    total = sum(loss_of(loss, taggings.every(tagger, x), tuple(y)) for x, y in zip(X, Y))
    expected = total + (0.0 if loss == "perceptron" else taggings.penalty(tagger))
    assert tagger.objective_ == pytest.approx(expected, rel=1e-9)
    assert tagger.score(X, Y) > 0.5


def test_the_optimum_is_flat(tagger):
    assert tagger.history_[-1]["gradient_norm"] < 1e-3 * tagger.objective_
    worse = fg.SequenceTagger(c2=0.1, optimizer="adagrad", max_iterations=10).fit(X, Y)
    assert tagger.objective_ < worse.objective_ < 1.2 * tagger.objective_


def test_marginals_entropy_and_best_tags_of_all_taggings(rich):
    marginals, entropy, best = rich.predict_marginals(NEW), rich.entropy(NEW), rich.predict(NEW)
    proba = rich.predict_proba(NEW)
    for i, x in enumerate(NEW):
        energies = taggings.every(rich, x, ("word",))
        total = taggings.log_sum(energies.values())
        p = {tags: math.exp(-e - total) for tags, e in energies.items()}
        assert sum(p.values()) == pytest.approx(1.0)
        assert tuple(best[i]) == min(energies, key=lambda tags: energies[tags])
        assert entropy[i] == pytest.approx(-sum(v * math.log(v) for v in p.values()), abs=1e-9)
        assert proba[i].shape == (len(x), len(rich.classes_))
        for t in range(len(x)):
            for tag in rich.classes_:
                expected = sum(v for tags, v in p.items() if tags[t] == tag)
                assert marginals[i][t][tag] == pytest.approx(expected, abs=1e-12)


def test_the_n_best_are_in_order_with_their_probabilities(rich):
    for x, results in zip(NEW, rich.predict_n_best(NEW, 4)):
        energies = taggings.every(rich, x, ("word",))
        total = taggings.log_sum(energies.values())
        expected = sorted(energies, key=lambda tags: energies[tags])[:4]
        assert [tuple(tags) for tags, _ in results] == expected
        np.testing.assert_allclose([p for _, p in results], [math.exp(-energies[t] - total) for t in expected])


def test_forced_and_allowed_tags_condition_the_answer(rich):
    x = next(x for x in NEW if len(x) == 4)
    forced, allowed = [None, "B", None, None], [["A", "C"], None, None, ["C"]]

    def consistent(tags):
        return tags[1] == "B" and tags[0] in "AC" and tags[3] == "C"

    energies = taggings.every(rich, x, ("word",), consistent)
    limits = {"forced": [None, forced], "allowed": [None, allowed]}
    best = rich.predict([[], x], **limits)
    assert tuple(best[1]) == min(energies, key=lambda tags: energies[tags])
    total = taggings.log_sum(energies.values())
    (_, p), = rich.predict_n_best([x], 1, forced=[forced], allowed=[allowed])[0]
    assert p == pytest.approx(math.exp(-min(energies.values()) - total))
    marginals = rich.predict_marginals([[], x], **limits)[1]
    assert marginals[1] == {"A": 0.0, "B": pytest.approx(1.0), "C": 0.0} and marginals[3]["A"] == 0.0


def test_the_probability_of_a_span(tagger):
    x = max(NEW, key=len)
    energies = taggings.every(tagger, x)
    total = taggings.log_sum(energies.values())
    both = sum(math.exp(-e - total) for tags, e in energies.items() if tags[1:3] == ("A", "A"))
    mixed = sum(math.exp(-e - total) for tags, e in energies.items() if tags[1:3] == ("A", "B"))
    assert tagger.span_probability(x, 1, 3, "A") == pytest.approx(both)
    assert tagger.span_probability(x, 1, 3, ["A", "B"]) == pytest.approx(mixed)
    with pytest.raises(fg.EvidenceError, match="does not lie"):
        tagger.span_probability(x, 3, 3, "A")
    with pytest.raises(fg.EvidenceError, match="not seen in training"):
        tagger.span_probability(x, 1, 2, "Z")


def test_an_explanation_sums_to_the_energy(rich):
    x = max(NEW, key=len)
    best = rich.explain(x)
    assert best.tags == rich.predict([x])[0]
    said = ["A", "C", "B", "B", "A"]
    for told, tags in ((best, best.tags), (rich.explain(x, said), said)):
        assert told.energy == math.fsum(term.energy for _, terms in told for term in terms)
        assert told.energy == pytest.approx(taggings.energy(rich, x, tags, ("word",)), rel=1e-12)
    assert {term.kind for _, terms in best for term in terms} == {"state", "transition", "pair", "start", "end"}
    assert f"energy {best.energy:.4f}" in str(best) and "bias  " in str(best)
    with pytest.raises(fg.EvidenceError, match="a tag for each token"):
        rich.explain(x, [None] * len(x))


@pytest.mark.parametrize("loss", ["likelihood", "perceptron"])
def test_tags_that_are_not_known_are_summed_or_minimised(loss):
    rng = np.random.default_rng(0)
    partly = [[None if rng.random() < 0.4 else tag for tag in tags] for tags in Y]
    choices = {"optimizer": "sgd", "max_iterations": 5} if loss == "perceptron" else {}
    tagger = fg.SequenceTagger(loss=loss, c2=0.3, **choices).fit(X, partly)
    total = 0.0
    for x, y in zip(X, partly):
        if any(tag is not None for tag in y):
            energies = taggings.every(tagger, x)
            right = [e for tags, e in energies.items() if all(b in (None, a) for a, b in zip(tags, y))]
            if loss == "likelihood":
                total += taggings.log_sum(energies.values()) - taggings.log_sum(right)
            else:
                total += min(right) - min(energies.values())
    assert tagger.objective_ == pytest.approx(total + taggings.penalty(tagger), rel=1e-9)
    if loss == "likelihood":
        assert tagger.score(X, partly) > 0.6


def test_a_dictionary_of_tags_limits_training():
    partly = [[None if t % 2 else tag for t, tag in enumerate(tags)] for tags in Y]
    allowed = [[["A", tag] for tag in tags] for tags in Y]
    tagger = fg.SequenceTagger(c2=0.3).fit(X, partly, allowed=allowed)
    total = 0.0
    for x, y, sets in zip(X, partly, allowed):
        if y:
            energies = taggings.every(tagger, x)
            inside = {tags: e for tags, e in energies.items() if all(a in s for a, s in zip(tags, sets))}
            right = [e for tags, e in inside.items() if all(b in (None, a) for a, b in zip(tags, y))]
            total += taggings.log_sum(inside.values()) - taggings.log_sum(right)
    assert tagger.objective_ == pytest.approx(total + taggings.penalty(tagger), rel=1e-9)


def test_a_weight_of_a_sequence_counts_as_so_many_of_it():
    weight = np.arange(len(X)) % 3
    weighted = fg.SequenceTagger(optimizer=PRECISE).fit(X, Y, sample_weight=weight)
    often = [i for i, n in enumerate(weight) for _ in range(n)]
    repeated = fg.SequenceTagger(optimizer=PRECISE).fit([X[i] for i in often], [Y[i] for i in often])
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-7)


def test_blocks_of_sequences_are_the_same_as_sequences():
    """A weight of 1 for each makes every sequence a sample; without, blocks are."""
    blocks = fg.SequenceTagger(optimizer=PRECISE).fit(X, Y)
    singles = fg.SequenceTagger(optimizer=PRECISE).fit(X, Y, sample_weight=np.ones(len(X)))
    assert blocks.objective_ == pytest.approx(singles.objective_, rel=1e-9)
    assert blocks.predict(NEW) == singles.predict(NEW)


def test_matrices_words_and_other_labels():
    dense = [np.array([[float(ord(v[1])), 1.0] for v in (t["word"] for t in x)]).reshape(len(x), 2) for x in X]
    numbers = [np.array([ord(tag) for tag in tags], int) for tags in Y]
    tagger = fg.SequenceTagger().fit(dense, numbers)
    assert tagger.classes_ == [65, 66, 67] and isinstance(tagger.predict(dense[:1])[0][0], int)
    sparse = fg.SequenceTagger().fit([scipy.sparse.csr_array(x) for x in dense], numbers)
    assert sparse.predict(dense) == tagger.predict(dense)
    words = [[[token["word"]] for token in x] for x in X]
    same = fg.SequenceTagger().fit([[{"word:" + t[0]: True} for t in x] for x in words], Y)
    assert fg.SequenceTagger().fit([[["word:" + t[0]] for t in x] for x in words], Y).objective_ == same.objective_


def test_hashed_features_forget_their_names():
    tagger = fg.SequenceTagger(hashing=16, c2=0.1).fit(X, Y)
    named = fg.SequenceTagger(c2=0.1).fit(X, Y)
    assert tagger.objective_ == pytest.approx(named.objective_, rel=1e-4)
    assert tagger.predict(NEW) == named.predict(NEW)
    with pytest.raises(fg.MethodError, match="hashing"):
        fg.SequenceTagger(hashing=16, pair_features="word").fit(X, Y)


def test_empty_sequences_and_strange_tags(tagger):
    assert tagger.predict([]) == [] and tagger.predict([[], []]) == [[], []]
    assert tagger.predict_marginals([[]]) == [[]] and tagger.predict_n_best([[]], 2) == [[([], 1.0)]]
    assert tagger.entropy([[]]).tolist() == [0.0]
    x = next(x for x in NEW if len(x) == 4)
    said = tagger.predict([x])[0]
    assert tagger.score([x], [[*said[:3], "never seen"]]) == 0.75
    assert tagger.token_f1([x], [said]) == 1.0
    with pytest.raises(fg.EvidenceError, match="not seen in training"):
        tagger.predict([x], forced=[["never seen", None, None, None]])


def test_numbered_tokens_stand_for_sequences(tagger):
    tokens = tagger.tokens(NEW)
    assert tagger.predict(tokens) == tagger.predict(NEW)
    said = tagger.predict(NEW)
    assert tagger.score(tokens, said) == 1.0


def test_a_file_keeps_every_bit(rich, tmp_path):
    rich.save(tmp_path / "tagger.npz")
    again = fg.SequenceTagger.load(tmp_path / "tagger.npz")
    assert again.predict_marginals(NEW) == rich.predict_marginals(NEW)
    assert again.state_features_ == rich.state_features_ and again.pair_features_ == rich.pair_features_
    assert (again.c2, again.boundaries, again.objective_) == (0.1, True, rich.objective_)
    assert again.history_[-1]["loss"] == rich.history_[-1]["loss"]
    rich.save(tmp_path / "same.npz")
    assert (tmp_path / "same.npz").read_bytes() == (tmp_path / "tagger.npz").read_bytes()
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(fg.FormatError):
        fg.SequenceTagger.load(tmp_path / "other.npz")


def test_learning_on_from_batches():
    """New features get weights of their own, and what was learned stays."""
    tagger = fg.SequenceTagger(optimizer=fg.optimizers.sgd(0.5, batch_size=4), c2=0.01)
    for _ in range(10):
        tagger.partial_fit(X[:15], Y[:15], classes=taggings.TAGS)
        tagger.partial_fit([[{**token, "late": True} for token in x] for x in X[15:]], Y[15:])
    assert len(tagger.history_) == 20 and tagger.history_[-1]["update"] == 20
    assert ("late", "A") in tagger.state_features_ and tagger.score(X, Y) > 0.6
    with pytest.raises(fg.EvidenceError, match="not seen"):
        tagger.partial_fit([[{"word": "w"}]], [["new"]])
    with pytest.raises(fg.MethodError, match="cannot go on"):
        fg.SequenceTagger(loss="hinge", optimizer="bcfw").partial_fit(X, Y).partial_fit(X, Y)


def test_a_checkpoint_goes_on_where_it_stopped(tmp_path):
    whole = fg.SequenceTagger(c2=0.1, max_iterations=20).fit(X, Y)
    fg.SequenceTagger(c2=0.1, max_iterations=10).fit(X, Y, checkpoint=tmp_path / "run.npz")
    on = fg.SequenceTagger(c2=0.1, max_iterations=20).fit(X, Y, checkpoint=tmp_path / "run.npz")
    assert on.state_features_ == whole.state_features_ and len(on.history_) == len(whole.history_)


def test_validation_keeps_the_best_weights():
    held = taggings.draw(10, seed=3)
    told = []
    tagger = fg.SequenceTagger(c2=0.0, max_iterations=60)
    tagger.fit(X, Y, validation=held, patience=5, callbacks=[told.append])
    assert len(told) == len(tagger.history_) < 60
    losses = [row["validation"] for row in tagger.history_]
    energies = [taggings.every(tagger, x) for x in held[0]]
    total = sum(loss_of("likelihood", e, tuple(y)) for e, y in zip(energies, held[1]))
    assert total == pytest.approx(min(losses), rel=1e-9)


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(row):
        if row["update"] == 5:
            raise KeyboardInterrupt

    with pytest.warns(fg.ConvergenceWarning, match="interrupted after 5 updates"):
        tagger = fg.SequenceTagger(c2=0.1).fit(X, Y, callbacks=[interrupt])
    assert tagger.n_iter_ == 5 and tagger.score(X, Y) > 0.5


@pytest.mark.parametrize("choices, error, match", [
    ({"order": 3}, fg.MethodError, "order"),
    ({"c2": -1.0}, fg.MethodError, "c2"),
    ({"loss": "hing"}, fg.MethodError, "hinge"),
    ({"optimizer": "bcfw"}, fg.MethodError, "bcfw"),
])  # fmt: skip
def test_choices_that_cannot_work(choices, error, match):
    with pytest.raises(error, match=match):
        fg.SequenceTagger(**choices).fit(X, Y)


@pytest.mark.parametrize("x, y, match", [
    (X, Y[:-1], "must be one for each"),
    (X, [*Y[:-1], []], "one \\(None where"),
    ([[]], [[]], "no token"),
    (X, [[None] * len(tags) for tags in Y], "no tag but None"),
    (X, ["".join(tags) for tags in Y], "tags are a list"),
])  # fmt: skip
def test_data_that_do_not_fit(x, y, match):
    with pytest.raises(fg.EvidenceError, match=match):
        fg.SequenceTagger().fit(x, y)


def test_what_is_not_fitted_says_so():
    with pytest.raises(fg.MethodError, match="not fitted"):
        fg.SequenceTagger().predict(X)
