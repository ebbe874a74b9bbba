"""Second-order chains and skip chains: exact by width, without a method being named."""

import numpy as np
import pytest

import factorgraph_ebm as fg

K = 9


def architecture(words):
    """As the program has it: a table over three neighbours, and a Potts factor between equal words."""
    n = len(words)
    second, skip = fg.Parameter("second", shape=(K, K, K)), fg.Parameter("skip")
    y = fg.output("y", shape=n, n_states=K)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n) if words[a] == words[b]]
    i, j = np.array(pairs, int).reshape(-1, 2).T
    return fg.FactorGraph([fg.Table([y[:-2], y[1:-1], y[2:]], energies=second), fg.Potts([y[i], y[j]], penalty=skip)])


def forward(second, n):
    """log Z and the least energy of a chain without skip edges, over pairs of states."""
    found = []
    for add in (lambda x: -np.logaddexp.reduce(-x, axis=0), lambda x: x.min(axis=0)):
        message = np.zeros((K, K))
        for _ in range(n - 2):
            message = add(message[:, :, None] + second)
        found.append(add(message.reshape(-1)))
    return -found[0], found[1]


@pytest.mark.parametrize("words", ["", "a", "ab", "aba", "abcdb", "abcabc"])
def test_short_sentences_equal_enumeration(rng, words):
    graph = architecture(words)
    numbers = {"second": rng.normal(size=(K, K, K)), "skip": np.array(0.7)}
    best, belief = fg.minimize(graph, parameters=numbers), fg.marginals(graph, parameters=numbers)
    by_tree = fg.marginals(graph, parameters=numbers, method="junction_tree")
    whole = fg.marginals(graph, parameters=numbers, method="enumerate")
    assert best.exact and belief.exact
    for found in (belief, by_tree):
        assert found.log_partition == pytest.approx(whole.log_partition, rel=1e-10)
        np.testing.assert_allclose(found["y"], whole["y"], rtol=0, atol=1e-10)
    expected = fg.minimize(graph, parameters=numbers, method="enumerate")
    assert best.energy == expected.energy and (best["y"] == expected["y"]).all()


def test_long_sentences_are_exact_with_a_few_skip_edges_and_without(rng):
    numbers = {"second": rng.normal(size=(K, K, K)), "skip": np.array(0.7)}
    plain = [chr(200 + i) for i in range(40)]
    skips = [*plain[:10], plain[4], *plain[11:25], plain[20], *plain[26:]]
    graphs = [architecture(plain), architecture(skips)]
    for graph in graphs:
        assert fg.plan(graph, "marginals").method == "junction_tree"
    beliefs = fg.marginals(graphs, parameters=numbers)
    bests = fg.minimize(graphs, parameters=numbers)
    assert all(each.exact and each.method == "junction_tree" for each in [*beliefs, *bests])
    log_z, least = forward(numbers["second"], len(plain))
    assert beliefs[0].log_partition == pytest.approx(log_z, rel=1e-12) and bests[0].energy == pytest.approx(least)
    # A skip edge is summed by holding its two words alike, and apart.
    free = fg.marginals(graphs[0], joint=[(graphs[0]["y"][4], graphs[0]["y"][10])], parameters=numbers)
    one = architecture([*plain[:10], plain[4], *plain[11:]])
    alike = np.trace(free.joint[graphs[0]["y"][4], graphs[0]["y"][10]])
    expected = log_z + np.log(alike + (1 - alike) * np.exp(-0.7))
    assert fg.marginals(one, parameters=numbers).log_partition == pytest.approx(expected, rel=1e-10)


def test_learned_with_skip_edges_by_messages(rng):
    """The program's own options; equal words are tagged alike, so being apart comes to cost."""
    sentences = [{"words": words} for words in ("abcab", "abba", "aabc", "cabca")]
    targets = [{"y": [ord(word) - ord("a") for word in sample["words"]]} for sample in sentences]

    def of_sample(sample):
        return architecture(sample["words"])

    how = {"method": "bp", "schedule": "residual", "damping": 0.3, "max_iterations": 200}
    model = fg.EnergyModel(of_sample, loss="likelihood", inference=how, regularizer=fg.l2(1e-2))
    model.fit(sentences, targets, epochs=12)
    assert model.history[-1]["objective"] < 0.7 * model.history[0]["objective"]
    assert model.history[-1]["unconverged"] == 0.0
    assert model.parameters["skip"] > 0.0 and model.parameters["skip"].shape == ()
    assert model.score(sentences, targets) > 0.6  # a ninth by chance: words are seen by their repetitions alone
    # Messages on loops are not exact, but what was learned by them is likely by the default, which is.
    exact = fg.EnergyModel(of_sample, loss="likelihood", regularizer=fg.l2(1e-2)).fit(sentences, targets, epochs=12)
    graphs = [of_sample(sample) for sample in sentences]
    beliefs = fg.marginals(graphs, parameters=model.parameters)
    assert all(belief.exact for belief in beliefs)
    values = zip(fg.energy(graphs, targets, parameters=model.parameters), beliefs)
    likelihood = np.mean([energy + belief.log_partition for energy, belief in values])
    guessing = np.mean([len(sample["words"]) for sample in sentences]) * np.log(K)
    assert exact.history[-1]["loss"] < likelihood < 0.3 * guessing


def test_tables_picked_by_kind_are_learned_by_reference(rng):
    """Three transition tables: each learns from its own pairs, and no others move it."""
    T = fg.Parameter("T", shape=(3, K, K))

    def of_sample(sample):
        y = fg.output("y", shape=len(sample["kind"]) + 1, n_states=K)
        return fg.FactorGraph([fg.Table([y[:-1], y[1:]], energies=T[sample["kind"]])])  # (n - 1, K, K) by reference

    samples = [{"kind": np.array([0, 2, 0])}, {"kind": np.array([2, 2])}]
    targets = [{"y": [1, 2, 3, 4]}, {"y": [2, 3, 4]}]
    model = fg.EnergyModel(of_sample, loss="likelihood", regularizer=fg.l2(1e-2)).fit(samples, targets)
    tables = model.parameters["T"]
    assert not tables[1].any()
    assert max(tables[0, 1, 2], tables[0, 3, 4]) < -1.0 and tables[0].min() == min(tables[0, 1, 2], tables[0, 3, 4])
    assert max(tables[2, 2, 3], tables[2, 3, 4]) < -1.0 and (np.sort(tables[2].ravel())[2:] > -0.5).all()
    assert model.score(samples, targets) == 1.0
    assert model.best_guess({"kind": np.array([0])})["y"].tolist() in ([1, 2], [3, 4])
