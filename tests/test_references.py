"""Files with published or recomputed answers: every forest exact, libDAI's belief propagation to its
printed digits.

Sources: `shared/data/*/README.md`. "Exact" there is a double-precision bucket elimination made when the
data were collected; the UAI competition's marginals are printed to 6 digits, the others to 12.
"""

from __future__ import annotations

import importlib.util
import json
import math
import pathlib
import time

import numpy as np
import pytest
from checks import quietly
from conftest import DATA
from oracle import is_forest

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.graph.assignment import read_given
from factorgraph_ebm.inference.ways import predict

_file = pathlib.Path(__file__).resolve().parents[1] / "benchmarks" / "solutions.py"
_spec = importlib.util.spec_from_file_location("solutions", _file)
solutions = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(solutions)
evidence_of, reference_of, read_marginals = solutions.evidence_of, solutions.reference_of, solutions.read_marginals

FOLDERS = ["uai", "uai_pr", "uai_small", "libdai", "bif"]
MODELS = sorted(path for folder in FOLDERS for path in solutions.models_in(DATA / folder))
FORESTS = {
    "asia.uai": False,  # by hand: smoke -> lung, bronc -> dysp closes a loop
    "cancer.uai": True,  # of uai_small too, where the evidence cuts the loop
    "earthquake.uai": True,
    "hoi3.fg": True,
    "jtreemapbug.fg": True,
    "2var.fg": True,
    "3var.fg": True,
    "twofactors.fg": True,
    "zeroes1.fg": True,
}


#: some that must be among those that `test_what_is_narrow_is_exact` answers
NARROW = {"alarm.uai", "hailfinder.uai", "insurance.uai", "win95pts.uai", "andes.uai", "Promedus_26.uai"}


def check_honesty(graph, given, reference) -> None:
    """A loopy model after a few sweeps: nothing is NaN, nothing better than the optimum, no bound above it."""
    best = quietly(fg.minimize, graph, given, max_iterations=10, time_limit=5.0, method="bp")
    belief = quietly(fg.marginals, graph, given, max_iterations=10, time_limit=5.0, method="bp")
    assert not belief.exact and not math.isnan(belief.log_partition)
    minimum = reference["minimum"]
    if minimum == math.inf:
        assert best.energy == math.inf
    elif minimum is not None:
        slack = 1e-9 * max(1.0, abs(minimum))
        assert best.energy >= minimum - slack
        assert best.lower_bound is None or best.lower_bound <= minimum + slack
        assert best.status is not fg.Status.INFEASIBLE
    if belief.status is not fg.Status.INFEASIBLE:
        assert not np.isnan(belief["x"]).any()
        np.testing.assert_allclose(belief["x"].sum(-1), 1.0, atol=1e-9)


def cells_in(graph, reference) -> np.ndarray:
    """Rows of `x` in the order of the reference, which may skip labels that no factor touches."""
    n = graph["x"].size
    ids = reference["ids"]
    return np.arange(n) if ids is None or len(ids) == n else np.array(ids)


@pytest.mark.skipif(not MODELS, reason="no benchmark data beside the repository")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_forests_equal_their_reference_and_loops_are_honest(path):
    graph, evidence = fg.read(path), evidence_of(path)
    known = {("x", v): s for v, s in evidence.items()}
    forest = is_forest(graph, known)
    if path.name in FORESTS:
        assert forest == FORESTS[path.name]
    given = {graph["x"][v]: s for v, s in evidence.items()}
    reference = reference_of(path)
    if not forest:
        check_honesty(graph, given, reference)
        return
    belief, best = fg.marginals(graph, given), fg.minimize(graph, given)
    if reference["log_partition"] == -math.inf:
        assert belief.status is fg.Status.INFEASIBLE and belief.log_partition == -math.inf
        assert best.status is fg.Status.INFEASIBLE
        return
    assert belief.exact and best.exact
    assert reference["log_partition"] is not None
    assert belief.log_partition == pytest.approx(reference["log_partition"], rel=1e-10, abs=1e-10)
    assert best.energy == pytest.approx(reference["minimum"], rel=1e-10, abs=1e-10)
    for row, expected in zip(belief["x"][cells_in(graph, reference)], reference["marginals"], strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=reference["digits"], rtol=0)


