"""The optimisers: one file each. To add one, write its file and its line in `OPTIMIZERS`."""

from collections.abc import Callable, Mapping

from factorgraph_ebm.errors import MethodError, did_you_mean
from factorgraph_ebm.learning.optimizers.adagrad import adagrad
from factorgraph_ebm.learning.optimizers.adam import adam
from factorgraph_ebm.learning.optimizers.averaged_perceptron import averaged_perceptron
from factorgraph_ebm.learning.optimizers.bcfw import bcfw
from factorgraph_ebm.learning.optimizers.cccp import cccp
from factorgraph_ebm.learning.optimizers.cutting_plane import cutting_plane
from factorgraph_ebm.learning.optimizers.lbfgs import lbfgs
from factorgraph_ebm.learning.optimizers.optimizer import Optimizer, run
from factorgraph_ebm.learning.optimizers.passive_aggressive import passive_aggressive
from factorgraph_ebm.learning.optimizers.sgd import sgd

OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "lbfgs": lbfgs,
    "sgd": sgd,
    "adam": adam,
    "adagrad": adagrad,
    "averaged_perceptron": averaged_perceptron,
    "passive_aggressive": passive_aggressive,
    "bcfw": bcfw,
    "cutting_plane": cutting_plane,
    "cccp": cccp,
}


def as_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """The optimiser of a name of `OPTIMIZERS` as it is without options, or the one that was passed.

    Raises
    ------
    MethodError : an unknown name, or something else.

    Examples
    --------
    >>> as_optimizer("lbfgs").name
    'lbfgs'
    >>> as_optimizer("lbgfs")
    Traceback (most recent call last):
        ...
    factorgraph_ebm.errors.MethodError: there is no optimizer "lbgfs". Did you mean "lbfgs"?
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise MethodError(f'there is no optimizer "{optimizer}".{did_you_mean(optimizer, OPTIMIZERS)}')
        return OPTIMIZERS[optimizer]()
    if optimizer in OPTIMIZERS.values():
        name = optimizer.__name__
        raise MethodError(f"{name} is a function that returns an optimizer: write optimizer={name}().")
    raise MethodError(
        f"an optimizer is a name ({', '.join(OPTIMIZERS)}), a call such as lbfgs(), or an Optimizer, not {optimizer!r}."
    )


__all__ = [
    "OPTIMIZERS", "Optimizer", "adagrad", "adam", "as_optimizer", "averaged_perceptron", "bcfw", "cccp",
    "cutting_plane", "lbfgs", "passive_aggressive", "run", "sgd",
]  # fmt: skip
