"""How factors and variables hang together: incidence, components, which of them are forests, the variable order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from factorgraph_ebm.arrays import I64, U8, Bool
from factorgraph_ebm.compiler.ordering import incidence, label_components, order_variables
from factorgraph_ebm.compiler.parts import Part


class Topology(NamedTuple):
    """V variables, F factors (part after part), S slots (factor after factor)."""

    factor_start: I64
    "(F + 1,) first slot of each factor"
    slot_variable: I64
    "(S,)"
    slot_factor: I64
    "(S,)"
    start: I64
    "(V + 1,) into `slot`"
    slot: I64
    "(S,) slots of each variable"
    order: I64
    "(V,) variables in the variable order"
    peeled: U8
    "(V,) 0 not peeled, 1 peeled, 2 a soft one peeled after a hard one"
    component: I64
    "(V,) smallest variable of the component"
    is_forest: Bool
    "(V,) read at the label of a component"


def find_topology(parts: Sequence[Part], n_variables: int, soft: U8 | None = None) -> Topology:
    arity = np.concatenate([np.full(p.columns.shape[1], len(p.columns)) for p in parts] or [np.zeros(0, np.int64)])
    factor_start = np.concatenate([[0], np.cumsum(arity)]).astype(np.int64)
    flat = [np.ascontiguousarray(p.columns.T).ravel() for p in parts]
    slot_variable = np.concatenate(flat).astype(np.int64, copy=False) if flat else np.zeros(0, np.int64)
    slot_factor = np.repeat(np.arange(len(arity)), arity)
    start = np.zeros(n_variables + 1, np.int64)
    slot = np.empty(len(slot_variable), np.int64)
    incidence(slot_variable, start, slot)
    order = np.empty(n_variables, np.int64)
    peeled = np.zeros(n_variables, np.uint8)
    working = np.empty(len(arity), np.int64), np.empty(n_variables, np.int64)
    softness = np.zeros(n_variables, np.uint8) if soft is None else soft
    order_variables(factor_start, slot_variable, slot_factor, start, slot, softness, order, peeled, *working)
    component = np.empty(n_variables, np.int64)
    label_components(factor_start, slot_variable, component)
    is_forest = np.ones(n_variables, bool)
    is_forest[component[peeled == 0]] = False
    return Topology(factor_start, slot_variable, slot_factor, start, slot, order, peeled, component, is_forest)
