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
