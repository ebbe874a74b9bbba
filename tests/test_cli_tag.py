"""`factorgraph-ebm tag`: what it prints, what it writes, and that a killed run goes on."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import DATA
from terminal import run_at_terminal

import factorgraph_ebm as fg
from factorgraph_ebm.cli import main
from factorgraph_ebm.estimators.tagging.spans import span_scores
from factorgraph_ebm.estimators.tagging.templates import Template
from factorgraph_ebm.formats.conll import read_conll, write_conll
from factorgraph_ebm.formats.conllu import Sentence, read_conllu, write_conllu
from factorgraph_ebm.formats.crfsuite import write_crfsuite

TRAIN = [sys.executable, "-m", "factorgraph_ebm.cli", "tag", "train"]
WORDS = {"DT": ["the", "a"], "NN": ["dog", "cat", "tree"], "VB": ["saw", "ran"], "IN": ["in", "by"]}


def sentences(n, seed=0):
    """Rows of word, part of speech and chunk: noun phrases, verbs between, and now and then where."""
    rng = np.random.default_rng(seed)

    def word(kind):
        return WORDS[kind][rng.integers(len(WORDS[kind]))], kind

    found = []
    for _ in range(n):
        rows = [(*word("DT"), "B-NP"), (*word("NN"), "I-NP"), (*word("VB"), "B-VP")]
        if rng.random() < 0.5:
            rows += [(*word("IN"), "O"), (*word("DT"), "B-NP"), (*word("NN"), "I-NP")]
        found.append(rows)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with train.txt, test.txt and a tagger learned from them; what training said."""
    folder = tmp_path_factory.mktemp("tag")
    write_conll(folder / "train.txt", sentences(40))
    write_conll(folder / "test.txt", sentences(10, seed=1))
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = main([
            "tag", "train", str(folder / "train.txt"), "--template", "chunking", "--model", str(folder / "m.tagger"),
            "--dev", str(folder / "test.txt"), "--scheme", "bio", "--c2", "0.1", "--max-iterations", "25",
        ])  # fmt: skip
    assert (code, complained.getvalue()) == (0, "")
    return folder, said.getvalue()


@pytest.fixture
def run(capsys):
    """Run `tag` and return exit code, standard output and standard error."""

    def tag(*arguments):
        code = main(["tag", *map(str, arguments)])
        return code, *capsys.readouterr()

    return tag


def test_training_says_what_it_learned(trained):
    folder, said = trained
    lines = said.splitlines()
    tokens = sum(map(len, sentences(40)))
    assert lines[0] == f"{folder / 'm.tagger'}: 4 tags, learned from {tokens} tokens of 40 sequences"
    assert [line.split()[0] for line in lines[1:4]] == ["objective", "updates", "seconds"]
    assert lines[4] == f"{folder / 'test.txt'}:" and "FB1: 100.00" in lines[6]
    tagger = fg.SequenceTagger.load(folder / "m.tagger")
    assert (tagger.scheme, tagger.c2, tagger.template) == ("bio", 0.1, Template.read("chunking").text)
    assert f"{tagger.objective_:,.6g}" == lines[1].split()[1] and tagger.n_iter_ == int(lines[2].split()[1])


def test_rows_get_a_column(trained, run, tmp_path):
    folder, _ = trained
    code, out, err = run("predict", folder / "m.tagger", folder / "test.txt")
    assert (code, err) == (0, "")
    rows = [[(*row, row[-1]) for row in each] for each in sentences(10, seed=1)]
    assert out == "".join("".join(f"{' '.join(row)}\n" for row in each) + "\n" for each in rows)
    assert run("predict", folder / "m.tagger", folder / "test.txt", "--output", tmp_path / "tagged.gz") == (0, "", "")
    assert read_conll(tmp_path / "tagged.gz") == rows


