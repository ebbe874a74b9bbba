"""Compile ahead: every kernel of the package into the cache, so that no later process has to.

A kernel joins by existing: all modules are imported, and each adds what it declares to `_jit.KERNELS`.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

from factorgraph_ebm import _jit


class WarmedUp(NamedTuple):
    """What `warm_up` did."""

    compiled: int
    loaded: int
    "found in the cache"
    directory: str | None
    "the cache; None where no directory is writable"


def all_kernels() -> list[_jit.Kernel]:
    """Return every kernel with a signature of the package.

    Examples
    --------
    >>> "potts_min" in [kernel.name for kernel in all_kernels()]
    True
    """
    package = __name__.rpartition(".")[0]
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # Plots and the like need packages that may not be installed; they hold no kernels.
            if (error.name or package).partition(".")[0] == package:
                raise
    return list(_jit.KERNELS)


def warm_up(report: Callable[[int, int, str], None] | None = None) -> WarmedUp:
    """Compile every kernel, or load it from the cache where it is.

    Parameters
    ----------
    report : called before each kernel with the number done, the number of all, and its name
    """
    _jit.first_time("compiling")  # whoever asked for it need not be told
    kernels, loaded = all_kernels(), []
    for done, kernel in enumerate(kernels):
        if report is not None:
            report(done, len(kernels), kernel.name)
        loaded.append(kernel.loaded)
    return WarmedUp(loaded.count(False), loaded.count(True), _jit.cache_directory())
