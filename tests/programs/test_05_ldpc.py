"""LDPC: a batch of frames over noisy channels, decoded in one call, each until its syndrome is 0."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from codes import draw_words, regular_code

import factorgraph_ebm as fg

PEG = Path(__file__).resolve().parents[3] / "shared" / "data" / "ldpc" / "PEG_Reg_1008x504.alist"


def over_symmetric_channel(words, crossover, rng):
    """log p(r | 0) - log p(r | 1) of bits that flip with probability `crossover`."""
    received = words ^ (rng.random(words.shape) < crossover)
    return (1 - 2 * received) * np.log((1 - crossover) / crossover)


def over_gaussian_channel(words, sigma, rng):
    """The same of bits sent as +1 and -1 with noise of standard deviation `sigma`."""
    received = 1 - 2 * words + sigma * rng.normal(size=words.shape)
    return 2 * received / sigma**2


def decode(code, frames, verb):
    H = code.factor("checks").members
    cost = fg.observed("cost", shape=H.shape[1], dim=2)
    bits = fg.output("bits", shape=H.shape[1], n_states=2)
    graph = fg.FactorGraph(
        [fg.Table([bits], energies=cost, name="channel"), fg.Parity(bits, members=H, name="checks")]
    )
    given = [{"cost": np.stack([0 * f, f], -1)} for f in frames]
    return verb(graph, given, method="bp", max_iterations=50, stop="feasible")


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A regular code of 96 bits, by way of a file."""
    path = tmp_path_factory.mktemp("code") / "regular.alist"
    H = regular_code(96, np.random.default_rng(4))
    bits = fg.output("bits", shape=H.shape[1], n_states=2)
    members = [np.flatnonzero(row).tolist() for row in H]
    fg.write(fg.FactorGraph([fg.Parity(bits, members=members)]), path)
    return fg.read(path)


@pytest.mark.parametrize("channel", ["symmetric", "gaussian"])
@pytest.mark.parametrize("noise", ["none", "low"])
def test_words_come_through(code, channel, noise, rng):
    H = code.factor("checks").members
    words = draw_words(H.toarray(), 20, rng)
    assert not (H @ words.T % 2).any() and words.any(axis=1).all()
    if channel == "symmetric":
        frames = over_symmetric_channel(words, 0.02, rng)
        clean = (1 - 2 * words) * 3.0
    else:
        frames = over_gaussian_channel(words, 0.55, rng)
        clean = (1 - 2 * words) * 2.0
    sent = clean if noise == "none" else frames
    decoded = decode(code, sent, fg.marginals)
    assert len(decoded) == 20
    np.testing.assert_array_equal(np.stack([b["bits", 1] > 0.5 for b in decoded]), words)
    iterations = np.array([b.iterations for b in decoded])
    assert (iterations <= 50).all()
    best = decode(code, sent, fg.minimize)
    np.testing.assert_array_equal(np.stack([b["bits"] for b in best]), words)
    assert all(b.feasible for b in best)
    if noise == "none":
        # The channel's own decision is a word: a frame stops as soon as anybody looks.
        assert iterations.max() <= 2 and max(b.iterations for b in best) <= 2
    else:
        wrong = ((frames < 0) != words).sum(axis=1)
        assert (wrong > 0).any()
        # A frame that came with more errors took longer, and each reports its own number.
        assert len(set(iterations.tolist())) > 1
        assert iterations[wrong == 0].max(initial=0) <= iterations[wrong > 0].max()


def test_each_frame_alone_gives_the_same(code, rng):
    """A batch is a union: no frame hears of another, nor waits for it."""
    words = draw_words(code.factor("checks").members.toarray(), 6, rng)
    frames = over_symmetric_channel(words, 0.04, rng)
    for verb in (fg.marginals, fg.minimize):
        together = quietly(lambda verb=verb: decode(code, frames, verb))
        for frame, one in zip(frames, together, strict=True):
            (alone,) = quietly(lambda verb=verb, frame=frame: decode(code, [frame], verb))
            np.testing.assert_array_equal(alone["bits"], one["bits"])
            assert alone.iterations == one.iterations


def quietly(call):
    """Some frames may not be decoded; this is not about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fg.ConvergenceWarning)
        return call()


def test_a_frame_beyond_repair_is_not_claimed(code, rng):
    """Half of the bits flipped: what comes back is a word of the code, or says that it is none."""
    words = draw_words(code.factor("checks").members.toarray(), 8, rng)
    frames = over_symmetric_channel(words, 0.3, rng)
    H = code.factor("checks").members
    for best in quietly(lambda: decode(code, frames, fg.minimize)):
        assert best.feasible == (not (H @ best["bits"] % 2).any())
        assert np.isfinite(best.energy) == best.feasible


@pytest.mark.skipif(not PEG.exists(), reason=f"no code at {PEG}")
def test_the_real_code():
    """1,008 bits, as the program has it; 200 frames at 3 dB (Eb/N0, rate 1/2), where errors are rarer than 1e-3."""
    rng = np.random.default_rng(5)
    code = fg.read(PEG)
    words = np.zeros((200, 1008), dtype=np.int64)  # the code is linear and the channel symmetric: any word will do
    sigma = np.sqrt(1 / (2 * 0.5 * 10**0.3))
    frames = over_gaussian_channel(words, sigma, rng)
    assert ((frames < 0).any(axis=1)).all()
    decoded = decode(code, frames, fg.marginals)
    np.testing.assert_array_equal(np.stack([b["bits", 1] > 0.5 for b in decoded]), words > 0)
    assert max(b.iterations for b in decoded) < 50


def test_words_come_through_in_every_form(code, rng, monkeypatch):
    """As longer codes are decoded: in odds and in differences. Words are not zero, so no zero passes for one."""
    monkeypatch.setattr("factorgraph_ebm.inference.forms.SMALL", 0)
    words = draw_words(code.factor("checks").members.toarray(), 5, rng)
    assert words.any(axis=1).all()
    frames = np.where(words == 1, -1.0, 1.0) * rng.uniform(1.0, 3.0, words.shape)
    for verb in (fg.marginals, fg.minimize):
        found = decode(code, frames, verb)
        got = [b["bits", 1] > 0.5 if verb is fg.marginals else b["bits"] for b in found]
        np.testing.assert_array_equal(np.array(got).astype(int), words)
