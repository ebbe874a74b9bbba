"""Other libraries on the same work, where they are installed in this environment; README.md says how.

A peer that is absent, or that fails, costs one line on stderr and no row.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable

import numpy as np
from elimination import Tables
from problems import Chains, Problem, tables_of
from timing import Measure, each


def find(name: str, prepare: Callable[[], Measure]) -> dict[str, Measure]:
    """The measure of a peer under its name, or nothing."""
    if importlib.util.find_spec(name) is None:
        return {}
    try:
        measure = prepare()
        measure()
    except Exception as problem:  # whatever a peer does, our own figures are wanted
        print(f"{name} is installed, but does not run: {type(problem).__name__}: {problem}", file=sys.stderr)
        return {}
    return {name: measure}


def pgmax_flooding(problem: Problem, *, minimize: bool, damping: float, iterations: int = 50) -> Measure:
    """PGMax 0.6.1: seconds of a flooding iteration in float32, of as many as one compiled call makes."""
    # Sixteen times faster than its default, and read when jax is imported.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_thunk_runtime=false")
    import jax
    from pgmax import fgraph, fgroup, infer, vgroup

    variables = vgroup.NDVarArray(num_states=problem.states, shape=(len(problem.unary),))
    scopes = [[variables[int(v)] for v in scope] for scope in problem.scopes]
    tables = np.broadcast_to(tables_of(problem), (len(scopes), *[problem.states] * problem.scopes.shape[1]))
    if problem.scopes.shape[1] == 2:
        group = fgroup.PairwiseFactorGroup(variables_for_factors=scopes, log_potential_matrix=-tables)
    else:
        rows = np.stack([axis.ravel() for axis in np.indices(tables.shape[1:])], axis=1)
        group = fgroup.EnumFactorGroup(
            variables_for_factors=scopes, factor_configs=rows, log_potentials=-tables.reshape(len(tables), -1)
        )
    graph = fgraph.FactorGraph(variable_groups=[variables])
    graph.add_factors([group])
    inferer = infer.build_inferer(graph.bp_state, backend="bp")
    start = inferer.init(evidence_updates={variables: -problem.unary})
    temperature = 0.0 if minimize else 1.0
    run = jax.jit(lambda s: inferer.run(s, num_iters=iterations, damping=damping, temperature=temperature))
    measure = each(lambda: jax.block_until_ready(run(start)), 0.0)
    return lambda: measure() / iterations


def _as_hmm(problem: Chains) -> tuple[np.ndarray, np.ndarray]:
    """Start and transition probabilities: these libraries know only normalised chains, at the same cost."""
    weight = np.exp(-problem.transition)
    states = len(weight)
    return np.full(states, 1.0 / states), weight / weight.sum(axis=1, keepdims=True)


def hmmlearn_chains(problem: Chains, *, minimize: bool) -> Measure:
    """hmmlearn 0.3.3: seconds of its compiled passes over all chains, one call each, without its checks of input."""
    from hmmlearn import _hmmc

    start, transition = _as_hmm(problem)
    scores = [np.ascontiguousarray(-emission) for emission in problem.emissions]

    def paths() -> None:
        for score in scores:
            _hmmc.viterbi(start, transition, score)

    def marginals() -> None:
        for score in scores:
            weight = np.exp(score)
            _, forward, scale = _hmmc.forward_scaling(start, transition, weight)
            joint = forward * _hmmc.backward_scaling(start, transition, weight, scale)
            joint /= joint.sum(axis=1, keepdims=True)

    return each(paths if minimize else marginals, 0.0)


def dynamax_chains(problem: Chains, *, minimize: bool, batch: int = 500) -> Measure:
    """dynamax 1.0.3: seconds over all chains in float32, padded to equal length and mapped in batches."""
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_posterior_mode, hmm_smoother

    start, transition = (jnp.asarray(array) for array in _as_hmm(problem))
    longest = max(len(emission) for emission in problem.emissions)
    padded = np.zeros((len(problem.emissions), longest, len(problem.transition)))
    for row, emission in zip(padded, problem.emissions):
        row[: len(emission)] = -emission
    batches = [jnp.asarray(padded[first : first + batch]) for first in range(0, len(padded), batch)]

    def one(score: jax.Array) -> object:
        if minimize:
            return hmm_posterior_mode(start, transition, score)
        found = hmm_smoother(start, transition, score)
        return found.marginal_loglik, found.smoothed_probs

    run = jax.jit(jax.vmap(one))
    return each(lambda: [jax.block_until_ready(run(scores)) for scores in batches], 0.0)


def pygms_tables(tables: Tables, *, minimize: bool) -> Measure:
    """pyGMs 0.4.1: seconds of its order, its junction tree, and log Z and all marginals or the best assignment."""
    import pygms
    import pygms.wmb

    variables = [pygms.Var(i, k) for i, k in enumerate(tables.states)]
    factors = []
    for scope, energies in zip(tables.scopes, tables.energies):
        # It keeps the axes of a table by the number of the variable.
        rising = np.ascontiguousarray(np.transpose(energies, np.argsort(scope)))
        factors.append(pygms.Factor([variables[v] for v in sorted(scope)], np.exp(-rising)))
    model = pygms.GraphModel(factors)

    def ask() -> None:
        order, _ = pygms.eliminationOrder(model, "minfill")
        tree = pygms.wmb.JTree(model, elimOrder=order, weights="max+" if minimize else "sum+")
        tree.msgForward()
        if minimize:
            tree.argmax()
        else:
            tree.beliefs([pygms.VarSet([v]) for v in variables])

    return each(ask, 0.0)


def pymaxflow_cut(problem: Problem) -> Callable[[], float]:
    """PyMaxflow 1.3.2: what builds and cuts a grid of two states in float64, a list of edges as any graph has them."""
    import maxflow

    left, right = (np.ascontiguousarray(ends) for ends in problem.scopes.T)
    n = len(problem.unary)

    def run() -> float:
        graph = maxflow.Graph[float](n, len(left))
        nodes = graph.add_grid_nodes(n)
        graph.add_edges(left, right, problem.numbers, problem.numbers)
        graph.add_grid_tedges(nodes, problem.unary[:, 1], problem.unary[:, 0])
        energy: float = graph.maxflow()
        graph.get_grid_segments(nodes)
        return energy

    return run


def gco_expansion(problem: Problem) -> Callable[[], np.ndarray]:
    """gco-wrapper 3.0.9: what runs expansion to rest, in whole numbers of 32 bits, and returns labels (n,)."""
    import gco

    scale = 1024.0
    # Floats would be rounded to multiples of its own, and whole numbers divided by the largest unless told not to.
    unary = np.rint((problem.unary - problem.unary.min()) * scale).astype(np.int32)
    weights = np.rint(problem.numbers * scale).astype(np.int32)
    smooth = 1 - np.eye(problem.states, dtype=np.int32)

    def run() -> np.ndarray:
        labels: np.ndarray = gco.cut_general_graph(
            problem.scopes, weights, unary, smooth, n_iter=-1, algorithm="expansion", down_weight_factor=1
        )
        return labels

    return run
