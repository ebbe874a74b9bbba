"""The page about tagging runs as it is written."""

from __future__ import annotations

import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tagging.md"


def test_the_page_about_tagging(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if "import sklearn_crfsuite" in block:
            pytest.importorskip("sklearn_crfsuite")
        exec(block, scope)
    assert scope["tagger"].predict(scope["X"]) == [list(tags) for tags in scope["crf"].predict(scope["X"])]
    assert "energy" in capsys.readouterr().out
