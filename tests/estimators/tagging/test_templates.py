"""CRF++'s templates: features by hand, and by the words of its documentation, cell by cell."""

import re

import pytest
from conftest import DATA
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.tagging.feature_table import FeatureTable
from factorgraph_ebm.estimators.tagging.templates import CHUNKING, TEMPLATES, WORDS, Template
from factorgraph_ebm.formats.conll import read_conll

# The example of CRF++'s documentation: what its template makes of the token "the".
DOCUMENTED = [("He", "PRP"), ("reckons", "VBZ"), ("the", "DT"), ("current", "JJ"), ("account", "NN")]


@pytest.mark.parametrize(
    ("template", "feature"),
    [
        ("U:%x[0,0]", "U:the"),
        ("U:%x[0,1]", "U:DT"),
        ("U:%x[-1,0]", "U:reckons"),
        ("U:%x[-2,1]", "U:PRP"),
        ("U:%x[0,0]/%x[0,1]", "U:the/DT"),
        ("UABC%x[0,1]123", "UABCDT123"),
        ("U50", "U50"),
        ("B:%x[0,0]{}", "B:the{}"),
        ("U%x[-3,0]|%x[3,0]|%x[-4,1]|%x[4,1]", "U_B-1|_B+1|_B-2|_B+2"),
    ],
)
def test_the_example_of_the_documentation(template, feature):
    assert Template.parse(template)(DOCUMENTED)[2] == (feature,)


def test_lines_make_features_in_their_order():
    template = Template.parse("# words\nU1:%x[0,0]\n\nB\nU2:%x[1,0]  \r\n#B9:%x[0,0]\nB3:%x[-1,0]\n")
    assert template.transitions and template.has_pairs
    assert template(["a", "b"]) == [("U1:a", "U2:b", "B3:_B-1"), ("U1:b", "U2:_B+1", "B3:a")]
    assert template([]) == [] and template.features([]) == []


def test_a_template_without_features():
    template = Template.parse("B\n")
    assert template.lines == () and template.transitions and not template.has_pairs
    assert template.features([["a", "b"], []]) == [[(), ()], []]


def test_the_templates_that_have_a_name():
    chunking, words = Template.read("chunking"), Template.read("words")
    assert (len(chunking.lines), len(words.lines)) == (19, 7)
    assert chunking.text == CHUNKING and words.text == WORDS and set(TEMPLATES) == {"chunking", "words"}
    assert all(template.transitions and not template.has_pairs for template in (chunking, words))
    assert chunking(DOCUMENTED)[0] == (
        "U00:_B-2", "U01:_B-1", "U02:He", "U03:reckons", "U04:the", "U05:_B-1/He", "U06:He/reckons",
        "U10:_B-2", "U11:_B-1", "U12:PRP", "U13:VBZ", "U14:DT", "U15:_B-2/_B-1", "U16:_B-1/PRP", "U17:PRP/VBZ",
        "U18:VBZ/DT", "U20:_B-2/_B-1/PRP", "U21:_B-1/PRP/VBZ", "U22:PRP/VBZ/DT",
    )  # fmt: skip


def test_a_template_in_a_file(tmp_path):
    path = tmp_path / "template"
    path.write_text("U1:%x[0,0]\n")
    assert Template.read(path) == Template.parse("U1:%x[0,0]\n")
    with pytest.raises(FileNotFoundError, match='no template of that name. Did you mean "chunking"'):
        Template.read("chunkin")


def cell_by_cell(text, sentence):
    """By the documentation: every macro is replaced for itself."""

    def cell(token, macro):
        row, column = token + int(macro[1]), int(macro[2])
        if row < 0:
            return f"_B-{-row}"
        return f"_B+{row - len(sentence) + 1}" if row >= len(sentence) else sentence[row][column]

    lines = [line for line in text.split("\n") if line and line != "B"]
    return [
        tuple(re.sub(r"%x\[(-?\d+),(\d+)\]", lambda macro, t=token: cell(t, macro), line) for line in lines)
        for token in range(len(sentence))
    ]


