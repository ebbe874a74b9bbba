"""Declaring and compiling: seconds for large grids, microseconds for a small graph, bytes a factor.

python benchmarks/declare.py [--size 512] [--repeats 5] [--quick] [--check] [--json]

own tables   a 512 x 512 grid with a 2 x 2 table of its own on every edge, 785,408 factors: declared and compiled
             afresh. The reference makes in NumPy what a hand-written program needs before its first message
             (scopes, messages sorted by variable, checked tables), and nothing else. `bind` is the seconds that a
             question spends on its numbers when the structure is compiled.
Potts        a 1000 x 1000 grid, 3.0 million factors, with the bytes of every array that the compiled graph holds
             on to, messages aside
a chain      30 positions, 10 states, features times a parameter: declared, in microseconds
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import problems
import timing
from reference import build_arrays

import factorgraph_ebm as fg
from factorgraph_ebm.compiler import union
from factorgraph_ebm.compiler.parts import Sample


def compile_afresh(graph: fg.FactorGraph) -> union.Union:
    union._cache.clear()
    return union.compile_union([Sample(graph)])


def potts_grid(unary: np.ndarray) -> fg.FactorGraph:
    y = fg.output("y", shape=unary.shape[:2], n_states=unary.shape[2])
    down = fg.Potts([y[1:], y[:-1]], penalty=1.0)
    return fg.FactorGraph([fg.Table([y], energies=unary), down, fg.Potts([y[:, 1:], y[:, :-1]], penalty=1.0)])


def size_of(graph: fg.FactorGraph) -> int:
    return sum(factor.size for factor in graph.factors)


def check() -> None:
    """Compare the scopes that are declared with those of the reference, and its sorted messages with their meaning."""
    problem = problems.grid(12, 2, "attractive")
    scopes, order, start, _ = build_arrays(problem.shape, problem.numbers)
    pairs = [factor.scope.slots for factor in problems.declare(problem).factors[1:]]
    declared = np.concatenate([np.stack([np.ravel(slot) for slot in pair], axis=1) for pair in pairs])
    timing.agree("scopes of a grid", float(np.abs(declared - scopes).max()), 0.0)
    owner = np.repeat(np.arange(len(problem.unary)), np.diff(start))
    timing.agree("messages of a grid, by variable", float(np.abs(scopes.T.ravel()[order] - owner).max()), 0.0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=512)
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check()
        return
    repeats, moment = timing.repeats_of(chosen), 0.0
    size = 16 if chosen.quick else chosen.size
    problem = problems.grid(size, 2, "attractive")
    graph = problems.declare(problem)
    compiled = compile_afresh(graph)
    states = np.zeros(graph.n_cells, np.int64)
    steps = {
        "declare": timing.each(lambda: problems.declare(problem), moment),
        "compile": timing.each(lambda: compile_afresh(graph), moment),
        "bind": timing.each(lambda: compiled.bind([{}], states), moment),
    }
    besides = {name: timing.round_to(min(step() for _ in range(repeats))) for name, step in steps.items()}
    rows = timing.compare(
        {
            f"declare and compile {size} x {size}, own tables, {size_of(graph):,} factors": {
                1: timing.each(lambda: compile_afresh(problems.declare(problem)), moment)
            }
        },
        "s", 1.0, timing.each(lambda: build_arrays(problem.shape, problem.numbers), moment),
        repeats=repeats, besides=besides,
    )  # fmt: skip
    timing.show(rows, chosen.json)

    rng = np.random.default_rng(0)
    size = 16 if chosen.quick else 1000
    unary = rng.normal(size=(size, size, 2))
    graph = potts_grid(unary)
    rows = timing.compare(
        {
            f"declare and compile {size} x {size}, Potts, {size_of(graph):,} factors": {
                1: timing.each(lambda: compile_afresh(potts_grid(unary)), moment)
            }
        },
        "s", 1.0, None, repeats=repeats,
        besides={"bytes_per_factor": timing.round_to(union._bytes(compile_afresh(graph)) / size_of(graph))},
    )  # fmt: skip
    timing.show(rows, chosen.json)

    emission = fg.Parameter("emission", shape=(30, 10), initial=rng.normal(size=(30, 10)))
    transition = fg.Parameter("transition", shape=(10, 10), initial=rng.normal(size=(10, 10)))
    features = rng.normal(size=(30, 30))

    def chain() -> fg.FactorGraph:
        y = fg.output("y", shape=len(features), n_states=10)
        unary = fg.Table([y], energies=fg.Linear(features, emission))
        return fg.FactorGraph([unary, fg.Table([y[:-1], y[1:]], energies=transition)])

    measure = timing.each(chain, 0.001 if chosen.quick else 0.1)
    timing.show(timing.compare({"declare a chain": {1: measure}}, "us", 1e6, None, repeats=repeats), chosen.json)


if __name__ == "__main__":
    main()