def check_what_is_too_wide(graph, given, reference) -> None:
    """An answer in time, by belief propagation: no claim that it is exact, no false proof, no NaN."""
    answers = []
    for ask in (fg.marginals, fg.minimize):
        with pytest.raises(fg.WidthTooLargeError):
            ask(graph, given, method="junction_tree")
        began = time.monotonic()
        answers.append(quietly(ask, graph, given, method="bp", time_limit=15.0))
        assert time.monotonic() - began < 20.0
    honest = {fg.Status.CONVERGED, fg.Status.ITERATION_LIMIT, fg.Status.TIME_LIMIT}
    assert all(each.status in honest and not each.exact for each in answers)
    belief, best = answers
    np.testing.assert_allclose(belief["x"].sum(-1), 1.0, atol=1e-9)
    assert math.isfinite(belief.log_partition)
    low, high = belief.log_partition_bounds
    known = reference["log_partition"] or reference["printed_log_partition"]
    slack = 1e-5 * abs(known)  # six digits are printed
    assert (low is None or low <= known + slack) and (high is None or known - slack <= high)
    assert best.lower_bound is None or best.lower_bound <= best.energy


#: tables of these do not fit, but what is not forbidden of them does: one is asked below, the others take seconds
MOSTLY_FORBIDDEN = {"c432.isc.cnf.uai", "2bitcomp_5.cnf.uai"}
WORK = 5e7
"products of an exact answer that the test suite takes the time for"


@pytest.mark.skipif(not MODELS, reason="no benchmark data beside the repository")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_what_is_narrow_is_exact(path):
    """Every model that elimination answers in a moment: sums, marginals and the best assignment.

    What is too wide for it gets an answer of belief propagation, which says what it is.
    """
    graph, evidence = fg.read(path), evidence_of(path)
    given = {graph["x"][v]: s for v, s in evidence.items()}
    reference = reference_of(path)
    union = compile_union([Sample(graph, read_given(graph, given).known)])
    cost = predict(union, minimize=False)
    if path.name in MOSTLY_FORBIDDEN:
        assert not cost.fits
        return
    if not cost.fits:
        check_what_is_too_wide(graph, given, reference)
    if not cost.products <= WORK:
        assert path.name not in NARROW
        return
    belief, best = (ask(graph, given, method="junction_tree") for ask in (fg.marginals, fg.minimize))
    if reference["log_partition"] == -math.inf:
        assert belief.status is best.status is fg.Status.INFEASIBLE
        return
    assert belief.exact and best.exact
    if reference["log_partition"] is not None:
        assert belief.log_partition == pytest.approx(reference["log_partition"], rel=1e-9, abs=1e-9)
    if reference["minimum"] is not None:
        assert best.energy == pytest.approx(reference["minimum"], rel=1e-9, abs=1e-9)
    if reference["marginals"] is not None:
        for row, expected in zip(belief["x"][cells_in(graph, reference)], reference["marginals"], strict=True):
            np.testing.assert_allclose(row[: len(expected)], expected, atol=max(reference["digits"], 1e-9), rtol=0)


