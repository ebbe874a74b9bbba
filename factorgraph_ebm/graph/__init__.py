"""Declaring: variables and their roles, numbers, scopes, the graph, and what is given."""

from .assignment import Given, default_asked, describe_cell, read_given, to_labels
from .declaration import Factor, TableMap
from .expressions import Computed, Constant, RealNumbers, as_numbers
from .graph import FactorGraph, parameter_values
from .linear import Linear
from .parameters import Parameter
from .parametrisation import Parametrisation, Stacked
from .scope import Scope
from .slots import NumberSlot
from .union import union
from .variables import Variable, latent, observed, output

__all__ = [
    "Computed",
    "Constant",
    "Factor",
    "FactorGraph",
    "Given",
    "Linear",
    "NumberSlot",
    "Parameter",
    "Parametrisation",
    "RealNumbers",
    "Scope",
    "Stacked",
    "TableMap",
    "Variable",
    "as_numbers",
    "default_asked",
    "describe_cell",
    "latent",
    "observed",
    "output",
    "parameter_values",
    "read_given",
    "to_labels",
    "union",
]
