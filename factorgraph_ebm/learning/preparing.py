"""What `fit` is told, read and checked: weights, what is set aside, seeds; and what is said before training begins."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from factorgraph_ebm.arrays import F64
from factorgraph_ebm.errors import EvidenceError, MethodError
from factorgraph_ebm.graph.expressions import Computed
from factorgraph_ebm.learning.data import Data, Dicts, check_dicts
from factorgraph_ebm.learning.evaluate import Problem
from factorgraph_ebm.learning.oracle import Regularizer

Aside: TypeAlias = "tuple[Dicts, Dicts] | None"


def read_pairs(samples: Dicts, targets: Dicts) -> int:
    """How many samples there are. Raises MethodError or EvidenceError unless these are lists of dicts of one length."""
    check_dicts(samples, "samples")
    check_dicts(targets, "targets")
    if samples is None and targets is None:
        raise MethodError("there is nothing to learn from: give samples, targets or both.")
    lengths = [len(each) for each in (samples, targets) if each is not None]
    if len(set(lengths)) > 1:
        raise EvidenceError(f"{lengths[0]} samples and {lengths[1]} targets: there must be a target for each.")
    if not lengths[0]:
        raise EvidenceError("there are no samples: the lists are empty.")
    return lengths[0]


def read_weights(weights: npt.ArrayLike | None, n: int) -> F64:
    """Weights of samples, (n,). Raises EvidenceError unless they are finite and at least 0."""
    if weights is None:
        return np.ones(n)
    try:
        read = np.array(weights, np.float64)
    except (TypeError, ValueError):
        read = np.zeros(())
    if read.shape != (n,) or not np.isfinite(read).all() or (read < 0).any():
        shape = f"shape {read.shape}" if read.shape != (n,) else str(read[~((read >= 0) & np.isfinite(read))][0])
        raise EvidenceError(f"weights= has a finite number >= 0 for each of {n} samples, not {shape}.")
    if not read.any():
        raise EvidenceError("weights= is 0 for all samples: there is nothing to learn from.")
    return read


def read_seed(rng: Any) -> int:
    """A seed from one, or from a generator, which moves on. Raises MethodError."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(1 << 62))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0:
        return int(rng)
    raise MethodError(f"rng= is a seed (an int from 0) or a numpy Generator, not {rng!r}.")


def set_aside(
    samples: Dicts, targets: Dicts, weights: F64, validation: Any, seed: int
) -> tuple[Dicts, Dicts, F64, Aside]:
    """What to train on, with its weights, and what to validate on: given, or split off by a random order."""
    if validation is None:
        return samples, targets, weights, None
    if isinstance(validation, tuple) and len(validation) == 2:
        read_pairs(*validation)
        return samples, targets, weights, (validation[0], validation[1])
    n = len(weights)
    share = float(validation) if isinstance(validation, (int, float)) else -1.0
    count = round(share * n) if 0.0 < share < 1.0 else 0
    if not 0 < count < n:
        raise MethodError(
            "validation= is (samples, targets), or a share between 0 and 1 that leaves some of the "
            f"{n} samples on either side, not {validation!r}."
        )
    order = np.random.default_rng([seed, n]).permutation(n)
    kept, aside = np.sort(order[count:]).tolist(), np.sort(order[:count]).tolist()

    def those(dicts: Dicts, chosen: list[int]) -> Dicts:
        return None if dicts is None else [dicts[i] for i in chosen]

    return (
        those(samples, kept), those(targets, kept), weights[kept], (those(samples, aside), those(targets, aside)),
    )  # fmt: skip


def labelled_names(data: Data) -> set[str]:
    """The names of all variables that have a right answer somewhere."""
    return {
        name
        for i, graph in enumerate(data.graphs)
        for name, offset in graph.cell_offset.items()
        if data.labelled(i)[offset : offset + graph[name].size].any()
    }


def warn_of_constants(data: Data, *, stacklevel: int) -> None:
    """Say where a parameter will not be learned, since a function of it has no pullback."""
    for graph in {id(g): g for g in data.graphs}.values():
        for key, factor in zip(graph.keys, graph.factors):
            for slot in factor.slots:
                source = slot.source
                if isinstance(source, Computed) and not source.learned and source.parameters:
                    names = ", ".join(f'"{p.name}"' for p in source.parameters)
                    warnings.warn(
                        f'factor "{key}": Computed has no pullback, so parameter {names} is not learned through it. '
                        "Write pullback=.",
                        UserWarning,
                        stacklevel=stacklevel,
                    )
                    return


def warn_of_symmetry(problem: Problem, start: F64, *, stacklevel: int) -> None:
    """Say so where latent variables meet parameters that are all equal: their states may never come apart."""
    graphs = {id(graph): graph for graph in problem.data.graphs}.values()
    hidden = any(variable.role == "latent" for graph in graphs for variable in graph.variables.values())
    if hidden and len(start) > 1 and np.all(start == start[0]):
        warnings.warn(
            "there are latent variables, and all parameters start equal: states of a latent variable may never come "
            "apart. Write initial=rng.normal(...) for some.",
            UserWarning,
            stacklevel=stacklevel,
        )


def fingerprint(problem: Problem, regularizer: Regularizer, start: F64, *choices: object) -> str:
    """A digest of what is learned and from what: a checkpoint of anything else is refused.

    The data enters by the right answers, by what is given, and by the numbers of every graph at some parameters.
    """
    digest = hashlib.sha256(repr((problem.layout.fingerprint(), problem.loss.name, *choices)).encode())
    rng = np.random.default_rng(0)
    lower, upper = problem.layout.lower, problem.layout.upper
    w = np.clip(start + 0.1 * rng.normal(size=len(start)), lower, upper)
    values = problem.layout.values(w)
    digest.update(np.float32(regularizer.value(w)).tobytes())
    for array in (problem.weights, start):
        digest.update(array.tobytes())
    seen: set[int] = set()
    for graph, given, target in zip(*problem.data):
        for read in (given, target):
            digest.update(np.where(read.known, read.states, -1).astype(np.int64).tobytes())
            for real in read.reals.values():
                digest.update(real.tobytes())
        if id(graph) in seen:
            continue
        seen.add(id(graph))
        for factor in graph.factors:
            for slot in factor.slots:
                with np.errstate(all="ignore"):
                    numbers = slot.source.evaluate({**values, **given.reals})
                # Rounded: another machine may add in another order.
                digest.update(np.round(numbers, 6).astype(np.float32).tobytes())
    return digest.hexdigest()[:16]
