"""SequenceTagger beside CRFsuite: real data, seconds of fitting and of answers, peak memory.

    python benchmarks/tagging.py [FOLDER] [--only chunking pos fit answers memory] [--threads 1 2] [--quick] [--check]

FOLDER holds `conll2000/` (train.txt.gz, test.txt.gz) and `ud_ewt/` (CoNLL-U of dev and test); what is not there is left
out. The peer is python-crfsuite where dicts are not to be counted, sklearn-crfsuite where they are.

    chunking   CoNLL-2000 with the template of CRF++: F1 of chunks, as conlleval counts it; both with c2 = 1
    pos        universal tags of English web text, dev to train and test to test: share of tokens that are right
    fit        5,000 sentences of 20 tags, 20 features a token out of 100,000, all transitions: `fit` from feature dicts
               until the objective is no higher than what CRFsuite reaches in 50 iterations in the same run
    answers    10,000 sentences of 45 tags, 10 features a token: best tags, and marginals, from feature dicts; `once`:
               both after looking up names once
    memory     peak of a process that does `fit`, or `answers`, of each by itself; the dicts are in all of them

`--check` compares objectives and tags at the optimum of a small problem.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import learning
import numpy as np
import timing

import factorgraph_ebm as fg
from factorgraph_ebm.estimators.tagging.spans import span_scores
from factorgraph_ebm.estimators.tagging.templates import CHUNKING, Template
from factorgraph_ebm.formats.conll import read_conll
from factorgraph_ebm.formats.conllu import read_conllu

DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
ITERATIONS = 50
Row = dict[str, Any]


def has_crfsuite() -> bool:
    return importlib.util.find_spec("sklearn_crfsuite") is not None


def peer(**choices: Any) -> Any:
    """CRFsuite that goes on until its last iteration."""
    import sklearn_crfsuite

    return sklearn_crfsuite.CRF(algorithm="lbfgs", c1=0.0, c2=1.0, **choices)


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


# Real data.


def chunks(folder: pathlib.Path, most: int | None) -> tuple[Any, ...]:
    """Features and tags of CoNLL-2000: train, then test; of the first sentences, where `most` says how many."""
    parts: list[Any] = []
    for name in ("train", "test"):
        sentences = read_conll(folder / "conll2000" / f"{name}.txt.gz")[:most]
        parts += [Template.parse(CHUNKING).features(sentences), [[row[2] for row in rows] for rows in sentences]]
    return tuple(parts)


def shape(word: str) -> str:
    """Letters as x, X, 0 and what else they are, runs of up to two."""
    kinds = ["0" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word]
    return "".join(c for i, c in enumerate(kinds) if kinds[max(0, i - 2) : i] != [c, c])


def pos_features(words: Sequence[str]) -> list[dict[str, Any]]:
    """What is usual for parts of speech: the word, its ends and its shape, and those of its neighbours."""
    found = []
    for i, word in enumerate(words):
        token: dict[str, Any] = {"bias": True, "word": word, "lower": word.lower(), "shape": shape(word)}
        for n in range(1, 5):
            token[f"end{n}"], token[f"begin{n}"] = word[-n:].lower(), word[:n].lower()
        for step in (-2, -1, 1, 2):
            there = words[i + step].lower() if 0 <= i + step < len(words) else "outside"
            token[f"lower{step:+}"] = there
            if abs(step) == 1:
                token[f"end{step:+}"] = there[-3:]
                token[f"pair{step:+}"] = f"{there}/{word.lower()}"
        token |= {"digit": any(c.isdigit() for c in word), "hyphen": "-" in word, "first": i == 0}
        found.append(token)
    return found


def pos(folder: pathlib.Path, most: int | None) -> tuple[Any, ...]:
    """Features and universal tags of English web text: dev, then test; `most` as for `chunks`."""
    parts: list[Any] = []
    for name in ("dev", "test"):
        sentences = read_conllu(folder / "ud_ewt" / f"en_ewt-ud-{name}.conllu.gz")[:most]
        words = [[row for row in sentence.rows if row[0].isdigit()] for sentence in sentences]
        parts += [[pos_features([row[1] for row in rows]) for rows in words], [[row[3] for row in r] for r in words]]
    return tuple(parts)


def share_right(true: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> float:
    pairs = [(a, b) for one, other in zip(true, said) for a, b in zip(one, other)]
    return 100.0 * sum(a == b for a, b in pairs) / len(pairs)


def chunk_f1(true: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> float:
    return 100.0 * span_scores(true, [list(tags) for tags in said], "IOB2").overall.f1


def real(
    work: str, parts: tuple[Any, ...], measure: Callable[[Any, Any], float], chosen: argparse.Namespace
) -> Iterator[Row]:
    """Fit both on the same features with the same penalty, and say how right they are."""
    x, y, x_test, y_test = parts
    threads = max(chosen.threads)
    tagger = fg.SequenceTagger(threads=threads)
    taken, _ = seconds_of(lambda: tagger.fit(x, y))
    row: Row = {
        "work": work, "unit": "s", "threads": threads, "fg": timing.round_to(taken),
        "score": timing.round_to(measure(y_test, tagger.predict(x_test)), 5),
        "objective": round(tagger.objective_, 1), "iterations": tagger.n_iter_,
    }  # fmt: skip
    if has_crfsuite():
        crf = peer()
        theirs, _ = seconds_of(lambda: crf.fit(x, y))
        last = crf.training_log_.last_iteration
        row |= {
            "crfsuite": timing.round_to(theirs), "crfsuite_ratio": timing.round_to(theirs / taken),
            "crfsuite_score": timing.round_to(measure(y_test, crf.predict(x_test)), 5),
            "crfsuite_objective": round(float(last["loss"]), 1), "crfsuite_iterations": int(last["num"]),
        }  # fmt: skip
    yield row


# Drawn data.


def fit_data(quick: bool) -> tuple[Any, Any]:
    """Feature dicts and tags of the sentences of `learning.py`."""
    drawn = learning.draw(40 if quick else 5000)
    spans = list(zip(drawn.start.tolist(), drawn.start[1:].tolist()))
    x = [[dict.fromkeys([f"f{j}" for j in row], True) for row in drawn.feature[a:b].tolist()] for a, b in spans]
    return x, [[str(tag) for tag in drawn.tag[a:b].tolist()] for a, b in spans]


def answer_data(quick: bool) -> tuple[Any, Any]:
    """Feature dicts and tags: 45 tags, 10 features a token, each from a thousand of its own."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(1, rng.poisson(25, 40 if quick else 10_000))
    number = rng.integers(1000, size=(int(lengths.sum()), 10)) * rng.random((int(lengths.sum()), 10))
    tags = rng.integers(45, size=len(number))
    x, y, at = [], [], 0
    for n in lengths.tolist():
        rows = number[at : at + n].astype(int).tolist()
        x.append([{f"{k}-{value}": True for k, value in enumerate(row)} for row in rows])
        y.append([f"T{tag}" for tag in tags[at : at + n].tolist()])
        at += n
    return x, y


