"""How a tagger learns: the samples that an optimiser sees, the weights that are learned, and CRFsuite's objective.

    sum over sequences of weight * loss + c1 |w|_1 + c2 |w|^2

Losses that add up over sequences are the same for blocks of sequences: to an optimiser that asks for all samples at
once a sample is a block (decision `a_sample_is_a_block.md`), to all others it is a sequence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.estimators.tagging.declaration import Declared, Sequences, blocks, samples_of, singles
from factorgraph_ebm.learning.asking import Inference
from factorgraph_ebm.learning.choices import check_choices, check_inference, choose_optimizer
from factorgraph_ebm.learning.evaluate import Problem, make_problem
from factorgraph_ebm.learning.layout import Layout, layout_of
from factorgraph_ebm.learning.optimizers import averaged_perceptron
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import UNREGULARIZED, objective
from factorgraph_ebm.learning.preparing import fingerprint
from factorgraph_ebm.learning.problem_oracle import make_oracle
from factorgraph_ebm.learning.regularizers import Penalty, bind_regularizer, l1, l2
from factorgraph_ebm.learning.training import Settings, train
from factorgraph_ebm.learning.watching import WATCHED, Row, Watch
from factorgraph_ebm.losses import Loss, as_loss, hinge

WHOLE = ("lbfgs", "cutting_plane")
"optimisers that ask for all samples at once"
WATCHED_BLOCKS = 2
"blocks whose gap is followed: as many sequences, about, as of other models"
ADDITIVE = ("likelihood", "softmax_margin", "perceptron", "hinge")
"losses whose sum over sequences is that of the sequences side by side; of hinges that with a cost"


class Choices(NamedTuple):
    """What is to be minimised, and how."""

    loss: Loss
    optimizer: Optimizer | None
    c1: float
    c2: float
    max_iterations: int | None
    seed: int
    threads: int | None


class Learned(NamedTuple):
    """What training found."""

    values: dict[str, F64]
    objective: float
    "in CRFsuite's scale"
    history: list[Row]
    "figures of loss and objective in that scale"


def read_loss(loss: str | Loss | Callable[..., Loss]) -> Loss:
    """The loss of a word; a hinge by its word counts wrong tags."""
    return hinge(margin="hamming") if isinstance(loss, str) and loss == "hinge" else as_loss(loss)


def adds_up(loss: Loss) -> bool:
    """Whether the loss of sequences side by side is the sum of theirs."""
    return loss.name in ADDITIVE and (loss.name != "hinge" or loss.cost is not None)


class Told(NamedTuple):
    """What else `fit` is told."""

    validation: tuple[Sequences, I64] | None = None
    patience: int | None = None
    callbacks: Sequence[Callable[[Row], Any]] = ()
    checkpoint: str | os.PathLike[str] | None = None
    progress: bool = False
    weights: F64 | None = None
    "(n,) of sequences; None: 1"
    on_from: Mapping[str, F64] | None = None
    "values to begin at; None: 0"
    earlier: Sequence[Row] = ()
    updates: int | None = None


def learn(
    declaration: Declared,
    sequences: Sequences,
    tags: I64,
    seen: Mapping[str, Bool],
    choices: Choices,
    told: Told,
) -> Learned:
    """Minimise the objective over the weights that are `seen`.

    Parameters
    ----------
    tags : (tokens,) right tags, -1 where not known
    seen : by name, which entries of a parameter are learned; the others stay 0

    Raises
    ------
    MethodError : loss, optimiser and penalty cannot work together, or the objective is no number.
    FactorError : a right tag is forbidden.
    """
    optimizer, penalties = choices.optimizer, _penalties(choices)
    if optimizer is None and choices.loss.name == "perceptron":
        optimizer, penalties = averaged_perceptron(), None
    check_inference(choices.loss, "auto", {})
    partly = bool((tags < 0).any())
    latent = "minimize" if not choices.loss.smooth else "marginalize"
    check_choices(choices.loss, optimizer, penalties, latent)
    whole = (optimizer is None and choices.loss.smooth) or (optimizer is not None and optimizer.name in WHOLE)
    whole = whole and adds_up(choices.loss) and told.weights is None
    ranges = blocks(sequences) if whole else singles(sequences)
    data = samples_of(declaration, sequences, tags, ranges)
    # Where no sequence is long enough, no graph has the weights of tags in a row: they stay 0.
    present = {name for graph in data.graphs for name in graph.parameters}
    layout = layout_of(data.graphs, {name: seen[name] for name in seen if name in present and not seen[name].all()})
    count = len(data.graphs)
    # With all samples at once their weights make the mean a sum: what is told on the way is in CRFsuite's scale.
    scale = float(count) if whole else 1.0
    weights = np.full(count, scale) if told.weights is None else told.weights[[low for low, _ in ranges]]
    latent_beta = np.inf if latent == "minimize" else 1.0
    inference = Inference(latent_beta=latent_beta, seed=choices.seed, threads=choices.threads)
    problem = make_problem(data, layout, choices.loss, inference, weights)
    start = layout.start if told.on_from is None else layout.vector(told.on_from)
    watch = Watch(weights)
    oracle = make_oracle(problem, start, choices.seed + len(told.earlier), watch.note)
    penalty = _penalties(choices, scale / count) if penalties is not None else None
    regularizer = bind_regularizer(penalty, layout)
    anew = told.on_from is None
    optimizer = choose_optimizer(choices.loss, optimizer, oracle, regularizer, anew=anew)
    updates = choices.max_iterations if told.updates is None else told.updates
    validation = None if told.validation is None else _validator(declaration, layout, choices, *told.validation)
    how = Settings(
        updates, validation, told.patience, tuple(told.callbacks), told.checkpoint, progress=told.progress,
        earlier=len(told.earlier), watched=WATCHED_BLOCKS if whole else WATCHED,
    )  # fmt: skip
    if told.checkpoint is not None:
        how = how._replace(
            fingerprint=fingerprint(problem, regularizer, start, optimizer.name, choices.seed, partly, ranges)
        )
    trained = train(problem, oracle, watch, optimizer, regularizer, how)
    rows = [_scaled(row, count / scale) for row in trained.history]
    if whole and validation is None and rows:
        value = rows[-1]["objective"]
    else:
        value = objective(oracle, regularizer, trained.w).value * count / scale
    values = {name: np.zeros(mask.shape) for name, mask in seen.items()}
    values |= {name: np.array(v) for name, v in layout.values(trained.w).items()}
    return Learned(values, float(value), [*told.earlier, *rows])


def _penalties(choices: Choices, scale: float = 1.0) -> list[Penalty] | None:
    parts = []
    if choices.c1:
        parts.append(l1(choices.c1 * scale))
    if choices.c2:
        parts.append(l2(choices.c2 * scale))
    return parts or None


def _scaled(row: Row, factor: float) -> Row:
    scaled = ("loss", "objective", "gradient_norm", "bound", "duality_gap")
    return {name: value * factor if name in scaled else value for name, value in row.items()}


def _validator(
    declaration: Declared, layout: Layout, choices: Choices, sequences: Sequences, tags: I64
) -> Callable[[F64], float]:
    """The sum of losses of other sequences."""
    data = samples_of(declaration, sequences, tags, singles(sequences))
    inference = Inference(threads=choices.threads)
    problem: Problem = make_problem(data, layout, choices.loss, inference, np.ones(len(data.graphs)))
    oracle = make_oracle(problem, layout.start, 0)
    return lambda w: objective(oracle, UNREGULARIZED, w).loss * len(data.graphs)
