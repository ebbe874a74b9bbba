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
    "margin": lambda k: losses.margin(lambda d: np.logaddexp(0.0, 2.0 * d), lambda d: 1.0 + np.tanh(d), convex=True),
    "softmax_margin by matrix": lambda k: losses.softmax_margin(COST[:k, :k]),
    "ramp": lambda k: losses.custom(ramp),
    "custom": lambda k: losses.custom(bent, cost=COST[:k, :k]),
}
WORDS = [name for name in losses.LOSSES if name not in ("margin", "custom")]
EXACT = [*(name for name in WORDS if name != "contrastive_divergence"), *VARIANTS]


LATENT = [("leaves", False, math.inf), ("leaves", True, BETA), ("chain", True, BETA)]


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


def refusal(loss, name, partial, latent_beta, method="auto"):
    """What a combination is refused with; None: it composes."""
    latent = partial or ARCHITECTURES[name].latent
    kinds = {query.kind for query in loss.queries}
    if latent and "sites" in kinds:
        return "has latent variables"
    if latent and latent_beta < math.inf and "wrong" in kinds and method not in ("auto", "junction_tree"):
        return f'method "{method}" does not know the best wrong answer where latent variables are summed out'
    return None


def combinations():
    for name, architecture in ARCHITECTURES.items():
        for partial in (False, True):
            for latent_beta in (math.inf, BETA):
                if partial or architecture.latent or latent_beta == math.inf:
                    latents = "minimised" if latent_beta == math.inf else "summed"
                    yield pytest.param(
                        name, partial, latent_beta, id=f"{name}-{'partial' if partial else 'full'}-{latents}"
                    )


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


@pytest.mark.parametrize("word", ["hinge", "mce", "custom", "perceptron", "pseudo_likelihood", "likelihood"])
@pytest.mark.parametrize("method", ["bp", "enumerate", "junction_tree"])
def test_a_method_that_is_named_is_refused_where_it_does_not_know(method, word):
    case, loss = prepared("leaves", False, 0), loss_of(word, 3)
    reason, problem = refusal(loss, "leaves", False, BETA, method), case.problem(loss, BETA, method)
    if reason is not None:
        with pytest.raises(MethodError, match=reason):
            evaluate(problem, case.w)
    else:
        expected = case.expected(loss, BETA)
        assert_allclose(evaluate(problem, case.w).losses, expected[0], rtol=1e-9, atol=1e-9)


def test_what_is_summed_does_not_matter_where_nothing_is_latent():
    for word in ("perceptron", "hinge", "likelihood"):
        case, loss = prepared("chain", False, 0), losses.as_loss(word)
        one, two = (evaluate(case.problem(loss, beta), case.w) for beta in (math.inf, BETA))
        assert (one.losses == two.losses).all() and (one.gradient == two.gradient).all()


def along(problem, w, direction, step=STEP):
    """The slope of the weighted losses along a direction, by differences; None where a kink is near."""
    here, up, down = (evaluate(problem, w + side * step * direction).losses for side in (0.0, 1.0, -1.0))
    if (np.abs(up + down - 2.0 * here) > BEND * np.maximum(1.0, np.abs(here))).any():
        return None
    return float(problem.weights @ (up - down)) / (2.0 * step)


@pytest.mark.parametrize("word", EXACT)
@pytest.mark.parametrize("partial", [False, True])
def test_messages_on_loops_have_the_gradient_of_what_they_find(word, partial):
    """The Bethe free energy at a fixed point, marginals by perturbation, and assignments that need not be the best."""
    loss = loss_of(word, 3)
    if refusal(loss, "grid", partial, math.inf) is not None:
        return
    checked = 0
    for seed in range(3):
        case = prepared("grid", partial, seed)
        problem = case.problem(loss, math.inf, "bp", damping=0.2, max_iterations=5000)
        found = evaluate(problem, case.w)
        assert found.unconverged == 0 or not {query.kind for query in loss.queries} & SUMMED
        if {query.kind for query in loss.queries} == {"target", "best"}:
            assert (found.losses >= 0.0).all() or word == "ramp"
        direction = np.random.default_rng(seed).normal(size=len(case.w))
        slope = along(problem, case.w, direction)
        if slope is not None:
            assert abs(found.gradient @ direction - slope) <= 1e-6 * max(1.0, abs(slope))
            checked += 1
    assert checked >= 2


