"""Feature dicts to a sparse matrix, against the same sums made one by one, and against python-crfsuite's own."""

import json
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.tagging import feature_blocks
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.formats.token_features import flat_token

# Token -> its features, as python-crfsuite's documentation of ItemSequence writes them.
BY_HAND = [
    ({"foo": 1, "bar": 0, "baz": 1.5}, {"foo": 1.0, "bar": 0.0, "baz": 1.5}),
    ({"foo": True, "bar": False}, {"foo": 1.0, "bar": 0.0}),
    ({"foo": "bar"}, {"foo:bar": 1.0}),
    ({"foo": ["a", "b"]}, {"foo:a": 1.0, "foo:b": 1.0}),
    ({"foo": {"bar": "baz", "deep": {"x": 2.0, "y": ["z"]}}}, {"foo:bar:baz": 1, "foo:deep:x": 2, "foo:deep:y:z": 1}),
    ({"foo": {"b", "a"}}, {"foo:a": 1.0, "foo:b": 1.0}),
    (["foo", "bar"], {"foo": 1.0, "bar": 1.0}),
    ({"a:b": 2.0, "a": "b"}, {"a:b": 3.0}),
    (["foo", "foo"], {"foo": 2.0}),
    ({b"foo": b"bar", "ü": "é\n"}, {"foo:bar": 1.0, "ü:é\n": 1.0}),
    ({"": "", ":": ":"}, {":": 1.0, ":::": 1.0}),
    ({}, {}),
    ([], {}),
    ({"none": [], "nothing": {}}, {}),
    ({"w": ("a",), "n": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True)}, {"w:a": 1, "n": 0.5, "i": 3, "b": 1}),
]


def as_dicts(table, tokens):
    """Each row of the matrix as a dict of the names of its columns, explicit zeros and all."""
    names, x = table.names, tokens.x
    return [
        {names[x.indices[at]]: x.data[at] for at in range(x.indptr[row], x.indptr[row + 1])}
        for row in range(x.shape[0])
    ]


@pytest.mark.parametrize(("token", "features"), BY_HAND, ids=range(len(BY_HAND)))
def test_a_token_by_hand(token, features):
    table = FeatureTable()
    assert as_dicts(table, table.fit_transform([[token]])) == [features]


def test_tokens_of_every_form_in_one_block():
    table = FeatureTable()
    found = table.fit_transform([[token for token, _ in BY_HAND]])
    assert as_dicts(table, found) == [features for _, features in BY_HAND]
    assert as_dicts(table, table.transform([[token] for token, _ in BY_HAND])) == [features for _, features in BY_HAND]


def test_tokens_as_python_crfsuite_has_them():
    pycrfsuite = pytest.importorskip("pycrfsuite")
    skipped = {
        id(token) for token, _ in BY_HAND if isinstance(token, dict) and "w" in token
    }  # tuples are not lists there
    tokens = [
        token for token, _ in BY_HAND if id(token) not in skipped and token != ["foo", "foo"] and "a:b" not in token
    ]
    table = FeatureTable()
    assert as_dicts(table, table.fit_transform([tokens])) == pycrfsuite.ItemSequence(tokens).items()


texts = st.text(max_size=3)
names = st.text(st.sampled_from("ab:é\0\ud800"), max_size=3)
numbers = st.one_of(st.booleans(), st.integers(-3, 3), st.floats(-1e300, 1e300), st.just(np.float32(0.25)))
leaves = st.one_of(texts, numbers)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(st.dictionaries(names, inner, max_size=3), st.lists(names, max_size=3)),
    max_leaves=6,
)
tokens = st.one_of(
    st.dictionaries(names, nested, max_size=4), st.lists(names, max_size=4), st.frozensets(names, max_size=3)
)
plain = st.one_of(
    st.lists(st.lists(st.dictionaries(names, leaves, max_size=4), max_size=4), max_size=4),
    st.lists(st.lists(st.lists(names, max_size=4), max_size=4), max_size=4),
    st.lists(st.lists(st.dictionaries(names, st.one_of(leaves, st.lists(names, max_size=2)), max_size=4)), max_size=4),
)
sequences = st.one_of(plain, st.lists(st.lists(tokens, max_size=4), max_size=4))


def sums(token):
    found = {}
    for name, value in flat_token(token):
        found[name] = found.get(name, 0.0) + value
    return found


