"""Malformed text files: every one is a FormatError that names the file, the line and the word, and at once."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

import factorgraph_ebm as fg

BIF = "network n { }\nvariable a { type discrete [ 2 ] { x, y }; }\nvariable b { type discrete [ 2 ] { u, v }; }\n"
P_A = "probability ( a ) { table 0.5, 0.5; }\n"

MALFORMED = [
    # UAI
    (".uai", "", 'line 1: the file ends where "MARKOV" or "BAYES" should come'),
    (".uai", "\n\nMARKOF 1", 'line 3: expected "MARKOV" or "BAYES", found "MARKOF"'),
    (".uai", "MARKOV\n-2", r'line 2: expected the number of variables \(an integer >= 0\), found "-2"'),
    (".uai", "MARKOV\n2.0", 'found "2.0"'),
    (".uai", "MARKOV\n1_0", 'found "1_0"'),
    (".uai", "MARKOV", "line 1: the file ends where the number of variables should come"),
    (
        ".uai",
        "MARKOV\n1000000000000\n2 2",
        r"line 2: 1,000,000,000,000 variables need at least 2,000,000,000,000 bytes",
    ),
    (".uai", "MARKOV\n" + "9" * 30, "line 2: the number of variables is .* too large for any computer"),
    (".uai", "MARKOV\n2\n2 2", "the file ends where the number of factors should come"),
    (".uai", "MARKOV\n2\n2 0\n0", 'line 3: expected the number of states of variable 1, at least 1, found "0"'),
    (".uai", "MARKOV\n1\n2\n1000000000000\n1 0", r"line 4: 1,000,000,000,000 factors need at least .* bytes"),
    (".uai", "MARKOV\n1\n2\n1\n1 1\n2\n1 1", r"line 5: factor 0 names variable 1, but there are 1 \(0-0\)"),
    (".uai", "MARKOV\n1\n2\n1\n9 0\n2\n1 1", "line 5: factor 0 says 9 variables, more than the file has words"),
    (".uai", "MARKOV\n1\n2\n1\n1 x\n2\n1 1", 'line 5: expected a variable of a scope .*, found "x"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n3\n1 1 1", "line 6: table 0 says 3 entries, but its scope has 2 = 2"),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n3\n1 1", "line 6: table 0 says 3 entries, but its scope has 2 = 2"),
    (".uai", "MARKOV\n1\n2\n1\n1 0\nx\n1 1", 'line 6: expected the number of entries of table 0 .*, found "x"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1", r"line 7: the file ends in table 0: the tables have 2 entries \(16 bytes\)"),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 1\n7", 'line 8: the file goes on after the last table: "7"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 -1", r'line 7: expected a probability \(a finite number >= 0\), found "-1"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 nan", 'line 7: .*found "nan"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1\ninf", 'line 8: .*found "inf"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 1e999999999999999999999", 'found "1e999999999999999999999"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 -1e-400", 'found "-1e-400"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 1_0", 'found "1_0"'),
    (".uai", "MARKOV\n1\n2\n1\n1 0\n2\n1 0.5.5", 'found "0.5.5"'),
    (
        ".uai",
        "MARKOV\n2\n1000000 1000000\n1\n2 0 1\n1000000000000\n1 1",
        r"line 5: the table of factor 0 has 1,000,000,000,000 entries and would take 8,000,000,000,000 bytes",
    ),
    (
        ".uai",
        "MARKOV\n1\n" + "9" * 18 + "\n1\n20 " + "0 " * 20 + "\n8\n1",
        r"line 5: the table of factor 0 has .* entries and would take 2\^1198 bytes",
    ),
    (".uai", "MARKOV\n2\n16000 16000\n2\n2 0 1\n2 1 0\n8\n1 1 1", "all tables would take 4,096,000,000 bytes"),
    (".uai", b"MARKOV\n1\n\xff", r"line 3: not text: byte 0xff"),
    (".uai", gzip.compress(b"MARKOV 0 0")[:-6], "broken gzip file"),
    (".uai", gzip.compress(b"MARKOV\n0\n7"), "line 3: 7 factors need at least 42 bytes"),
    # libDAI
    (".fg", "", "line 1: the file ends where the number of factors should come"),
    (".fg", "# only a comment\n", "the file ends where the number of factors should come"),
    (".fg", "two", r'line 1: expected the number of factors \(an integer >= 0\), found "two"'),
    (".fg", "1000000000000\n\n1\n0\n2\n0", "line 1: 1,000,000,000,000 factors need at least 4,000,000,000,000 bytes"),
    (".fg", "1\n\n7\n0\n2\n0", "line 3: factor 0 says 7 variables, more than the file has words"),
    (".fg", "1\n\n1\n0\n0\n0", 'line 5: expected a number of states, at least 1, found "0"'),
    (".fg", "1\n\n1\n-1\n2\n0", r'line 4: expected a variable label \(an integer >= 0\), found "-1"'),
    (".fg", "1\n\n1\n0\n2\n3\n0 1\n1 1", r"line 6: factor 0 says 3 entries \(48 bytes\), but 4 words follow"),
    (".fg", "1\n\n1\n0\n2\n1\n2 1", "line 7: factor 0 has no entry 2: its table has 2"),
    (".fg", "1\n\n1\n0\n2\n1\n0 -1", 'line 7: expected a probability .*, found "-1"'),
    (".fg", "# c\n1\n\n1\n0\n2\n1\n0.0 1", 'line 8: expected the index of an entry .*, found "0.0"'),
    (".fg", "1\n\n1\n0\n2\n2\n0 1\n0 2", "line 8: factor 0 lists entry 0 twice, with two values"),
    (
        ".fg",
        "2\n\n1\n0\n2\n0\n\n1\n0\n3\n0",
        "line 10: variable 0 has 3 states here and 2 elsewhere|line 5: variable 0 has 2",
    ),
    (".fg", "1\n\n1\n0\n2\n0\n1", 'line 7: the file goes on after the last factor: "1"'),
    (
        ".fg",
        "1\n\n2\n0 1\n1000000 1000000\n0",
        r"line 3: the table of factor 0 .* 8,000,000,000,000 bytes \(7.28 TiB\)",
    ),
    # alist
    (".alist", "", r"line 1: the file ends where the number of columns should come"),
    (".alist", "# nothing\n3", r"line 2: the file ends where the number of rows should come"),
    (".alist", "3 x", r'line 1: expected the number of rows \(an integer >= 0\), found "x"'),
    (".alist", "3 1\n1 3\n1 1", "line 1: 3 columns and 1 rows have a degree each, but the file has 6 words"),
    (".alist", "999999999999 1\n1 3", "line 1: 999,999,999,999 columns and 1 rows"),
    (".alist", "2 1\n1 2\n1 2\n2\n1\n1\n1 2", "line 3: column 2 has degree 2, and the greatest is said to be 1"),
    (".alist", "2 1\n1 1\n1 1\n2\n1\n1\n1 2", "line 4: row 1 has degree 2, and the greatest is said to be 1"),
    (".alist", "2 1\n1 2\n1 0\n2\n1\n\n1 2", "line 4: the rows have 2 ones by their degrees, and the columns 1"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n-1\n1 2", 'line 6: expected a number of the list .*, found "-1"'),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n0\n1 2", "line 6: column 2 has degree 1, but lists 0 before a 0"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n1\n1 0", "line 7: row 1 has degree 2, but lists 1 before a 0"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n2\n1 2", r"line 6: column 2 lists row 2, but there are 1 \(1-1\)"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n1\n1 3", r"line 7: row 1 lists column 3, but there are 2 \(1-2\)"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n1\n1 1", "line 7: row 1 lists column 1 twice"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n1\n1", "line 7: the file ends where an entry of row 1 should come"),
    (".alist", "2 1\n1 2\n1 1\n2\n1\n1\n1 2\n\n2", 'line 9: the file goes on after the last list: "2"'),
    (
        ".alist",
        "2 2\n1 1\n1 1\n1 1\n1\n2\n2\n1",
        "line 5: column 1 lists row 1, but row 1 does not list column 1",
    ),
    (
        ".alist",
        "3 2\n1 2\n1 1 1\n2 1\n1\n1\n1\n1 2\n3",
        "line 7: column 3 lists row 1, but row 1 does not list column 3",
    ),
    # BIF
    (".bif", "graph { }", 'line 1: expected "network", "variable" or "probability", found "graph"'),
    (".bif", "network n {", 'line 1: the file ends where "}" should come'),
    (".bif", "variable a { }", 'line 1: variable "a" has no type'),
    (".bif", "variable a { type real [ 2 ] { x, y }; }", 'expected "discrete", found "real"'),
    (".bif", "variable a {\n type discrete [ two ]", 'line 2: .*number of states of variable "a" .* found "two"'),
    (".bif", "variable a {\n type discrete [ 3 ] { x, y }; }", 'line 2: variable "a" says 3 states and lists 2'),
    (".bif", "variable a { type discrete [ 1000000000000 ] { x }; }", "says 1,000,000,000,000 states and lists 1"),
    (".bif", "variable a { type discrete [ 2 ] {\n x,\n x }; }", 'line 3: variable "a" has state "x" twice'),
    (".bif", "variable a { type discrete [ 1 ] { x } }", 'expected ";", found "}"'),
    (".bif", BIF + "variable a { type discrete [ 1 ] { x }; }", 'line 4: variable "a" is declared twice'),
    (".bif", BIF + P_A, 'variable "b" has no probability block'),
    (".bif", BIF + P_A + P_A, 'line 5: variable "a" has two probability blocks'),
    (".bif", BIF + "probability ( c ) { table 1; }", 'line 4: there is no variable "c"'),
    (".bif", BIF + "probability ( a | c ) { table 1; }", 'line 4: there is no variable "c"'),
    (".bif", BIF + "probability ( a | a ) { table 1; }", "names a variable twice"),
    (".bif", BIF + "probability ( a, b | b ) { table 1; }", "one variable before its one bar"),
    (".bif", BIF + "probability ( ) { table 1; }", r'expected the name of a variable, found "\)"'),
    (".bif", BIF + "probability ( a ) { table 0.5; }", 'line 4: "a" needs 2 probabilities here; found 1'),
    (".bif", BIF + "probability ( a ) { table 0.5, half; }", 'line 4: expected a probability .*, found "half"'),
    (".bif", BIF + "probability ( a ) { table 0.5,\n -0.5; }", 'line 5: expected a probability .*, found "-0.5"'),
    (".bif", BIF + "probability ( a ) { tabel 1, 0; }", r'expected "\(", "table" or "default", found "tabel"'),
    (".bif", BIF + "probability ( a ) { }", r'the probabilities of "a" have no row \(\) and no default'),
    (".bif", BIF + "probability ( a ) { table 1, 0 }", 'the file ends where ";" should come'),
    (".bif", BIF + P_A + "probability ( b | a ) { (x) 1, 0; }", r'"b" have no row \(y\) and no default'),
    (".bif", BIF + P_A + "probability ( b | a ) { (x) 1, 0; \n(x) 1, 0; }", 'line 6: a row .* of "b" stands twice'),
    (".bif", BIF + P_A + "probability ( b | a ) { (z) 1, 0; }", 'variable "a" has no state "z". Its states: x, y.'),
    (".bif", BIF + P_A + "probability ( b | a ) { (x, x) 1, 0; }", "one state for each of 1 parents, not 2"),
    (".bif", BIF + P_A + "probability ( b | a ) { (x) 1, 0; table 1 0 0 1; }", "as a table and as rows"),
]


@pytest.mark.parametrize(("suffix", "text", "message"), MALFORMED, ids=[f"{m[0][1:]}-{m[2]}"[:60] for m in MALFORMED])
def test_malformed(tmp_path, suffix, text, message):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(fg.FormatError, match=message) as caught:
        fg.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["m", "m.txt", "m.gz", "m.uai.zip"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(fg.FormatError, match=r"ends in \.alist, \.bif, \.fg, \.fgz, \.uai"):
        fg.read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".uai", ".fg", ".bif", ".fgz", ".alist"])
def test_missing_file(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        fg.read(tmp_path / f"m{suffix}")


def test_gzip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr("factorgraph_ebm.formats.text.LIMIT_BYTES", 1000)
    (tmp_path / "m.uai").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(fg.FormatError, match="unpacks to more than the limit of 1,000 bytes"):
        fg.read(tmp_path / "m.uai")
    (tmp_path / "m.uai").write_bytes(b" " * 1001)
    with pytest.raises(fg.FormatError, match="the file has 1,001 bytes"):
        fg.read(tmp_path / "m.uai")


GOOD = {
    ".uai": b"MARKOV\n3\n2 3 1\n3\n2 1 0\n0\n1 2\n\n6\n1 2 3 4 5 6\n\n1\n0.5\n\n1\n0\n",
    ".fg": b"# c\n2\n\n2\n9 2\n3 2\n3\n0 0.5\n5 0.25\n1 4\n\n1\n40\n2\n0\n",
    ".alist": b"# c\n3 2\n2 3\n1 2 1\n1 3\n1 0\n1 2\n2 0\n1 0 0\n1 2 3\n",
    ".bif": (BIF + P_A + "probability ( b | a ) { (x) 1, 0; default 0.5, 0.5; }").encode(),
}


@hypothesis.given(
    suffix=st.sampled_from(sorted(GOOD)),
    edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9), st.binary(max_size=4)), max_size=4),
    words=st.booleans(),
)
@hypothesis.settings(max_examples=500)
def test_damaged_files_are_read_or_refused(suffix, edits, words):
    """Whatever stands in a file, the answer is a graph or a FormatError, never another exception."""
    pieces = GOOD[suffix].split(b" ") if words else [bytes([byte]) for byte in GOOD[suffix]]
    for place, count, new in edits:
        at = place % (len(pieces) + 1)
        pieces[at : at + count] = [new]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m{suffix}"
        path.write_bytes((b" " if words else b"").join(pieces))
        try:
            fg.read(path)
        except fg.FormatError as error:
            assert "m." in str(error)
