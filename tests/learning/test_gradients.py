"""Every loss with every architecture, source of numbers, structure, labelling and treatment of latents.

Each either composes, with losses as enumeration has them and a gradient as its differences have it, or is refused as
the table `refusal` says.
"""

import functools
import math

import numpy as np
import pytest
from learning_cases import ARCHITECTURES
from learning_reference import Sample
from numpy.testing import assert_allclose

from factorgraph_ebm import losses
from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import read_data
from factorgraph_ebm.learning.evaluate import evaluate, make_problem
from factorgraph_ebm.learning.layout import layout_of
from factorgraph_ebm.losses.loss import SUMMED

BETA = 1.3
STEP = 1e-5
BEND = 1e-7
"a second difference that only a kink within a step makes"
WEIGHTS = np.array([1.0, 0.5, 2.0])
COST = np.array([[0.0, 1.0, 0.3, 0.7], [0.5, 0.0, 0.0, 0.2], [1.5, 1.0, 0.0, 0.1], [0.4, 0.0, 2.0, 0.0]])


def ramp(minimum, augmented):
    return minimum - augmented


def bent(correct, wrong, free_energy_augmented, free_energy_correct):
    """A smooth function, with other slopes in each energy."""
    gap = correct - free_energy_augmented
    return np.logaddexp(0.0, np.where(np.isfinite(wrong), correct - wrong, -40.0)) + 0.1 * gap**2 + free_energy_correct


VARIANTS = {
    "hinge by hamming": lambda k: losses.hinge("hamming"),
    "hinge by matrix": lambda k: losses.hinge(COST[:k, :k]),
    "hinge by name": lambda k: losses.hinge({"y": COST[:k, :k]}),
    "margin": lambda k: losses.margin(
        lambda d: np.logaddexp(0.0, 2.0 * d), lambda d: 1.0 + np.tanh(d), convex=True
    ),
    "softmax_margin by matrix": lambda k: losses.softmax_margin(COST[:k, :k]),
    "ramp": lambda k: losses.custom(ramp),
    "custom": lambda k: losses.custom(bent, cost=COST[:k, :k]),
}
WORDS = [name for name in losses.LOSSES if name not in ("margin", "custom")]
EXACT = [*(name for name in WORDS if name != "contrastive_divergence"), *VARIANTS]


def loss_of(name, k):
    return VARIANTS[name](k) if name in VARIANTS else losses.as_loss(name)


class Prepared:
    """Drawn samples of an architecture, at a drawn w, and what enumeration says there and a step beside."""

    def __init__(self, name, partial, seed):
        architecture = ARCHITECTURES[name]
        rng = np.random.default_rng([seed, sum(map(ord, name))])
        self.samples = [
            {"x": rng.normal(size=(size, 2)), **architecture.more(rng, size)} for size in architecture.sizes
        ]
        self.graphs = [architecture.graph(sample) for sample in self.samples]
        self.layout = layout_of(self.graphs)
        n = self.layout.n_free
        self.w = rng.normal(size=n)
        self.w = np.clip(self.w, self.layout.lower + 0.1, self.layout.upper)
        self.steps = [self.w, *(self.w + STEP * row for row in np.eye(n)), *(self.w - STEP * row for row in np.eye(n))]
        self.targets, self.reference = [], []
        for sample, graph in zip(self.samples, self.graphs):
            self._label(rng, sample, graph, partial)
        self.data = read_data(architecture.graph, self.samples, self.targets)
        self.weights = WEIGHTS[: len(self.samples)]

    def _label(self, rng, sample, graph, partial):
        y = graph["y"]
        given = np.asarray(sample.get("y", np.full(y.size, -1)))
        known = {("y", i): int(s) for i, s in enumerate(given) if s >= 0}
        known |= {("seen", i): int(s) for i, s in enumerate(sample.get("seen", []))}
        reals = {name: sample[name] for name in ("u", "c") if name in sample}
        points = [{**self.layout.values(w), **reals} for w in self.steps]
        whole = Sample(graph, known, {}, points[:1])
        allowed = whole.states[np.isfinite(whole.energies[0])]
        first = whole.where.offset["y"]
        states = allowed[rng.integers(len(allowed))][first : first + y.size]
        held = rng.random(y.size) < 0.6 if partial else np.ones(y.size, bool)
        if partial:
            held[rng.integers(y.size)] = False
        right = {("y", i): int(states[i]) for i in np.flatnonzero(held)}
        said = [int(s) if there else -1 for s, there in zip(states, held)]
        if y.states is not None:
            said = [y.states[s] if s >= 0 else None for s in said]
        self.targets.append({"y": said})
        self.reference.append(Sample(graph, known, right, points))

    def expected(self, loss, latent_beta):
        """(samples,) losses, and the gradient; None where a kink is within a step."""
        found = np.array([each.losses(loss, BETA, latent_beta) for each in self.reference])
        n = self.layout.n_free
        here, up, down = found[:, :1], found[:, 1 : n + 1], found[:, n + 1 :]
        if (np.abs(up + down - 2.0 * here) > BEND * np.maximum(1.0, np.abs(here))).any():
            return None
        return here[:, 0], self.weights @ (up - down) / (2.0 * STEP)

    def problem(self, loss, latent_beta, method="auto", **options):
        how = Inference(method, options, beta=BETA, latent_beta=latent_beta, tolerance=1e-12)
        return make_problem(self.data, self.layout, loss, how, self.weights)


@functools.cache
def prepared(name, partial, seed):
    return Prepared(name, partial, seed)


def refusal(loss, name, partial, latent_beta):
    """What a combination is refused with; None: it composes."""
    latent = partial or ARCHITECTURES[name].latent
    kinds = {query.kind for query in loss.queries}
    if latent and "sites" in kinds:
        return "has latent variables"
    if latent and latent_beta < math.inf and "wrong" in kinds:
        return "the best wrong answer is not known where latent variables are summed out"
    return None


def combinations():
    for name, architecture in ARCHITECTURES.items():
        for partial in (False, True):
            for latent_beta in (math.inf, BETA):
                if partial or architecture.latent or latent_beta == math.inf:
                    latents = "minimised" if latent_beta == math.inf else "summed"
                    yield pytest.param(name, partial, latent_beta, id=f"{name}-{'partial' if partial else 'full'}-{latents}")


@pytest.mark.parametrize("word", EXACT)
@pytest.mark.parametrize("name, partial, latent_beta", list(combinations()))
def test_a_loss_composes_with_the_gradient_of_enumeration_or_is_refused(name, partial, latent_beta, word):
    loss = loss_of(word, ARCHITECTURES[name].states)
    reason = refusal(loss, name, partial, latent_beta)
    if reason is not None:
        problem = prepared(name, partial, 0).problem(loss, latent_beta)
        with pytest.raises(MethodError, match=reason):
            evaluate(problem, prepared(name, partial, 0).w)
        return
    expected = None
    for seed in range(3):  # another w where a kink is near
        case = prepared(name, partial, seed)
        expected = case.expected(loss, latent_beta)
        if expected is not None:
            break
    assert expected is not None
    found = evaluate(case.problem(loss, latent_beta), case.w)
    assert_allclose(found.losses, expected[0], rtol=1e-9, atol=1e-9)
    scale = max(1.0, np.abs(expected[1]).max())
    assert_allclose(found.gradient, expected[1], rtol=0, atol=1e-6 * scale)
    assert found.unconverged == 0 and not len(found.infeasible)
    assert (found.losses >= loss.lower_bound - 1e-12).all()
