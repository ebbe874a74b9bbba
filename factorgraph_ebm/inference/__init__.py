"""The algorithms: one file each, which says what it can answer, and with which options.

To add one: write `inference/<name>.py` with a `METHOD`, and add it to `METHODS`; the conformance tests find it there.
"""

from collections.abc import Collection, Mapping
from typing import Any

from factorgraph_ebm.arrays import Compiled
from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.inference.bp import METHOD as BP
from factorgraph_ebm.inference.enumerate import METHOD as ENUMERATE
from factorgraph_ebm.inference.enumerate import entries
from factorgraph_ebm.inference.icm import METHOD as ICM
from factorgraph_ebm.inference.method import Answer, Method, Problem

METHODS: Mapping[str, Method] = {"bp": BP, "enumerate": ENUMERATE, "icm": ICM}

SMALL = 1 << 18
'entries of all joint tables up to which "auto" enumerates what is not a forest'


def choose(compiled: Compiled, minimize: bool, options: Collection[str]) -> tuple[Method, str]:
    """The method for `auto`, and why: messages where they are exact, enumeration where that is small, else messages."""
    exact = compiled.sample_exact if minimize else compiled.sample_forest
    if exact.all():
        return BP, "a forest, in one sweep up and down"
    why = "what is summed cannot go first" if minimize and compiled.sample_forest.all() else "not a forest"
    if not set(options) <= set(ENUMERATE.options):
        return BP, f"{why}, and its options are given"
    total = entries(compiled)[1]
    if total <= SMALL:
        return ENUMERATE, f"{why}, and all its joint tables have {total:,.0f} entries"
    size = f"{total:,.0f}" if total < 1e15 else f"{total:.0e}"
    return BP, f"{why}, and joint tables of {size} entries are too many to enumerate"


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise MethodError for an unknown method, or for an option that it does not have (Q1)."""
    if name != "auto" and name not in METHODS:
        raise MethodError(f'there is no method "{name}".{did_you_mean(name, ["auto", *METHODS])}')
    # "auto" passes options on, and only message passing has any.
    known = (BP if name == "auto" else METHODS[name]).options
    for option in options:
        if option not in known:
            listed = ", ".join(f"{key}={value!r}" for key, value in known.items()) or "none"
            near = did_you_mean(option, known) if known else ""
            raise MethodError(
                f'method "{name}" has no option "{option}".{near if "Did" in near else ""} It has: {listed}.'
            )


def run(name: str, problem: Problem, options: Mapping[str, Any]) -> Answer:
    """Answer a problem with the named method, or with the one that `auto` chooses.

    Raises
    ------
    MethodError : the method cannot answer this question.
    """
    method = choose(problem.compiled, problem.minimize, options)[0] if name == "auto" else METHODS[name]
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


__all__ = ["METHODS", "Answer", "Method", "Problem", "check_options", "choose", "run"]
