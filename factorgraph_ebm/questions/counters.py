"""The best assignment that is far enough from others, by counters along the cells.

    h_0 = 0,    h_i = min(h_(i-1) + [y_i != other_i], distance),    h_n = distance

A counter of how many cells differ from another assignment need not count beyond `distance`, so the constraint is a
chain of helper variables with distance + 1 states each: the exact form of D. Batra and others, "Diverse M-best
solutions in Markov random fields", ECCV 2012, wherever the width of the graph allows it. Counters pass the cells in the
order in which a tree takes them out, so that they stay beside the variables that are in hand there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorgraph_ebm.answers.ranked import RankedAnswer
from factorgraph_ebm.arrays import F64, I64, Bool
from factorgraph_ebm.errors import WidthTooLargeError
from factorgraph_ebm.factors import Table
from factorgraph_ebm.graph.assignment import Given
from factorgraph_ebm.graph.graph import FactorGraph
from factorgraph_ebm.graph.variables import Variable, latent
from factorgraph_ebm.inference.trees import shape_of
from factorgraph_ebm.inference.ways import predict
from factorgraph_ebm.questions.asking import How, Samples, pose
from factorgraph_ebm.questions.k_best import asked_variables, rank_assignments

LARGEST = 1 << 24
"entries of the tables of all counters of one question"
MOST = 1 << 28
'products that "auto" spends on one answer: about half a minute'


def find_apart(
    samples: Samples, sample: int, cells: I64, others: I64, distance: int, mask: Bool, how: How
) -> I64 | None:
    """States of all cells, (n_cells,), of the best assignment that is far from all others; None where there is none.

    Parameters
    ----------
    others : (m, n_cells) states
    cells : those that count, in the order in which counters pass them; at least `distance`
    mask : (n_cells,) those that are asked, which decide among equals

    Raises
    ------
    WidthTooLargeError, MethodError : no tree with these counters fits.
    """
    graph, given = samples.graphs[sample], samples.given[sample]
    entries = len(others) * (distance + 1) ** 2 * int(graph.cell_states[cells].sum())
    if entries > LARGEST:
        raise WidthTooLargeError(f"counters to a distance of {distance:,} would need {8 * entries:,} bytes.")
    views = _views(graph, cells)
    counters: list[Variable] = []
    factors = list(graph.factors)
    for number, other in enumerate(others):
        name = f"cells that differ from answer {number}"
        while name in graph:
            name += "'"
        counter = latent(name, shape=len(cells) - 1, n_states=distance + 1) if len(cells) > 1 else None
        counters += [] if counter is None else [counter]
        for i, (view, cell) in enumerate(zip(views, cells.tolist())):
            step = _step(int(graph.cell_states[cell]), int(other[cell]), distance)
            scope = [view]
            if counter is not None and i > 0:
                scope.insert(0, counter[i - 1])
            else:
                step = step[0]
            if counter is not None and i < len(cells) - 1:
                scope.append(counter[i])
            else:
                step = step[..., distance]
            factors.append(Table(scope, energies=step))
    counted = FactorGraph(factors, variables=[*graph.variables.values(), *counters])
    more = counted.n_cells - graph.n_cells
    longer = Given(
        np.append(given.known, np.zeros(more, bool)), np.append(given.states, np.zeros(more, np.int64)), given.reals
    )
    # Counters follow from what is asked: asked as well, they change no order, and need not be taken out before.
    asked = [np.append(mask, np.ones(more, bool))]
    alone = Samples([counted], [longer], [samples.values[sample]], True)
    problem = pose(alone, [None], minimize=True, beta=1.0, how=how)
    assert problem is not None
    most, first = how.options.get("max_bytes"), ~asked_variables(problem, asked)
    cost = predict(problem.union, minimize=True, max_bytes=most, first=first)
    if not cost.fits or (how.method == "auto" and cost.products > MOST):
        raise WidthTooLargeError(f"counters to a distance of {distance:,} would need {cost}.")
    answer = rank_assignments(alone, asked, 1, how)
    assert answer is not None
    found = answer.states(0)
    return found[0, : graph.n_cells] if len(found) else None


def _step(states: int, other: int, distance: int) -> F64:
    """0 where a counter goes from one number to the next in a state, +inf elsewhere, (before, states, after)."""
    before = np.arange(distance + 1)[:, None]
    after = np.minimum(before + (np.arange(states) != other), distance)
    return np.where(after[..., None] == np.arange(distance + 1), 0.0, np.inf)


def _views(graph: FactorGraph, cells: I64) -> list[Variable]:
    """Each cell as a single variable."""
    flat = {name: (offset, graph[name].ravel()) for name, offset in graph.cell_offset.items()}
    found = {}
    for offset, variable in flat.values():
        for cell in cells[(cells >= offset) & (cells < offset + variable.size)].tolist():
            found[cell] = variable[cell - offset]
    return [found[cell] for cell in cells.tolist()]


def order_cells(answer: RankedAnswer, asked: Sequence[Bool], place: int, chosen: I64) -> I64:
    """The cells `chosen` of a sample in the order in which a tree takes their variables out."""
    problem = answer.problem
    tree = shape_of(problem.union, ~asked_variables(problem, asked)).tree
    if tree is None:
        return chosen
    node = np.zeros(len(problem.compiled.variable_cell), np.int64)
    gone = tree.axis_kept == 0
    at = np.repeat(np.arange(len(tree.x)), np.diff(tree.axis_start))[gone]
    variable = tree.axis_variable[gone]
    own = variable < len(node)
    node[variable[own]] = at[own]
    first, stop = problem.compiled.sample_cell_start[place : place + 2]
    of_cell = problem.compiled.cell_variable[first:stop]
    return chosen[np.argsort(node[of_cell[chosen]], kind="stable")]
