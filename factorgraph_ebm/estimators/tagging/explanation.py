"""Why a sequence has its tags: which features paid which energy.

    E(y, x) = sum over terms of value * weight,        a term being a feature with a tag, or a tag with its neighbour
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.estimators.tagging.declaration import Declaration, Sequences


class Term(NamedTuple):
    """What one weight adds to the energy of a tagging."""

    kind: str
    '"state", "transition", "second", "pair", "start" or "end"'
    feature: str | None
    "of a state or a pair"
    previous: Any
    "the tag before, of a transition or a pair; of a second-order weight both tags before; None elsewhere"
    tag: Any
    energy: float
    "nats; low is good"


class Explanation(Sequence[tuple[Any, tuple[Term, ...]]]):
    """The energy of one tagging, term by term: an item for each token, its tag and its terms, the largest first.

    Attributes
    ----------
    tags : list
    energy : nats; the exact sum of all terms, rounded once
    """

    def __init__(self, tags: Sequence[Any], terms: Sequence[Sequence[Term]]) -> None:
        self.tags = list(tags)
        self._terms = [tuple(sorted(of_token, key=lambda term: -abs(term.energy))) for of_token in terms]

    @property
    def energy(self) -> float:
        return math.fsum(term.energy for of_token in self._terms for term in of_token)

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, token: Any) -> Any:
        if isinstance(token, slice):
            return list(zip(self.tags[token], self._terms[token]))
        return self.tags[token], self._terms[token]

    def __iter__(self) -> Iterator[tuple[Any, tuple[Term, ...]]]:
        return iter(zip(self.tags, self._terms))

    def __str__(self) -> str:
        lines = [f"energy {self.energy:.4f}"]
        for t, (tag, terms) in enumerate(self):
            lines.append(f"{t}  {tag}  {math.fsum(term.energy for term in terms):+.4f}")
            lines += [f"     {term.energy:+.4f}  {_words(term)}" for term in terms if term.energy]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self)} tokens: energy {self.energy:.6g}>"


def _words(term: Term) -> str:
    tags = f"{term.tag}" if term.previous is None else f"{term.previous} -> {term.tag}"
    return f"{term.feature}  {tags}" if term.feature is not None else f"{term.kind}  {tags}"


def explain(
    declaration: Declaration,
    values: Mapping[str, F64],
    sequence: Sequences,
    states: I64,
    classes: Sequence[Any],
    names: tuple[Sequence[str], Sequence[str]],
) -> Explanation:
    """The terms of one sequence in these states.

    Parameters
    ----------
    names : of the features of a tag, and of those of two tags
    """
    tags = [classes[k] for k in states.tolist()]
    terms: list[list[Term]] = []
    for t, k in enumerate(states.tolist()):
        of_token = [
            Term("state", names[0][f], None, tags[t], value * float(values["state"][f, k]))
            for f, value in _row(sequence.x, t)
        ]
        if t:
            before, previous = int(states[t - 1]), tags[t - 1]
            of_token.append(Term("transition", None, previous, tags[t], float(values["transition"][before, k])))
            if declaration.n_pair_features:
                of_token += [
                    Term("pair", names[1][f], previous, tags[t], value * float(values["pair"][f, before, k]))
                    for f, value in _row(sequence.pair_x, t)
                ]
        if declaration.order == 2 and t > 1:
            earlier = f"{tags[t - 2]} -> {tags[t - 1]}"
            weight = float(values["second"][int(states[t - 2]), int(states[t - 1]), k])
            of_token.append(Term("second", None, earlier, tags[t], weight))
        if declaration.boundaries and t == 0:
            of_token.append(Term("start", None, None, tags[t], float(values["start"][k])))
        if declaration.boundaries and t == len(tags) - 1:
            of_token.append(Term("end", None, None, tags[t], float(values["end"][k])))
        terms.append(of_token)
    return Explanation(tags, terms)


def _row(x: Any, t: int) -> Iterator[tuple[int, float]]:
    low, high = int(x.indptr[t]), int(x.indptr[t + 1])
    return zip(x.indices[low:high].tolist(), np.asarray(x.data[low:high]).tolist())
