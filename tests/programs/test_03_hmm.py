"""HMM from probability tables: filter, smooth, Viterbi, a batch of sequences of unknown lengths."""

import itertools

import numpy as np
import pytest

import factorgraph_ebm as fg

pi, A, B = (
    np.array([0.6, 0.4]),
    np.array([[0.7, 0.3], [0.4, 0.6]]),
    np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]]),
)
words, weather = ["walk", "shop", "clean"], ["rainy", "sunny"]
sequences = [["walk", "shop"], ["clean"], ["shop", "walk", "clean", "clean"]]


def hmm(n):
    x = fg.observed("x", shape=n, states=words)
    z = fg.output("z", shape=n, states=weather)
    return fg.FactorGraph(
        [
            fg.Table.from_probabilities([z[0]], pi, name="start"),
            fg.Table.from_probabilities([z[:-1], z[1:]], A, name="transition"),
            fg.Table.from_probabilities([z, x], B, name="emission"),
        ]
    )


def paths(sequence):
    """Every hidden path and its probability together with the words, multiplied out."""
    seen = [words.index(w) for w in sequence]
    for z in itertools.product([0, 1], repeat=len(seen)):
        p = (
            pi[z[0]]
            * np.prod([A[a, b] for a, b in itertools.pairwise(z)])
            * np.prod([B[a, w] for a, w in zip(z, seen, strict=True)])
        )
        yield z, p


def test_hmm():
    graphs, given = [hmm(len(s)) for s in sequences], [{"x": s} for s in sequences]
    viterbi, smooth = fg.minimize(graphs, given), fg.marginals(graphs, given)
    assert len(viterbi) == len(smooth) == 3
    for sequence, best, belief in zip(sequences, viterbi, smooth, strict=True):
        table = dict(paths(sequence))
        z = max(table, key=table.get)
        assert best["z"].tolist() == [weather[i] for i in z]
        assert best.energy == pytest.approx(-np.log(table[z]), rel=1e-12)
        assert best.exact and belief.exact
        total = sum(table.values())
        assert belief.log_partition == pytest.approx(np.log(total), rel=1e-12)
        for t in range(len(sequence)):
            assert belief["z", "rainy"][t] == pytest.approx(
                sum(p for z, p in table.items() if z[t] == 0) / total, abs=1e-12
            )
    assert sum(b.log_partition for b in smooth) == pytest.approx(
        sum(np.log(sum(dict(paths(s)).values())) for s in sequences)
    )

    m = smooth[2].messages  # filtering = forward message + own emission
    forward = m.to_variable["transition"][1] + m.to_variable["emission"][0][1:]
    filtered = np.exp(-forward) / np.exp(-forward).sum(-1, keepdims=True)
    for t in range(1, 4):
        table = dict(paths(sequences[2][: t + 1]))
        rainy = sum(p for z, p in table.items() if z[t] == 0) / sum(table.values())
        assert filtered[t - 1] == pytest.approx([rainy, 1 - rainy], abs=1e-12)


def test_a_transposed_transition_is_named():
    z = fg.output("z", shape=3, states=weather)
    with pytest.raises(fg.FactorError, match="transposed"):
        fg.Table.from_probabilities([z[:-1], z[1:]], A.T)
