"""Which assignments are allowed, and stopping at the first; messages that run away prove nothing."""

from __future__ import annotations

import numpy as np
import pytest
from checks import quietly
from strategies import Case, case_of
from unions import bind_cases

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.layout import variable_chunks
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.schedules import flooding
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.engine.driver import RUNAWAY
from factorgraph_ebm.factors import STRUCTURES
from factorgraph_ebm.inference import progress, stopping
from factorgraph_ebm.inference.energies import assignment_energies
from factorgraph_ebm.inference.feasible import Feasible
from factorgraph_ebm.inference.forms import Differences, Odds
from factorgraph_ebm.inference.iterating import Plan
from factorgraph_ebm.inference.method import Problem
from factorgraph_ebm.inference.passing import Passing

FORBIDDING = ["forbidden", "integer forbidden", "tied", "huge"]


@pytest.mark.parametrize("block", range(8))
def test_allowed_are_those_of_finite_energy(block):
    """Drawn graphs, states drawn and states known to be allowed, all samples or a few of them."""
    answers = []
    for seed in range(10 * block, 10 * block + 10):
        rng = np.random.default_rng(seed)
        cases = [case_of(810_000 + 20 * seed + i, forest=False, limit=60, kinds=FORBIDDING) for i in range(12)]
        bound = bind_cases(cases * 2, rng)
        compiled = bound.union.compiled
        feasible = Feasible(Problem(bound.union, bound.numbers, 1.0, True, None, np.inf, None))
        n_chunks = len(compiled.chunk_variable_start) - 1
        joints = [bound.joint(s) for s in range(bound.n)]
        good = [rng.choice(j.states[np.isfinite(j.rest)]) if j.feasible else j.states[0] for j in joints]
        allowed_states = bound.engine(good)
        for _ in range(4):
            for share in (0.0, 0.1, 1.0):  # of the variables in states drawn anew
                state = np.where(rng.random(len(allowed_states)) < share, bound.draw_states(rng), allowed_states)
                expected = np.isfinite(assignment_energies(bound.union, bound.numbers, state))
                one, *few = rng.permutation(n_chunks)[:4].tolist()
                for chunks in (list(range(n_chunks)), [one], sorted(few), []):
                    found = feasible.allowed(state, chunks)
                    asked = np.isin(compiled.sample_chunk, chunks)
                    np.testing.assert_array_equal(found[asked], expected[asked])
                if share == 0.0:
                    np.testing.assert_array_equal(expected, [j.feasible for j in joints])
                answers += expected.tolist()
    assert 0.1 < np.mean(answers) < 0.95


