"""A list of 10,000 chains of 20 to 50 positions, shared transitions: log Z and marginals, and best paths, in seconds.

    python benchmarks/chains.py [--chains 10000] [--states 26 45] [--repeats 5] [--threads 1 2] [--quick] [--check]

    engine   the method alone, on what one call has compiled and bound: its own arrays, messages, beliefs, log Z, paths
    call     the whole call on a list whose structure has been seen
    new      the whole call on the same chains in another order, which is another structure: compiled afresh
    read     the answers of all chains read out of the results
    declare  10,000 graphs declared

The reference is batched over chains sorted by length. For marginals it is in the scaled probability domain, where
NumPy multiplies matrices. Peers: hmmlearn (a loop over its compiled passes), dynamax (float32, padded).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import peers
import problems
import timing
from reference import Padded

import factorgraph_ebm as fg
from factorgraph_ebm.inference import run


def check(states: int) -> None:
    """Compare log Z, marginals, least energies and paths of some chains."""
    problem = problems.chains(40, states)
    graphs = problems.declare_chains(problem)
    padded = Padded(problem, size=16)
    log_partition, marginals = padded.marginals()
    beliefs = fg.marginals(graphs)
    found = [beliefs[i] for i in padded.order]
    apart = np.abs(np.array([each.log_partition for each in found]) - log_partition)
    timing.agree(f"{states} states, log Z", float(apart.max()), 1e-9)
    rows = [batch[:, i] for batch in marginals for i in range(batch.shape[1])]
    timing.agree(
        f"{states} states, marginals",
        max(float(np.abs(each["y"] - row[: len(each["y"])]).max()) for each, row in zip(found, rows)),
        1e-9,
    )
    least, paths = padded.best_paths()
    answers = fg.minimize(graphs)
    best = [answers[i] for i in padded.order]
    timing.agree(
        f"{states} states, least energies", float(np.abs(np.array([each.energy for each in best]) - least).max()), 1e-9
    )
    rows = [batch[:, i] for batch in paths for i in range(batch.shape[1])]
    wrong = sum(int((each["y"] != row[: len(each["y"])]).sum()) for each, row in zip(best, rows))
    timing.agree(f"{states} states, paths", float(wrong), 0.0)


def measure(problem: problems.Chains, chosen: argparse.Namespace, *, minimize: bool) -> None:
    graphs = problems.declare_chains(problem)
    verb = fg.minimize if minimize else fg.marginals
    moment = 0.001 if chosen.quick else 0.1
    rng = np.random.default_rng(1)

    def read() -> None:
        for each in results:
            each["y"]
            _ = each.energy if minimize else each.log_partition

    engine, call, new = {}, {}, {}
    for threads in chosen.threads:
        results = verb(graphs, threads=threads)
        asked = results[0]._answered.problem
        # Compiled, bound, and told how many threads: all that is left is the method.
        engine[threads] = timing.each(lambda asked=asked: run("bp", asked, {}), moment)
        call[threads] = timing.each(lambda threads=threads: verb(graphs, threads=threads), moment)
        new[threads] = lambda threads=threads: timing.seconds(
            lambda: verb([graphs[i] for i in shuffled.pop()], threads=threads)
        )
    repeats = timing.repeats_of(chosen)
    shuffled = [rng.permutation(len(graphs)) for _ in range(repeats * len(chosen.threads))]
    besides = {
        "read": timing.round_to(timing.seconds(read)),
        "declare": timing.round_to(timing.seconds(lambda: problems.declare_chains(problem))),
    }
    padded = Padded(problem)
    reference = timing.each(padded.best_paths if minimize else padded.marginals, moment)
    others = {} if chosen.quick else {
        **peers.find("hmmlearn", lambda: peers.hmmlearn_chains(problem, minimize=minimize)),
        **peers.find("dynamax", lambda: peers.dynamax_chains(problem, minimize=minimize)),
    }  # fmt: skip
    question = "best paths" if minimize else "log Z and marginals"
    work = f"{len(graphs):,} chains, {len(problem.transition)} states, {question}"
    works = {f"{work}, {words}": ours for words, ours in (("engine", engine), ("call", call), ("new", new))}
    timing.show(timing.compare(works, "s", 1.0, reference, others, repeats=repeats, besides=besides), chosen.json)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--chains", type=int, default=10_000)
    parser.add_argument("--states", type=int, nargs="+", default=[26, 45])
    chosen = parser.parse_args(arguments)
    for states in chosen.states:
        if chosen.check:
            check(states)
            continue
        problem = problems.chains(50 if chosen.quick else chosen.chains, states)
        for minimize in (False, True):
            measure(problem, chosen, minimize=minimize)


if __name__ == "__main__":
    main()
