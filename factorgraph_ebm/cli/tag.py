"""`factorgraph-ebm tag train | predict | evaluate`: taggers of sequences, from files to files."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from typing import Any

import factorgraph_ebm as fg
from factorgraph_ebm.cli.speaking import ANSWERED, EXIT_CODES, number
from factorgraph_ebm.cli.tagged_files import Tagged, Tags, add_format, read_tagged, write_answers
from factorgraph_ebm.estimators.tagging.spans import SCHEMES, SpanScores, span_scores
from factorgraph_ebm.estimators.tagging.templates import Template
from factorgraph_ebm.formats.text import write_bytes

LOSSES = ("likelihood", "perceptron", "hinge", "softmax_margin")


def add(commands: Any) -> None:
    """Declare the command and its options."""
    tag = commands.add_parser("tag", help="train, use and score taggers of sequences", epilog=EXIT_CODES)
    verbs = tag.add_subparsers(required=True, metavar="train | predict | evaluate")
    _add_train(verbs.add_parser("train", help="learn a tagger from a file", epilog=EXIT_CODES))
    _add_predict(verbs.add_parser("predict", help="tag a file", epilog=EXIT_CODES))
    _add_evaluate(verbs.add_parser("evaluate", help="precision, recall and F1, as conlleval", epilog=EXIT_CODES))


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("train", metavar="TRAIN", help="CoNLL columns, .conllu or .crfsuite, also with .gz")
    train.add_argument("--model", metavar="M", required=True, help="the file that is written")
    train.add_argument("--template", metavar="T", help="a file of CRF++, or chunking, or words; none with .crfsuite")
    train.add_argument("--dev", metavar="FILE", help="keep the weights that are best on this file, and score them")
    train.add_argument("--loss", choices=LOSSES, default="likelihood", help="default %(default)s")
    train.add_argument("--optimizer", metavar="O", help="a word, such as lbfgs or sgd; default: by the loss")
    train.add_argument("--c1", type=_strength, default=0.0, metavar="C", help="L1 penalty, as CRFsuite's (%(default)s)")
    train.add_argument("--c2", type=_strength, default=1.0, metavar="C", help="L2 penalty, as CRFsuite's (%(default)s)")
    train.add_argument("--order", type=_count, default=1, metavar="N", help="tags that a tag depends on (%(default)s)")
    train.add_argument("--scheme", metavar="S", help=f"forbid what it forbids: {', '.join(SCHEMES)}")
    train.add_argument(
        "--min-freq", type=_strength, default=0.0, metavar="N", help="leave out rarer features with a tag"
    )
    train.add_argument("--hashing", type=_count, metavar="BITS", help="2^BITS columns in the place of names")
    train.add_argument("--all-possible-transitions", action="store_true", help="also those that TRAIN does not show")
    train.add_argument("--max-iterations", type=_count, metavar="N", help="updates at most")
    train.add_argument("--patience", type=_count, metavar="N", help="stop after N updates that are no better on --dev")
    train.add_argument("--checkpoint", metavar="FILE", help="written on the way, so that a killed run can go on")
    train.add_argument("--resume", action="store_true", help="go on from --checkpoint where it is there")
    add_format(train)
    train.set_defaults(command=_train)


def _add_predict(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("model", metavar="MODEL", help="written by tag train")
    predict.add_argument("file", metavar="FILE")
    predict.add_argument("--output", metavar="FILE", help="write there; else to standard output")
    predict.add_argument("--n-best", type=_count, metavar="N", help="JSON: the N best taggings and their probabilities")
    predict.add_argument("--marginals", action="store_true", help="JSON: the probability of every tag of every token")
    add_format(predict)
    predict.set_defaults(command=_predict)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "model", metavar="MODEL", nargs="?", help="none: FILE is tagged, the right tag before the last"
    )
    evaluate.add_argument("file", metavar="FILE")
    evaluate.add_argument(
        "--scheme", metavar="S", help=f"{', '.join(SCHEMES)}, or none: each tag by itself (as it looks)"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    add_format(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _train(parsed: argparse.Namespace) -> int:
    start = time.perf_counter()
    file, dev = read_tagged(parsed.train, parsed), None
    template = None if parsed.template is None else Template.read(parsed.template).text
    if (template is None) != (file.kind == "crfsuite"):
        raise fg.FormatError(
            f"{parsed.train}: features are in the file: leave --template out."
            if template
            else f"{parsed.train}: words need a template. Write --template chunking, words, or a file of CRF++."
        )
    if parsed.dev:
        dev = _same_kind(read_tagged(parsed.dev, parsed), template)
    _check_checkpoint(parsed)
    folder = os.path.dirname(os.path.abspath(parsed.model))
    if not os.path.isdir(folder):  # said now, and not after hours of training
        raise fg.FormatError(f"--model {parsed.model}: there is no directory {folder}. Make it first.")
    tagger = fg.SequenceTagger(
        loss=parsed.loss, optimizer=parsed.optimizer, c1=parsed.c1, c2=parsed.c2, order=parsed.order,
        scheme=parsed.scheme, min_freq=parsed.min_freq, hashing=parsed.hashing, template=template,
        all_possible_transitions=parsed.all_possible_transitions, max_iterations=parsed.max_iterations,
    )  # fmt: skip
    tagger.fit(
        file.X, file.y, validation=None if dev is None else _known(dev, file.y, parsed.order), patience=parsed.patience,
        checkpoint=parsed.checkpoint, progress=sys.stderr.isatty(),
    )  # fmt: skip
    tagger.save(parsed.model)
    tokens = sum(map(len, file.y))
    print(f"{parsed.model}: {len(tagger.classes_)} tags, learned from {tokens:,} tokens of {len(file.y):,} sequences")
    print(f"  objective    {tagger.objective_:,.6g}")
    print(f"  updates      {tagger.n_iter_:,}")
    print(f"  seconds      {time.perf_counter() - start:.1f}")
    if dev is not None:
        print(f"{parsed.dev}:")
        print(_scores(dev.y, tagger.predict(dev.X), parsed.scheme))
    return ANSWERED


def _known(dev: Tagged, trained: Tags, order: int) -> tuple[list[Any], Tags]:
    """Sequences and those of their tags that training shows.

    The others, of which a validation could only say +inf, are left open; where order 2 needs all tags, their sequences
    are left out.
    """
    shown = {tag for each in trained for tag in each}
    tags = [[tag if tag in shown else None for tag in each] for each in dev.y]
    kept = [i for i, each in enumerate(tags) if order < 2 or None not in each]
    return [dev.X[i] for i in kept], [tags[i] for i in kept]


def _check_checkpoint(parsed: argparse.Namespace) -> None:
    if parsed.resume and not parsed.checkpoint:
        raise fg.MethodError("--resume goes on from a checkpoint. Write --checkpoint FILE, now and when it began.")
    if parsed.checkpoint and not parsed.resume and os.path.exists(parsed.checkpoint):
        raise fg.MethodError(f"{parsed.checkpoint} is there. Add --resume to go on from it, or take it away.")


def _predict(parsed: argparse.Namespace) -> int:
    tagger = fg.SequenceTagger.load(parsed.model)
    file = _same_kind(read_tagged(parsed.file, parsed, answered=False), tagger.template)
    tokens = tagger.tokens(file.X)
    if not (parsed.n_best or parsed.marginals):
        write_answers(file, tagger.predict(tokens), parsed)
        return ANSWERED
    lines = "".join(f"{json.dumps(each, allow_nan=False)}\n" for each in _answers(tagger, tokens, parsed))
    if parsed.output:
        write_bytes(parsed.output, lines.encode())
    else:
        print(lines, end="")
    return ANSWERED


def _answers(tagger: fg.SequenceTagger, tokens: Any, parsed: argparse.Namespace) -> Iterable[dict[str, Any]]:
    """An object for each sequence."""
    answers: list[dict[str, Any]] = [{"tags": tags} for tags in tagger.predict(tokens)]
    if parsed.n_best:
        for answer, found in zip(answers, tagger.predict_n_best(tokens, parsed.n_best)):
            answer["n_best"] = [{"tags": tags, "probability": probability} for tags, probability in found]
    if parsed.marginals:
        for answer, marginals in zip(answers, tagger.predict_marginals(tokens)):
            answer["marginals"] = marginals
    return answers


def _evaluate(parsed: argparse.Namespace) -> int:
    scheme = parsed.scheme
    if parsed.model is None:
        file = read_tagged(parsed.file, parsed)
        if file.kind != "conll" or (file.rows and len(file.rows[0][0]) < 2):
            raise fg.FormatError(f"{parsed.file}: no tagged file, that is columns with the right tag before the last.")
        true: Tags = [[row[-2] for row in rows] for rows in file.rows]
        said: Tags = [[row[-1] for row in rows] for rows in file.rows]
    else:
        tagger = fg.SequenceTagger.load(parsed.model)
        file = _same_kind(read_tagged(parsed.file, parsed), tagger.template)
        true, said, scheme = file.y, tagger.predict(file.X), scheme or tagger.scheme
    scores = _scores(true, said, scheme)
    print(json.dumps(_plain(scores), allow_nan=False) if parsed.json else scores)
    return ANSWERED


def _scores(true: Tags, said: Tags, scheme: str | None) -> SpanScores:
    """Scores of the tokens whose tag is known; the scheme is the first that all tags fit where none is said."""
    right = [[tag for tag in tags if tag is not None] for tags in true]
    found = [[str(b) for a, b in zip(*pair) if a is not None] for pair in zip(true, said)]
    if scheme is None:
        letters = {tag[:2] for tags in (*right, *found) for tag in tags if tag != "O"}
        fitting = ("IOB2", "IOE2", "BIOES", "BILOU")
        scheme = next((name for name in fitting if letters <= {f"{letter}-" for letter in SCHEMES[name]}), "none")
    return span_scores(right, found, None if scheme.lower() == "none" else scheme)


def _plain(scores: SpanScores) -> dict[str, Any]:
    """What --json prints."""

    def plain(score: Any) -> dict[str, Any]:
        return {"precision": score.precision, "recall": score.recall, "f1": score.f1, **score._asdict()}

    types = {name: plain(score) for name, score in scores.by_type.items()}
    return {"tokens": scores.tokens, "accuracy": scores.accuracy, **plain(scores.overall), "types": types}


def _same_kind(file: Tagged, template: str | None) -> Tagged:
    """A file that has what the tagger reads: features, or words for its template."""
    if (template is None) != (file.kind == "crfsuite"):
        needed = "features: a .crfsuite file" if template is None else "words: conll columns, or a .conllu file"
        raise fg.FormatError(f"{file.path}: the tagger was trained on {needed}.")
    return file


def _strength(text: str) -> float:
    return number(text, "is not a number >= 0", lambda value: 0 <= value < math.inf)


def _count(text: str) -> int:
    return int(number(text, "is not an integer >= 1", lambda value: value >= 1 and value == int(value)))
