"""The features of a token, one by one, as CRFsuite has them: a name and a number.

    {"word": "in", "length": 2, "end": False, "near": {"tag": "NN"}, "shape": ["x"]}
        ->   word:in = 1, length = 2, end = 0, near:tag:NN = 1, shape:x = 1

A string is part of the name and counts 1; what is nested is written with colons. Source: M. Korobov and others,
python-crfsuite (`ItemSequence`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from numbers import Real
from typing import Any

import numpy as np

from factorgraph_ebm.errors import EvidenceError

SEPARATOR = ":"
Place = tuple[int | str, ...]
"where something stands: sequence, token, and the names of the features around it"

_NESTED = (Mapping, Set, list, tuple)


def flat_token(token: Any, place: Place = ()) -> Iterator[tuple[str, float]]:
    """The features of a token: names and numbers, in the order of the token (of a set: sorted).

    Parameters
    ----------
    token : a dict of features, or a list, tuple or set of names
    place : sequence and token, for messages

    Raises
    ------
    EvidenceError : not a token, a name that is not a string, a value that is no finite number or string.

    Examples
    --------
    >>> dict(flat_token({"word": "in", "near": {"tag": "NN", "distance": 2}, "shape": ["x"], "end": False}))
    {'word:in': 1.0, 'near:tag:NN': 1.0, 'near:distance': 2.0, 'shape:x': 1.0, 'end': 0.0}
    """
    if isinstance(token, Mapping):
        for key, value in token.items():
            name = key if type(key) is str else _text(key, place)
            if isinstance(value, (str, bytes)):
                yield name + SEPARATOR + _text(value, place), 1.0
            elif isinstance(value, _NESTED):
                for inner, number in flat_token(value, (*place, name)):
                    yield name + SEPARATOR + inner, number
            else:
                yield name, _number(value, (*place, name))
    elif isinstance(token, _NESTED):
        names = (_text(name, place) for name in token)
        for name in sorted(names) if isinstance(token, Set) else names:
            yield name, 1.0
    else:
        advice = "A token is a dict of features or a list of their names."
        if isinstance(token, (str, bytes)):
            advice += " For tokens that are words give a template; one sequence by itself goes into a list: [sequence]."
        raise EvidenceError(f"{said(place)} is {_shown(token)}. {advice}")


def said(place: Place) -> str:
    """Say where something stands.

    Examples
    --------
    >>> said((4, 0, "near", "tag"))
    'sequence 4, token 0, feature "near:tag"'
    """
    words = [f"{what} {number}" for what, number in zip(("sequence", "token"), place)]
    if len(place) > 2:
        words.append(f'feature "{SEPARATOR.join(map(str, place[2:]))}"')
    return ", ".join(words) or "the token"


def _text(name: Any, place: Place) -> str:
    if isinstance(name, str):
        return str(name)
    if isinstance(name, bytes):
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise EvidenceError(f"{said(place)}: the bytes {_shown(name)} are not UTF-8. Decode them first.") from None
    raise EvidenceError(f"{said(place)}: {_shown(name)} is not the name of a feature. Names are strings.")


def _number(value: Any, place: Place) -> float:
    if not isinstance(value, (Real, np.bool_)):
        advice = ""
        if value is None:
            advice = " Leave a feature out where it has no value."
        if isinstance(value, np.ndarray):
            advice = " Give each of its numbers a name of its own."
        raise EvidenceError(f"{said(place)} is {_shown(value)}: not a number, string, list or dict.{advice}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        advice = "Leave a feature out where it has no value."
        raise EvidenceError(f"{said(place)} is {_shown(value)}: not a finite number. {advice}")
    return number


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"