@settings(max_examples=150, deadline=None)
@given(sequences, sequences, st.integers(1, 5))
def test_blocks_equal_tokens_one_by_one(learned, asked, block):
    whole = feature_blocks.BLOCK
    feature_blocks.BLOCK = block
    try:
        table = FeatureTable()
        first = table.fit_transform(learned)
        second = table.transform(asked)
    finally:
        feature_blocks.BLOCK = whole
    assert first.start.tolist() == np.cumsum([0, *map(len, learned)]).tolist()
    assert first.x.shape == (first.start[-1], len(table.names)) and first.x.has_canonical_format
    assert as_dicts(table, first) == [pytest.approx(sums(token)) for each in learned for token in each]
    known = set(table.names)
    expected = [{k: v for k, v in sums(token).items() if k in known} for each in asked for token in each]
    assert as_dicts(table, second) == [pytest.approx(each) for each in expected]
    again = FeatureTable.from_state(json.loads(json.dumps(table.state())))
    assert again.names == table.names
    assert (again.transform(asked).x != second.x).nnz == 0


@settings(max_examples=100, deadline=None)
@given(sequences, sequences)
def test_extending_equals_learning_both(first, second):
    table, both = FeatureTable(), FeatureTable()
    table.fit_transform(first)
    before = table.names
    extended = table.extend_transform(second)
    whole = both.fit_transform([*first, *second])
    assert table.names[: len(before)] == before and set(table.names) == set(both.names)
    assert as_dicts(table, extended) == as_dicts(both, whole)[sum(map(len, first)) :]


def test_columns_come_in_the_order_in_which_names_are_met():
    table = FeatureTable()
    table.fit_transform([[["c", "a"]], [["b", "a"]]])
    assert table.names == ["c", "a", "b"]


def test_sequences_and_tokens_that_are_empty():
    table = FeatureTable()
    found = table.fit_transform([[], [{}], [{"a": 1.0}, {}], []])
    assert found.start.tolist() == [0, 0, 1, 3, 3]
    assert found.x.toarray().tolist() == [[0.0], [1.0], [0.0]]
    none = table.transform([])
    assert none.start.tolist() == [0] and none.x.shape == (0, 1)
    assert FeatureTable().fit_transform([[], []]).x.shape == (0, 0)


def test_subclasses_object_arrays_and_generators_are_lists_and_dicts():
    rows = np.empty(2, object)
    rows[:] = [OrderedDict(a=1.0), {"b": np.str_("c")}]
    table = FeatureTable()
    assert as_dicts(table, table.fit_transform(each for each in [rows])) == [{"a": 1.0}, {"b:c": 1.0}]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"a": float("nan")}, 'sequence 1, token 2, feature "a" is nan .float.: not a finite number'),
        ({"a": np.inf, "b": "c"}, 'sequence 1, token 2, feature "a" is inf'),
        ({"a": 10**400}, 'sequence 1, token 2, feature "a" is 1000'),
        ({"a": None}, 'sequence 1, token 2, feature "a" is None .NoneType.: .* Leave a feature out'),
        ({"a": {"b": 1j}}, 'sequence 1, token 2, feature "a:b" is 1j .complex.'),
        ({"a": np.ones(2)}, 'sequence 1, token 2, feature "a" is array.*Give each'),
        ({"a": [1]}, "sequence 1, token 2, feature \"a\": 1 .int. is not the name of a feature"),
        ({3: "a"}, "sequence 1, token 2: 3 .int. is not the name"),
        ({3: 1.0}, "sequence 1, token 2: 3 .int. is not the name"),
        ([None], "sequence 1, token 2: None .NoneType. is not the name"),
        ([["a"]], "sequence 1, token 2: .* is not the name"),
        ([{"a": 1}], "sequence 1, token 2: .* is not the name"),
        ("word", "sequence 1, token 2 is 'word' .str.*template"),
        (3.0, "sequence 1, token 2 is 3.0 .float.. A token is a dict"),
        ({"a": b"\xff"}, "sequence 1, token 2: the bytes .* are not UTF-8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", [FeatureTable(), FeatureTable(hashing=8)], ids=["names", "hashed"])
def test_errors_name_sequence_token_and_feature(table, bad, said):
    good = {"a": 1.0} if isinstance(bad, dict) else ["a"]
    with pytest.raises(fg.EvidenceError, match=said):
        table.fit_transform([[good], [good, good, bad]])
    table.fit_transform([[good]])
    with pytest.raises(fg.EvidenceError, match=said):
        table.transform([[good], [good, good, bad]])
    assert table.transform([[good]]).x.sum() == 1.0


def test_a_sequence_that_is_none():
    with pytest.raises(fg.EvidenceError, match=r"sequence 0 is a dict, and not a list of tokens.*\[sequence\]"):
        FeatureTable().fit_transform([{"a": 1.0}])
    with pytest.raises(fg.EvidenceError, match="sequence 1 is a str"):
        FeatureTable().fit_transform([[], "abc"])


