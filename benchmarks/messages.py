"""Nanoseconds per message: the library, the reference and PGMax on one problem, in turns.

A message is what one factor sends to one of its variables, with all the work on the side of the variables included:
seconds of an iteration / (factors x arity). A sequential iteration is a sweep forward and one back, and sends each
message once, as a flooding iteration does. The reference always floods, damped by half: sweeps are not whole arrays.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import peers
import timing
from problems import Problem, declare, energy
from reference import Flooding, Send, dense

import factorgraph_ebm as fg


def measure(
    work: str,
    problem: Problem,
    chosen: argparse.Namespace,
    *,
    minimize: bool,
    send: Callable[[Problem], Send] | None = None,
    others: dict[str, Send] | None = None,
    variants: dict[str, dict[str, Any]] | None = None,
    **options: Any,
) -> None:
    """Print a row for each number of threads.

    `send` is the reference's own way through a structure; `others` are further references, by name; `variants` are
    further options of the library, by what they are called.
    """
    moment = 0.001 if chosen.quick else 0.2
    graph = declare(problem)
    verb = fg.minimize if minimize else fg.marginals
    ours = {
        name and f", {name}": {
            t: timing.iterations_of(verb, graph, moment, threads=t, **options, **those) for t in chosen.threads
        }
        for name, those in {"": {}, **(variants or {})}.items()
    }
    flooding = Flooding(problem, send(problem) if send else dense(problem, minimize=minimize))
    damping = options.get("damping", 0.0)
    more = {name: timing.each(Flooding(problem, each).iterate, moment) for name, each in (others or {}).items()}
    if not chosen.quick:
        more |= peers.find("pgmax", lambda: peers.pgmax_flooding(problem, minimize=minimize, damping=damping))
    operator = "min-sum" if minimize else "sum-product"
    rows = timing.compare(
        {f"{work}, {operator}, {options['schedule']}{name}": measures for name, measures in ours.items()},
        "ns/message", 1e9 / problem.messages, timing.each(flooding.iterate, moment), more,
        repeats=timing.repeats_of(chosen),
    )  # fmt: skip
    timing.show(rows, chosen.json)


def whole_call(
    work: str,
    problem: Problem,
    chosen: argparse.Namespace,
    *,
    sweeps: int,
    send: Callable[[Problem], Send] | None = None,
    **options: Any,
) -> None:
    """Print the seconds of `minimize` with so many iterations, decoding and results included, and what it reaches.

    The reference makes as many, and takes the best state of each belief. It runs once, since it takes seconds and is
    only there for scale.
    """
    graph = declare(problem)
    limits = {"method": "bp", "max_iterations": sweeps, "tolerance": 0.0, **options}
    found = timing.quietly(fg.minimize, graph, **limits)
    flooding = Flooding(problem, send(problem) if send else dense(problem, minimize=True))
    reference = timing.seconds(lambda: flooding.run(sweeps))
    besides = {"energy": round(found.energy, 2), "numpy_energy": round(energy(problem, flooding.labels()), 2)}
    if found.lower_bound is not None:
        besides["lower_bound"] = round(found.lower_bound, 2)
    if problem.kind == "Potts":
        besides["rewarded"] = round(found.energy - float(problem.numbers.sum()), 2)

    def ask(threads: int) -> timing.Measure:
        return lambda: timing.seconds(lambda: timing.quietly(fg.minimize, graph, threads=threads, **limits))

    rows = timing.compare(
        {f"{work}, min-sum, whole call of {sweeps} iterations": {t: ask(t) for t in chosen.threads}}, "s", 1.0,
        lambda: reference, repeats=timing.repeats_of(chosen), besides=besides,
    )  # fmt: skip
    timing.show(rows, chosen.json)
