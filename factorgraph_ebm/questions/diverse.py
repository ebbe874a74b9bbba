"""Diverse answers: each the best of those that differ enough from all before.

    y_m = argmin E(y)  subject to  |{cells c : y[c] != y_j[c]}| >= distance  for every j < m

D. Batra, P. Yadollahpour, A. Guzman-Rivera, G. Shakhnarovich, "Diverse M-best solutions in Markov random fields", ECCV
2012, who relax the constraints into a penalty; here they hold, and each y_m is exact. In the order of energies a
forbidden neighbour of y_j stays forbidden, so one walk down that order meets y_1, y_2, ... in turn. What a short walk
does not meet is found by counters (`questions.counters`), and where no tree holds these, by a longer walk.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from factorgraph_ebm.answers.ranked import RankedAnswer, RankedResult
from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.errors import ConvergenceWarning, MethodError
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.inference import check_options
from factorgraph_ebm.inference.ways import predict
from factorgraph_ebm.questions.asking import (
    Asked,
    Dict,
    Evidence,
    Graphs,
    How,
    Parameters,
    Samples,
    asked_cells,
    read_count,
    read_samples,
)
from factorgraph_ebm.questions.counters import find_apart, order_cells
from factorgraph_ebm.questions.k_best import asked_variables, rank_assignments

LIMIT = 1 << 14
SHORT = 1 << 10
"how many of the best are looked at before counters are tried, at most"
CHEAP = 1 << 22
"products of a tree, times assignments listed, up to which a walk is short: a few seconds"
FIRST = 64
"how many of the best are looked at first, at least; then twice as many, and so on"


@overload
def diverse(
    graph: FactorGraph, k: int, distance: int, given: Dict = None, **keywords: Any
) -> list[RankedResult]: ...
@overload
def diverse(
    graph: Sequence[FactorGraph], k: int, distance: int, given: Evidence = None, **keywords: Any
) -> list[list[RankedResult]]: ...
@overload
def diverse(
    graph: FactorGraph, k: int, distance: int, given: Sequence[Dict], **keywords: Any
) -> list[list[RankedResult]]: ...


def diverse(
    graph: Graphs,
    k: int,
    distance: int,
    given: Evidence = None,
    *,
    asked: Asked = None,
    limit: int = LIMIT,
    parameters: Parameters = None,
    method: str = "auto",
    threads: int | None = None,
    **options: Any,
) -> Any:
    """Find k good assignments that differ from each other: diverse M-best (Batra and others, 2012), one after another.

    The first is the best. Each next one has the least energy of all that differ from every former one in at least
    `distance` of the cells that are asked (their Hamming distance). They are found on a walk through the best
    assignments, or by minimising with the distances as constraints where the width of the graph allows that. Where
    neither leads on, `limit` assignments having been looked at, there are fewer than k results, each of them right, and
    a warning. There are fewer than k without a warning where no other assignment is both allowed and far enough.

    Parameters
    ----------
    k : number of results, 1 or more
    distance : number of cells, 1 or more; 1 is `k_best`
    limit : how many of the best assignments are looked at, at most
    graph, given, asked, parameters, method, threads, options : as in `k_best`

    Returns
    -------
    list of at most k RankedResult by energy, `rank` being the place among all assignments, None for those that no walk
    came to; a list of such lists where `graph` or `given` is a list.

    Raises
    ------
    EvidenceError, ParameterError, MethodError : as in `k_best`.

    Warns
    -----
    ConvergenceWarning : the walk ended before k were found, and the graph is too wide for constraints.

    Examples
    --------
    >>> import factorgraph_ebm as fg
    >>> y = fg.output("y", shape=4, n_states=2)
    >>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0), fg.Table([y], energies=[0.0, 0.125])])
    >>> for each in fg.diverse(graph, 3, distance=2):
    ...     print(each.rank, each.energy, each["y"])
    0 0.0 [0 0 0 0]
    1 0.5 [1 1 1 1]
    4 1.25 [0 0 1 1]
    """
    if "latent" in options:
        raise MethodError("diverse minimises over what is not asked: it has no latent=. Leave it out.")
    check_options(method, options, "k_best")
    k = read_count(k, "k, the number of results, is an int", 1)
    distance = read_count(distance, "distance, the number of cells that differ, is an int", 1)
    limit = read_count(limit, "limit= is an int", 1)
    samples = read_samples(graph, given, parameters)
    masks = [asked_cells(g, known, asked) for g, known in zip(samples.graphs, samples.given)]
    # Where fewer cells than that can differ, the best is alone.
    can = [int((g.cell_states[mask] > 1).sum()) >= distance for g, mask in zip(samples.graphs, masks)]
    wanted = [k if each else 1 for each in can]
    found: list[list[RankedResult]] = [[] for _ in masks]
    how = How(method, threads=threads, options=options)
    asking = _Asking(samples, masks, wanted, distance, how, found, {})
    width = min(limit, max(FIRST, 2 * max(wanted, default=1)))
    left, width = asking.walk(list(range(len(masks))), width, limit, short=method in ("auto", "junction_tree"))
    if left and method in ("auto", "junction_tree"):
        left = [i for i in left if not asking.count(i)]
        if width <= limit:
            left, _ = asking.walk(left, width, limit, short=False)
    if left:
        _warn(found, left, wanted, limit)
    return found if samples.is_list else found[0]


class _Asking(NamedTuple):
    """The question of all samples, and what is found so far."""

    samples: Samples
    masks: Sequence[Bool]
    wanted: Sequence[int]
    distance: int
    how: How
    found: list[list[RankedResult]]
    walked: dict[int, tuple[RankedAnswer, list[Bool], int]]
    "of each sample the last walk, the masks of all that took it, and its place among them"

    def walk(self, left: list[int], width: int, limit: int, *, short: bool) -> tuple[list[int], int]:
        """Look at the `width` best, then at twice as many, up to `limit`, or as long as the walk is `short`.

        Return the samples that need more, and what would be looked at next: more than `limit` at its end.
        """
        while left:
            part, masks = _part(self.samples, left), [self.masks[i] for i in left]
            answer = rank_assignments(part, masks, width, self.how)
            assert answer is not None
            going = []
            for place, i in enumerate(left):
                self.walked[i] = answer, masks, place
                chosen = _apart(answer.states(place)[:, self.masks[i]], self.wanted[i], self.distance)
                if len(chosen) >= len(self.found[i]):
                    self.found[i][:] = [answer.result(place, rank) for rank in chosen]
                if len(self.found[i]) < self.wanted[i] and answer.lengths[place] == width:
                    going.append(i)
            left = going
            if width >= limit:
                return left, limit + 1
            width = min(limit, 2 * width)
            if short and (width > SHORT or width * _products(answer, masks) > CHEAP):
                break
        return left, width

    def count(self, i: int) -> bool:
        """Find the rest of sample i by counters; False where no tree holds them."""
        answer, masks, place = self.walked[i]
        graph, mask, found = self.samples.graphs[i], self.masks[i], self.found[i]
        cells = order_cells(answer, masks, place, np.flatnonzero(mask & (graph.cell_states > 1)))
        first = answer.states(place)
        others = [first[result.rank] for result in found if result.rank is not None]
        while len(others) < self.wanted[i]:
            try:
                states = find_apart(self.samples, i, cells, np.array(others), self.distance, mask, self.how)
            except MethodError:
                return False
            if states is None:
                break
            others.append(states)
            found.append(answer.beyond(place, states))
        return True


def _products(answer: RankedAnswer, masks: Sequence[Bool]) -> float:
    union = answer.problem.union
    return predict(union, minimize=True, first=~asked_variables(answer.problem, masks)).products


def _part(samples: Samples, chosen: Sequence[int]) -> Samples:
    graphs, given = [samples.graphs[i] for i in chosen], [samples.given[i] for i in chosen]
    return Samples(graphs, given, [samples.values[i] for i in chosen], True)


def _apart(states: I64, k: int, distance: int) -> list[int]:
    """Rows of (m, cells) taken in turn: the first, then the next that differs enough from all that were taken."""
    allowed = np.ones(len(states), bool)
    taken: list[int] = []
    while len(taken) < k and allowed.any():
        row = int(np.argmax(allowed))
        taken.append(row)
        allowed &= np.count_nonzero(states != states[row], axis=1) >= distance
    return taken


def _warn(found: Sequence[Sequence[RankedResult]], left: Sequence[int], wanted: Sequence[int], limit: int) -> None:
    first = left[0]
    where = f"sample {first} has " if len(found) > 1 else ""
    more = f" ({len(left)} of {len(found)} samples have too few)" if len(found) > 1 else ""
    warnings.warn(
        f"{where}{len(found[first])} of {wanted[first]} diverse answers among its {limit:,} best assignments{more}; "
        f"what else there may be is worse than those. Write limit={2 * limit}, or a smaller distance.",
        ConvergenceWarning,
        stacklevel=3,
    )
