"""Small training problems written out in numpy, and what scipy says their optima are."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.optimize

from factorgraph_ebm.learning.oracle import UNREGULARIZED, Plane, from_slopes, objective

MARGIN = frozenset({"convex", "piecewise_linear", "linear", "fully_labelled", "objective", "exact"})
SMOOTH = frozenset({"convex", "smooth", "linear", "fully_labelled", "objective", "exact"})


def softmax(n_samples=60, n_features=5, n_classes=3, weighted=True, **bounds):
    """Multinomial logistic regression; classes overlap."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n_samples, n_features))
    y = np.argmax(x @ rng.normal(size=(n_features, n_classes)) + rng.gumbel(size=(n_samples, n_classes)), axis=1)

    def losses(w, samples):
        score = x[samples] @ w.reshape(n_features, n_classes)
        score -= score.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(score).sum(axis=1))
        each = np.arange(len(samples))
        residual = np.exp(score - log_sum[:, None])
        residual[each, y[samples]] -= 1.0
        slopes = (x[samples][:, :, None] * residual[:, None, :]).reshape(len(samples), len(w))
        return log_sum - score[each, y[samples]], slopes

    weights = rng.uniform(0.5, 1.5, n_samples) if weighted else 1.0
    start = np.zeros(n_features * n_classes)
    return from_slopes(losses, start, n_samples=n_samples, weights=weights, traits=SMOOTH, **bounds)


class Svm:
    """Multiclass hinge loss (Crammer and Singer) on sparse features: `oracle`, and what scipy needs to know."""

    def __init__(self, n_samples=14, n_features=4, n_classes=3, separable=False, weighted=True):
        rng = np.random.default_rng(5)
        x = np.round(rng.normal(size=(n_samples, n_features)), 2) * (rng.random((n_samples, n_features)) < 0.7)
        x[:, 0] = 1.0
        score = x @ rng.normal(size=(n_features, n_classes))
        y = np.argmax(score + (0.0 if separable else 2.0) * rng.normal(size=score.shape), axis=1)
        if separable:
            top = np.sort(score, axis=1)
            kept = top[:, -1] - top[:, -2] > 0.5
            x, y = x[kept], y[kept]
        self.x, self.y, self.shape = x, y, (n_features, n_classes)
        self.weights = rng.uniform(0.5, 1.5, len(x)) if weighted else np.ones(len(x))

        def losses(w, samples):
            score = x[samples] @ w.reshape(self.shape)
            each = np.arange(len(samples))
            violated = 1.0 + score - score[each, y[samples]][:, None]
            violated[each, y[samples]] = 0.0
            said = np.argmax(violated, axis=1)
            residual = np.zeros_like(score)
            residual[each, said] += 1.0
            residual[each, y[samples]] -= 1.0
            slopes = (x[samples][:, :, None] * residual[:, None, :]).reshape(len(samples), len(w))
            return violated[each, said], slopes

        dense = from_slopes(
            losses, np.zeros(n_features * n_classes), n_samples=len(x), weights=self.weights, traits=MARGIN
        )

        def planes(w, samples):
            """On the entries with a slope only: the support differs from one call to the next."""
            found = []
            for whole in dense.planes(w, samples):
                support = np.flatnonzero(whole.values)
                found.append(Plane(whole.loss, support, whole.values[support], whole.offset))
            return found

        self.oracle = dense._replace(planes=planes)

    def optimum(self, strength):
        """Least of mean weighted hinge + sum strength w^2, by SLSQP on the quadratic program with slacks."""
        n, size = len(self.x), self.shape[0] * self.shape[1]
        share = self.weights / n
        rows, least = [], []
        for i, c in itertools.product(range(n), range(self.shape[1])):
            if c == self.y[i]:
                continue
            row = np.zeros((*self.shape,))
            row[:, self.y[i]] += self.x[i]
            row[:, c] -= self.x[i]
            slack = np.zeros(n)
            slack[i] = 1.0
            rows.append(np.concatenate([row.ravel(), slack]))
            least.append(1.0)
        rows = np.array(rows)

        def value(v):
            return np.sum(strength * v[:size] ** 2) + share @ v[size:]

        def slope(v):
            return np.concatenate([2.0 * strength * v[:size], share])

        begin = np.concatenate([np.zeros(size), np.ones(n)])
        found = scipy.optimize.minimize(
            value,
            begin,
            jac=slope,
            bounds=[(None, None)] * size + [(0.0, None)] * n,
            constraints={"type": "ineq", "fun": lambda v: rows @ v - least, "jac": lambda v: rows},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        return float(found.fun)


def least_squares(n_samples=20, n_free=4, **bounds):
    """Squares of residuals, and the matrix and right hand side for scipy's lsq_linear."""
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(n_samples, n_free)), 2.0 * rng.normal(size=n_samples)

    def losses(w, samples):
        residual = a[samples] @ w - b[samples]
        return residual**2, 2.0 * residual[:, None] * a[samples]

    return from_slopes(losses, np.zeros(n_free), n_samples=n_samples, traits=SMOOTH, **bounds), a, b