def test_minimum_frequency_sums_values():
    X = [[["often", "once"], {"often": 1.0, "half": 0.5, "twice": 2.0}]]
    table = FeatureTable(minimum_frequency=2.0)
    found = table.fit_transform(X)
    assert table.names == ["often", "twice"]
    assert found.x.toarray().tolist() == [[1.0, 0.0], [1.0, 2.0]]
    assert (table.transform(X).x != found.x).nnz == 0
    more = table.extend_transform([[["new", "new", "rare", "often"]]])
    assert table.names == ["often", "twice", "new"] and more.x.toarray().tolist() == [[1.0, 0.0, 2.0]]


def test_hashed_columns_are_spread_and_the_same_in_every_process():
    bits, n = 10, 2000
    names = [f"U{k:02}:word{k}" for k in range(n)]
    table = FeatureTable(hashing=bits)
    found = table.fit_transform([[names]])
    assert found.x.shape == (1, 2**bits) == (1, table.width) and found.x.sum() == n
    # 2,000 names in 1,024 columns: 1 - exp(-2000 / 1024) = 0.858 of the columns are met, give or take 0.02.
    assert abs(found.x.nnz / 2**bits - 0.858) < 0.03
    text = table.transform([[{name[:3]: name[4:] for name in names[:90]}]])
    assert (text.x != table.transform([[names[:90]]]).x).nnz == 0
    program = (
        "from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable\n"
        "print(FeatureTable(hashing=20).transform([[['a', 'ü', 'word:in']]]).x.indices.tolist())"
    )
    runs = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout for _ in range(2)}
    assert runs == {f"{FeatureTable(hashing=20).transform([[['a', 'ü', 'word:in']]]).x.indices.tolist()}\n"}
    assert table.names[3] == "#3"


def test_hashing_survives_its_state():
    table = FeatureTable.from_state(json.loads(json.dumps(FeatureTable(hashing=6).state())))
    assert table.transform([[["a"]]]).x.shape == (1, 64)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hashing": 0},
        {"hashing": 31},
        {"hashing": 2.0},
        {"minimum_frequency": -1.0},
        {"minimum_frequency": np.nan},
        {"hashing": 4, "minimum_frequency": 1.0},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(fg.MethodError):
        FeatureTable(**wrong)


@pytest.mark.parametrize("wrong", [{"names": ["a", "a"]}, {"names": [1]}, {"width": 3, "names": ["a"]}, {"width": -1}])
def test_a_state_that_is_none(wrong):
    state = {**FeatureTable().state(), **wrong}
    with pytest.raises(fg.EvidenceError):
        FeatureTable.from_state(state)


def test_arrays_dense_and_sparse():
    rng = np.random.default_rng(0)
    dense = [rng.normal(size=(n, 3)) * (rng.random((n, 3)) < 0.7) for n in (2, 0, 4)]
    whole = np.concatenate(dense)
    table = FeatureTable()
    for X in (
        dense,
        [scipy.sparse.csr_array(each) for each in dense],
        [scipy.sparse.coo_matrix(each) for each in dense],
        [dense[0], [], scipy.sparse.csc_array(dense[2])],
        [each.astype(np.float32) for each in dense],
    ):
        found = table.fit_transform(X)
        assert found.start.tolist() == [0, 2, 2, 6]
        np.testing.assert_allclose(found.x.toarray(), whole, rtol=1e-7)
        assert found.x.has_canonical_format and found.x.dtype == np.float64
        assert table.names == ["x0", "x1", "x2"]
    full = [np.ones((2, 3)), np.full((1, 3), 2.0)]
    assert table.transform(full).x.toarray().tolist() == [[1.0] * 3, [1.0] * 3, [2.0] * 3]
    again = FeatureTable.from_state(json.loads(json.dumps(table.state())))
    assert again.width == 3 and again.transform([]).x.shape == (0, 3)
    assert table.extend_transform(full).x.shape == (3, 3)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        ([np.ones((1, 3)), np.ones((1, 4))], "sequence 1 has 4 columns, and 3 are known"),
        ([np.ones(3)], r"sequence 0 has shape \(3,\)"),
        ([np.ones((2, 2), complex)], "type complex128"),
        ([np.ones((2, 2)), np.array([[1.0, 2.0], [np.nan, 3.0]])], "sequence 1, token 1, column 0 is nan"),
        ([np.ones((2, 2)), [{"a": 1}]], "sequence 1 is a list of tokens, and sequence 0 an array"),
    ],
)
def test_arrays_that_are_wrong(X, said):
    with pytest.raises(fg.EvidenceError, match=said):
        FeatureTable().fit_transform(X)


def test_one_form_for_fit_and_transform():
    arrays, dicts = [np.ones((1, 2))], [[{"a": 1.0}]]
    table = FeatureTable()
    table.fit_transform(arrays)
    with pytest.raises(fg.EvidenceError, match="those of the fit were arrays"):
        table.transform(dicts)
    table.fit_transform(dicts)
    with pytest.raises(fg.EvidenceError, match="those of the fit had features with names"):
        table.transform(arrays)