@pytest.mark.parametrize("name", ["chain", "grid", "high", "forbidding", "given", "Cardinality"])
@pytest.mark.parametrize("partial", [False, True])
def test_losses_lie_where_theory_says(name, partial):
    """log N / beta between a minimum and its soft twin, N the number of answers; and what bounds what."""
    k = ARCHITECTURES[name].states
    for seed in range(3):
        case = prepared(name, partial, seed)

        def of(word, latent_beta=math.inf, case=case):
            return evaluate(case.problem(loss_of(word, k), latent_beta), case.w).losses

        slack = 1e-12
        allowed = [np.isfinite(each.energies[0]).sum() for each in case.reference]
        likelihood, perceptron, piecewise = of("likelihood"), of("perceptron"), of("piecewise")
        softened, augmented = of("softmax_margin"), of("hinge by hamming")
        assert (likelihood >= perceptron - slack).all()
        assert (likelihood - perceptron <= np.log(allowed) / BETA + slack).all()
        assert (piecewise >= likelihood - slack).all()
        assert (softened >= np.maximum(likelihood, augmented) - slack).all()
        assert (softened - augmented <= np.log(allowed) / BETA + slack).all()
        assert (augmented >= perceptron - slack).all()
        # The best wrong answer differs in one variable at least.
        assert (of("hinge") <= augmented + slack).all()
        assert_allclose(of("mee", BETA), -np.expm1(-BETA * of("likelihood", BETA)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["flat", "chain", "tree", "grid", "high", "repeated"])
def test_a_right_answer_that_wins_leaves_the_perceptron_alone(name):
    case = prepared(name, False, 0)
    perceptron, hinge = losses.perceptron(), losses.hinge(1e-3)
    for sample in case.reference:
        best = sample.states[np.argmin(sample.energies[0])]
        sample.right = {cell: int(best[cell]) for cell in sample.right}
    targets = [{"y": list(sample.right.values())} for sample in case.reference]
    data = read_data(ARCHITECTURES[name].graph, case.samples, targets)
    for loss in (perceptron, hinge):
        found = evaluate(case.problem(loss, math.inf)._replace(data=data), case.w)
        assert found.gradient.any()  # the problem's own right answers
        problem = make_problem(data, case.layout, loss, Inference(beta=BETA), case.weights)
        found = evaluate(problem, case.w)
        assert not found.losses.any() and not found.gradient.any()
    prepared.cache_clear()  # its right answers have changed


@pytest.mark.parametrize("name", ["hidden", "leaves"])
@pytest.mark.parametrize("partial", [False, True])
def test_the_gradient_of_a_marginal_likelihood_is_the_direction_of_em(name, partial):
    """Fisher's identity: sum over z of P(z | right answers) d/dw [E(right, z) - F], complete answer by answer."""
    case, loss = prepared(name, partial, 0), losses.likelihood()
    found = evaluate(case.problem(loss, BETA), case.w)
    samples, targets, weights = [], [], []
    for number, sample in enumerate(case.reference):
        rows = sample.is_right()
        energy = sample.energies[0][rows]
        share = np.exp(-BETA * (energy - energy.min()))
        offset = sample.where.offset
        for states, probability in zip(sample.states[rows], share / share.sum()):
            samples.append(case.samples[number])
            targets.append({v: states[offset[v] : offset[v] + len(case.samples[number]["x"])] for v in ("y", "z")})
            weights.append(case.weights[number] * probability)
    complete = read_data(ARCHITECTURES[name].graph, samples, targets)
    how = Inference(beta=BETA, latent_beta=math.inf)
    expected = evaluate(make_problem(complete, case.layout, loss, how, np.array(weights)), case.w)
    assert_allclose(found.gradient, expected.gradient, rtol=0, atol=1e-11)


def test_contrastive_divergence_has_the_slopes_of_two_energies(rng):
    """Of the right answer and of the one drawn, as the same draw finds it."""
    for name in ("chain", "grid", "Potts", "given", "forbidding"):
        case, loss = prepared(name, False, 0), losses.contrastive_divergence(k=2)
        problem = case.problem(loss, math.inf)
        first, again, later = (evaluate(problem, case.w, update=update) for update in (3, 3, 4))
        assert (first.gradient == again.gradient).all()
        # Energies are linear in w here: a difference of two has this slope for one of the other answers.
        slopes = []
        for sample in case.reference:
            n = case.layout.n_free
            right = sample.is_right()
            with np.errstate(invalid="ignore"):
                each = (sample.energies[1 : n + 1] - sample.energies[n + 1 :]) / (2 * STEP)  # (n_free, N)
                slopes.append((each[:, right] - each, sample.energies[0][right] - sample.energies[0]))
        for found in (first, later):
            drawn = [
                np.flatnonzero(np.isclose(gaps, value, rtol=0, atol=1e-9))[0]
                for (_, gaps), value in zip(slopes, found.losses)
            ]
            expected = sum(weight * slope[:, row] for weight, (slope, _), row in zip(case.weights, slopes, drawn))
            assert_allclose(found.gradient, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name, partial, latent_beta", [("chain", False, math.inf), *LATENT])
def test_contrastive_divergence_with_many_sweeps_is_the_likelihood_on_average(name, partial, latent_beta):
    case = prepared(name, partial, 0)
    exact = evaluate(case.problem(losses.likelihood(), latent_beta), case.w).gradient
    problem = case.problem(losses.contrastive_divergence(k=12), latent_beta)
    draws = np.array([evaluate(problem, case.w, update=update).gradient for update in range(300)])
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - exact) <= 4.5 * error + 1e-3).all()
