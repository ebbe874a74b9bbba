"""The algorithms: one file each, which says what it can answer, and with which options.

To add one: write `inference/<name>.py` with a `METHOD`, and add it to `METHODS`; the conformance tests find it there.
"""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import I64, Bool
from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.inference.bp import METHOD as BP
from factorgraph_ebm.inference.choosing import TINY, Choice, choose
from factorgraph_ebm.inference.cut import METHOD as CUT
from factorgraph_ebm.inference.enumerate import METHOD as ENUMERATE
from factorgraph_ebm.inference.enumerate import entries
from factorgraph_ebm.inference.expansion import METHOD as EXPANSION
from factorgraph_ebm.inference.gibbs import METHOD as GIBBS
from factorgraph_ebm.inference.icm import METHOD as ICM
from factorgraph_ebm.inference.junction_tree import METHOD as JUNCTION_TREE
from factorgraph_ebm.inference.method import Answer, FactorRefused, Method, Problem, Ranked

METHODS: Mapping[str, Method] = {
    "bp": BP, "cut": CUT, "enumerate": ENUMERATE, "expansion": EXPANSION, "gibbs": GIBBS, "icm": ICM,
    "junction_tree": JUNCTION_TREE,
}  # fmt: skip

Listing: TypeAlias = Literal["sample", "k_best"]
"the questions that `auto` leaves to exact methods: the names of their entries in `Method`"


def check_options(name: str, options: Mapping[str, Any], question: Listing | None = None) -> None:
    """Raise MethodError for an unknown method, or for an option that it does not have (Q1)."""
    if name != "auto" and name not in METHODS:
        raise MethodError(f'there is no method "{name}".{did_you_mean(name, ["auto", *METHODS])}')
    # "auto" passes options on; of the methods that minimise and sum, only message passing has any.
    known: Mapping[str, Any] = BP.options
    if name != "auto":
        known = METHODS[name].options
    elif question is not None:
        known = {option: value for each in _exact(question) for option, value in each.options.items()}
    for option in options:
        if option not in known:
            listed = ", ".join(f"{key}={value!r}" for key, value in known.items()) or "none"
            near = did_you_mean(option, known) if known else ""
            raise MethodError(
                f'method "{name}" has no option "{option}".{near if "Did" in near else ""} It has: {listed}.'
            )


def run(name: str, problem: Problem, options: Mapping[str, Any], *, messages: bool = False) -> Answer:
    """Answer a problem with the named method, or with the one that `auto` chooses.

    `messages`: the answer is asked for more than a best assignment.

    Raises
    ------
    MethodError : the method cannot answer this question.
    """
    if name == "auto":
        left = problem.deadline - time.monotonic()
        choice = choose(problem.union, problem.minimize, options, left, problem.numbers, messages=messages)
        if choice.first is not None and choice.first.best is not None:
            with contextlib.suppress(FactorRefused):
                return choice.first.best(problem)
            assert choice.otherwise is not None
            choice = choice.otherwise(problem.numbers)
        method = choice.method
    else:
        method = METHODS[name]
    solve = method.best if problem.minimize else method.marginals
    if solve is None:
        able = [m for m in METHODS.values() if (m.best if problem.minimize else m.marginals) is not None]
        raise MethodError(
            f'method "{name}" ({method.summary}) cannot answer {"minimize" if problem.minimize else "marginals"}. '
            f"Write method={' or '.join(repr(m.name) for m in able)}."
        )
    if method.needs_soft_free and problem.any_soft:
        able = [m for m in METHODS.values() if m.best is not None and not m.needs_soft_free]
        raise MethodError(
            f'method "{name}" cannot sum variables out of a minimisation (latent="marginalize"). '
            f"Write method={' or '.join(repr(m.name) for m in able)}."
        )
    options = {**method.options, **options}
    if method.check is not None:
        method.check(options)
    return solve(problem, **options)


def run_sample(name: str, problem: Problem, options: Mapping[str, Any], n: int, rng: np.random.Generator) -> I64:
    """Draw n assignments of every sample, (n, V), as `Method.sample` says. Raises MethodError as `run`."""
    states: I64 = _run_listing("sample", name, problem, options, n, rng)
    return states


def run_k_best(name: str, problem: Problem, options: Mapping[str, Any], k: int, asked: Bool) -> Ranked:
    """List the k best assignments of every sample, as `Method.k_best` says. Raises MethodError as `run`."""
    ranked: Ranked = _run_listing("k_best", name, problem, options, k, asked)
    return ranked


def _able(question: Listing) -> list[Method]:
    """The methods with such an entry."""
    return [m for m in METHODS.values() if getattr(m, question) is not None]


def _exact(question: Listing) -> list[Method]:
    """Those of them that answer it exactly."""
    return [m for m in _able(question) if question != "sample" or m.draws_exactly]


def _run_listing(question: Listing, name: str, problem: Problem, options: Mapping[str, Any], *asked: Any) -> Any:
    """Ask the named method, or for "auto" the first that has these options and does not refuse."""
    able = _able(question)
    if name == "auto":
        # Where all is tiny no tree need be found, or compiled; elsewhere enumeration comes last.
        tiny = entries(problem.compiled)[1] <= TINY
        able = _exact(question)
        able.sort(key=lambda m: (m is ENUMERATE) != tiny)
    else:
        method = METHODS[name]
        if method not in able:
            raise MethodError(
                f'method "{name}" ({method.summary}) cannot answer {question}. '
                f"Write method={' or '.join(repr(m.name) for m in able)}."
            )
        able = [method]
    refused = []
    for method in able:
        if not set(options) <= set(method.options):
            continue
        full = {**method.options, **options}
        if method.check is not None:
            method.check(full)
        try:
            return getattr(method, question)(problem, *asked, **full)
        except MethodError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    rest = "".join(f' Or write method="{m.name}", which is approximate.' for m in _able(question) if m not in able)
    raise MethodError(f"no method can answer {question}: {' '.join(map(str, refused))}{rest}")


__all__ = [
    "METHODS", "Answer", "Choice", "FactorRefused", "Method", "Problem", "Ranked", "check_options", "choose", "run",
    "run_k_best", "run_sample",
]  # fmt: skip