def fit_ours(x: Any, y: Any, threads: int, target: float) -> fg.SequenceTagger:
    """Until the objective is no higher than `target`."""
    tagger = fg.SequenceTagger(
        all_possible_transitions=True, threads=threads, max_iterations=ITERATIONS if target < 0.0 else 200,
        optimizer=fg.optimizers.lbfgs(tolerance=0.0),
    )  # fmt: skip
    return tagger.fit(x, y, callbacks=[lambda row: row["objective"] <= target])


def fit_theirs(x: Any, y: Any) -> Any:
    crf = peer(all_possible_transitions=True, max_iterations=ITERATIONS, epsilon=0.0, delta=0.0, period=10**6)
    return crf.fit(x, y)


def fit(chosen: argparse.Namespace) -> Iterator[Row]:
    """Seconds of `fit` to the same objective, dicts to arrays included; kernels are compiled before."""
    x, y = fit_data(chosen.quick)
    fit_ours(x[:20], y[:20], max(chosen.threads), -1.0)
    theirs, target = 0.0, learning.TARGET if not chosen.quick else -1.0
    if has_crfsuite():
        theirs, crf = seconds_of(lambda: fit_theirs(x, y))
        target = float(crf.training_log_.last_iteration["loss"])
    for threads in chosen.threads:
        taken, tagger = seconds_of(lambda threads=threads: fit_ours(x, y, threads, target))
        began = taken - tagger.history_[-1]["seconds"]
        row = {"work": f"fit, {len(x):,} sentences, to {target:,.2f}", "unit": "s", "threads": threads}
        row |= {"fg": timing.round_to(taken), "before": timing.round_to(began)}
        row |= {"objective": round(tagger.objective_, 2), "iterations": tagger.n_iter_}
        if has_crfsuite():
            row |= {"crfsuite": timing.round_to(theirs), "crfsuite_ratio": timing.round_to(theirs / taken)}
        yield row


