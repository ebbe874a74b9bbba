"""Energy-based models and factor graphs: declare a graph, ask for best guesses, rankings and distributions.

>>> import factorgraph_ebm as fg
>>> y = fg.output("y", shape=3, n_states=2)
>>> graph = fg.FactorGraph([fg.Potts([y[1:], y[:-1]], penalty=1.0)])
"""

import importlib
from typing import TYPE_CHECKING, Any

from factorgraph_ebm.errors import (
    CollapseWarning,
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
from factorgraph_ebm.factors import (
    AllDifferent,
    And,
    AtLeastOne,
    AtMostOne,
    Cardinality,
    ExactlyOne,
    Implies,
    LinearConstraint,
    Maximum,
    Or,
    Parity,
    Potts,
    Product,
    SparseTable,
    Table,
    TruncatedLinear,
    TruncatedQuadratic,
)
from factorgraph_ebm.graph import Computed, FactorGraph, Linear, Parameter, Variable, latent, observed, output, union

if TYPE_CHECKING:
    from factorgraph_ebm import losses
    from factorgraph_ebm.answers.belief import MarginalsResult
    from factorgraph_ebm.answers.ranked import RankedResult
    from factorgraph_ebm.answers.result import MinimizeResult, Status
    from factorgraph_ebm.estimators.segmentation.segmenter import Segmenter
    from factorgraph_ebm.estimators.segments.segment_tagger import SegmentTagger
    from factorgraph_ebm.estimators.tagging.sequence_tagger import SequenceTagger
    from factorgraph_ebm.formats import read, read_evidence, write
    from factorgraph_ebm.interop import from_networkx, to_networkx
    from factorgraph_ebm.learning import optimizers
    from factorgraph_ebm.learning.diagnosis import diagnose
    from factorgraph_ebm.learning.regularizers import elastic_net, group, l1, l2
    from factorgraph_ebm.model import EnergyModel
    from factorgraph_ebm.questions.diverse import diverse
    from factorgraph_ebm.questions.energy import energy, factor_energies
    from factorgraph_ebm.questions.k_best import k_best
    from factorgraph_ebm.questions.marginals import log_partition, marginals
    from factorgraph_ebm.questions.min_marginals import min_marginals
    from factorgraph_ebm.questions.minimize import minimize
    from factorgraph_ebm.questions.plan import plan
    from factorgraph_ebm.questions.rank import rank
    from factorgraph_ebm.questions.sample import sample
    from factorgraph_ebm.questions.steps import steps

# Loaded on first use: these need numba, scipy.sparse or networkx, which take longer to import than all the rest.
_LAZY = {
    "EnergyModel": "model",
    "MarginalsResult": "answers.belief",
    "MinimizeResult": "answers.result",
    "RankedResult": "answers.ranked",
    "SegmentTagger": "estimators.segments.segment_tagger",
    "Segmenter": "estimators.segmentation.segmenter",
    "SequenceTagger": "estimators.tagging.sequence_tagger",
    "Status": "answers.result",
    "diagnose": "learning.diagnosis",
    "diverse": "questions.diverse",
    "elastic_net": "learning.regularizers",
    "energy": "questions.energy",
    "factor_energies": "questions.energy",
    "from_networkx": "interop",
    "group": "learning.regularizers",
    "k_best": "questions.k_best",
    "l1": "learning.regularizers",
    "l2": "learning.regularizers",
    "log_partition": "questions.marginals",
    "marginals": "questions.marginals",
    "min_marginals": "questions.min_marginals",
    "minimize": "questions.minimize",
    "plan": "questions.plan",
    "rank": "questions.rank",
    "read": "formats",
    "read_evidence": "formats",
    "sample": "questions.sample",
    "steps": "questions.steps",
    "to_networkx": "interop",
    "write": "formats",
}
_MODULES = {"losses": "losses", "optimizers": "learning.optimizers"}

__all__ = [
    "AllDifferent",
    "And",
    "AtLeastOne",
    "AtMostOne",
    "Cardinality",
    "CollapseWarning",
    "Computed",
    "ConvergenceWarning",
    "EnergyModel",
    "EvidenceError",
    "ExactlyOne",
    "FactorError",
    "FactorGraph",
    "FactorGraphError",
    "FormatError",
    "Implies",
    "InfeasibleError",
    "Linear",
    "LinearConstraint",
    "MarginalsResult",
    "Maximum",
    "MethodError",
    "MinimizeResult",
    "Or",
    "Parameter",
    "ParameterError",
    "Parity",
    "Potts",
    "Product",
    "RankedResult",
    "ScopeError",
    "SegmentTagger",
    "Segmenter",
    "SequenceTagger",
    "SparseTable",
    "Status",
    "Table",
    "TruncatedLinear",
    "TruncatedQuadratic",
    "Variable",
    "VariableError",
    "WidthTooLargeError",
    "diagnose",
    "diverse",
    "elastic_net",
    "energy",
    "factor_energies",
    "from_networkx",
    "group",
    "k_best",
    "l1",
    "l2",
    "latent",
    "log_partition",
    "losses",
    "marginals",
    "min_marginals",
    "minimize",
    "observed",
    "optimizers",
    "output",
    "plan",
    "rank",
    "read",
    "read_evidence",
    "sample",
    "steps",
    "to_networkx",
    "union",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = importlib.import_module(f".{_MODULES[name]}", __name__)
    elif name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_MODULES})