def chains(kind, n_samples=12, length=4, latent=()):
    """A chain of binary variables with features, all assignments enumerated: `kind` "likelihood" or "hinge" (Hamming).

    Variables in `latent` are never labelled: they are minimised in the right answer.
    """
    rng = np.random.default_rng(11)
    x = rng.integers(0, 3, (n_samples, length))
    y = (x + rng.integers(0, 2, x.shape) > 1).astype(int)
    answers = np.array(list(itertools.product([0, 1], repeat=length)))
    # phi[s, a]: how often the answer a of sample s uses each of 3 * 2 emissions and 4 transitions; energy = phi . w.
    phi = np.zeros((n_samples, len(answers), 10))
    for s, a in itertools.product(range(n_samples), range(len(answers))):
        np.add.at(phi[s, a], x[s] * 2 + answers[a], 1.0)
        np.add.at(phi[s, a], 6 + answers[a, :-1] * 2 + answers[a, 1:], 1.0)
    seen = [v for v in range(length) if v not in latent]
    wrong = (answers[None, :, seen] != y[:, None, seen]).sum(axis=2)
    right = np.where(wrong == 0, 0.0, np.inf)
    start = 0.1 * rng.normal(size=10) if latent else np.zeros(10)

    def problem(right, traits):
        def losses(w, samples):
            energy = phi[samples] @ w
            each = np.arange(len(samples))
            target = np.argmin(energy + right[samples], axis=1)
            if kind == "hinge":
                said = np.argmin(energy - wrong[samples], axis=1)
                loss = energy[each, target] - (energy - wrong[samples])[each, said]
                return loss, phi[samples, target] - phi[samples, said]
            least = energy.min(axis=1)
            part = np.exp(least[:, None] - energy)
            p = part / part.sum(axis=1, keepdims=True)
            loss = energy[each, target] - least + np.log(part.sum(axis=1))
            return loss, phi[samples, target] - np.einsum("sa,saj->sj", p, phi[samples])

        return from_slopes(losses, start, n_samples=n_samples, traits=traits)

    whole = MARGIN if kind == "hinge" else SMOOTH
    if not latent:
        return problem(right, whole)

    def complete(w):
        target = np.argmin(phi @ w + right, axis=1)
        held = np.full(right.shape, np.inf)
        held[np.arange(n_samples), target] = 0.0
        return problem(held, whole)

    return problem(right, whole - {"convex", "piecewise_linear", "fully_labelled"})._replace(complete=complete)


def optimum(oracle, l2=0.0, l1=0.0):
    """Least of mean loss + sum l2 w^2 + sum l1 |w| within bounds, by L-BFGS-B on w = p - q with p, q >= 0."""
    n = len(oracle.start)

    def value(v):
        w = v[:n] - v[n:]
        here = objective(oracle, UNREGULARIZED, w)
        slope = here.gradient + 2.0 * l2 * w
        return here.value + np.sum(l2 * w * w) + np.sum(l1 * v.sum()), np.concatenate([slope + l1, l1 - slope])

    upper = np.concatenate([oracle.upper, -oracle.lower])
    found = scipy.optimize.minimize(
        value,
        np.zeros(2 * n),
        jac=True,
        bounds=[(0.0, high) for high in upper],
        method="L-BFGS-B",
        options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 20_000, "maxfun": 50_000},
    )
    return float(found.fun)