def hard(name, b, y, rng):
    """One structure with something forbidden, over some of the on-off cells b or the cells y of four states."""
    two, three = rng.choice(len(b), 2, replace=False), rng.choice(len(b), 3, replace=False)
    pair, more = rng.choice(len(y), 2, replace=False), rng.choice(len(y), 3, replace=False)
    table = np.where(rng.random((4, 4)) < 0.3, np.inf, rng.normal(size=(4, 4)))
    if name in ("Potts", "TruncatedLinear", "TruncatedQuadratic"):
        more_of = {"penalty": np.inf} if name == "Potts" else {"weight": np.inf, "limit": 2.0}
        return getattr(fg, name)([y[pair[0]], y[pair[1]]], **more_of)
    if name == "Table":
        if rng.random() < 0.5:
            return fg.Table([y[pair[0]], y[pair[1]]], energies=table)
        return fg.Table([b[two[0]], y[pair[0]], y[pair[1]]], energies=np.stack([table, table.T]))
    if name == "SparseTable":
        return fg.SparseTable([y[pair[0]], y[pair[1]]], np.argwhere(np.isfinite(table)), table[np.isfinite(table)])
    if name == "Product":
        return fg.Product([y[pair[0]], y[pair[1]]], weight=np.inf)
    if name == "LinearConstraint":
        return fg.LinearConstraint([y[c] for c in more], [1.0, 2.0, -1.0], "<=", 3.0)
    if name == "Cardinality":
        return fg.Cardinality([b[c] for c in three], [0.0, 1.0, np.inf, -1.0])
    if name == "Implies":
        return fg.Implies([b[two[0]], b[two[1]]])
    if name in ("AllDifferent", "Maximum"):
        return getattr(fg, name)([y[c] for c in more])
    return getattr(fg, name)([b[c] for c in three])


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_every_structure_says_what_it_forbids(name, rng):
    """Forty samples in almost as many chunks, with a hard factor each or none: asked about one, some, and all."""
    cases = []
    for i in range(40):
        b, y = fg.output("b", shape=6, n_states=2), fg.output("y", shape=5, n_states=4)
        factors = [fg.Potts([y, y[[1, 2, 3, 4, 0]]], penalty=0.5), fg.Table([b], energies=rng.normal(size=(6, 2)))]
        factors += [hard(name, b, y, rng) for _ in range(i % 3)]
        cases.append(Case(fg.FactorGraph(factors), {}, {}, {}, {}, "hard", False))
    bound = bind_cases(cases, rng, share=0.1)
    compiled = bound.union.compiled
    n_chunks = len(compiled.chunk_variable_start) - 1
    assert n_chunks > 30
    # Implications, and products over few states, are compiled to tables.
    assert name in bound.union.layout.kinds or name in ("Implies", "Product")
    feasible = Feasible(Problem(bound.union, bound.numbers, 1.0, True, None, np.inf, None))
    answers = []
    for _ in range(10):
        state = bound.draw_states(rng)
        expected = np.isfinite(assignment_energies(bound.union, bound.numbers, state))
        for count in (1, 3, 15, n_chunks):
            chunks = sorted(rng.permutation(n_chunks)[:count].tolist())
            asked = np.isin(compiled.sample_chunk, chunks)
            np.testing.assert_array_equal(feasible.allowed(state, chunks)[asked], expected[asked])
        answers += expected.tolist()
    assert 0.1 < np.mean(answers) < 0.99


HARD = "..9748...7.........2.1.9.....7...24..64.1.59..98...3.....8.3.2.........6...2759.."


def sudoku(text):
    cell = fg.output("cell", shape=(9, 9), states=range(1, 10))
    boxes = cell.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3).reshape(9, 9)
    graph = fg.FactorGraph(
        [
            fg.AllDifferent(cell, axis=1, name="rows"),
            fg.AllDifferent(cell, axis=0, name="columns"),
            fg.AllDifferent(boxes, axis=1, name="boxes"),
        ]
    )
    puzzle = np.array([0 if c == "." else int(c) for c in text]).reshape(9, 9)
    return graph, {cell[puzzle > 0]: puzzle[puzzle > 0]}


def solved(text):
    """A solution by trying digits, fewest candidates first."""
    square = [int(c.replace(".", "0")) for c in text]
    units = [[9 * i + j for j in range(9)] for i in range(9)] + [[9 * j + i for j in range(9)] for i in range(9)]
    units += [[27 * i + 3 * j + 9 * a + b for a in range(3) for b in range(3)] for i in range(3) for j in range(3)]

    def candidates(cell):
        return set(range(1, 10)) - {square[c] for unit in units if cell in unit for c in unit}

    def fill():
        empty = [cell for cell in range(81) if not square[cell]]
        if not empty:
            return True
        cell = min(empty, key=lambda c: len(candidates(c)))
        for digit in candidates(cell):
            square[cell] = digit
            if fill():
                return True
        square[cell] = 0
        return False

    assert fill()
    return np.array(square).reshape(9, 9)


