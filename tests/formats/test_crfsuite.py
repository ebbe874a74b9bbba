"""CRFsuite's text data: lines by hand, and every sequence comes back."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.formats.crfsuite import read_crfsuite, write_crfsuite


def test_a_file_by_hand(tmp_path):
    path = tmp_path / "hand.crfsuite"
    path.write_text(
        "B-NP\tw[0]=the\tpos[0]=DT\tlength:3\n"
        "I-NP\tw\\:cat\tback\\\\slash\thalf:.5\tnegative:-1e-3\r\n"
        "O\n"
        "\n"
        "\n"
        "#\ta:\t\ta\tw\\\\:2\t\\x\n"
        "C\\:D\t#\tend\\"
    )
    X, y = read_crfsuite(path)
    assert y == [["B-NP", "I-NP", "O"], [], ["#", "C:D"]]
    assert X[0] == [
        {"w[0]=the": 1.0, "pos[0]=DT": 1.0, "length": 3.0},
        {"w:cat": 1.0, "back\\slash": 1.0, "half": 0.5, "negative": -0.001},
        {},
    ]
    assert X[1] == []
    assert X[2] == [{"a": 2.0, "w\\": 2.0, "\\x": 1.0}, {"#": 1.0, "end\\": 1.0}]


@pytest.mark.parametrize("text", ["", "A\n", "A", "A\n\n", "\n", "A\tb\n\n\nB\n\n"])
def test_the_end_of_a_file(tmp_path, text):
    path = tmp_path / "end.crfsuite"
    path.write_text(text)
    _, y = read_crfsuite(path)
    assert y == {"": [], "A\n": [["A"]], "A": [["A"]], "A\n\n": [["A"]], "\n": [[]]}.get(text, [["A"], [], ["B"]])


letters = st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r")
words = st.one_of(st.text(letters, min_size=1, max_size=4), st.text(st.sampled_from("a:\\#@ "), min_size=1, max_size=4))
numbers = st.floats(allow_nan=False, allow_infinity=False)
labelled = st.tuples(words.filter(lambda word: not word.startswith("@")), st.dictionaries(words, numbers, max_size=4))


@settings(max_examples=200, deadline=None)
@given(sequences=st.lists(st.lists(labelled, max_size=4), max_size=4))
def test_what_is_written_comes_back(tmp_path_factory, sequences):
    path = tmp_path_factory.mktemp("crfsuite") / "some.crfsuite.gz"
    X, y = [[token for _, token in each] for each in sequences], [[label for label, _ in each] for each in sequences]
    write_crfsuite(path, X, y)
    assert path.read_bytes().startswith(b"\x1f\x8b")
    assert read_crfsuite(path) == (X, y)


def test_tokens_of_every_form_are_written_as_their_features(tmp_path):
    path = tmp_path / "forms.crfsuite"
    write_crfsuite(path, [[["a", "b"], {"word": "in", "near": {"tag": "NN"}, "end": False}]], [["A", "B"]])
    assert read_crfsuite(path)[0] == [[{"a": 1.0, "b": 1.0}, {"word:in": 1.0, "near:tag:NN": 1.0, "end": 0.0}]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A\ta\n\nB\tword:in\n", r'line 3: "word:in" is not a feature.*\\:'),
        ("A\ta:1:2\n", 'line 1: "a:1:2" is not a feature'),
        ("A\n\nB\n\n\nC\tx\ta:nan", 'line 6: "a:nan" is not a feature'),
        ("A\ta:1e999", "line 1"),
        ("A\t:3", 'line 1: ":3" is not a feature'),
        ("A\n\ta", "line 2: the line begins with a tab"),
        ("@weight:2\nA\ta", 'line 1: "@weight:2" is a declaration'),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, said):
    path = tmp_path / "bad.crfsuite"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(fg.FormatError, match=f"bad.crfsuite, {said}"):
        read_crfsuite(path)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        ([[{"a\tb": 1.0}]], [["A"]], "sequence 0, token 0: feature 'a.tb' cannot be written"),
        ([[{"": 1.0}]], [["A"]], "feature '' cannot be written"),
        ([[{"a": 1.0}, {}]], [["A", ""]], "sequence 0, token 1: label '' cannot be written"),
        ([[{}]], [["@A"]], "'@A' is no label"),
        ([[{}]], [[None]], "None is no label"),
        ([[{"\ud800": 1.0}]], [["A"]], "cannot be written in UTF-8"),
        ([[{"a": None}]], [["A"]], 'sequence 0, token 0, feature "a" is None'),
        ([[{}]], [[]], "sequence 0 has 1 tokens, and 0 labels"),
        ([[{}]], [], "1 sequences, and labels of 0"),
    ],
)
def test_what_cannot_be_written_leaves_the_file_alone(tmp_path, X, y, said):
    path = tmp_path / "kept.crfsuite"
    path.write_text("A\n\n")
    with pytest.raises(fg.FactorGraphError, match=said):
        write_crfsuite(path, X, y)
    assert path.read_text() == "A\n\n" and [each.name for each in tmp_path.iterdir()] == ["kept.crfsuite"]
