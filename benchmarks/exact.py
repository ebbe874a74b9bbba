"""Exact answers by width: a thin grid, networks, and second-order chains, with method="junction_tree".

    python benchmarks/exact.py [--networks FOLDER] [--chains 10000] [--repeats 5] [--threads 1 2] [--quick] [--check]

    grid      10 x 50 variables of two states, own tables: log Z and all marginals, the best assignment
    networks  all marginals of those of alarm, insurance, hailfinder and win95pts that FOLDER has as .bif, .bif.gz, .uai
              or .uai.gz; each variable is read. "order included" finds the order and makes the tree anew
    chains    10,000 chains of length 35, 12 states, one table over three neighbours: log Z and marginals

    engine    the method alone, on what one call has compiled and bound
    call      the whole call on a structure that has been seen

References: elimination in NumPy (`elimination.py`), its order given; for chains a second-order forward-backward written
by hand in Numba (`second_order.py`), which starts from arrays. Peer: pyGMs, its order and tree included.
"""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import elimination
import numpy as np
import peers
import problems
import second_order
import timing

import factorgraph_ebm as fg
from factorgraph_ebm.inference import known_orders, run, trees

NETWORKS = ("alarm", "insurance", "hailfinder", "win95pts")
ENDINGS = (".bif", ".bif.gz", ".uai", ".uai.gz")
EXACT: dict[str, Any] = {"method": "junction_tree"}


def thin_grid(height: int, width: int) -> problems.Problem:
    rng = np.random.default_rng(0)
    scopes = problems.edges_of(height, width)
    unary = rng.normal(size=(height * width, 2))
    return problems.Problem("Table", (height, width), unary, scopes, rng.normal(size=(len(scopes), 2, 2)))


def second_order_chains(count: int, length: int, states: int) -> tuple[problems.F64, problems.F64]:
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(states, states, states))
    return rng.normal(size=(count, length, states)), tables


def declare_chains(unary: problems.F64, tables: problems.F64) -> list[fg.FactorGraph]:
    """One graph for each chain, tied by the name of a parameter."""
    shared = fg.Parameter("triples", shape=tables.shape, initial=tables)
    graphs = []
    for row in unary:
        y = fg.output("y", shape=len(row), n_states=row.shape[1])
        graphs.append(fg.FactorGraph([fg.Table([y], energies=row), fg.Table([y[:-2], y[1:-1], y[2:]], shared)]))
    return graphs


def read_networks(folder: pathlib.Path | None) -> dict[str, fg.FactorGraph]:
    found: dict[str, fg.FactorGraph] = {}
    for name in NETWORKS if folder is not None else ():
        file = next((folder / f"{name}{end}" for end in ENDINGS if (folder / f"{name}{end}").exists()), None)
        if file is not None:
            found[name] = fg.read(file)
    return found


def rows_of(belief: fg.MarginalsResult, graph: fg.FactorGraph) -> list[problems.F64]:
    """Probabilities of each variable."""
    return [row for v in graph.variables for row in belief[v].reshape(-1, graph.variables[v].max_states)]


def check_tables(name: str, graph: fg.FactorGraph, tables: elimination.Tables) -> None:
    """Compare log Z, all marginals, the least energy and that of the assignment."""
    reference = elimination.Elimination(tables)
    log_partition, marginals = reference.marginals()
    belief = fg.marginals(graph, **EXACT)
    timing.agree(f"{name}, log Z", abs(belief.log_partition - log_partition), 1e-9)
    apart = (np.abs(row[: len(other)] - other).max() for row, other in zip(rows_of(belief, graph), marginals))
    timing.agree(f"{name}, marginals", float(max(apart)), 1e-9)
    least, states = reference.best()
    best = fg.minimize(graph, **EXACT)
    timing.agree(f"{name}, least energy", abs(best.energy - least), 1e-9 * max(1.0, abs(least)))
    there = math.fsum(float(e[tuple(states[list(scope)])]) for scope, e in zip(tables.scopes, tables.energies))
    timing.agree(f"{name}, energy of the best assignment", abs(best.energy - there), 1e-9 * max(1.0, abs(least)))


def check_chains() -> None:
    unary, tables = second_order_chains(20, 9, 4)
    log_partition, marginals = second_order.compile_for(4)(unary, tables)
    beliefs = fg.marginals(declare_chains(unary, tables), **EXACT)
    apart = np.abs(np.array([each.log_partition for each in beliefs]) - log_partition)
    timing.agree("chains, log Z", float(apart.max()), 1e-9)
    apart = np.abs(np.stack([each["y"] for each in beliefs]) - marginals)
    timing.agree("chains, marginals", float(apart.max()), 1e-9)


def engine_of(result: Any) -> Callable[[], object]:
    """The method alone, on the problem that a call has left behind."""
    asked = result._answered.problem
    return lambda: run("junction_tree", asked, {"max_bytes": None})