@pytest.mark.parametrize("stop", [None, "feasible"])
@pytest.mark.parametrize("schedule", ["sequential", "flooding"])
def test_a_puzzle_on_which_messages_run_away_is_not_called_impossible(stop, schedule):
    """It has a solution; sums of evidence around its loops double again and again until doubles would end."""
    graph, given = sudoku(HARD)
    best = quietly(fg.minimize, graph, given=given, stop=stop, schedule=schedule)
    assert best.status is not fg.Status.INFEASIBLE
    belief = quietly(fg.marginals, graph, given=given, stop=stop, schedule=schedule)
    assert belief.status is not fg.Status.INFEASIBLE
    assert not np.isnan(belief["cell"]).any()
    np.testing.assert_allclose(belief["cell"].sum(-1), 1.0, atol=1e-9)
    if schedule == "sequential":
        assert belief.status is fg.Status.ITERATION_LIMIT and not belief.converged
        assert RUNAWAY < belief.residual < np.inf


def test_one_that_runs_away_stops_alone():
    """Beside it in a list, what is solved is solved, and what is impossible is said to be."""
    graph, given = sudoku(HARD)
    wrong = {view: np.asarray(value).copy() for view, value in given.items()}
    view = next(iter(wrong))
    wrong[view][:2] = 9  # two in one row
    full = solved(HARD)
    assert fg.energy(graph, {"cell": full}) == 0.0
    found = quietly(fg.marginals, graph, given=[given, wrong, {"cell": full}], stop="feasible")
    assert [b.status for b in found][1:] == [fg.Status.INFEASIBLE, fg.Status.OPTIMAL]
    assert found[0].status is fg.Status.ITERATION_LIMIT
    np.testing.assert_array_equal(found[2]["cell"].argmax(-1) + 1, full)


def test_parity_checks_of_which_every_bit_doubles():
    """Two checks over the same three bits: each round adds all evidence to itself. Words of even weight exist."""
    bits = fg.output("bits", shape=3, n_states=2)
    members = [[0, 1], [1, 2], [0, 2], [0, 1], [1, 2]]
    energies = [[0.0, 1.0], [0.0, 1.5], [0.0, -0.25]]
    checks = [fg.Parity(bits, members=[row]) for row in members]
    graph = fg.FactorGraph([fg.Table([bits], energies=energies), *checks])
    for stop in (None, "feasible"):
        for damping in (None, 0.0):
            best = quietly(fg.minimize, graph, method="bp", stop=stop, damping=damping, max_iterations=1500)
            assert best.status is not fg.Status.INFEASIBLE
            assert best.energy == 0.0 and not best["bits"].any()
            belief = quietly(fg.marginals, graph, method="bp", stop=stop, damping=damping, max_iterations=1500)
            assert belief.status is not fg.Status.INFEASIBLE and np.isfinite(belief["bits"]).all()


@pytest.mark.parametrize("block", range(4))
def test_feasible_is_said_only_of_what_is(block):
    """Over drawn loopy graphs: an answer that stopped at an allowed assignment gives one."""
    stopped = 0
    for seed in range(60 * block, 60 * block + 60):
        case = case_of(820_000 + seed, forest=False, kinds=["forbidden", "integer forbidden"])
        best = quietly(fg.minimize, case.graph, case.given, parameters=case.parameters, method="bp", stop="feasible")
        if best.status is fg.Status.FEASIBLE:
            stopped += 1
            assert best.feasible and np.isfinite(fg.energy(case.graph, best, parameters=case.parameters))
    assert stopped > 0


def code(n, rng):
    """A (3, 6)-regular code over bits of which each answer is told the costs."""
    rows = rng.permutation(np.repeat(np.arange(n), 3)).reshape(-1, 6)
    rows = rows[[len(set(row)) == 6 for row in rows.tolist()]]
    cost, bits = fg.observed("cost", shape=n, dim=2), fg.output("bits", shape=n, n_states=2)
    return [fg.Table([bits], energies=cost), fg.Parity(bits, members=rows)], bits


