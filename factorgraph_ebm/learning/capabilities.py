"""What an optimiser needs against what a problem and its regulariser are: compared as sets, before anything runs."""

from __future__ import annotations

import numpy as np

from factorgraph_ebm.learning.optimizers.optimizer import Optimizer
from factorgraph_ebm.learning.oracle import Oracle, Regularizer

_ANY = "lbfgs(), or sgd(average=True)"
_LACKING = {
    "convex": ("a loss that is convex in the parameters", _ANY),
    "piecewise_linear": ("a loss that is a maximum of affine functions (hinge, perceptron)", _ANY),
    "smooth": ("a loss without kinks", "sgd(average=True), or bcfw() for hinge with l2"),
    "linear": ("energies that are linear in the parameters", _ANY),
    "fully_labelled": ("a label on every output variable", "cccp(), lbfgs(), or sgd(average=True)"),
    "objective": ("slopes that are those of the loss, to search along a line", "sgd() or adam()"),
    "exact": ("exact inference", "sgd(average=True), or an exact inference method"),
}
"""trait of a problem -> (what is needed in words, what to use where it is not there)"""


def refusals(optimizer: Optimizer, oracle: Oracle, regularizer: Regularizer) -> str | None:
    """Why an optimiser cannot run on a problem, and what to use instead; None: it can.

    Examples
    --------
    >>> from factorgraph_ebm.learning.optimizers import averaged_perceptron
    >>> from factorgraph_ebm.learning.oracle import from_slopes
    >>> from factorgraph_ebm.learning.regularizers import VectorLayout, l2
    >>> oracle = from_slopes(lambda w, samples: (w, w[:, None]), [0.0], n_samples=1)
    >>> print(refusals(averaged_perceptron(), oracle, l2(1.0).bind(VectorLayout(1))))
    optimizer "averaged_perceptron" takes no regularizer: its steps leave no place for one. Leave it out, or use
    sgd(average=True).
    """
    name, reasons = f'optimizer "{optimizer.name}"', []
    for need in sorted(optimizer.needs):
        if need in _LACKING:
            if need not in oracle.traits:
                words, instead = _LACKING[need]
                reasons.append(f"{name} needs {words}, and this problem has none such. Use {instead}.")
        elif need == "latents":
            if oracle.complete is None:
                reasons.append(
                    f"{name} needs latent variables that are minimised, and there are none. Use the optimizer inside "
                    "it, or lbfgs()."
                )
        elif need == "unbounded":
            bounded = int(np.sum((oracle.lower > -np.inf) | (oracle.upper < np.inf)))
            if bounded:
                reasons.append(
                    f"{name} cannot keep parameters within bounds, and {bounded:,} of {len(oracle.lower):,} entries "
                    f"have some. Use {_ANY}."
                )
        elif need == "l2":
            reason = _not_l2(regularizer)
            if reason is not None:
                reasons.append(f"{name} needs regularizer=l2(strength) over all parameters: {reason}.")
        elif need == "no_regularizer":
            if regularizer.gradient is not None or regularizer.prox is not None:
                reasons.append(
                    f"{name} takes no regularizer: its steps leave no place for one. Leave it out, or use "
                    "sgd(average=True)."
                )
        elif need == "no_rest_but_l1":
            if regularizer.prox is not None and regularizer.l1 is None:
                reasons.append(
                    f"{name} takes a regularizer that is smooth, or has an l1 part, and this one has another kind of "
                    "kink (group). Use sgd(average=True), adam() or adagrad()."
                )
        else:
            known = [*_LACKING, "latents", "unbounded", "l2", "no_regularizer", "no_rest_but_l1"]
            reasons.append(f'{name} needs "{need}", which nothing is known to have. Known: {", ".join(known)}.')
    said = " ".join(reasons)
    # Nothing searches along a line by a loss that is no objective.
    return (said if "objective" in oracle.traits else said.replace(_ANY, "sgd(average=True), or adam()")) or None


def _not_l2(regularizer: Regularizer) -> str | None:
    if regularizer.l2 is None:
        none = regularizer.gradient is None and regularizer.prox is None
        if none:
            return f"there is none. Write it, or use {_ANY}"
        return "this one has other parts. For those use lbfgs() or sgd(average=True)"
    zeros = int(np.sum(~(regularizer.l2 > 0.0)))
    if zeros:
        return f"{zeros:,} of {len(regularizer.l2):,} entries have strength 0. Give them a small one, or use {_ANY}"
    return None
