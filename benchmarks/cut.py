"""Minimum cuts on grids of two states, and expansion on grids of eight: seconds of whole calls, and energies.

    python benchmarks/cut.py [--sizes 512 1024] [--labels 8] [--repeats 5] [--quick] [--check] [--json]

Energies are multiples of 2^-10, so that every program minimises the same: normal unary energies, and a penalty in
U(.2, 1) for differing of neighbours, which for two states is scaled by a half. A call declares nothing, compiles
nothing, and reads, binds and solves; the graph of a peer is built and solved. `expansion` is timed to rest, on a grid
of half the first size, in two turns at most, and on one of the last size, in one. SciPy's capacities have 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import peers
import problems
import timing
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

import factorgraph_ebm as fg

UNIT = 2.0**-10


def instance(size: int, states: int) -> problems.Problem:
    """A grid of Potts factors in whole multiples of UNIT."""
    drawn = problems.grid(size, states, "Potts")
    scale = 0.5 if states == 2 else 1.0
    whole = [np.rint(scale * x / UNIT) * UNIT for x in (drawn.unary, drawn.numbers)]
    return drawn._replace(unary=whole[0], numbers=whole[1])


def by_scipy(problem: problems.Problem) -> Callable[[], float]:
    """What finds the least energy of a grid of two states by SciPy's maximum flow (Dinic)."""
    n = len(problem.unary)
    likes = np.rint((problem.unary[:, 1] - problem.unary[:, 0]) / UNIT).astype(np.int32)
    pairs = np.rint(problem.numbers / UNIT).astype(np.int32)
    left, right = problem.scopes.T
    cells = np.arange(n)
    source, sink = np.full(n, n), np.full(n, n + 1)

    def run() -> float:
        rows = np.concatenate([left, right, source, cells])
        columns = np.concatenate([right, left, cells, sink])
        capacity = np.concatenate([pairs, pairs, np.maximum(-likes, 0), np.maximum(likes, 0)])
        flow = maximum_flow(csr_array((capacity, (rows, columns)), (n + 2, n + 2)), n, n + 1)
        return float(problem.unary.min(axis=1).sum() + flow.flow_value * UNIT)

    return run


def cuts(size: int, repeats: int, *, scipy: bool) -> list[dict[str, object]]:
    problem = instance(size, 2)
    graph = problems.declare(problem)
    others = peers.find("maxflow", lambda: timing.each(peers.pymaxflow_cut(problem), 0.0))
    if scipy:
        others["scipy"] = timing.each(by_scipy(problem), 0.0)
    best = fg.minimize(graph, method="cut")
    besides = {"status": best.status.value, "energy": best.energy}
    run = timing.each(lambda: fg.minimize(graph, method="cut"), 0.0)
    works = {f"cut of a grid {size} x {size}, 2 states": {1: run}}
    return timing.compare(works, "s", 1.0, None, others, repeats=repeats, besides=besides)


def by_gco(problem: problems.Problem) -> tuple[dict[str, timing.Measure], dict[str, object]]:
    """The measure of gco's expansion, and its energy; nothing where it is not installed."""
    reached: list[float] = []

    def prepare() -> timing.Measure:
        expand = peers.gco_expansion(problem)
        reached.append(problems.energy(problem, expand()))
        return timing.each(expand, 0.0)

    others = peers.find("gco", prepare)
    return others, {"gco_energy": timing.round_to(reached[0], 9)} if others else {}


def moves(size: int, states: int, repeats: int) -> list[dict[str, object]]:
    problem = instance(size, states)
    graph = problems.declare(problem)
    run = timing.each(lambda: fg.minimize(graph, method="expansion"), 0.0)
    best = fg.minimize(graph, method="expansion")
    besides: dict[str, object] = {"rounds": best.iterations, "energy": best.energy}
    others, reached = by_gco(problem)
    besides |= reached
    works = {f"expansion on a grid {size} x {size}, {states} states": {1: run}}
    return timing.compare(works, "s", 1.0, None, others, repeats=repeats, besides=besides)


def check() -> None:
    """A cut, and expansion on two states, against SciPy's flow; the energy of expansion against that of its labels."""
    for size in (5, 24):
        problem = instance(size, 2)
        least = by_scipy(problem)()
        for method in ("cut", "expansion"):
            best = fg.minimize(problems.declare(problem), method=method)
            timing.agree(f"{method}, {size} x {size}", abs(best.energy - least), 1e-9)
    problem = instance(12, 4)
    best = fg.minimize(problems.declare(problem), method="expansion")
    timing.agree("expansion, its energy", abs(best.energy - problems.energy(problem, best["y"].ravel())), 1e-9)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--labels", type=int, default=8)
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check()
        return
    repeats = timing.repeats_of(chosen)
    sizes = [12, 16] if chosen.quick else chosen.sizes
    for size in sizes:
        timing.show(cuts(size, repeats, scipy=size <= 512), chosen.json)
    few = min(repeats, 2)
    for size, turns in ((sizes[0] // 2, few), (sizes[-1], few if len(sizes) < 2 else 1)):
        timing.show(moves(size, chosen.labels, turns), chosen.json)


if __name__ == "__main__":
    main()