def measure_grid(problem: problems.Problem, chosen: argparse.Namespace) -> None:
    graph, moment = problems.declare(problem), 0.001 if chosen.quick else 0.1
    reference = elimination.Elimination(elimination.of_problem(problem))
    size = " x ".join(map(str, problem.shape))
    for minimize in (False, True):
        verb = fg.minimize if minimize else fg.marginals

        def ask(threads: int, verb: Callable[..., Any] = verb, minimize: bool = minimize) -> object:
            found = verb(graph, threads=threads, **EXACT)
            return found["y"], found.energy if minimize else found.log_partition

        engine, call = {}, {}
        for threads in chosen.threads:
            engine[threads] = timing.each(engine_of(verb(graph, threads=threads, **EXACT)), moment)
            call[threads] = timing.each(lambda threads=threads, ask=ask: ask(threads), moment)
        others = {}
        if not chosen.quick:
            others = peers.find("pygms", lambda m=minimize: peers.pygms_tables(reference.tables, minimize=m))
        question = "best assignment" if minimize else "log Z and marginals"
        works = {f"grid {size}, 2 states, {question}, {name}": by for name, by in (("engine", engine), ("call", call))}
        plain = timing.each(reference.best if minimize else reference.marginals, moment)
        timing.show(timing.compare(works, "ms", 1e3, plain, others, repeats=timing.repeats_of(chosen)), chosen.json)


def measure_network(name: str, graph: fg.FactorGraph, chosen: argparse.Namespace) -> None:
    moment = 0.001 if chosen.quick else 0.1
    reference = elimination.Elimination(elimination.of_network(graph))

    def ask(threads: int, *, anew: bool) -> object:
        if anew:
            trees._kept.clear()
            known_orders._kept.clear()
        belief = fg.marginals(graph, threads=threads, **EXACT)
        return belief.log_partition, [belief[v] for v in graph.variables]

    included, known, engine = {}, {}, {}
    for threads in chosen.threads:
        included[threads] = timing.each(lambda threads=threads: ask(threads, anew=True), moment)
        known[threads] = timing.each(lambda threads=threads: ask(threads, anew=False), moment)
        engine[threads] = timing.each(engine_of(fg.marginals(graph, threads=threads, **EXACT)), moment)
    others = {}
    if not chosen.quick:
        others = peers.find("pygms", lambda: peers.pygms_tables(reference.tables, minimize=False))
    works = {
        f"{name}, all marginals, {words}": by
        for words, by in (("call, order included", included), ("call, order known", known), ("engine", engine))
    }
    plain = timing.each(reference.marginals, moment)
    timing.show(timing.compare(works, "ms", 1e3, plain, others, repeats=timing.repeats_of(chosen)), chosen.json)


def measure_chains(chosen: argparse.Namespace) -> None:
    count, length, states = (20, 9, 4) if chosen.quick else (chosen.chains, 35, 12)
    unary, tables = second_order_chains(count, length, states)
    graphs = declare_chains(unary, tables)
    by_hand = second_order.compile_for(states)
    moment = 0.001 if chosen.quick else 0.1
    engine, call = {}, {}
    for threads in chosen.threads:
        beliefs = fg.marginals(graphs, threads=threads, **EXACT)
        engine[threads] = timing.each(engine_of(beliefs[0]), moment)
        call[threads] = timing.each(lambda threads=threads: fg.marginals(graphs, threads=threads, **EXACT), moment)
    work = f"{count:,} second-order chains of {length}, {states} states, log Z and marginals"
    works = {f"{work}, {name}": by for name, by in (("engine", engine), ("call", call))}
    others = {"numba": timing.each(lambda: by_hand(unary, tables), moment)}
    read = timing.seconds(lambda: [(each["y"], each.log_partition) for each in beliefs])
    besides = {"read": timing.round_to(read)}
    rows = timing.compare(works, "s", 1.0, None, others, repeats=timing.repeats_of(chosen), besides=besides)
    timing.show(rows, chosen.json)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--chains", type=int, default=10_000)
    parser.add_argument("--networks", type=pathlib.Path, help="a folder with the networks; without it, none")
    chosen = parser.parse_args(arguments)
    grid = thin_grid(3, 6) if chosen.quick else thin_grid(10, 50)
    networks = read_networks(chosen.networks)
    if chosen.check:
        check_tables("grid 10 x 50", problems.declare(grid), elimination.of_problem(grid))
        for name, graph in networks.items():
            check_tables(name, graph, elimination.of_network(graph))
        check_chains()
        return
    measure_grid(grid, chosen)
    for name, graph in networks.items():
        measure_network(name, graph, chosen)
    measure_chains(chosen)


if __name__ == "__main__":
    main()