def test_the_n_best_and_the_marginals(trained, run, tmp_path):
    folder, _ = trained
    code, out, _ = run("predict", folder / "m.tagger", folder / "test.txt", "--n-best", 3, "--marginals")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(answers) == 10
    tagger = fg.SequenceTagger.load(folder / "m.tagger")
    X = [[row[:2] for row in each] for each in sentences(10, seed=1)]
    for answer, tags, n_best, marginals in zip(
        answers, tagger.predict(X), tagger.predict_n_best(X, 3), tagger.predict_marginals(X)
    ):
        assert answer["tags"] == tags == answer["n_best"][0]["tags"]
        assert [(each["tags"], each["probability"]) for each in answer["n_best"]] == n_best
        assert answer["marginals"] == marginals
    run("predict", folder / "m.tagger", folder / "test.txt", "--marginals", "--output", tmp_path / "answers.jsonl")
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 10


def test_scores_of_a_tagger_and_of_a_tagged_file_are_one(trained, run, tmp_path):
    folder, _ = trained
    # Every third tag is made another one: what is right is no longer all.
    right = sentences(10, seed=1)
    wrong = [[(*row[:-1], "B-VP" if t % 3 == 2 else row[-1]) for t, row in enumerate(each)] for each in right]
    write_conll(tmp_path / "wrong.txt", wrong)
    code, out, _ = run("evaluate", folder / "m.tagger", tmp_path / "wrong.txt")
    tags = [[row[-1] for row in each] for each in right]
    scores = span_scores([[row[-1] for row in each] for each in wrong], tags)
    assert code == 0 and out == f"{scores}\n"
    run("predict", folder / "m.tagger", tmp_path / "wrong.txt", "--output", tmp_path / "tagged.txt")
    assert run("evaluate", tmp_path / "tagged.txt") == (0, out, "")
    code, said, _ = run("evaluate", tmp_path / "tagged.txt", "--json")
    said = json.loads(said)
    assert said["f1"] == scores.overall.f1 and said["accuracy"] == scores.accuracy and said["tokens"] == scores.tokens
    assert said["types"]["VP"] == {
        "precision": scores.by_type["VP"].precision, "recall": scores.by_type["VP"].recall,
        "f1": scores.by_type["VP"].f1, **scores.by_type["VP"]._asdict(),
    }  # fmt: skip


def test_the_scheme_is_seen_or_said(run, tmp_path):
    path = tmp_path / "tagged.txt"
    for rows, f1, said in [
        ([("a", "S-A", "S-A"), ("b", "S-A", "O")], 2 / 3, []),
        ([("a", "U-A", "U-A"), ("b", "U-A", "O")], 2 / 3, []),
        ([("a", "NOUN", "NOUN"), ("b", "VERB", "NOUN")], 0.5, []),
        ([("a", "I-A", "I-A"), ("b", "I-A", "O")], 0.0, []),
        ([("a", "I-A", "I-A"), ("b", "I-A", "O")], 2 / 3, ["--scheme", "none"]),
    ]:
        write_conll(path, [rows])
        _, out, _ = run("evaluate", path, "--json", *said)
        assert json.loads(out)["f1"] == pytest.approx(f1, abs=1e-12)


def test_universal_dependencies(run, tmp_path):
    def row(number, form, tag):
        return (str(number), form, "_", tag, "_", "_", "_", "_", "_", "_")

    kinds = {"DT": "DET", "NN": "NOUN", "VB": "VERB", "IN": "ADP"}
    written = [
        Sentence(["# text"], [("1-2", "both", *"_" * 8), *(row(t, w, kinds[k]) for t, (w, k, _) in enumerate(each, 1))])
        for each in sentences(20)
    ]
    # One tag is not known, and one word of the test has a tag that training never saw.
    unknown = written[0].with_column("UPOS", ["_", *(tag for (tag,) in written[0].words("UPOS")[1:])])
    write_conllu(tmp_path / "train.conllu", [unknown, *written[1:]])
    strange = Sentence([], [row(1, "the", "DET"), row(2, "oh", "INTJ")])
    write_conllu(tmp_path / "test.conllu.gz", [*written[:3], strange])
    code, out, err = run(
        "train", tmp_path / "train.conllu", "--template", "words", "--model", tmp_path / "m", "--c2", 0.1,
        "--dev", tmp_path / "test.conllu.gz",
    )  # fmt: skip
    assert code == 0 and err == "" and ": 4 tags" in out and "INTJ: precision:   0.00%" in out
    bare = [sentence.with_column("UPOS", "_" * len(sentence.words())) for sentence in written[:3]]
    write_conllu(tmp_path / "bare.conllu", bare)
    assert run("predict", tmp_path / "m", tmp_path / "bare.conllu", "--output", tmp_path / "t.conllu") == (0, "", "")
    assert read_conllu(tmp_path / "t.conllu") == written[:3]
    _, out, _ = run("predict", tmp_path / "m", tmp_path / "bare.conllu")
    assert out == (tmp_path / "t.conllu").read_text()
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "bare.conllu", "--json")
    assert json.loads(out)["tokens"] == 0
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "train.conllu", "--json")
    assert json.loads(out)["accuracy"] == 1.0


