"""Every optimiser of the registry: reaches what scipy finds, resumes bit for bit, and keeps its word about the rest."""

import inspect
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from training_problems import Svm, chains, least_squares, optimum, softmax

from factorgraph_ebm.errors import MethodError
from factorgraph_ebm.learning.capabilities import refusals
from factorgraph_ebm.learning.checkpoints import read_checkpoint, write_checkpoint
from factorgraph_ebm.learning.optimizers import OPTIMIZERS, Optimizer, as_optimizer, run
from factorgraph_ebm.learning.oracle import UNREGULARIZED, objective
from factorgraph_ebm.learning.regularizers import VectorLayout, bind_regularizer, elastic_net, l1, l2


class OnlyW(NamedTuple):
    """The least state there is."""

    w: np.ndarray


def bound(penalty, oracle):
    return bind_regularizer(penalty, VectorLayout(len(oracle.start)))


def smooth():
    oracle = softmax()
    return oracle, bound(l2(0.01), oracle), optimum(oracle, l2=0.01)


def margin():
    svm = Svm()
    return svm.oracle, bound(l2(0.05), svm.oracle), svm.optimum(0.05)


def separable():
    """The least loss is 0, and there is no penalty."""
    return Svm(n_samples=30, separable=True).oracle, UNREGULARIZED, 0.0


def hidden():
    """Latent chains: not convex, so nothing is known of the least objective but that it is >= 0."""
    oracle = chains("likelihood", latent=(1,))
    return oracle, bound(l2(0.05), oracle), 0.0


# name -> (the call, its problem, updates, by how much above the optimum the objective may end)
CASES = {
    "lbfgs": ({"tolerance": 1e-12}, smooth, 200, 1e-10),
    "sgd": ({"learning_rate": 2.0, "batch_size": 8, "schedule": "inverse", "average": True}, smooth, 300, 2e-5),
    "adam": ({"learning_rate": 0.02, "batch_size": 60}, smooth, 1500, 1e-8),
    "adagrad": ({"learning_rate": 0.5, "batch_size": 60}, smooth, 1500, 1e-8),
    "averaged_perceptron": ({}, separable, 300, 0.0),
    "passive_aggressive": ({}, separable, 300, 1e-12),
    "bcfw": ({"gap_tolerance": 3e-4}, margin, 2000, 2e-4),
    "cutting_plane": ({"tolerance": 1e-9}, margin, 300, 1e-9),
    "cccp": ({"tolerance": 1e-10}, hidden, 200, np.inf),
}
NAMES = sorted(OPTIMIZERS)


def case(name):
    options, problem, updates, above = CASES[name]
    return OPTIMIZERS[name](**options), *problem(), updates, above


def leaves(state, where="state"):
    """Every number of a state, by name, as bytes."""
    if isinstance(state, tuple):
        names = getattr(state, "_fields", range(len(state)))
        return {k: v for name, each in zip(names, state) for k, v in leaves(each, f"{where}.{name}").items()}
    kind = (state.dtype.str, state.shape) if isinstance(state, np.ndarray) else type(state)
    return {where: (kind, np.asarray(state).tobytes() if state is not None else None)}


def freeze(state):
    """Make all arrays of a state read-only."""
    if isinstance(state, tuple):
        for each in state:
            freeze(each)
    elif isinstance(state, np.ndarray):
        state.flags.writeable = False


def test_every_optimizer_has_a_case():
    assert set(CASES) == set(OPTIMIZERS)
    assert all(OPTIMIZERS[name]().name == name for name in OPTIMIZERS)


@pytest.mark.parametrize("name", NAMES)
def test_reaches_the_optimum_that_scipy_finds(name):
    optimizer, oracle, regularizer, least, updates, above = case(name)
    assert refusals(optimizer, oracle, regularizer) is None
    state = run(optimizer, oracle, regularizer, updates)
    found = objective(oracle, regularizer, optimizer.best(state)).value
    if name == "averaged_perceptron":  # its aim is a right answer to every sample, not a margin of 1
        assert optimizer.finished(state)
        scores = objective(oracle, regularizer, 1e6 * optimizer.best(state)).value
        assert scores == 0.0
    else:
        if name == "cccp":  # a point from which the objective, latents and all, goes down to nowhere
            near = run(OPTIMIZERS["lbfgs"](tolerance=1e-10), oracle._replace(start=optimizer.best(state)), regularizer)
            assert optimizer.finished(state) and found <= near.value + 1e-6
        assert least - 1e-9 * abs(least) <= found <= least + above


