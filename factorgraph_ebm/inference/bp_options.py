"""The options of belief propagation: what they may be, and what each question has no use for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.inference.method import check_limits

SCHEDULES = ("sequential", "flooding", "residual")
PRECISIONS = ("float64", "float32")
OPTIONS = {
    "schedule": "sequential", "damping": None, "tolerance": 1e-8, "max_iterations": None, "stop": None, "dtype": None,
}  # fmt: skip


def check(options: Mapping[str, Any]) -> None:
    """Raise MethodError for a value that an option cannot have."""
    schedule, damping, stop = options["schedule"], options["damping"], options["stop"]
    if schedule not in SCHEDULES:
        listed = ", ".join(repr(s) for s in SCHEDULES)
        raise MethodError(f"schedule= is one of {listed}, not {schedule!r}.{did_you_mean(schedule, SCHEDULES)}")
    if damping is not None and (not isinstance(damping, (int, float)) or not 0 <= damping < 1):
        raise MethodError(f"damping= is the share of the old message that is kept, in [0, 1), not {damping!r}.")
    precision = options["dtype"]
    if precision is not None and precision not in PRECISIONS:
        listed = ", ".join(repr(p) for p in PRECISIONS)
        raise MethodError(
            f"dtype= is the precision of the tables that are read, {listed} or None, not {precision!r}."
            f"{did_you_mean(precision, PRECISIONS)}"
        )
    if stop not in (None, "feasible"):
        raise MethodError(f'stop= is None or "feasible", not {stop!r}.')
    check_limits(options)


def refuse_singles(options: Mapping[str, Any], question: str) -> None:
    """Raise MethodError where tables shall be read in single precision by a question that never does."""
    if options["dtype"] == "float32":
        raise MethodError(
            f'{question} reads all tables in double precision: dtype="float32" serves minimize alone. Leave it out.'
        )
