"""Real sentences, a part of what `benchmarks/tagging.py` runs whole: as right as CRFsuite on the same features."""

from __future__ import annotations

import importlib
import pathlib
import sys

import pytest

import factorgraph_ebm as fg

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark as its command imports it, with the settings of its threads taken back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        yield importlib.import_module("tagging")
    for name in ("tagging", "learning", "timing"):
        sys.modules.pop(name, None)


def compare(parts, measure):
    """The measure of both on some sentences, and their objectives."""
    crfsuite = pytest.importorskip("sklearn_crfsuite")
    x, y, x_test, y_test = parts
    tagger = fg.SequenceTagger().fit(x, y)
    crf = crfsuite.CRF(c1=0.0, c2=1.0).fit(x, y)
    theirs = float(crf.training_log_.last_iteration["loss"])
    return measure(y_test, tagger.predict(x_test)), measure(y_test, crf.predict(x_test)), tagger.objective_, theirs


def test_chunks(benchmark, data):
    ours, theirs, objective, other = compare(benchmark.chunks(data, 300), benchmark.chunk_f1)
    assert ours >= 86.0 and ours >= theirs - 0.1
    assert objective == pytest.approx(other, rel=1e-4)


def test_universal_tags(benchmark, data):
    ours, theirs, objective, other = compare(benchmark.pos(data, 300), benchmark.share_right)
    assert ours >= 80.0 and ours >= theirs - 0.1
    assert objective == pytest.approx(other, rel=1e-4)