def test_features_of_crfsuite(run, tmp_path):
    rows = sentences(15)
    X, y = (
        Template.read("words").features([[row[:1] for row in each] for each in rows]),
        [[r[-1] for r in s] for s in rows],
    )
    write_crfsuite(tmp_path / "train.crfsuite", X, y)
    code, _, err = run("train", tmp_path / "train.crfsuite", "--model", tmp_path / "m", "--loss", "perceptron")
    assert (code, err) == (0, "")
    _, out, _ = run("predict", tmp_path / "m", tmp_path / "train.crfsuite")
    assert out == "".join("".join(f"{tag} {tag}\n" for tag in tags) + "\n" for tags in y)
    code, _, err = run("predict", tmp_path / "m", _some_columns(tmp_path))
    assert code == 2 and "the tagger was trained on features" in err


def _some_columns(folder):
    write_conll(folder / "some.txt", sentences(2))
    return folder / "some.txt"


def test_other_columns(run, tmp_path):
    """The tag before the word: columns by number, and the tag by its own."""
    write_conll(tmp_path / "train.txt", [[(tag, kind, word) for word, kind, tag in each] for each in sentences(20)])
    options = ["--columns", "2,1", "--label", "0"]
    code, _, err = run("train", tmp_path / "train.txt", "--template", "chunking", "--model", tmp_path / "m", *options)
    assert (code, err) == (0, "")
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "train.txt", *options, "--json")
    assert json.loads(out)["f1"] == 1.0


def test_a_template_cannot_read_the_answer(run, tmp_path):
    write_conll(tmp_path / "train.txt", sentences(5))
    (tmp_path / "template").write_text("U1:%x[0,2]")
    code, _, err = run("train", tmp_path / "train.txt", "--template", tmp_path / "template", "--model", tmp_path / "m")
    assert code == 2 and "row 0 has 2 columns, and the template reads column 2" in err
    assert not (tmp_path / "m").exists()


def test_rows_without_an_answer_are_tagged(trained, run, tmp_path):
    folder, _ = trained
    write_conll(tmp_path / "bare.txt", [[row[:2] for row in each] for each in sentences(10, seed=1)])
    _, out, _ = run("predict", folder / "m.tagger", tmp_path / "bare.txt", "--output", tmp_path / "tagged.txt")
    assert read_conll(tmp_path / "tagged.txt") == sentences(10, seed=1)


def test_bad_input_is_one_line_and_exit_code_2(trained, run, tmp_path):
    folder, _ = trained
    train, model = folder / "train.txt", tmp_path / "m"
    for arguments, said in [
        (["train", train, "--model", model], "words need a template"),
        (["train", train, "--model", model, "--template", "chunkin"], "no template of that name"),
        (["train", tmp_path / "none.txt", "--model", model, "--template", "words"], "No such file"),
        (["train", train, "--model", model, "--template", "words", "--scheme", "BIOX"], "scheme 'BIOX' is unknown"),
        (["train", train, "--model", model, "--template", "words", "--resume"], "--resume goes on from a checkpoint"),
        (["train", train, "--model", model, "--template", "words", "--checkpoint", train], "is there. Add --resume"),
        (["train", train, "--model", model, "--template", "words", "--columns", "0,7"], "none is 7"),
        (["train", train, "--model", model, "--template", "words", "--label", "tag"], "--label 'tag': columns"),
        (["train", train, "--model", model, "--template", "words", "--format", "crfsuite"], "leave --template out"),
        (["predict", train, train], "not an archive"),
        (["evaluate", train, "--scheme", "bio"], "is none of scheme"),
        (["evaluate", train, "--format", "conllu"], "line 1"),
    ]:  # fmt: skip
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err, arguments
    for arguments in (["train", train], ["predict", train], ["train", train, "--model", model, "--c2", "-1"], []):
        with pytest.raises(SystemExit) as exit:
            run(*arguments)
        assert exit.value.code == 2