macros = st.builds("%x[{},{}]".format, st.integers(-4, 4), st.integers(0, 2))
lines = st.builds(
    lambda kind, number, cells: f"{kind}{number:02}:" + "/".join(cells),
    st.sampled_from("UB"),
    st.integers(0, 99),
    st.lists(macros, max_size=3),
)
words = st.text(st.sampled_from("ab%s"), min_size=1, max_size=2)
sentences = st.lists(st.lists(st.tuples(words, words, words), max_size=4), max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(lines, max_size=5).map("\n".join), sentences)
def test_all_sentences_at_once_equal_cell_by_cell(text, drawn):
    assert Template.parse(text).features(drawn) == [cell_by_cell(text, sentence) for sentence in drawn]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("U1:%x[0,0]\nX:%x[0,0]", 'own, line 2: "X:%x.0,0." begins with neither U'),
        (" U1", "own, line 1"),
        ("U1:%x[0]", r"own, line 1: .* has a % that is no %x\[row,column\]"),
        ("U1:%x[0,-1]", "own, line 1"),
        ("U1:%x[+1,0]", "own, line 1"),
        ("\n\nU1:100%", "own, line 3"),
        ("U1:%t[0,0]", "own, line 1"),
    ],
)
def test_errors_name_the_line(text, said):
    with pytest.raises(fg.FormatError, match=said):
        Template.parse(text, "own")


def test_a_column_that_is_not_there():
    with pytest.raises(fg.EvidenceError, match="sentence 1, row 1 has 1 columns, and the template reads column 1"):
        Template.read("chunking").features([[("a", "b")], [("a", "b"), ("a",)]])
    with pytest.raises(fg.EvidenceError, match="sentence 0, row 0: cell 3 is not a string"):
        Template.read("words").features([[(3,)]])


@pytest.mark.skipif(not (DATA / "conll2000").is_dir(), reason="no benchmark data beside the repository")
def test_the_features_of_the_chunking_data():
    sentences = read_conll(DATA / "conll2000" / "train.txt.gz")[:500]
    template = Template.read("chunking")
    features = template.features(sentences)
    assert features[7] == template(sentences[7]) == cell_by_cell("\n".join(CHUNKING.split()), sentences[7])
    tokens = FeatureTable().fit_transform(features)
    assert tokens.x.shape == (
        sum(map(len, sentences)),
        len({name for each in features for token in each for name in token}),
    )
    assert tokens.x.sum() == 19 * tokens.x.shape[0]


def test_a_tagger_that_makes_its_features_by_a_template(tmp_path):
    X = [[("the", "DT"), ("dog", "NN"), ("ran", "VB")], [("a", "DT"), ("cat", "NN")], []]
    y = [["B-NP", "I-NP", "B-VP"], ["B-NP", "I-NP"], []]
    text = "U1:%x[-1,1]/%x[0,1]\nB2:%x[0,0]\nB\n"
    tagger = fg.SequenceTagger(template=text, c2=0.1).fit(X, y)
    same = fg.SequenceTagger(pair_features="B", c2=0.1).fit(Template.parse(text).features(X), y)
    assert tagger.predict(X) == same.predict(Template.parse(text).features(X)) == y
    assert tagger.objective_ == same.objective_
    assert tagger.pair_features_ == same.pair_features_ and ("B2:ran", "I-NP", "B-VP") in tagger.pair_features_
    tagger.save(tmp_path / "tagger.npz")
    assert fg.SequenceTagger.load(tmp_path / "tagger.npz").predict(X) == y
    by_name = fg.SequenceTagger(template="words", c2=0.1).fit([["the", "dog"]], [["D", "N"]])
    assert by_name.predict([["the", "dog"]]) == [["D", "N"]] and not by_name.pair_features_
    with pytest.raises(fg.FormatError, match='template=, line 1: "chunk" begins with neither U'):
        fg.SequenceTagger(template="chunk").fit(X, y)
