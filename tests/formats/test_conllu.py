"""CoNLL-U: lines by hand, and every sentence comes back."""

import gzip

import pytest
from conftest import DATA
from hypothesis import given, settings
from hypothesis import strategies as st

import factorgraph_ebm as fg
from factorgraph_ebm.formats.conllu import Sentence, read_conllu, write_conllu

# After the example of the format's own page.
BY_HAND = """# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\tMood=Imp|Number=Plur\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No

0.1\t_\t_\t_\t_\t_\t_\t_\t_\t_
1\t_\t_\tSYM\t_\t_\t0\troot\t_\t_
1.1\tsushi\tsushi\tNOUN\t_\t_\t_\t_\t1:conj\t_
1.2\ta b\ta b\t_\t_\t_\t_\t_\t_\t_
2\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_

"""


def row(name, form="_", tag="_"):
    return (name, form, "_", tag, *"_" * 6)


def test_a_file_by_hand_is_read_and_written_to_the_letter(tmp_path):
    path, again = tmp_path / "hand.conllu", tmp_path / "again.conllu"
    path.write_text(BY_HAND)
    first, second = read_conllu(path)
    assert first.comments == ["# sent_id = 1", "# text = vámonos al mar"] and second.comments == []
    assert first.words("FORM", "UPOS") == [
        ("vamos", "VERB"), ("nos", "PRON"), ("a", "ADP"), ("el", "DET"), ("mar", "NOUN")
    ]  # fmt: skip
    assert second.words("FORM", "LEMMA") == [("_", "_"), (".", ".")]
    assert len(first.words()[0]) == 10
    write_conllu(again, [first, second])
    assert again.read_text() == BY_HAND


def test_other_tags_for_the_words(tmp_path):
    path = tmp_path / "hand.conllu"
    path.write_text(BY_HAND)
    sentence = read_conllu(path)[0].with_column("UPOS", "ABCDE")
    assert [each[0] for each in sentence.words("UPOS")] == list("ABCDE")
    assert sentence.rows[0][3] == "_" and sentence.rows[1][4:] == read_conllu(path)[0].rows[1][4:]
    with pytest.raises(fg.FormatError, match="5 words, and 2 cells"):
        sentence.with_column("UPOS", "AB")
    with pytest.raises(fg.FormatError, match='no column "POS". Did you mean'):
        sentence.words("POS")
    with pytest.raises(fg.FormatError, match="no column"):
        sentence.with_column("POS", "ABCDE")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r"), min_size=1, max_size=3)


@st.composite
def drawn_sentences(draw):
    names, covered = [], 0
    names += [f"0.{k}" for k in range(1, draw(st.integers(0, 2)) + 1)]
    n = draw(st.integers(1, 4))
    for word in range(1, n + 1):
        if word > covered and word < n and draw(st.booleans()):
            covered = draw(st.integers(word + 1, n))
            names.append(f"{word}-{covered}")
        names.append(str(word))
        names += [f"{word}.{k}" for k in range(1, draw(st.integers(0, 2)) + 1)]
    comments = draw(st.lists(cells.map("#".__add__), max_size=2))
    return Sentence(comments, [(name, *draw(st.tuples(*[cells] * 9))) for name in names])


@settings(max_examples=100, deadline=None)
@given(sentences=st.lists(drawn_sentences(), max_size=3))
def test_what_is_written_comes_back(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("conllu") / "some.conllu.gz"
    write_conllu(path, sentences)
    assert read_conllu(path) == sentences


def text_of(*rows):
    return "".join("\t".join(each) + "\n" for each in rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\ta\n", "line 1: 2 columns, parted by tabs, where CoNLL-U has 10"),
        ("1 a _ _ _ _ _ _ _ _\n", "line 1: 1 columns"),
        (text_of(row("1"), row("3")), 'line 2: "3" is out of order'),
        (text_of(row("2")), 'line 1: "2" is out of order'),
        (text_of(row("1"), row("1")), 'line 2: "1" is out of order'),
        (text_of(row("2-3"), row("1")), 'line 1: "2-3" is out of order'),
        (text_of(row("1-1"), row("1")), 'line 1: "1-1" is out of order'),
        (text_of(row("1-2"), row("1"), row("2-3"), row("2"), row("3")), 'line 3: "2-3" is out of order'),
        (text_of(row("1-2"), row("1")), "line 2: a token ends at word 2, and the sentence at word 1"),
        (text_of(row("1"), row("1.2")), 'line 2: "1.2" is out of order'),
        (text_of(row("1"), row("2.1")), 'line 2: "2.1" is out of order'),
        (text_of(row("one")), 'line 1: "one" is not the number of a word'),
        (text_of(row("01")), 'line 1: "01" is not the number of a word'),
        (text_of(row("1", form="")), "line 1: column FORM is ''"),
        (text_of(row("1")) + "# late\n", "line 2: a comment inside a sentence"),
        (text_of(row("1")) + "\n# alone\n", "line 3: the file ends after comments"),
    ],
)
def test_bad_files_name_the_line(tmp_path, text, said):
    path = tmp_path / "bad.conllu"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(fg.FormatError, match=f"bad.conllu, {said}"):
        read_conllu(path)


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (Sentence([], []), "sentence 0 has no words"),
        (Sentence(["no hash"], [row("1")]), "'no hash' is not a comment"),
        (Sentence(["#\n"], [row("1")]), "is not a comment"),
        (Sentence([], [row("1", form="a\tb")]), "sentence 0, row 0: column FORM is 'a.tb'"),
        (Sentence([], [row("2")]), 'sentence 0, row 0: "2" is out of order'),
        (Sentence([], [row("1-2"), row("1")]), "sentence 0: a token ends at word 2"),
        (Sentence([], [("1",)]), "sentence 0, row 0: 1 columns"),
    ],
)
def test_what_cannot_be_written(tmp_path, sentence, said):
    with pytest.raises(fg.FormatError, match=said):
        write_conllu(tmp_path / "none.conllu", [sentence])
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not (DATA / "ud_ewt").is_dir(), reason="no benchmark data beside the repository")
def test_the_english_web_treebank_comes_back_to_the_letter(tmp_path):
    path = DATA / "ud_ewt" / "en_ewt-ud-dev.conllu.gz"
    sentences = read_conllu(path)
    assert len(sentences) == 2001  # as its own counts say
    write_conllu(tmp_path / "again.conllu", sentences)
    assert (tmp_path / "again.conllu").read_bytes() == gzip.decompress(path.read_bytes())