@pytest.mark.parametrize("method", ["auto", "junction_tree"])
def test_what_is_mostly_forbidden_is_exact(data, method):
    """A circuit of 36 inputs as a formula: of tables of 2^28 entries at most 2^20.5 are allowed."""
    graph = fg.read(data / "uai_pr" / "c432.isc.cnf.uai")
    plan = fg.plan(graph, "marginals", method=method)
    assert plan.method == "junction_tree" and plan.exact and plan.width == pytest.approx(28.0)
    belief, best = (ask(graph, method=method) for ask in (fg.marginals, fg.minimize))
    assert belief.exact and best.status is fg.Status.OPTIMAL
    assert belief.log_partition == pytest.approx(36 * math.log(2.0), rel=1e-12)
    assert best.energy == fg.energy(graph, best) == 0.0
    # Each input is free, so half of the assignments have it either way.
    np.testing.assert_allclose(np.sort(np.abs(belief["x"][:, 0] - 0.5))[:36], 0.0, atol=1e-12)
    with pytest.raises(fg.WidthTooLargeError, match="bytes"):
        fg.log_partition(graph, method=method if method != "auto" else "junction_tree", max_bytes=10**6)


@pytest.mark.skipif(not MODELS, reason="no benchmark data beside the repository")
def test_there_are_forests_among_them():
    """The test above must not pass by skipping everything."""
    found = [p.name for p in MODELS if is_forest(fg.read(p), {("x", v): s for v, s in evidence_of(p).items()})]
    assert sorted(set(found)) == sorted(name for name, forest in FORESTS.items() if forest)
    assert len(found) == 9


@pytest.mark.parametrize("name", ["cancer", "earthquake"])
def test_named_forests_equal_their_reference(data, name):
    """The BIF files that are forests, asked in their own words."""
    graph = fg.read(data / "bif" / f"{name}.bif.gz")
    assert is_forest(graph)
    reference = json.loads((data / "bif" / "reference.json").read_text())[name]
    belief, best = fg.marginals(graph, reference["evidence"]), fg.minimize(graph, reference["evidence"])
    assert belief.exact and best.exact
    assert belief.log_partition == pytest.approx(reference["exact_ln_P_evidence"], rel=1e-10)
    assert best.energy == pytest.approx(-reference["exact_MPE_ln"], rel=1e-10)
    assert fg.log_partition(graph) == pytest.approx(reference["exact_lnZ_no_evidence"], abs=1e-12)
    marginals = read_marginals(data / "bif" / f"{name}.uai.MAR")
    for variable, expected in zip(graph.variables, marginals, strict=True):
        np.testing.assert_allclose(belief[variable], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("schedule", ["flooding", "sequential", "residual"])
def test_libdai_belief_propagation(data, schedule):
    """A 4 x 4 Ising grid: libDAI's BP, in every update order, is off by 8.924e-03 and +7.187e-04."""
    graph = fg.read(data / "libdai" / "testfast.fg")
    reference = json.loads((data / "libdai" / "reference.json").read_text())["testfast.fg"]
    printed = json.loads((data / "libdai" / "testfast_out.json").read_text())["BP"]
    belief = quietly(fg.marginals, graph, method="bp", schedule=schedule, tolerance=1e-12, max_iterations=10_000)
    assert belief.converged and not belief.exact
    error = np.abs(belief["x"] - np.array(reference["marginals"])).max()
    assert f"{error:.3e}" == printed["max_var_err"] == "8.924e-03"
    assert f"{belief.log_partition - reference['exact_lnZ']:+.3e}" == printed["logz_error"] == "+7.187e-04"
    np.testing.assert_allclose(belief["x"], printed["marginals"], atol=5.1e-5)


def test_enumerate_and_bp_agree_with_libdai_exact(data):
    """The same file by brute force: lnZ to 12 digits."""
    graph = fg.read(data / "libdai" / "testfast.fg")
    reference = json.loads((data / "libdai" / "reference.json").read_text())["testfast.fg"]
    exact = fg.marginals(graph, method="enumerate")
    assert exact.exact
    assert exact.log_partition == pytest.approx(reference["exact_lnZ"], rel=1e-12)
    np.testing.assert_allclose(exact["x"], reference["marginals"], atol=1e-10)
    assert fg.minimize(graph, method="enumerate").energy == pytest.approx(-reference["exact_MAP_ln"], rel=1e-12)