def answers(chosen: argparse.Namespace) -> Iterator[Row]:
    """Seconds of best tags and of marginals of the same sentences, of the first sentences' model."""
    x, y = answer_data(chosen.quick)
    few = len(x) // 20 or 1
    crf = peer(max_iterations=10, all_possible_transitions=True).fit(x[:few], y[:few]) if has_crfsuite() else None
    for threads in chosen.threads:
        tagger = fg.SequenceTagger(max_iterations=10, all_possible_transitions=True, threads=threads)
        tagger.fit(x[:few], y[:few])
        tagger.predict(x[:few])
        tags, _ = seconds_of(lambda tagger=tagger: tagger.predict(x))
        marginals, _ = seconds_of(lambda tagger=tagger: tagger.predict_marginals(x))
        arrays, _ = seconds_of(lambda tagger=tagger: tagger.predict_proba(x))
        row: Row = {"work": f"tags and marginals, {len(x):,} chains of 45 tags", "unit": "s", "threads": threads}
        row |= {"fg": timing.round_to(tags + arrays), "tags": timing.round_to(tags)}
        row |= {"marginals": timing.round_to(arrays), "as_dicts": timing.round_to(marginals)}
        once, _ = seconds_of(lambda tagger=tagger: both(tagger, x))
        row["once"] = timing.round_to(once)
        if crf is not None:
            theirs, _ = seconds_of(lambda: crf.predict(x))
            also, _ = seconds_of(lambda: crf.predict_marginals(x))
            row |= {
                "crfsuite": timing.round_to(theirs + also),
                "crfsuite_ratio": timing.round_to((theirs + also) / (tags + arrays)),
                "crfsuite_tags": timing.round_to(theirs), "crfsuite_marginals": timing.round_to(also),
                "dicts_ratio": timing.round_to((theirs + also) / (tags + marginals)),
            }  # fmt: skip
            theirs, _ = seconds_of(lambda: both_of_crfsuite(crf, x))
            row |= {"crfsuite_once": timing.round_to(theirs), "once_ratio": timing.round_to(theirs / once)}
        yield row


def both(tagger: fg.SequenceTagger, x: Any) -> tuple[Any, Any]:
    """Best tags and marginals, the names of features looked up once."""
    tokens = tagger.tokens(x)
    return tagger.predict(tokens), tagger.predict_proba(tokens)


def both_of_crfsuite(crf: Any, x: Any) -> list[Any]:
    """The same by CRFsuite's own tagger, which keeps a sequence that was set."""
    import pycrfsuite

    tagger, found = crf.tagger_, []
    labels = tagger.labels()
    for sequence in x:
        tagger.set(pycrfsuite.ItemSequence(sequence))
        tags = tagger.tag()
        found.append((tags, [[tagger.marginal(label, t) for label in labels] for t in range(len(tags))]))
    return found


