"""Columns of the CoNLL shared tasks: lines by hand, and every sentence comes back."""

import gzip

import pytest
from conftest import DATA
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.formats.conll import read_conll, write_conll

CONLL2003 = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\n\n  \n# # I-NP O\r\n-DOCSTART- -X- -X- O\n"


def test_a_file_by_hand(tmp_path):
    path = tmp_path / "hand.conll"
    path.write_bytes(CONLL2003.encode())
    assert read_conll(path) == [
        [("EU", "NNP", "I-NP", "I-ORG"), ("rejects", "VBZ", "I-VP", "O")],
        [("#", "#", "I-NP", "O")],
    ]
    assert read_conll(path, columns=[0, -1])[0] == [("EU", "I-ORG"), ("rejects", "O")]


@pytest.mark.parametrize(("text", "rows"), [
    ("a  b\tc\n", [("a  b", "c")]),  # the first line has a tab: it parts the columns
    ("a  b\nc\td\n", [("a", "b"), ("c", "d")]),
    ("a\t\tb\nc d\te\tf\n", [("a", "", "b"), ("c d", "e", "f")]),
    ("a\u3000b\xa0 c\n", [("a\u3000b\xa0", "c")]),  # only spaces and tabs part
    (" a b \n", [("a", "b")]),
])  # fmt: skip
def test_separators(tmp_path, text, rows):
    path = tmp_path / "hand.conll"
    path.write_text(text)
    assert read_conll(path) == [rows]


def test_separators_that_are_said(tmp_path):
    path = tmp_path / "hand.conll"
    path.write_text("a b\tc\n")
    assert read_conll(path, separator=" ") == [[("a", "b", "c")]]
    assert read_conll(path, separator="\t") == read_conll(path) == [[("a b", "c")]]
    with pytest.raises(fg.FormatError, match="separator ',' is none"):
        read_conll(path, separator=",")
    with pytest.raises(fg.FormatError, match="separator ',' is none"):
        write_conll(path, [], separator=",")


def sentences_of(cells):
    def rows(width):
        row = st.tuples(*[cells] * width).filter(lambda row: row[0] != "-DOCSTART-" and "".join(row).strip(" "))
        return st.lists(st.lists(row, min_size=1, max_size=4), max_size=4)

    return st.integers(1, 3).flatmap(rows)


between_spaces = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r"), min_size=1, max_size=3)
between_tabs = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), max_size=3)


@settings(max_examples=150, deadline=None)
@given(spaced=sentences_of(between_spaces), tabbed=sentences_of(between_tabs))
def test_what_is_written_comes_back(tmp_path_factory, spaced, tabbed):
    folder = tmp_path_factory.mktemp("conll")
    write_conll(folder / "spaced.conll", spaced)
    assert read_conll(folder / "spaced.conll") == spaced
    write_conll(folder / "tabbed.conll.gz", tabbed, separator="\t")
    assert read_conll(folder / "tabbed.conll.gz", separator="\t") == tabbed


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("a b\n\nc d\ne\n", None, "line 4: 1 columns, where line 1 has 2"),
        ("-DOCSTART- -X- O O\n\na b\nc d e\n", None, "line 4: 3 columns, where line 3 has 2"),
        ("a b\n", [2], "line 1: there are 2 columns, and none is 2"),
        ("a b\n", [-3], "line 1: there are 2 columns, and none is -3"),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, columns, said):
    path = tmp_path / "bad.conll.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(fg.FormatError, match=f"bad.conll.gz, {said}"):
        read_conll(path, columns)


@pytest.mark.parametrize(
    ("sentences", "separator", "said"),
    [
        (
            [[("a", "b c")]],
            " ",
            r"sentence 0, row 0: 'b c' cannot be a cell between spaces. Write with separator=\"\\t\"",
        ),
        ([[("a", "")]], " ", "'' cannot be a cell between spaces"),
        ([[("a", "b\tc")]], "\t", "sentence 0, row 0: 'b.tc' cannot be a cell"),
        ([[("a", 3)]], " ", "3 cannot be a cell"),
        ([[("a", "b")], [("a",)]], " ", "sentence 1, row 0 has 1 columns, where the first row has 2"),
        ([[("a", "b")], []], " ", "sentence 1 has no rows"),
        ([[()]], " ", "sentence 0, row 0 has 0 columns"),
        ([[("-DOCSTART-", "b")]], " ", "would not be read as a token"),
        ([[("", " ")]], "\t", "would not be read as a token"),
    ],
)
def test_what_cannot_be_written(tmp_path, sentences, separator, said):
    with pytest.raises(fg.FormatError, match=said):
        write_conll(tmp_path / "none.conll", sentences, separator=separator)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not (DATA / "conll2000").is_dir(), reason="no benchmark data beside the repository")
def test_the_chunking_data_of_2000():
    sentences = read_conll(DATA / "conll2000" / "test.txt.gz")
    assert (len(sentences), sum(map(len, sentences))) == (2012, 47377)  # counts of the shared task
    assert sentences[0][0] == ("Rockwell", "NNP", "B-NP")