def noisy(n, level, rng):
    """Costs of bits that were sent as zeros."""
    one = 2 * (1 + level * rng.normal(size=n)) / level**2
    return np.stack([np.zeros(n), one], axis=-1)


def mixed_code(n, rng):
    """With costs of changes from bit to bit, a pair that excludes itself, and variables that nothing speaks to."""
    factors, bits = code(n, rng)
    alone, sure = fg.output("alone", shape=3, n_states=3), fg.output("sure", shape=2, n_states=2)
    energies = [[2.0, 1.0, 0.0], [np.inf, np.inf, 1.0], [0.0, 1.0, np.inf]]
    both = np.where(np.eye(2, dtype=bool) & [False, True], np.inf, 0.0)
    more = [
        fg.Potts([bits[:99], bits[1:100]], penalty=0.05),
        fg.Table([bits[:-3:7], bits[3::7]], energies=both),
        fg.Table([alone], energies=energies),
        fg.Table([sure], energies=[[np.inf, 0.0], [0.0, 0.1]]),
    ]
    return [*factors, *more]


def everything(answer):
    """What an answer says, to the last bit, but for seconds and the messages."""
    trace = answer.trace["residual"].tobytes()
    found = [answer.status, answer.iterations, answer.residual, trace]
    shown = [answer[name] for name in ("bits", "alone", "sure") if name in answer]
    return found + [x.tobytes() for x in shown] + [getattr(answer, "energy", None)]


@pytest.mark.parametrize("schedule", ["flooding", "sequential"])
@pytest.mark.parametrize("verb, damping", [(fg.marginals, 0.0), (fg.minimize, 0.2), (fg.minimize, 0.0)])
@pytest.mark.parametrize("graph_of", [lambda n, rng: code(n, rng)[0], mixed_code])
def test_a_driver_that_looks_by_itself_stops_where_python_would(graph_of, verb, damping, schedule, rng, monkeypatch):
    """Frame by frame or all in turn, in calls of any length, on any number of threads: the same bits."""
    n = 720
    graph = fg.FactorGraph(graph_of(n, rng))
    given = [{"cost": noisy(n, level, rng)} for level in (0.5, 0.75, 0.85, 1.4, 0.8, 0.7, 0.9)]
    options = {"method": "bp", "schedule": schedule, "damping": damping, "max_iterations": 40, "stop": "feasible"}

    def ask(threads, part=slice(None)):
        return [everything(answer) for answer in quietly(verb, graph, given=given[part], threads=threads, **options)]

    by_itself = ask(1)
    stops = [found[0] for found in by_itself]
    assert fg.Status.FEASIBLE in stops and fg.Status.ITERATION_LIMIT in stops
    assert len({found[1] for found in by_itself}) > 3
    for threads in (2, 5, None):
        assert ask(threads) == by_itself
    monkeypatch.setattr(stopping, "paced", lambda count, seconds: 1)
    assert ask(2) == by_itself
    assert ask(1, slice(2, 5)) == by_itself[2:5]
    monkeypatch.setattr(progress, "SMALL", -1)
    assert ask(1) == by_itself