def test_help_of_every_verb(capsys):
    for verb in ("train", "predict", "evaluate"):
        with pytest.raises(SystemExit) as exit:
            main(["tag", verb, "--help"])
        assert exit.value.code == 0 and "--columns" in capsys.readouterr().out


def test_a_killed_run_goes_on_and_ends_where_it_would_have(run, tmp_path):
    write_conll(tmp_path / "train.txt", sentences(150))
    options = [tmp_path / "train.txt", "--template", "chunking", "--c2", "0.001", "--optimizer", "sgd",
               "--max-iterations", "60"]  # fmt: skip
    kept = [*options, "--model", tmp_path / "kept", "--checkpoint", tmp_path / "run.npz", "--resume"]
    with subprocess.Popen([*TRAIN, *kept], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        patience = time.monotonic() + 60
        while not (tmp_path / "run.npz").exists() and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.005)
        process.kill()
    assert (tmp_path / "run.npz").exists()
    assert run("train", *kept)[0] == run("train", *options, "--model", tmp_path / "whole")[0] == 0
    resumed, whole = (fg.SequenceTagger.load(tmp_path / name) for name in ("kept", "whole"))
    assert resumed.objective_ == whole.objective_ and resumed.n_iter_ == whole.n_iter_
    assert resumed.state_features_ == whole.state_features_


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of POSIX")
def test_a_bar_at_a_terminal(tmp_path):
    write_conll(tmp_path / "train.txt", sentences(30))
    code, out, seen = run_at_terminal(
        [*TRAIN, tmp_path / "train.txt", "--template", "words", "--model", tmp_path / "m"]
    )  # fmt: skip
    assert code == 0 and ": 4 tags" in out
    assert "loss" in seen


@pytest.mark.skipif(not (DATA / "conll2000").is_dir(), reason="no benchmark data beside the repository")
def test_chunks_of_the_shared_task(run, tmp_path):
    write_conll(tmp_path / "train.txt", read_conll(DATA / "conll2000" / "train.txt.gz")[:200])
    write_conll(tmp_path / "test.txt", read_conll(DATA / "conll2000" / "test.txt.gz")[:100])
    code, *_ = run(
        "train", tmp_path / "train.txt", "--template", "chunking", "--model", tmp_path / "m", "--scheme", "bio",
        "--max-iterations", 30,
    )  # fmt: skip
    assert code == 0
    _, out, _ = run("evaluate", tmp_path / "m", tmp_path / "test.txt", "--json")
    # 84.9 was measured; a tagger that says the commonest tag of each part of speech has 77 on the whole task.
    assert json.loads(out)["f1"] > 0.82


def test_order_2_takes_a_dev_file_with_tags_that_training_lacks(run, tmp_path):
    write_conll(tmp_path / "train.txt", sentences(4))
    write_conll(tmp_path / "dev.txt", [*sentences(3, seed=1), [("Ada", "NNP", "B-PER")]])
    code, said, complained = run(
        "train", tmp_path / "train.txt", "--template", "words", "--order", 2, "--dev", tmp_path / "dev.txt",
        "--model", tmp_path / "m.tagger", "--max-iterations", 3,
    )  # fmt: skip
    assert (code, complained) == (0, "")
    assert "PER" in said


def test_a_model_that_cannot_be_written_is_refused_before_training(run, tmp_path):
    write_conll(tmp_path / "train.txt", sentences(4))
    model = tmp_path / "no" / "m.tagger"
    code, said, complained = run("train", tmp_path / "train.txt", "--template", "words", "--model", model)
    assert (code, said) == (2, "")
    assert "there is no directory" in complained