@pytest.mark.parametrize("name", NAMES)
def test_resumes_bit_for_bit_from_a_file(name, tmp_path):
    optimizer, oracle, regularizer, *_ = case(name)
    half = run(optimizer, oracle, regularizer, 4)
    write_checkpoint(tmp_path / "half.npz", half, {"epoch": 4})
    whole = run(optimizer, oracle, regularizer, 4, half)
    # A new call, a new oracle, and a state that was read: nothing else is remembered.
    optimizer, oracle, regularizer, *_ = case(name)
    read, header = read_checkpoint(tmp_path / "half.npz", optimizer.init(oracle, regularizer))
    assert header == {"epoch": 4}
    assert leaves(read) == leaves(half)
    assert leaves(run(optimizer, oracle, regularizer, 4, read)) == leaves(whole)


@pytest.mark.parametrize("name", NAMES)
def test_an_update_leaves_its_argument_as_it_was(name):
    optimizer, oracle, regularizer, *_ = case(name)
    state = optimizer.init(oracle, regularizer)
    assert state._fields[0] == "w"
    for _ in range(4):
        freeze(state)
        before = leaves(state)
        after = optimizer.update(state, oracle, regularizer)
        assert leaves(state) == before
        state = after


@pytest.mark.parametrize("name", NAMES)
def test_reports_finite_figures_by_known_names(name):
    optimizer, oracle, regularizer, least, *_ = case(name)
    assert "objective" not in optimizer.report(optimizer.init(oracle, regularizer)) or name == "lbfgs"
    state = run(optimizer, oracle, regularizer, 20)
    report = optimizer.report(state)
    assert set(report) <= {"loss", "objective", "gradient_norm", "gap", "bound", "step"}
    assert all(np.isfinite(value) for value in report.values())
    if "bound" in report:
        assert report["bound"] <= least + 1e-9 * abs(least)
        assert report["gap"] == report["objective"] - report["bound"]
    if {"bound", "objective"} <= set(report):
        best = objective(oracle, regularizer, optimizer.best(state))
        assert report["objective"] == pytest.approx(best.value, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_respects_bounds_or_refuses_them(name):
    optimizer, oracle, regularizer, *_ = case(name)
    n = len(oracle.start)
    lower, upper = np.full(n, -0.05), np.full(n, 0.1)
    lower[0], upper[0] = 0.02, np.inf
    oracle = oracle._replace(lower=lower, upper=upper)
    if oracle.complete is not None:
        unbounded = oracle.complete
        oracle = oracle._replace(complete=lambda w: unbounded(w)._replace(lower=lower, upper=upper))
    refused = refusals(optimizer, oracle, regularizer)
    if "unbounded" in optimizer.needs:
        assert "bounds" in refused and f"{n} of {n} entries" in refused and name in refused
        return
    assert refused is None
    state = optimizer.init(oracle, regularizer)
    for _ in range(5):
        w = optimizer.best(state)
        assert (lower <= w + 1e-15).all() and (w <= upper + 1e-15).all()
        state = optimizer.update(state, oracle, regularizer)


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_without_samples(name):
    optimizer, oracle, *_ = case(name)
    if name == "cccp":
        return
    nobody = softmax(weighted=False)._replace(n_samples=0, weights=np.zeros(0), order=lambda e: np.zeros(0, np.int64))
    whole = nobody.evaluate
    nobody = nobody._replace(evaluate=lambda w, s: whole(w, np.zeros(0, np.int64)))
    penalty = bound(l2(0.1), nobody) if "l2" in optimizer.needs else UNREGULARIZED
    state = run(optimizer, nobody, penalty, 3)
    assert np.array_equal(optimizer.best(state), np.zeros(15))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_weight_zero_counts_for_nothing(name):
    optimizer, oracle, regularizer, *_ = case(name)
    if name == "cccp":
        return
    weights = np.array(oracle.weights)
    weights[3] = 0.0
    whole = oracle.evaluate

    def evaluate(w, samples):
        found = whole(w, samples)
        everyone = np.arange(oracle.n_samples) if samples is None else samples
        skipped = whole(w, np.array([3])).gradient if 3 in everyone else 0.0
        return found._replace(losses=np.where(everyone == 3, np.inf, found.losses), gradient=found.gradient - skipped)

    state = run(optimizer, oracle._replace(weights=weights, evaluate=evaluate), regularizer, 5)
    assert all(np.isfinite(value) for value in optimizer.report(state).values())
    assert np.isfinite(optimizer.best(state)).all()


@pytest.mark.parametrize("strength", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("lower, upper", [(-np.inf, np.inf), (0.0, np.inf), (-0.2, 0.3)])
@pytest.mark.parametrize("name", ["lbfgs", "sgd", "adam", "adagrad"])
def test_l1_and_bounds_reach_the_optimum(name, lower, upper, strength):
    oracle = softmax(lower=lower, upper=upper)
    full = {"learning_rate": {"sgd": 1.0, "adam": 0.02, "adagrad": 0.3}.get(name), "batch_size": 60}
    optimizer = OPTIMIZERS[name](**({"tolerance": 1e-13} if name == "lbfgs" else full))
    regularizer = bound(elastic_net(l1=strength, l2=0.01), oracle)
    least = optimum(oracle, l2=0.01, l1=strength)
    w = optimizer.best(run(optimizer, oracle, regularizer, 1000))
    above = {"lbfgs": 1e-10, "sgd": 1e-8, "adam": 1e-6, "adagrad": 1e-7}[name]
    assert objective(oracle, regularizer, w).value == pytest.approx(least, abs=above)
    if strength == 0.1 and name != "adam":
        assert (w == 0.0).any()


@pytest.mark.parametrize("name", ["lbfgs", "sgd", "adam", "adagrad"])
def test_bounded_least_squares(name):
    import scipy.optimize

    oracle, a, b = least_squares(lower=0.0, upper=0.4)
    exact = scipy.optimize.lsq_linear(a, b, (0.0, 0.4), tol=1e-14).x
    full = {"learning_rate": {"sgd": 0.2, "adam": 0.02, "adagrad": 0.3}.get(name), "batch_size": 20}
    optimizer = OPTIMIZERS[name](**({"tolerance": 1e-14} if name == "lbfgs" else full))
    w = optimizer.best(run(optimizer, oracle, UNREGULARIZED, 1000))
    assert w == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("kind", ["likelihood", "hinge"])
def test_optimizers_of_convex_losses_agree_on_chains(kind):
    oracle = chains(kind)
    regularizer = bound(l2(0.02), oracle)
    plane = OPTIMIZERS["cutting_plane"](tolerance=1e-8)
    state = run(plane, oracle, regularizer, 500)
    assert plane.finished(state)
    if kind == "likelihood":
        other, close = OPTIMIZERS["lbfgs"](tolerance=1e-12), 1e-7
        assert optimum(oracle, l2=0.02) == pytest.approx(state.objective, rel=1e-7)
    else:
        other, close = OPTIMIZERS["bcfw"](gap_tolerance=1e-4), 1e-4
    w = other.best(run(other, oracle, regularizer, 5000))
    assert objective(oracle, regularizer, w).value == pytest.approx(state.objective, rel=close)


def test_names_calls_and_own_optimizers(tmp_path):
    def descent(rate):
        """Plain gradient descent, as a user would write it."""

        def init(oracle, regularizer):
            return OnlyW(oracle.start)

        def update(state, oracle, regularizer):
            return OnlyW(state.w - rate * objective(oracle, regularizer, state.w).gradient)

        return Optimizer("descent", init, update)

    mine = descent(1.0)
    assert as_optimizer(mine) is mine and repr(mine) == "<optimizer descent>"
    oracle, regularizer, least = smooth()
    assert refusals(mine, oracle, regularizer) is None
    state = run(mine, oracle, regularizer, 3000)
    assert objective(oracle, regularizer, mine.best(state)).value == pytest.approx(least, abs=1e-9)
    assert mine.report(state) == {} and not mine.finished(state)
    write_checkpoint(tmp_path / "mine.npz", state, {})
    assert leaves(read_checkpoint(tmp_path / "mine.npz", OnlyW)[0]) == leaves(state)

    assert as_optimizer("sgd").name == "sgd"
    with pytest.raises(MethodError, match='no optimizer "sdg". Did you mean "sgd"'):
        as_optimizer("sdg")
    with pytest.raises(MethodError, match=r"write optimizer=bcfw\(\)"):
        as_optimizer(OPTIMIZERS["bcfw"])
    with pytest.raises(MethodError, match="not 3"):
        as_optimizer(3)


def test_refusals_name_the_optimizer_the_lack_and_the_way_out():
    oracle = softmax()
    none = UNREGULARIZED
    ridge, lasso = bound(l2(1.0), oracle), bound(l1(1.0), oracle)
    gappy = ridge._replace(l2=np.where(np.arange(15) == 4, 0.0, 1.0))
    rough = lasso._replace(l1=None)
    latent = chains("hinge", latent=(0,))
    for name, problem, regularizer, words in [
        ("bcfw", oracle, ridge, "maximum of affine functions (hinge, perceptron)"),
        ("bcfw", Svm().oracle, none, "there is none"),
        ("bcfw", Svm().oracle, gappy, "1 of 15 entries have strength 0"),
        ("cutting_plane", oracle, lasso, "this one has other parts"),
        ("cutting_plane", latent, none, "a label on every output variable"),
        ("averaged_perceptron", oracle, ridge, "takes no regularizer"),
        ("passive_aggressive", Svm().oracle, lasso, "takes no regularizer"),
        ("passive_aggressive", oracle, none, "maximum of affine"),
        ("lbfgs", oracle, rough, "group"),
        ("lbfgs", oracle._replace(traits=frozenset()), none, "search along a line"),
        ("cccp", oracle, none, "latent variables"),
    ]:
        refused = refusals(OPTIMIZERS[name](), problem, regularizer)
        assert words in refused and f'optimizer "{name}"' in refused
        assert "()" in refused or "sgd(" in refused or "l2(strength)" in refused
    for name, problem, regularizer in [
        ("lbfgs", latent, lasso),
        ("sgd", latent, rough),
        ("cccp", latent, ridge),
        ("averaged_perceptron", latent, none),
    ]:
        assert refusals(OPTIMIZERS[name](), problem, regularizer) is None
    odd = as_optimizer("sgd")._replace(needs=frozenset({"luck"}))
    assert 'needs "luck"' in refusals(odd, oracle, none)


@pytest.mark.parametrize(
    "name, options",
    [
        ("lbfgs", {"tolerance": -1.0}), ("lbfgs", {"memory": 0}), ("sgd", {"learning_rate": 0.0}),
        ("sgd", {"batch_size": 0}), ("sgd", {"momentum": 1.0}), ("sgd", {"schedule": "linear"}),
        ("adam", {"beta2": 1.5}), ("adagrad", {"learning_rate": np.inf}), ("passive_aggressive", {"C": 0.0}),
        ("bcfw", {"check_every": 0}), ("cutting_plane", {"tolerance": np.nan}), ("cccp", {"inner_updates": 0}),
        ("cccp", {"inner": OPTIMIZERS["cccp"]()}),
    ],
)  # fmt: skip
def test_bad_options_are_errors_that_name_the_optimizer(name, options):
    with pytest.raises(MethodError, match=name):
        OPTIMIZERS[name](**options)


def test_defaults_are_those_of_the_contract():
    for name in ("sgd", "adam", "adagrad"):
        assert inspect.signature(OPTIMIZERS[name]).parameters["batch_size"].default == 16


def test_the_same_bits_for_any_number_of_blas_threads():
    code = """
import hashlib
import numpy as np
from factorgraph_ebm.learning.optimizers import OPTIMIZERS, run
from factorgraph_ebm.learning.oracle import Evaluation, from_slopes
from factorgraph_ebm.learning.regularizers import VectorLayout, l2

n = 20_000
rng = np.random.default_rng(0)
scale, target = np.exp(rng.normal(size=n)), rng.normal(size=n)
oracle = from_slopes(lambda w, s: None, np.zeros(n), n_samples=1, traits=["smooth", "objective", "convex"])
def evaluate(w, samples):
    distance = w - target
    root = np.sqrt(1.0 + distance**2)
    return Evaluation(np.array([np.sum(scale * root)]), scale * distance / root)
oracle = oracle._replace(evaluate=evaluate)
for name in ("lbfgs", "cutting_plane", "adam"):
    state = run(OPTIMIZERS[name](), oracle, l2(0.1).bind(VectorLayout(n)), 12)
    print(name, hashlib.sha256(state.w.tobytes()).hexdigest())
"""
    said = []
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1] and said[0].count("\n") == 3
