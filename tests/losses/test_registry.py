"""Which words and objects stand for a loss."""

import numpy as np
import pytest

from factorgraph_ebm import losses
from factorgraph_ebm.errors import MethodError


@pytest.mark.parametrize("name", sorted(set(losses.LOSSES) - {"margin", "custom"}))
def test_a_word_its_constructor_and_the_call_say_the_same(name):
    made = losses.LOSSES[name]()
    for loss in (name, losses.LOSSES[name], made):
        found = losses.as_loss(loss)
        assert (found.name, found.queries) == (name, made.queries)
    assert losses.as_loss(made) is made


@pytest.mark.parametrize(
    "loss, message",
    [
        ("hing", 'there is no loss "hing". Did you mean "hinge"?'),
        ("zzzzzz", 'there is no loss "zzzzzz". Known: "energy", '),
        ("margin", r'loss "margin" must be told more. Write losses.margin\(Q, dQ\)'),
        (losses.margin, r"Write losses.margin\(Q, dQ\)"),
        ("custom", r"Write losses.custom\(function\)"),
        (lambda correct: correct, r"becomes a loss by losses.custom\(function\)"),
        (None, 'loss=None is neither a word, such as "hinge", nor a loss.$'),
        (1.0, "neither a word"),
    ],
)
def test_anything_else_is_refused(loss, message):
    with pytest.raises(MethodError, match=message):
        losses.as_loss(loss)


def test_a_difference_of_other_answers_that_are_all_forbidden_is_zero():
    loss = losses.difference("gap", (losses.Query("target"), losses.Query("best")))
    value, slopes = loss.value((np.array([np.inf, 2.0]), np.array([np.inf, 1.0])), 1.0)
    assert value.tolist() == [0.0, 1.0]
    assert [slope.tolist() for slope in slopes] == [[0.0, 1.0], [0.0, -1.0]]