@pytest.mark.parametrize("form", [Odds, Differences])
def test_the_driver_decides_few_variables_while_much_is_violated(form, rng):
    n = 1200
    graph = fg.FactorGraph(code(n, rng)[0])
    values = [{"cost": noisy(n, level, rng)} for level in (0.3, 2.0, 2.0)]
    union = compile_union([Sample(graph, None)] * 3)
    numbers = union.bind(values, np.full(3 * n, -1))
    problem = Problem(union, numbers, 1.0, form is Differences, None, np.inf, None)
    passing = form(union.layout, numbers, minimize=form is Differences, repeated=True)
    state, heard = np.full(len(union.compiled.variable_cell), 7), []
    plan = Plan(flooding(passing.layout, passing.operators), 1, 0.0, 0.0)
    feasible = Feasible(problem)
    np.testing.assert_array_equal(feasible.served(passing), [True] * 3)

    def hear(chunk, residuals, stopped):
        heard.append((chunk, len(residuals), stopped))
        return True

    stopping.iterate_until_feasible(passing, plan, [0, 1, 2], feasible, state, hear, lambda: False)
    assert heard == [(0, 1, True), (1, 1, False), (2, 1, False)]
    chunk = variable_chunks(union.compiled)
    assert not state[(chunk == 0) & (union.compiled.variable_cell >= 0)].any()
    for c in (1, 2):
        assert 10 < (state[chunk == c] != 7).sum() <= 6 * 48
    whole = np.zeros(len(state), np.int64)
    passing.likeliest(whole, [0, 1, 2])
    np.testing.assert_array_equal(state[state != 7], whole[state != 7])
    np.testing.assert_array_equal(feasible.chunks(whole, [0, 1, 2]), [True, False, False])
    assert not feasible.served(Passing(union.layout, numbers, minimize=True)).any()


def test_what_has_no_kernel_for_it_is_asked_about_in_python(rng):
    """Frames with a structure that the driver cannot look at, beside frames without: the same answers."""
    n = 720
    factors, bits = code(n, rng)
    plain, counted = fg.FactorGraph(factors), fg.FactorGraph([*factors, fg.AtMostOne(bits[:5])])
    given = [{"cost": noisy(n, level, rng)} for level in (0.6, 0.8, 0.85)]
    options = {"method": "bp", "schedule": "flooding", "max_iterations": 40, "stop": "feasible"}
    each = [everything(quietly(fg.marginals, g, given=v, **options)) for g in (plain, counted) for v in given]
    both = quietly(fg.marginals, [plain] * 3 + [counted] * 3, given=given * 2, **options)
    assert [everything(b)[:2] for b in both] == [e[:2] for e in each]
    assert {e[0] for e in each} >= {fg.Status.FEASIBLE}


@pytest.mark.parametrize("verb", [fg.marginals, fg.minimize])
def test_time_that_is_over_stops_every_frame(verb, rng):
    n = 720
    graph = fg.FactorGraph(code(n, rng)[0])
    given = [{"cost": noisy(n, 1.5, rng)} for _ in range(9)]
    late = quietly(verb, graph, given=given, method="bp", stop="feasible", time_limit=0.0, damping=0.0)
    assert [(a.status, a.iterations) for a in late] == [(fg.Status.TIME_LIMIT, 1)] * 9


def test_a_word_that_no_other_can_beat_is_proved(rng):
    """Each bit as its own cost has it: nothing is lost against single variables. A frame with errors is no proof."""
    n = 720
    graph = fg.FactorGraph(code(n, rng)[0])
    clean = np.stack([np.zeros(n), rng.uniform(0.5, 3.0, n)], axis=-1)
    tied = clean * (rng.random(n) < 0.5)[:, None]
    found = fg.minimize(graph, given=[{"cost": c} for c in (clean, noisy(n, 0.7, rng), tied)], stop="feasible")
    assert [a.status for a in found] == [fg.Status.OPTIMAL, fg.Status.FEASIBLE, fg.Status.OPTIMAL]
    assert found[0].energy == found[0].lower_bound == found[2].energy == 0.0
    assert found[1].lower_bound < found[1].energy


def test_bounds_without_messages_are_those_of_messages_that_say_nothing(rng):
    bound = bind_cases([case_of(830_000 + i, forest=False, kinds=FORBIDDING) for i in range(30)], rng)
    passing = Passing(bound.union.layout, bound.numbers, minimize=True)
    passing.to_variable = rng.normal(size=passing.message_size)
    none = passing.lower_bounds((0.0,))
    passing.to_variable[:] = 0.0
    for mine, theirs in zip(none, passing.lower_bounds((1.0,))):
        np.testing.assert_array_equal(mine, theirs)
