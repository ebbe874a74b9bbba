"""Training a linear-chain conditional random field: seconds of one gradient, and seconds to a given objective.

    python benchmarks/learning.py [--sentences 5000] [--repeats 5] [--threads 1 2] [--quick] [--check]

5,000 sentences of about 25 tokens, 20 tags, 20 active binary features a token out of 100,000 (Zipf, half of them tied
to the tag), weights of the (feature, tag) pairs that occur and of all transitions, penalty |w|^2 (CRFsuite's c2 = 1).

    gradient   all losses and their gradient at one w; the reference is NumPy over positions of all sentences at once
    training   L-BFGS with memory 10 until the objective is no higher than what python-crfsuite reaches in 50 iterations
               in the same run (20,981.48), compiling included; where it is not installed, until 20,981.48
    read       sentences made into graphs and read; not in `training`, as loading is not in that of python-crfsuite

`--check` compares losses and gradients with the reference, and the optimum with python-crfsuite's where it is there.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import timing
from numpy.typing import NDArray

import factorgraph_ebm as fg
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.data import Data, read_data
from factorgraph_ebm.learning.evaluate import Problem, evaluate, make_problem
from factorgraph_ebm.learning.layout import Layout, layout_of
from factorgraph_ebm.learning.optimizers.lbfgs import lbfgs
from factorgraph_ebm.learning.oracle import Oracle, Regularizer
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.learning.regularizers import bind_regularizer, l2
from factorgraph_ebm.losses.likelihood import likelihood

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
C2 = 1.0
ITERATIONS = 50
TARGET = 20_981.482
"objective of python-crfsuite 0.9.12 after 50 iterations on all 5,000 sentences"


class Sentences(NamedTuple):
    """Sentences end to end."""

    start: I64
    "(sentences + 1,)"
    tag: I64
    "(tokens,)"
    feature: I64
    "(tokens, active) numbers of features, perhaps repeated"
    x: Any
    "(tokens, features that occur) CSR of zeros and ones"
    tags: int


def draw(sentences: int, tags: int = 20, features: int = 100_000, active: int = 20, seed: int = 0) -> Sentences:
    """Tags from a random Markov chain; features from Zipf's law, three tenths of them moved to the tag's own."""
    rng = np.random.default_rng(seed)
    start = np.concatenate([[0], np.cumsum(np.maximum(1, rng.poisson(25, sentences)))])
    n = int(start[-1])
    reached = rng.dirichlet(np.full(tags, 0.3), size=tags).cumsum(axis=1)
    drawn = rng.random(n)
    opens = np.zeros(n, bool)
    opens[start[:-1]] = True
    tag = np.zeros(n, np.int64)
    for i in range(n):
        follows = np.searchsorted(reached[tag[i - 1]], drawn[i])
        tag[i] = int(drawn[i] * tags) if opens[i] else min(tags - 1, int(follows))
    often = 1.0 / np.arange(1, features + 1) ** 1.05
    feature = np.searchsorted(np.cumsum(often / often.sum()), rng.random((n, active)))
    tied = (rng.random((n, active)) < 0.5) & (rng.random((n, active)) < 0.6)
    feature = np.minimum(np.where(tied, feature // tags * tags + tag[:, None], feature), features - 1)
    occurs, number = np.unique(feature, return_inverse=True)
    x = scipy.sparse.csr_array(
        (np.ones(feature.size), (np.repeat(np.arange(n), active), number.ravel())), shape=(n, len(occurs))
    )
    x.sum_duplicates()
    x.data[:] = 1.0
    return Sentences(start, tag, feature.astype(np.int64), x, tags)


class Crf:
    """The sentences as samples of a model."""

    def __init__(self, sentences: Sentences) -> None:
        self.sentences = sentences
        k = sentences.tags
        weight = fg.Parameter("weight", shape=(sentences.x.shape[1], k))
        transition = fg.Parameter("transition", shape=(k, k))

        def architecture(sample: Any) -> fg.FactorGraph:
            n = sample["x"].shape[0]
            y = fg.output("y", n_states=k, shape=n)
            factors = [fg.Table([y], energies=fg.Linear(sample["x"], weight))]
            return fg.FactorGraph([*factors, fg.Table([y[:-1], y[1:]], energies=transition)] if n > 1 else factors)

        spans = list(zip(sentences.start.tolist(), sentences.start[1:].tolist()))
        samples = [{"x": sentences.x[low:high]} for low, high in spans]
        targets = [{"y": sentences.tag[low:high]} for low, high in spans]
        began = time.perf_counter()
        self.data: Data = read_data(architecture, samples, targets)
        occurs = np.zeros(weight.shape, bool)
        occurs[sentences.x.nonzero()[1], np.repeat(sentences.tag, np.diff(sentences.x.indptr))] = True
        self.layout: Layout = layout_of(self.data.graphs, seen={"weight": occurs})
        self.read = time.perf_counter() - began

    def problem(self, threads: int | None) -> Problem:
        return make_problem(
            self.data, self.layout, likelihood(), Inference(threads=threads), np.ones(len(self.data.graphs))
        )

    def to_minimise(self, problem: Problem) -> tuple[Oracle, Regularizer]:
        """The objective of CRFsuite, divided by the number of sentences."""
        penalty = bind_regularizer(l2(C2 / len(self.data.graphs)), self.layout)
        return make_oracle(problem, self.layout.start, 0), penalty

    def train(self, threads: int | None, target: float, most: int = 1000) -> tuple[float, dict[str, float]]:
        """Seconds until the objective is at most `target`, or stays as it is; and figures of the run."""
        began = time.perf_counter()
        problem = self.problem(threads)
        compiled = time.perf_counter() - began
        oracle, penalty = self.to_minimise(problem)
        optimizer = lbfgs(max_iterations=most, tolerance=0.0 if target > 0.0 else 1e-9, memory=10)
        state = optimizer.init(oracle, penalty)
        while state.value * oracle.n_samples > target and not state.finished:
            state = optimizer.update(state, oracle, penalty)
        seconds = time.perf_counter() - began
        return seconds, {
            "objective": round(state.value * oracle.n_samples, 2), "iterations": state.iteration,
            "evaluations": state.evaluations, "compile": timing.round_to(compiled), "read": timing.round_to(self.read),
        }  # fmt: skip


class ByPosition:
    """The reference: scaled forward and backward passes, position by position over all sentences, longest first."""

    def __init__(self, sentences: Sentences, layout: Layout) -> None:
        self.x, self.layout, self.tag = sentences.x, layout, sentences.tag
        self.back = sentences.x.T.tocsr()
        length = np.diff(sentences.start)
        first = sentences.start[:-1][np.argsort(-length, kind="stable")]
        length = -np.sort(-length)
        self.row = [first[: int(np.sum(length > t))] + t for t in range(int(length.max()))]
        "tokens at each position"
        self.last = first + length - 1

    def losses_and_gradient(self, w: F64) -> tuple[float, F64]:
        """The sum of all losses, and its gradient."""
        values = self.layout.values(w)
        energy = self.x @ values["weight"]
        least = energy.min(axis=1, keepdims=True)
        unary, pair = np.exp(least - energy), np.exp(-values["transition"])
        above, below = np.empty_like(unary), np.ones_like(unary)
        scale = np.empty(len(unary))
        for t, row in enumerate(self.row):
            found = unary[row] * (above[row - 1] @ pair) if t else unary[row]
            scale[row] = found.sum(axis=1)
            above[row] = found / scale[row, None]
        expected = np.zeros_like(pair)
        for row in self.row[:0:-1]:
            sent = unary[row] * below[row] / scale[row, None]
            below[row - 1] = sent @ pair.T
            expected += above[row - 1].T @ sent
        marginal = above * below
        tokens = np.arange(len(unary))
        right = energy[tokens, self.tag].sum()
        slopes = -marginal
        slopes[tokens, self.tag] += 1.0
        into = {"weight": self.back @ slopes, "transition": -expected * pair}
        inside = np.ones(len(unary), bool)
        inside[self.last] = False
        pairs = self.tag[:-1][inside[:-1]], self.tag[1:][inside[:-1]]
        right += values["transition"][pairs].sum()
        np.add.at(into["transition"], pairs, 1.0)
        return float(right + np.log(scale).sum() - least.sum()), self.layout.vector(into)


@functools.cache
def crfsuite(sentences: int, iterations: int = ITERATIONS) -> tuple[float, float]:
    """Seconds of training python-crfsuite, and the objective that it reached."""
    import pycrfsuite

    told: list[str] = []

    class Trainer(pycrfsuite.Trainer):
        def message(self, text: str) -> None:
            told.append(text)

    drawn = draw(sentences)
    trainer = Trainer(algorithm="lbfgs", verbose=True)
    trainer.set_params(
        {"c1": 0.0, "c2": C2, "max_iterations": iterations, "feature.possible_transitions": True, "epsilon": 0.0,
         "delta": 0.0, "period": 10**6}
    )  # fmt: skip
    for low, high in zip(drawn.start.tolist(), drawn.start[1:].tolist()):
        tokens = [[f"f{j}" for j in sorted(set(row))] for row in drawn.feature[low:high].tolist()]
        trainer.append(tokens, [str(tag) for tag in drawn.tag[low:high].tolist()])
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trainer.train(os.path.join(folder, "model"))
        seconds = time.perf_counter() - began
    return seconds, float(re.findall(r"Loss: ([0-9.]+)", "".join(told))[-1])


def has_crfsuite() -> bool:
    return importlib.util.find_spec("pycrfsuite") is not None


def check() -> None:
    """Losses and gradients of some sentences, weights at random, and the optimum."""
    few = draw(60)
    crf = Crf(few)
    w = 0.3 * np.random.default_rng(1).normal(size=crf.layout.n_free)
    found = evaluate(crf.problem(1), w)
    total, gradient = ByPosition(few, crf.layout).losses_and_gradient(w)
    timing.agree("60 sentences, sum of losses", abs(float(found.losses.sum()) - total) / total, 1e-12)
    timing.agree("60 sentences, gradient", float(np.abs(found.gradient - gradient).max()), 1e-10)
    if has_crfsuite():
        _, best = crfsuite(60, iterations=300)
        _, told = crf.train(1, 0.0)
        timing.agree("60 sentences, least objective", abs(told["objective"] - best) / best, 1e-4)


def measure(chosen: argparse.Namespace) -> None:
    sentences = draw(40 if chosen.quick else chosen.sentences)
    crf = Crf(sentences)
    count = len(crf.data.graphs)
    w = 0.1 * np.random.default_rng(1).normal(size=crf.layout.n_free)
    problems = {threads: crf.problem(threads) for threads in chosen.threads}
    moment = 0.001 if chosen.quick else 0.5
    gradient = {
        threads: timing.each(lambda problem=problem: evaluate(problem, w), moment)
        for threads, problem in problems.items()
    }
    by_position = ByPosition(sentences, crf.layout)
    reference = timing.each(lambda: by_position.losses_and_gradient(w), moment)
    work = f"chain CRF, {count:,} sentences, {crf.layout.n_free:,} weights"
    repeats = timing.repeats_of(chosen)
    works = {f"{work}, one gradient": gradient}
    timing.show(timing.compare(works, "s", 1.0, reference, repeats=repeats), chosen.json)
    del problems, gradient
    peer = has_crfsuite() and not chosen.quick
    theirs, target = crfsuite(count) if peer else (0.0, TARGET if count == 5000 else 0.0)
    rows = []
    for threads in chosen.threads:
        seconds, told = crf.train(threads, target, most=10 if chosen.quick else 200)
        row = {"work": f"{work}, training to {target:,.2f}", "unit": "s", "threads": threads}
        row |= {"fg": timing.round_to(seconds)}
        if peer:
            row |= {"crfsuite": timing.round_to(theirs), "crfsuite_ratio": timing.round_to(theirs / seconds)}
        rows.append({**row, **told})
    timing.show(rows, chosen.json)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--sentences", type=int, default=5000)
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check()
    else:
        measure(chosen)


if __name__ == "__main__":
    main()