ALONE: dict[str, Callable[[bool, int], object]] = {
    "fit data": lambda quick, threads: fit_data(quick),
    "fit fg": lambda quick, threads: fit_ours(*fit_data(quick), threads, -1.0),
    "fit crfsuite": lambda quick, threads: fit_theirs(*fit_data(quick)),
}
"what a process of its own does"


def peak() -> float:
    """The most memory that this process has had, MB: by Linux itself, since getrusage counts the parent as well."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(chosen: argparse.Namespace) -> Iterator[Row]:
    """Peaks of processes, MB."""
    threads = max(chosen.threads)
    row: Row = {"work": "peak memory of fit", "unit": "MB", "threads": threads}
    for name in ALONE:
        if name.endswith("crfsuite") and not has_crfsuite():
            continue
        command = [sys.executable, __file__, "--alone", name, "--threads", str(threads)]
        found = subprocess.run([*command, *(["--quick"] if chosen.quick else [])], capture_output=True, text=True)
        if found.returncode:
            raise SystemExit(found.stderr)
        row[name.split()[1]] = round(float(found.stdout))
    if "crfsuite" in row:
        row["crfsuite_ratio"] = timing.round_to(row["crfsuite"] / row["fg"])
    yield row


def check() -> None:
    """The optimum of 60 sentences."""
    drawn = learning.draw(60)
    spans = list(zip(drawn.start.tolist(), drawn.start[1:].tolist()))
    x = [[[f"f{j}" for j in sorted(set(row))] for row in drawn.feature[a:b].tolist()] for a, b in spans]
    y = [[str(tag) for tag in drawn.tag[a:b].tolist()] for a, b in spans]
    for c1, c2 in ((0.0, 1.0), (0.5, 0.1)):
        tagger = fg.SequenceTagger(c1=c1, c2=c2, optimizer=fg.optimizers.lbfgs(tolerance=1e-9)).fit(x, y)
        energies = sum(tagger.explain(a, b).energy for a, b in zip(x, y))
        # log Z by a tagging's probability: P(tags) = exp(-E) / Z
        best = [results[0] for results in tagger.predict_n_best(x, 1)]
        free = sum(tagger.explain(a, tags).energy + np.log(p) for a, (tags, p) in zip(x, best))
        w = np.array([*tagger.state_features_.values(), *tagger.transition_features_.values()])
        total = energies - free + c1 * np.abs(w).sum() + c2 * (w**2).sum()
        timing.agree(f"objective, c1 {c1}, c2 {c2}", abs(total - tagger.objective_) / total, 1e-9)
        if has_crfsuite():
            import sklearn_crfsuite

            crf = sklearn_crfsuite.CRF(c1=c1, c2=c2, max_iterations=5000, epsilon=1e-9, delta=1e-10, period=30)
            crf.fit([[dict.fromkeys(token, True) for token in tokens] for tokens in x], y)
            theirs = float(crf.training_log_.last_iteration["loss"])
            timing.agree(f"CRFsuite, c1 {c1}, c2 {c2}", abs(theirs - tagger.objective_) / theirs, 1e-4)


def rows_of(chosen: argparse.Namespace) -> Iterator[Row]:
    most = 40 if chosen.quick else None
    for name in chosen.only:
        if name == "chunking" and (chosen.folder / "conll2000").is_dir():
            yield from real("chunks, CoNLL-2000", chunks(chosen.folder, most), chunk_f1, chosen)
        elif name == "pos" and (chosen.folder / "ud_ewt").is_dir():
            yield from real("universal tags, English web", pos(chosen.folder, most), share_right, chosen)
        elif name in ("fit", "answers", "memory"):
            yield from {"fit": fit, "answers": answers, "memory": memory}[name](chosen)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=DATA)
    every = ["chunking", "pos", "fit", "answers", "memory"]
    parser.add_argument("--only", nargs="+", choices=every, default=every)
    parser.add_argument("--alone", choices=list(ALONE), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.alone:
        ALONE[chosen.alone](chosen.quick, max(chosen.threads))
        print(peak())
    elif chosen.check:
        check()
    else:
        timing.show(rows_of(chosen), chosen.json)


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
