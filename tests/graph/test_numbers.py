"""Sources of numbers: by rows, pulled back, merged; pullback is bind transposed, checked by finite differences."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

import factorgraph_ebm as fg
from factorgraph_ebm.graph import Constant, RealNumbers, as_numbers
from factorgraph_ebm.graph.linear import multiply

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4))
VALUES = {
    "W": RNG.normal(size=(4, 2)),
    "T": RNG.normal(size=(3, 2, 2)),
    "V": RNG.normal(size=(6, 4)),
    "p": np.array(1.5),
    "u": RNG.normal(size=(6, 2)),
    "x": RNG.normal(size=(6, 4)),
}
W, T, V, P = (fg.Parameter(name, VALUES[name].shape) for name in "WTVp")
U, XS = fg.observed("u", shape=6, dim=2), fg.observed("x", shape=6, dim=4)


def power(p):
    return np.arange(1.0, 13.0).reshape(6, 2) ** p


def power_pullback(p, gradient):
    return [(gradient * power(p) * np.log(np.arange(1.0, 13.0).reshape(6, 2))).sum()]


SOURCES = {
    "whole parameter": T,
    "view": T[1:],
    "tied view": T[[0, 0, 2, 1]],
    "transposed view": T.T,
    "symmetric table": W[[[0, 1], [1, 3]], 0],
    "scalar view": W[2, 1],
    "linear": fg.Linear(X, W),
    "linear sparse": fg.Linear(scipy.sparse.csr_matrix(X * (X > 0)), W),
    "linear very sparse": fg.Linear(scipy.sparse.csr_matrix(([2.0, 3.0], ([0, 2], [1, 1])), (6, 4)), W),
    "linear of a view": fg.Linear(X, W[:, 0]),
    "linear of an observed variable": fg.Linear(XS, W),
    "linear of two parameters": fg.Linear(V, W),
    "linear of a vector": fg.Linear(X[0], W),
    "constant weights": fg.Linear(V, VALUES["W"]),
    "observed": RealNumbers(U),
    "observed view": RealNumbers(U[[1, 1, 4]]),
    "observed slice": RealNumbers(U[::2]),
    "computed": fg.Computed(power, P, shape=(6, 2), pullback=power_pullback),
    "computed of linear": fg.Computed(np.exp, fg.Linear(X, W), shape=(6, 2), pullback=lambda a, g: [g * np.exp(a)]),
    "constant": Constant(X),
}


def values():
    return {name: value.copy() for name, value in VALUES.items()}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_pullback_is_the_derivative(source):
    weight = RNG.normal(size=source.shape)
    gradient = {name: np.zeros(VALUES[name].shape) for name in source.names}
    source.pullback(values(), slice(0, 1), weight.reshape(1, -1), gradient)
    for name in source.names:
        for cell in np.ndindex(VALUES[name].shape):
            up, down = values(), values()
            up[name][cell] += 1e-6
            down[name][cell] -= 1e-6
            expected = (weight * (source.evaluate(up) - source.evaluate(down))).sum() / 2e-6
            assert gradient[name][cell] == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_rows_of_any_width_are_blocks_of_the_array(source, width):
    """Reading and pulling back block by block equals doing it at once, whatever a row is."""
    if source.size % width:
        pytest.skip("no such rows")
    n = source.size // width
    whole = np.ascontiguousarray(source.evaluate(values())).reshape(n, width)
    weight = RNG.normal(size=(n, width))
    once, parts = ({name: np.zeros(VALUES[name].shape) for name in source.names} for _ in range(2))
    source.pullback(values(), slice(0, n), weight, once)
    for start in range(0, n, 3):
        rows = slice(start, min(start + 3, n))
        out = np.full((rows.stop - rows.start, width), np.nan)
        source.numbers(values(), rows, out)
        np.testing.assert_allclose(out, whole[rows], rtol=1e-13)
        source.pullback(values(), rows, weight[rows], parts)
    for name in source.names:
        np.testing.assert_allclose(parts[name], once[name], rtol=1e-10, atol=1e-12)


def test_pullback_adds_and_touches_only_the_names_it_finds():
    into = {"W": np.ones((4, 2))}
    source = fg.Linear(V, W)
    source.pullback(VALUES, slice(0, 6), np.ones((6, 2)), into)
    np.testing.assert_allclose(into["W"], 1 + VALUES["V"].T @ np.ones((6, 2)))
    source.pullback(VALUES, slice(0, 6), np.ones((6, 2)), {})


def test_what_is_linear():
    assert SOURCES["linear"].linear and SOURCES["tied view"].linear and fg.Linear(XS, W).linear
    assert not fg.Linear(V, W).linear and not SOURCES["computed"].linear


def test_computed_without_a_pullback_is_constant_for_learning():
    source = fg.Computed(power, P, shape=(6, 2))
    into = {"p": np.zeros(())}
    source.pullback(VALUES, slice(0, 6), np.ones((6, 2)), into)
    assert into["p"] == 0 and not source.learned


def test_keys_hold_structure_and_no_values():
    assert fg.Linear(X, W).key == fg.Linear(X + 1, W).key != fg.Linear(X[:3], W).key
    assert T[[0, 1]].key == T[[0, 1]].key != T[[1, 0]].key
    assert RealNumbers(U[:2]).key != RealNumbers(U[1:3]).key
    assert Constant(X).key == Constant(X + 1).key


def rows_of(source, width, where=None):
    return np.asarray(source.evaluate(where or VALUES)).reshape(-1, width)


@pytest.mark.parametrize(
    "sources",
    [
        [fg.Linear(X, W), fg.Linear(X[:2], W)],
        [fg.Linear(scipy.sparse.csr_matrix(X), W), fg.Linear(scipy.sparse.csr_matrix(X[:1]), W)],
        [Constant(X[:, :2]), Constant(X[:3, 2:])],
        [fg.Linear(X, W), Constant(X[:, :2]), T[0]],
        [T[1:], T[[0, 0]]],
    ],
)
def test_merged_sources_have_the_rows_of_each(sources):
    width = 2
    merged = sources[0].merge(sources[1:], width)
    expected = np.concatenate([rows_of(source, width) for source in sources])
    np.testing.assert_allclose(rows_of(merged, width), expected, rtol=1e-13)
    weight = RNG.normal(size=expected.shape)
    one, two = ({name: np.zeros(VALUES[name].shape) for name in "WT"} for _ in range(2))
    merged.pullback(VALUES, slice(0, len(weight)), weight, one)
    start = 0
    for source in sources:
        n = source.size // width
        source.pullback(VALUES, slice(0, n), weight[start : start + n], two)
        start += n
    np.testing.assert_allclose(one["W"], two["W"])
    np.testing.assert_allclose(one["T"], two["T"])


def test_shared_numbers_stay_once():
    table = fg.Parameter("T", (3, 2, 2))
    assert T.merge([table, T], 4) is T
    small = Constant(np.zeros((2, 2)))
    assert small.merge([Constant(np.zeros((2, 2)))], 4) is small
    linear = fg.Linear(X, W)
    assert linear.merge([linear], 2) is linear
    assert linear.merge([fg.Linear(X[:1], W)], 2).W is W


def test_renamed_real_variables():
    source = fg.Linear(XS, W).renamed(lambda name: f"left/{name}")
    assert source.names == ("W", "left/x")
    np.testing.assert_allclose(source.evaluate({**VALUES, "left/x": VALUES["x"]}), VALUES["x"] @ VALUES["W"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fg.Linear(X, T), fg.FactorError, r"x has shape \(6, 4\), W has shape \(3, 2, 2\)"),
        (lambda: fg.Linear(scipy.sparse.eye(3), W), fg.FactorError, "Linear multiplies"),
        (lambda: as_numbers(scipy.sparse.eye(3)), fg.FactorError, r"fg.Linear\(matrix, W\)"),
        (lambda: as_numbers(fg.output("y", n_states=2)), fg.FactorError, "must be observed and real"),
        (lambda: as_numbers("text"), fg.FactorError, "array of numbers, not str"),
        (lambda: fg.Computed(3, shape=()), fg.FactorError, "a function first"),
        (lambda: fg.Computed(power, P, shape=2).evaluate(VALUES), fg.FactorError, r"returned shape \(6, 2\)"),
        (lambda: fg.Parameter(""), fg.ParameterError, "non-empty string"),
        (lambda: fg.Parameter("w", 2, initial=[1.0]), fg.ParameterError, r"has shape \(2,\).*initial has shape \(1,\)"),
        (lambda: fg.Parameter("w", initial=np.inf), fg.ParameterError, "declare a second factor"),
        (lambda: fg.Parameter("w", initial=-1.0, bounds=(0, np.inf)), fg.ParameterError, "outside bounds"),
        (lambda: fg.Parameter("w", bounds=(1, 0)), fg.ParameterError, "bounds must be"),
    ],
)
def test_impossible_numbers_say_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_parameter_view_is_hashable_and_equal_by_value():
    assert T[0] == fg.Parameter("T", (3, 2, 2))[0] and hash(T[0]) == hash(T[[0]][0])
    assert T[0] != T[1] and fg.Parameter("w", initial=1.0) != fg.Parameter("w", initial=2.0)


PRODUCTS = [
    (1000, 128, 26),
    (3000, 300, 200),
    (30000, 5, 441),
    (20000, 130, 1),
    (1, 20000, 30),
    (5, 90000, 3),
    (70, 70, 70),
]


@pytest.mark.parametrize(("m", "k", "n"), [*PRODUCTS, (0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_products_by_blocks_are_products(m, k, n):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    np.testing.assert_allclose(multiply(left, right), left @ right, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(multiply(right.T, left.T), (left @ right).T, rtol=1e-9, atol=1e-9)


def test_linear_is_bit_identical_for_any_number_of_threads():
    code = f"""
import hashlib, numpy as np
from factorgraph_ebm.graph.linear import multiply
rng = np.random.default_rng(0)
for m, k, n in {PRODUCTS}:
    x, w, g = rng.normal(size=(m, k)), rng.normal(size=(k, n)), rng.normal(size=(m, n))
    for product in multiply(x, w), multiply(x.T, g), multiply(g, w.T):
        print(m, k, n, hashlib.sha1(np.ascontiguousarray(product).tobytes()).hexdigest())
"""
    bits = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in "12"
    ]
    assert bits[0].splitlines() == bits[1].splitlines()
