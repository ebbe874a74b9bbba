"""Small architectures with samples and right answers: every shape, structure and source of numbers that can be learned.

An `Architecture` is a function of a sample, as users write it, and says how its samples are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

import factorgraph_ebm as fg

F, K = 2, 3
W = fg.Parameter("W", shape=(F, K))
T = fg.Parameter("T", shape=(K, K))


class Architecture(NamedTuple):
    """`graph(sample)` over y; samples have `x` (size, F) and what `more(rng, size)` adds to them."""

    graph: Callable[[Any], fg.FactorGraph]
    sizes: tuple[int, ...] = (3, 3, 2)
    more: Callable[[np.random.Generator, int], dict[Any, Any]] = lambda rng, size: {}
    states: int = K
    "of y"
    loopy: bool = False
    latent: bool = False
    "has variables that are never labelled"


def y_of(sample: Any, states: int = K) -> Any:
    return fg.output("y", shape=len(sample["x"]), n_states=states)


def unary(sample: Any, y: Any) -> Any:
    return fg.Table([y], energies=fg.Linear(sample["x"], W))


def flat(sample: Any) -> fg.FactorGraph:
    return fg.FactorGraph([unary(sample, y_of(sample))])


def chain(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    return fg.FactorGraph([unary(sample, y), fg.Table([y[:-1], y[1:]], energies=T)])


def tree(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    return fg.FactorGraph([unary(sample, y), fg.Table([y[[0, 1, 1]], y[[1, 2, 3]]], energies=T)])


def grid(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    return fg.FactorGraph([unary(sample, y), fg.Table([y[[0, 1, 2, 3]], y[[1, 2, 3, 0]]], energies=T)])


def high(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    three = fg.Parameter("three", shape=(K, K, K))
    return fg.FactorGraph([unary(sample, y), fg.Table([y[0], y[1], y[2]], energies=three)])


def hidden(sample: Any) -> fg.FactorGraph:
    y, z = y_of(sample), fg.latent("z", shape=len(sample["x"]), n_states=2)
    emit = fg.Parameter("emit", shape=(2, K))
    return fg.FactorGraph(
        [unary(sample, y), fg.Table([z, y], energies=emit), fg.Table([z[:-1], z[1:]], energies=T[:2, :2])]
    )


def joint_unknowns(sample: Any) -> fg.FactorGraph:
    """Latents that hang on one answer each: they can be summed out exactly on a forest."""
    y, z = y_of(sample), fg.latent("z", shape=len(sample["x"]), n_states=2)
    emit = fg.Parameter("emit", shape=(2, K))
    return fg.FactorGraph([unary(sample, y), fg.Table([z, y], energies=emit), fg.Table([y[:-1], y[1:]], energies=T)])


SHAPES = {
    "flat": Architecture(flat),
    "chain": Architecture(chain),
    "tree": Architecture(tree, (4, 4)),
    "grid": Architecture(grid, (4, 4), loopy=True),
    "high": Architecture(high, (3, 3)),
    "hidden": Architecture(hidden, latent=True),
    "leaves": Architecture(joint_unknowns, latent=True),
}


def tied(sample: Any) -> fg.FactorGraph:
    """One parameter under two declarations and two structures."""
    y = y_of(sample)
    own, step = fg.Parameter("own", shape=K), fg.Parameter("step")
    return fg.FactorGraph(
        [
            fg.Table([y], energies=own), fg.Table([y[:-1], y[1:]], energies=T), fg.Table([y[1:], y[:-1]], energies=T),
            fg.Potts([y[:-1], y[1:]], penalty=step), fg.Product([y[0]], weight=step),
        ]
    )  # fmt: skip


def views(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    kinds, pair = fg.Parameter("kinds", shape=(2, K, K)), fg.Parameter("pair", shape=3)
    symmetric = pair[[[0, 1, 2], [1, 0, 1], [2, 1, 0]]]
    turn = np.arange(len(sample["x"]) - 1) % 2
    return fg.FactorGraph(
        [
            fg.Table([y[:-1], y[1:]], energies=kinds[turn]), fg.Table([y[:-1], y[1:]], energies=symmetric),
            fg.Table([y[0]], energies=kinds[0, :, 1]), unary(sample, y),
        ]
    )  # fmt: skip


def frozen(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    kept = fg.Parameter("kept", shape=(K, K), initial=np.arange(9.0).reshape(K, K) % 4, frozen=True)
    return fg.FactorGraph([unary(sample, y), fg.Table([y[:-1], y[1:]], energies=kept)])


def sparse(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    rows = scipy.sparse.csr_matrix(np.where(np.abs(sample["x"]) < 0.5, 0.0, sample["x"]))
    return fg.FactorGraph([fg.Table([y], energies=fg.Linear(rows, W)), fg.Table([y[:-1], y[1:]], energies=T)])


def by_factor(sample: Any) -> fg.FactorGraph:
    """A table of features for each pair: (n - 1, F) x (F, K, K)."""
    y = y_of(sample)
    turns = fg.Parameter("turns", shape=(F, K, K))
    return fg.FactorGraph([unary(sample, y), fg.Table([y[:-1], y[1:]], energies=fg.Linear(sample["x"][:-1], turns))])


def computed(sample: Any) -> fg.FactorGraph:
    """Energies softplus(T) and T[0] ** 2 of their own: not linear in the parameters."""
    y = y_of(sample)
    soft = fg.Computed(lambda t: np.logaddexp(0.0, t), T, shape=(K, K), pullback=lambda t, g: (g / (1.0 + np.exp(-t)),))
    scale = fg.Parameter("scale")
    both = fg.Computed(
        lambda w, s: s * w**2, W[0], scale, shape=K, pullback=lambda w, s, g: (2.0 * s * w * g, np.sum(g * w**2))
    )
    return fg.FactorGraph([unary(sample, y), fg.Table([y[:-1], y[1:]], energies=soft), fg.Table([y[0]], energies=both)])


def reals(sample: Any) -> fg.FactorGraph:
    """Observed reals as features, and as numbers."""
    y = y_of(sample)
    u = fg.observed("u", shape=len(sample["x"]), dim=F)
    c = fg.observed("c", dim=(K, K))
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(u, W)),
            fg.Table([y[:-1], y[1:]], energies=c),
            fg.Table([y[0]], energies=T[0]),
        ]
    )


SOURCES = {
    "tied": Architecture(tied),
    "views": Architecture(views),
    "frozen": Architecture(frozen),
    "sparse": Architecture(sparse),
    "by_factor": Architecture(by_factor),
    "computed": Architecture(computed),
    "reals": Architecture(
        reals, more=lambda rng, size: {"u": rng.normal(size=(size, F)), "c": rng.normal(size=(K, K))}
    ),
}


def potts(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    penalty = fg.Parameter("penalty")
    return fg.FactorGraph([unary(sample, y), fg.Potts([y[:-1], y[1:]], penalty=penalty)])


def product(sample: Any) -> fg.FactorGraph:
    y = fg.output("y", shape=len(sample["x"]), states=[-1, 0, 2])
    v = fg.Parameter("v", shape=F)
    return fg.FactorGraph(
        [fg.Product([y], weight=fg.Linear(sample["x"], v)), fg.Product([y[:-1], y[1:]], weight=fg.Parameter("J"))]
    )


def cardinality(sample: Any) -> fg.FactorGraph:
    y = fg.output("y", shape=4, n_states=2)
    count = fg.Parameter("count", shape=5)
    return fg.FactorGraph([fg.Table([y], energies=fg.Linear(sample["x"], W[:, :2])), fg.Cardinality(y, energies=count)])


def sparse_table(sample: Any) -> fg.FactorGraph:
    y = y_of(sample)
    listed = fg.Parameter("listed", shape=5)
    allowed = [[0, 0], [0, 1], [1, 1], [1, 2], [2, 0]]
    return fg.FactorGraph([unary(sample, y), fg.SparseTable([y[:-1], y[1:]], allowed, listed, otherwise=2.0)])


def truncated(sample: Any) -> fg.FactorGraph:
    y = fg.output("y", shape=len(sample["x"]), n_states=4)
    weight, own = fg.Parameter("weight", shape=2, bounds=(0.0, np.inf)), fg.Parameter("own", shape=(F, 4))
    return fg.FactorGraph(
        [
            fg.Table([y], energies=fg.Linear(sample["x"], own)),
            fg.TruncatedLinear([y[:-1], y[1:]], weight=weight[0], limit=2.0),
            fg.TruncatedQuadratic([y[:-1], y[1:]], weight=weight[1], limit=5.0),
        ]
    )


def repeated(sample: Any) -> fg.FactorGraph:
    """A variable twice in a scope."""
    y = y_of(sample)
    three = fg.Parameter("three", shape=(K, K, K))
    return fg.FactorGraph(
        [unary(sample, y), fg.Table([y[0], y[0], y[1]], energies=three), fg.Table([y[1], y[1]], energies=T)]
    )


def forbidding(sample: Any) -> fg.FactorGraph:
    """A second declaration on each scope with +inf."""
    y = y_of(sample)
    never = np.zeros((K, K))
    never[0, 2] = never[1, 1] = np.inf
    return fg.FactorGraph(
        [
            unary(sample, y), fg.Table([y[:-1], y[1:]], energies=T),
            fg.Table([y[:-1], y[1:]], energies=never, name="never"), fg.Table([y[0]], energies=[0.0, np.inf, 0.0]),
        ]
    )  # fmt: skip


def conditioned(sample: Any) -> fg.FactorGraph:
    """An observed variable, and outputs of which some are given."""
    y, x = y_of(sample), fg.observed("seen", shape=len(sample["x"]), n_states=2)
    emit = fg.Parameter("emit", shape=(2, K))
    return fg.FactorGraph([unary(sample, y), fg.Table([x, y], energies=emit), fg.Table([y[:-1], y[1:]], energies=T)])


def some_given(rng: np.random.Generator, size: int) -> dict[Any, Any]:
    held = np.full(size, -1)
    held[rng.integers(size)] = rng.integers(K)
    return {"seen": rng.integers(2, size=size), "y": held}


STRUCTURES = {
    "Potts": Architecture(potts),
    "Product": Architecture(product),
    "Cardinality": Architecture(cardinality, (4, 4), states=2),
    "SparseTable": Architecture(sparse_table),
    "Truncated": Architecture(truncated, states=4),
    "repeated": Architecture(repeated, (2, 3)),
    "forbidding": Architecture(forbidding),
    "given": Architecture(conditioned, (3, 4), more=some_given),
}
ARCHITECTURES = {**SHAPES, **SOURCES, **STRUCTURES}
