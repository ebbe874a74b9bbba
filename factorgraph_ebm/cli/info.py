"""`factorgraph-ebm info`: what a model file holds."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import factorgraph_ebm as fg
from factorgraph_ebm.cli.speaking import ANSWERED
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.formats.text import bytes_in_words

SHOWN = 20
"""Sizes that a histogram lists."""


def add(commands: Any) -> None:
    """Declare the command and its options."""
    info = commands.add_parser("info", help="describe a model file")
    info.add_argument("model", metavar="MODEL")
    info.set_defaults(command=_info)


def _info(parsed: argparse.Namespace) -> int:
    graph = fg.read(parsed.model)
    union = compile_union([Sample(graph)])
    compiled = union.compiled
    free = compiled.variable_cell >= 0
    numbers = 8 * (compiled.unary_size + compiled.store_size)
    messages = 2 * 8 * compiled.message_size
    arity_of = [np.broadcast_to(np.asarray(factor.arity, dtype=np.int64), factor.size) for factor in graph.factors]
    arities = np.concatenate([np.zeros(0, dtype=np.int64), *arity_of])
    rows = {
        "variables": f"{graph.n_cells:,}{_arrays(graph)}",
        "factors": f"{arities.size:,} in {len(graph.factors):,} declaration{'s'[: len(graph.factors) != 1]}",
        "states": _histogram(graph.cell_states),
        "arities": _histogram(arities),
        "forest": "yes: answers are exact" if compiled.sample_forest.all() else "no: it has loops",
        "components": f"{np.unique(compiled.variable_component[free]).size:,}",
        "memory": f"{bytes_in_words(numbers)} of numbers, {bytes_in_words(messages)} of messages",
    }
    print(parsed.model)
    for name, value in rows.items():
        print(f"  {name:12}{value}")
    return ANSWERED


def _arrays(graph: fg.FactorGraph) -> str:
    names = list(graph.variables)
    return f" in {len(names):,} arrays" if 1 < len(names) < graph.n_cells else ""


def _histogram(numbers: Any) -> str:
    values, counts = np.unique(np.asarray(numbers, dtype=np.int64), return_counts=True)
    shown = [f"{value} ({count:,})" for value, count in zip(values[:SHOWN], counts[:SHOWN], strict=True)]
    return ", ".join(shown) + (f", ... up to {values[-1]}" if len(values) > SHOWN else "") or "none"
