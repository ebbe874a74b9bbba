"""Loss, inference, optimiser and regulariser, chosen independently: which combinations can work.

What is asked is compared with what can be answered, as sets; nothing here knows of a single combination.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.inference import METHODS, Method, check_options
from factorgraph_ebm.learning.capabilities import refusals
from factorgraph_ebm.learning.optimizers import bcfw, lbfgs, sgd
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Oracle, Regularizer, from_slopes
from factorgraph_ebm.learning.regularizers import Penalty, Specification, VectorLayout, bind_regularizer
from factorgraph_ebm.losses.loss import Kind, Loss

ASKS: Mapping[Kind, tuple[str, str]] = {
    "free": ("free", "a free energy"),
    "hits": ("free", "marginals"),
    "best": ("best", "best answers"),
    "wrong": ("wrong", "best wrong answers (by min-marginals)"),
}
"kind of a query -> (what a method must be able to, in words); others need no method"
INSTEAD: Mapping[str, str] = {"free": 'loss="perceptron"', "wrong": 'loss="perceptron"'}
"what to ask of a method that finds best answers only"


def abilities(method: Method) -> frozenset[str]:
    """Which of "free", "best" and "wrong" a method can find.

    Examples
    --------
    >>> sorted(abilities(METHODS["bp"])), sorted(abilities(METHODS["icm"]))
    (['best', 'free', 'wrong'], ['best'])
    """
    able = {"free": method.marginals, "best": method.best, "wrong": method.best if method.min_marginals else None}
    return frozenset(name for name, function in able.items() if function is not None)


def read_inference(inference: Any) -> dict[str, Any]:
    """The options of a verb from the name of a method, or from such options. Raises MethodError."""
    if isinstance(inference, str):
        return {"method": inference}
    if not isinstance(inference, Mapping) or not isinstance(inference.get("method", ""), str):
        raise MethodError(
            f'inference= is the name of a method, or options such as dict(method="bp", damping=0.3), not {inference!r}.'
        )
    return dict(inference)


def check_inference(loss: Loss, method: str, options: Mapping[str, Any]) -> None:
    """Raise MethodError for an unknown method or option, or a method that cannot answer what a loss asks."""
    check_options(method, options)
    named = METHODS["bp" if method == "auto" else method]
    if named.check is not None:
        named.check({**named.options, **options})
    for query in loss.queries:
        need, words = ASKS.get(query.kind, ("", ""))
        if need and need not in abilities(named):
            able = " or ".join(f'"{m.name}"' for m in METHODS.values() if need in abilities(m))
            other = f", or {INSTEAD[need]}" if need in INSTEAD and "best" in abilities(named) else ""
            raise MethodError(
                f'loss "{loss.name}" asks for {words}, which method "{method}" ({named.summary}) cannot find. Write '
                f"inference={able}{other}."
            )


def check_choices(loss: Loss, optimizer: Optimizer | None, regularizer: Specification, latent: str) -> None:
    """Raise MethodError where an optimiser cannot run whatever the samples are, ParameterError for no regulariser."""
    assumed = _assumed(regularizer)
    if optimizer is None:
        return
    known = {
        "convex": loss.convex, "piecewise_linear": loss.piecewise_linear, "smooth": loss.smooth,
        "objective": loss.is_objective,
    }  # fmt: skip
    # What depends on samples is taken for granted, until they are seen.
    traits = {name for name, holds in known.items() if holds} | {"linear", "fully_labelled", "exact"}
    empty = np.zeros((0, 1))
    oracle = from_slopes(lambda w, samples: (empty[:, 0], empty), [0.0], n_samples=0, traits=traits)
    if latent == "minimize":
        oracle = oracle._replace(complete=lambda w: oracle)
    reason = refusals(optimizer, oracle, assumed)
    if reason is not None:
        raise MethodError(f'loss "{loss.name}": {reason}')


def _assumed(specification: Specification) -> Regularizer:
    """A regulariser as it would be on some vector: kinds are compared, and no sum is made, since parts may be apart."""
    if specification is None:
        return UNREGULARIZED
    single = isinstance(specification, (Penalty, Regularizer)) or not isinstance(specification, Sequence)
    parts: Any = [specification] if single else specification
    apart = [
        bind_regularizer([part._replace(only=None) if isinstance(part, Penalty) else part], VectorLayout(1))
        for part in parts
    ]
    if len(apart) == 1:
        return apart[0]
    kinks = [part for part in apart if part.prox is not None]
    one = np.ones(1)
    return Regularizer(
        lambda w: 0.0,
        next((part.gradient for part in apart if part.gradient is not None), None),
        kinks[0].prox if kinks else None,
        l1=one if kinks and all(part.l1 is not None for part in kinks) else None,
        l2=one if apart and not kinks and all(part.l2 is not None for part in apart) else None,
    )


def choose_optimizer(
    loss: Loss, chosen: Optimizer | None, oracle: Oracle, regularizer: Regularizer, *, anew: bool
) -> Optimizer:
    """The optimiser that was chosen, or the first of the usual ones that can run on a problem.

    Parameters
    ----------
    anew : training begins; False: it goes on from the parameters as they are

    Raises
    ------
    MethodError : the one that was chosen cannot run; the message says what to use.
    """
    if chosen is None:
        usual = [lbfgs()] if loss.smooth else [bcfw()] if loss.name == "hinge" and anew else []
        return next((each for each in usual if refusals(each, oracle, regularizer) is None), sgd(average=True))
    if not (anew or chosen.from_start):
        raise MethodError(
            f'optimizer "{chosen.name}" keeps bounds for all samples, and cannot go on from parameters alone. Write '
            'optimizer="sgd", or call fit with all samples.'
        )
    reason = refusals(chosen, oracle, regularizer)
    if reason is not None:
        raise MethodError(reason)
    return chosen
