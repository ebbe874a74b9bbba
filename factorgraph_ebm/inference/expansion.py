"""Alpha-expansion: in a move every variable keeps its state or takes the state alpha, the best way, by a minimum cut.

Y. Boykov, O. Veksler and R. Zabih, "Fast approximate energy minimization via graph cuts", IEEE Trans. Pattern Analysis
and Machine Intelligence 23(11), 2001. Moves go round the states until none lowers the energy. What is then found is
locally best among all that a move can reach, 2^n assignments each; where pairs are a metric and energies are at least
0, its energy is at most 2 c times the least, c being the ratio of the largest and the least E(a, b), a != b, of a
factor: 2 for Potts. A table must satisfy

    E(a, a) + E(b, c) <= E(a, c) + E(b, a)    for all states a, b, c,

so that every move is a cut: Potts and truncated linear factors do.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from factorgraph_ebm._jit import INTEGER, READ_F8, SIZE, kernel
from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.compiler.layout import sizes
from factorgraph_ebm.engine.cut_graph import TIE, magnitude_of
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.fusion import Fusion, Pairs, repels, single_states, started
from factorgraph_ebm.inference.method import Answer, Method, Problem, Status, check_limits
from factorgraph_ebm.inference.passing import Passing
from factorgraph_ebm.inference.tables import number_rows, run_of, run_tables

OPTIONS = {"max_iterations": 1000}
ENTRIES = 1 << 22
"entries of tables that are looked at in one compiled call"


@kernel(INTEGER, READ_F8, SIZE, SIZE, SIZE)
def first_irregular(tables, n, rows, columns):  # type: ignore[no-untyped-def]
    """The first of n tables (rows, columns) that has a move which is no cut, or -1."""
    both = rows if rows < columns else columns
    for f in range(n):
        t = f * rows * columns
        for a in range(both):
            same = tables[t + a * columns + a]
            for b in range(rows):
                entered = tables[t + b * columns + a]
                for c in range(columns):
                    apart = tables[t + b * columns + c]
                    left = tables[t + a * columns + c]
                    if same + apart > entered + left:
                        span = magnitude_of(same) + magnitude_of(apart) + magnitude_of(entered) + magnitude_of(left)
                        if same + apart > entered + left + TIE * span:
                            return np.int64(f)
    return np.int64(-1)


def best(problem: Problem, **options: Any) -> Answer:
    """Moves in the order of the states, from `start=` or what each variable likes best by itself.

    An iteration is one round of moves. A sample in which every variable has two states at most is solved exactly.

    Raises
    ------
    FactorRefused : a factor is over more than two variables, or does not attract.
    """
    compiled = problem.compiled
    union, numbers, sample = problem.union, problem.numbers, compiled.variable_sample
    fusion = Fusion(problem, "expansion")
    for pairs in fusion.pairs:
        _refuse_irregular(problem, pairs)
    n_samples, states = len(compiled.sample_chunk), sizes(compiled.variable_start)
    n_states = int(states.max(initial=1))
    state = started(problem, single_states(problem))
    energy = assignment_energies(union, numbers, state)
    limit = OPTIONS["max_iterations"] if options["max_iterations"] is None else options["max_iterations"]
    loss, exact = np.zeros(n_samples), np.ones(n_samples, bool)
    seconds: list[float] = []
    energies: list[F64] = []
    began = time.perf_counter()
    moves, last, late = 0, 0, False
    # At rest once every other state was tried since the last change.
    while moves - last < n_states and moves < limit * n_states and not late:
        alpha = moves % n_states
        fused = fusion.fuse(state, np.where(alpha < states, alpha, state))
        late = problem.is_late()
        if not fused.finished:
            break
        if fused.takes.any():
            moved = np.where(fused.takes, alpha, state)
            found = assignment_energies(union, numbers, moved)
            lower = found < energy
            if lower.any():
                state = np.where(lower[sample], moved, state)
                energy = np.where(lower, found, energy)
                last = moves
        loss, exact = np.maximum(loss, fused.loss), exact & fused.exact
        moves += 1
        if moves % n_states == 0 or moves - last >= n_states or late:
            energies.append(energy)
            seconds.append(time.perf_counter() - began)
            if problem.progress is not None:
                problem.progress(len(energies), 0.0)
    rested = moves - last >= n_states
    passing = Passing(union.layout, numbers, minimize=True)
    bound, slack = passing.lower_bounds((0.0,))
    # With two states, what no move can improve is a minimum: the lowest and the highest states of it and any other
    # assignment are moves, and the sum of their energies is no more than that of these two.
    few = np.ones(n_samples, bool)
    few[sample[states > 2]] = False
    few &= rested & np.isfinite(energy)
    statuses = []
    for s in range(n_samples):
        if bound[s] == np.inf:
            statuses.append(Status.INFEASIBLE)
        elif energy[s] <= bound[s] + slack[s] or (few[s] and exact[s]):
            statuses.append(Status.OPTIMAL)
        elif rested:
            statuses.append(Status.CONVERGED)
        else:
            statuses.append(Status.TIME_LIMIT if late else Status.ITERATION_LIMIT)
    return Answer(
        method="expansion",
        status=tuple(statuses),
        iterations=np.full(n_samples, -(-moves // n_states)),
        residual=np.zeros(n_samples),
        states=state,
        lower_bound=np.where(few, np.maximum(energy - 2.0 * loss, bound - slack), bound - slack),
        trace=tuple(
            {"energy": np.array([e[s] for e in energies]), "seconds": np.array(seconds)} for s in range(n_samples)
        ),
    )


def _refuse_irregular(problem: Problem, pairs: Pairs) -> None:
    """Raise FactorRefused where a factor of these has a move that is no cut."""
    compiled, kind = problem.compiled, problem.union.layout.kinds[pairs.run]
    fields = run_of(compiled, pairs.run)
    if kind in ("Potts", "TruncatedLinear"):  # distances, times a number
        number = compiled.factor_number[fields.factor : fields.factor + fields.size].astype(np.int64)
        if fields.shared >= 0:
            number = np.array([fields.shared])
        weight = number_rows(compiled, problem.numbers.store, kind, fields, number)
        least = weight.min(axis=tuple(range(1, weight.ndim)))
        if least.min() < 0.0:
            raise repels("expansion", pairs.first + int(np.argmax(least < 0.0)))
        return
    rows, columns = (k for k in fields.states if k > 1)
    n = 1 if fields.shared >= 0 else fields.size
    step = max(1, ENTRIES // (rows * columns))
    for low in range(0, n, step):
        taken: I64 = np.arange(low, min(low + step, n))
        tables = np.ascontiguousarray(run_tables(problem.union, problem.numbers, pairs.run, taken)).reshape(-1)
        found = first_irregular(tables, len(taken), rows, columns)
        if found >= 0:
            raise repels("expansion", pairs.first + low + int(found))


METHOD = Method(
    name="expansion",
    summary="moves by minimum cuts, where many states attract in pairs",
    best=best,
    marginals=None,
    options=OPTIONS,
    check=check_limits,
    needs_soft_free=True,
    min_marginals=False,
)
