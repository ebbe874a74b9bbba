"""Declaring: variables and their roles, numbers, scopes, the graph, and what is given."""

from factorgraph_ebm.graph.assignment import Given, default_asked, describe_cell, read_given, to_labels
from factorgraph_ebm.graph.declaration import Factor, TableMap
from factorgraph_ebm.graph.expressions import Computed, Constant, RealNumbers, as_numbers
from factorgraph_ebm.graph.graph import FactorGraph, parameter_values
from factorgraph_ebm.graph.linear import Linear
from factorgraph_ebm.graph.parameters import Parameter
from factorgraph_ebm.graph.parametrisation import Parametrisation, Stacked
from factorgraph_ebm.graph.scope import Scope
from factorgraph_ebm.graph.slots import NumberSlot
from factorgraph_ebm.graph.union import union
from factorgraph_ebm.graph.variables import Variable, latent, observed, output

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
