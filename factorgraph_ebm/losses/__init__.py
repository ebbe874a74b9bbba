"""The losses: one file each.

To add one, write its file and its line in `LOSSES`; the conformance tests find it there.
"""

import inspect
from collections.abc import Callable, Mapping

from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.losses.contrastive_divergence import contrastive_divergence
from factorgraph_ebm.losses.custom import custom
from factorgraph_ebm.losses.energy import energy
from factorgraph_ebm.losses.expected_hamming import expected_hamming
from factorgraph_ebm.losses.hinge import hinge
from factorgraph_ebm.losses.likelihood import likelihood
from factorgraph_ebm.losses.log import log
from factorgraph_ebm.losses.loss import Loss, Query, check_beta, difference
from factorgraph_ebm.losses.lvq2 import lvq2
from factorgraph_ebm.losses.margin import margin
from factorgraph_ebm.losses.mce import mce
from factorgraph_ebm.losses.mee import mee
from factorgraph_ebm.losses.perceptron import perceptron
from factorgraph_ebm.losses.piecewise import piecewise
from factorgraph_ebm.losses.pseudo_likelihood import pseudo_likelihood
from factorgraph_ebm.losses.softmax_margin import softmax_margin
from factorgraph_ebm.losses.square_exponential import square_exponential
from factorgraph_ebm.losses.square_square import square_square
from factorgraph_ebm.losses.univariate import univariate

LOSSES: Mapping[str, Callable[..., Loss]] = {
    # of the right answer alone
    "energy": energy,
    # of the best answer, or the best wrong one: minimisations
    "perceptron": perceptron,
    "hinge": hinge,
    "margin": margin,
    "log": log,
    "lvq2": lvq2,
    "mce": mce,
    "square_square": square_square,
    "square_exponential": square_exponential,
    # of all answers: sums
    "likelihood": likelihood,
    "softmax_margin": softmax_margin,
    "mee": mee,
    # in place of those sums
    "pseudo_likelihood": pseudo_likelihood,
    "piecewise": piecewise,
    "contrastive_divergence": contrastive_divergence,
    # of the marginals of single variables
    "univariate": univariate,
    "expected_hamming": expected_hamming,
    # of any energies
    "custom": custom,
}


def as_loss(loss: str | Loss | Callable[..., Loss]) -> Loss:
    """Return the loss that a word of `LOSSES` names with its defaults; a loss, or a constructor of `LOSSES`, may stand.

    Raises
    ------
    MethodError : an unknown word, a loss that must be told more, or something else.

    Examples
    --------
    >>> as_loss("hinge").name, as_loss(likelihood).name, as_loss(hinge(margin="hamming")).cost
    ('hinge', 'likelihood', 'hamming')
    >>> as_loss("hing")
    Traceback (most recent call last):
        ...
    factorgraph_ebm.errors.MethodError: there is no loss "hing". Did you mean "hinge"?
    """
    if isinstance(loss, Loss):
        return loss
    name = loss if isinstance(loss, str) else next((key for key, make in LOSSES.items() if make is loss), None)
    if name is None:
        what = "A function of energies becomes a loss by losses.custom(function)." if callable(loss) else ""
        raise MethodError(f'loss={loss!r} is neither a word, such as "hinge", nor a loss. {what}'.rstrip())
    if name not in LOSSES:
        raise MethodError(f'there is no loss "{name}".{did_you_mean(name, LOSSES)}')
    needed = [p.name for p in inspect.signature(LOSSES[name]).parameters.values() if p.default is p.empty]
    if needed:
        raise MethodError(f'loss "{name}" must be told more. Write losses.{name}({", ".join(needed)}).')
    return LOSSES[name]()


__all__ = [
    "LOSSES", "Loss", "Query", "as_loss", "check_beta", "contrastive_divergence", "custom", "difference", "energy",
    "expected_hamming", "hinge", "likelihood", "log", "lvq2", "margin", "mce", "mee", "perceptron", "piecewise",
    "pseudo_likelihood", "softmax_margin", "square_exponential", "square_square", "univariate",
]  # fmt: skip
