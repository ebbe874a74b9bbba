"""Files with published or recomputed answers: every forest exact, libDAI's belief propagation to its
printed digits.

Sources: `shared/data/*/README.md`. "Exact" there is a double-precision bucket elimination made when the
data were collected; the UAI competition's marginals are printed to 6 digits, the others to 12.
"""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
import pytest
from checks import quietly
from conftest import DATA
from oracle import is_forest

import factorgraph_ebm as fg
from factorgraph_ebm.compiler.parts import Sample
from factorgraph_ebm.compiler.union import compile_union
from factorgraph_ebm.graph.assignment import read_given
from factorgraph_ebm.inference.junction_tree import predict

FOLDERS = ["uai", "uai_small", "libdai", "bif"]
#: model file -> digits of its marginals
MODELS = sorted(
    p
    for folder in FOLDERS
    for pattern in ("*.uai", "*.uai.gz", "*.fg", "testem/*.fg")
    for p in (DATA / folder).glob(pattern)
)
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


def evidence_of(path: pathlib.Path) -> dict[int, int]:
    """A plain reading of `.evid`: `m v s v s ...`, perhaps after a line `1`; a count of 0 means none."""
    file = path.with_name(path.name.removesuffix(".gz") + ".evid")
    numbers = [int(t) for t in file.read_text().split()] if file.exists() else []
    if not numbers or numbers[0] == 0:
        return {}
    if len(numbers) != 1 + 2 * numbers[0]:
        numbers = numbers[1:]
    assert len(numbers) == 1 + 2 * numbers[0]
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


def reference_of(path: pathlib.Path) -> dict:
    """log_partition, minimum (energies) and marginals, as far as the folder knows them."""
    folder = next(DATA / f for f in FOLDERS if (DATA / f) in path.parents)
    table = json.loads((folder / "reference.json").read_text())
    plain = path.name.removesuffix(".gz")
    entry = table.get(str(path.relative_to(folder)).removesuffix(".gz")) or table.get(plain.removesuffix(".uai")) or {}
    log_partition = entry.get("exact_ln_P_evidence", entry.get("exact_lnZ"))
    best = entry.get("exact_MPE_ln", entry.get("exact_MAP_ln"))
    marginals, digits = entry.get("marginals"), 1e-10
    solution = folder / f"{plain}.MAR"
    if marginals is None and solution.exists():
        marginals, digits = read_marginals(solution), 1e-6 if folder.name == "uai" else 1e-10
    return {
        "log_partition": as_float(log_partition),
        "minimum": -as_float(best) if best is not None else None,
        "marginals": marginals,
        "digits": digits,
        "ids": entry.get("variable_ids"),
    }


def as_float(value) -> float | None:
    return None if value is None else float(value)


def read_marginals(path: pathlib.Path) -> list[list[float]]:
    """UAI solution format: `MAR`, then n, then per variable its count and its probabilities."""
    tokens = path.read_text().split()
    assert tokens[0] == "MAR"
    numbers, found, place = [float(t) for t in tokens[1:]], [], 1
    for _ in range(int(numbers[0])):
        count = int(numbers[place])
        found.append(numbers[place + 1 : place + 1 + count])
        place += 1 + count
    assert place == len(numbers)
    return found


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


WORK = 5e7
"products of an exact answer that the test suite takes the time for"


@pytest.mark.skipif(not MODELS, reason="no benchmark data beside the repository")
@pytest.mark.parametrize("path", MODELS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_what_is_narrow_is_exact(path):
    """Every model that elimination answers in a moment: sums, marginals and the best assignment."""
    graph, evidence = fg.read(path), evidence_of(path)
    given = {graph["x"][v]: s for v, s in evidence.items()}
    reference = reference_of(path)
    union = compile_union([Sample(graph, read_given(graph, given).known)])
    if not predict(union, minimize=False).products <= WORK:
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
