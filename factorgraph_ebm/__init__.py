"""Energy-based models and factor graphs: declare a graph, ask for best guesses, rankings and distributions.

>>> import factorgraph_ebm as fg
>>> y = fg.output("y", shape=3, n_states=2)
>>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
"""

import importlib
from typing import TYPE_CHECKING, Any

from factorgraph_ebm.errors import (
    ConvergenceWarning,
    EvidenceError,
    FactorError,
    FactorGraphError,
    FormatError,
    InfeasibleError,
    MethodError,
    ParameterError,
    ScopeError,
    VariableError,
    WidthTooLargeError,
)
from factorgraph_ebm.factors import Potts, Product, Table
from factorgraph_ebm.graph import Computed, FactorGraph, Linear, Parameter, Variable, latent, observed, output, union

if TYPE_CHECKING:
    from factorgraph_ebm.formats import read, read_evidence, write
    from factorgraph_ebm.inference.belief import MarginalsResult
    from factorgraph_ebm.inference.min_marginals import min_marginals
    from factorgraph_ebm.inference.planning import plan
    from factorgraph_ebm.inference.result import MinimizeResult, Status
    from factorgraph_ebm.inference.steps import steps
    from factorgraph_ebm.interop import from_networkx, to_networkx
    from factorgraph_ebm.questions import energy, factor_energies, log_partition, marginals, minimize, rank

# Loaded on first use: these need numba, scipy.sparse or networkx, which take longer to import than all the rest.
_LAZY = {
    "MarginalsResult": "inference.belief",
    "MinimizeResult": "inference.result",
    "Status": "inference.result",
    "energy": "questions",
    "factor_energies": "questions",
    "from_networkx": "interop",
    "log_partition": "questions",
    "marginals": "questions",
    "min_marginals": "inference.min_marginals",
    "minimize": "questions",
    "plan": "inference.planning",
    "rank": "questions",
    "read": "formats",
    "read_evidence": "formats",
    "steps": "inference.steps",
    "to_networkx": "interop",
    "write": "formats",
}

__all__ = [
    "Computed",
    "ConvergenceWarning",
    "EvidenceError",
    "FactorError",
    "FactorGraph",
    "FactorGraphError",
    "FormatError",
    "InfeasibleError",
    "Linear",
    "MarginalsResult",
    "MethodError",
    "MinimizeResult",
    "Parameter",
    "ParameterError",
    "Potts",
    "Product",
    "ScopeError",
    "Status",
    "Table",
    "Variable",
    "VariableError",
    "WidthTooLargeError",
    "energy",
    "factor_energies",
    "from_networkx",
    "latent",
    "log_partition",
    "marginals",
    "min_marginals",
    "minimize",
    "observed",
    "output",
    "plan",
    "rank",
    "read",
    "read_evidence",
    "steps",
    "to_networkx",
    "union",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
