"""Penalties on parameters: what a user writes, and what an optimiser sees of it.

    R(w) = sum_j s_j w_j^2 + sum_j r_j |w_j| + sum over groups g of q_g |w_g|          (no half; CRFsuite's c2 and c1)

The prox of the last two together is the soft threshold of each entry, then a shrinking of each group by its length:

    u_j = sign(w_j) max(0, |w_j| - t_j r_j)         v_j = u_j n / (n + t_j q), n = |v_g|        (0 if no such n > 0)

for one step t or one for each entry (Yuan and Lin, "Model selection and estimation in regression with grouped
variables", JRSS B 68(1), 2006; Parikh and Boyd, "Proximal algorithms", 2014, section 6.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from factorgraph_ebm.arrays import F64, I64
from factorgraph_ebm.errors import ParameterError, did_you_mean
from factorgraph_ebm.learning.oracle import UNREGULARIZED, Regularizer

Groups: TypeAlias = Literal["rows", "parameters"]


class Entries(NamedTuple):
    """The free entries of one parameter."""

    positions: I64
    "(k,) where each is in w; entries that are tied to each other share a position"
    cells: I64
    "(k,) flat number of each in the parameter, C order"
    shape: tuple[int, ...]
    "of the parameter"


class Layout(Protocol):
    """Where the free entries of all parameters lie in w."""

    @property
    def n_free(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """Of the parameters that have free entries."""

    def entries(self, name: str) -> Entries: ...


class VectorLayout(NamedTuple):
    """The layout of one parameter "w" that is the whole vector."""

    n_free: int

    @property
    def names(self) -> Sequence[str]:
        return ("w",)

    def entries(self, name: str) -> Entries:
        """Where the entries of "w" are: in place."""
        places = np.arange(self.n_free, dtype=np.int64)
        return Entries(places, places, (self.n_free,))


class Penalty(NamedTuple):
    """One term of a regulariser, as a user writes it: see `l2`, `l1`, `elastic_net`, `group`."""

    kind: str
    squares: float = 0.0
    absolutes: float = 0.0
    lengths: float = 0.0
    groups: Groups = "rows"
    only: tuple[str, ...] | None = None

    def bind(self, layout: Layout) -> Regularizer:
        """The penalty on the vector of a layout. Raises ParameterError for an unknown name in `only`."""
        return bind_regularizer(self, layout)


Specification: TypeAlias = Penalty | Regularizer | None | Sequence[Penalty | Regularizer]
"""What `regularizer=` may be: a penalty, a `Regularizer` of one's own on the whole vector, or a list of them, which
add."""


def l2(strength: float, only: str | Sequence[str] | None = None) -> Penalty:
    """The penalty strength * sum of w^2, on all parameters or `only` those named.

    Raises
    ------
    ParameterError : the strength is negative or not finite.

    Examples
    --------
    >>> ridge = l2(0.5).bind(VectorLayout(2))
    >>> ridge.value(np.array([1.0, 2.0])), ridge.gradient(np.array([1.0, 2.0]))
    (2.5, array([1., 2.]))
    """
    return Penalty("l2", squares=_strength("l2", strength), only=_names(only))


def l1(strength: float, only: str | Sequence[str] | None = None) -> Penalty:
    """The penalty strength * sum of |w|, which makes entries exactly 0.

    Examples
    --------
    >>> lasso = l1(0.5).bind(VectorLayout(3))
    >>> lasso.value(np.array([1.0, -2.0, 0.0]))
    1.5
    >>> lasso.prox(np.array([3.0, -0.4, 0.2]), 1.0)
    array([ 2.5, -0. ,  0. ])
    """
    return Penalty("l1", absolutes=_strength("l1", strength), only=_names(only))


def elastic_net(l1: float, l2: float, only: str | Sequence[str] | None = None) -> Penalty:
    """The penalty l1 * sum of |w| + l2 * sum of w^2: exact zeros, and correlated features share their weight.

    Zou and Hastie, "Regularization and variable selection via the elastic net", JRSS B 67(2), 2005.

    Examples
    --------
    >>> elastic_net(l1=0.5, l2=1.0).bind(VectorLayout(2)).value(np.array([1.0, -2.0]))
    6.5
    """
    return Penalty(
        "elastic_net",
        squares=_strength("elastic_net", l2),
        absolutes=_strength("elastic_net", l1),
        only=_names(only),
    )


def group(strength: float, groups: Groups = "rows", only: str | Sequence[str] | None = None) -> Penalty:
    """The penalty strength * sum over groups of the Euclidean length of their entries: whole groups become 0.

    Parameters
    ----------
    strength : >= 0
    groups : "rows": the entries of one index of the first axis (one feature, in a parameter [feature, tag]);
        "parameters": each parameter is one group
    only : names of parameters; None: all

    Examples
    --------
    >>> lasso = group(1.0, groups="parameters").bind(VectorLayout(2))
    >>> lasso.value(np.array([3.0, 4.0])), lasso.prox(np.array([3.0, 4.0]), 2.5)
    (5.0, array([1.5, 2. ]))
    """
    if groups not in ("rows", "parameters"):
        raise ParameterError(f'group: groups must be "rows" or "parameters", not {groups!r}.')
    return Penalty("group", lengths=_strength("group", strength), groups=groups, only=_names(only))


def _strength(kind: str, strength: float) -> float:
    if not 0.0 <= strength < math.inf:
        raise ParameterError(f"{kind}: a strength must be a finite number >= 0, not {strength!r}.")
    return float(strength)


def _names(only: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return None if only is None else (only,) if isinstance(only, str) else tuple(only)


def bind_regularizer(specification: Specification, layout: Layout) -> Regularizer:
    """The sum of penalties as an optimiser sees it.

    Raises
    ------
    ParameterError : an unknown name in `only`, groups that overlap, or parts whose prox of the sum is not known.

    Examples
    --------
    >>> bind_regularizer([l2(1.0), l1(0.5)], VectorLayout(1)).value(np.array([2.0]))
    5.0
    """
    if specification is None:
        return UNREGULARIZED
    if isinstance(specification, (Penalty, Regularizer)):
        parts: list[Penalty | Regularizer] = [specification]
    else:
        parts = list(specification)
    penalties, own = [], []
    for part in parts:
        if isinstance(part, Penalty):
            penalties.append(part)
        elif isinstance(part, Regularizer):
            own.append(part)
        else:
            raise ParameterError(f"a regularizer is l2(...), l1(...), elastic_net(...), group(...), not {part!r}.")
    total = _total(penalties, layout) if penalties else UNREGULARIZED
    for each in own:
        total = _sum(total, each)
    return total


def _sum(one: Regularizer, other: Regularizer) -> Regularizer:
    """Of two, of which one at most has a rest that is not smooth."""
    if one is UNREGULARIZED:
        return other
    if one.prox is not None and other.prox is not None:
        raise ParameterError(
            "two parts of the regularizer have kinks, and one is your own: the prox of their sum is not known. "
            "Write one Regularizer with the prox of both."
        )
    gradients = [part.gradient for part in (one, other) if part.gradient is not None]
    rest = one if other.prox is None else other
    return Regularizer(
        value=lambda w: one.value(w) + other.value(w),
        gradient=None if not gradients else lambda w: np.sum([gradient(w) for gradient in gradients], axis=0),
        prox=rest.prox,
        l1=rest.l1,
        l2=None if one.l2 is None or other.l2 is None else one.l2 + other.l2,
    )


def _total(penalties: list[Penalty], layout: Layout) -> Regularizer:
    n = layout.n_free
    squares, absolutes = np.zeros(n), np.zeros(n)
    owner, strengths = np.full(n, -1, np.int64), [np.zeros(0)]
    for penalty in penalties:
        for name in layout.names if penalty.only is None else penalty.only:
            if name not in layout.names:
                raise ParameterError(
                    f'regularizer {penalty.kind}: only= names "{name}", which is no parameter with free entries.'
                    f"{did_you_mean(name, layout.names)}"
                )
            entries = layout.entries(name)
            here = np.zeros(n, np.bool_)  # entries that are tied share a position, and count once
            here[entries.positions] = True
            squares[here] += penalty.squares
            absolutes[here] += penalty.absolutes
            if penalty.lengths > 0.0:
                first = sum(map(len, strengths))
                strengths.append(_own(owner, first, entries, penalty, name))
    return _regularizer(squares, absolutes, owner, np.concatenate(strengths))


def _own(owner: I64, first: int, entries: Entries, penalty: Penalty, name: str) -> F64:
    """Write the numbers, from `first` on, of the groups of a parameter; returns the strength of each."""
    width = math.prod(entries.shape[1:]) if penalty.groups == "rows" and entries.shape else math.prod(entries.shape)
    numbers = entries.cells // max(1, width)
    taken = owner[entries.positions] >= 0
    owner[entries.positions] = first + numbers
    if taken.any() or (owner[entries.positions] != first + numbers).any():
        raise ParameterError(
            f'regularizer group: an entry of "{name}" belongs to two groups (two group penalties, or rows tied to '
            "each other). Give each parameter one group penalty."
        )
    return np.full(int(numbers.max(initial=-1)) + 1, penalty.lengths)


def _regularizer(squares: F64, absolutes: F64, owner: I64, strengths: F64) -> Regularizer:
    """`owner`: (n,) group of each entry, -1 for none; `strengths`: of the groups."""
    has_squares, has_absolutes = bool(squares.any()), bool(absolutes.any())
    # Members of one group lie side by side, and groups without a free entry are gone.
    members = np.flatnonzero(owner >= 0)
    members = members[np.argsort(owner[members], kind="stable")]
    numbers, start, sizes = np.unique(owner[members], return_index=True, return_counts=True)
    lengths, has_groups = strengths[numbers], bool(len(numbers))

    def value(w: F64) -> float:
        total = float(np.sum(squares * w * w)) if has_squares else 0.0
        if has_absolutes:
            total += float(np.sum(absolutes * np.abs(w)))
        if has_groups:
            total += float(np.sum(lengths * np.sqrt(np.add.reduceat(w[members] ** 2, start))))
        return total

    def prox(w: F64, step: float | F64) -> F64:
        found: F64 = np.sign(w) * np.maximum(0.0, np.abs(w) - step * absolutes) if has_absolutes else w.copy()
        if has_groups:
            steps = np.broadcast_to(step, w.shape)[members]
            found[members] = _shrink(found[members], steps * np.repeat(lengths, sizes), start, sizes)
        return found

    gradient: Callable[[F64], F64] | None = (lambda w: 2.0 * squares * w) if has_squares else None
    smooth = not (has_absolutes or has_groups)
    return Regularizer(
        value,
        gradient,
        None if smooth else prox,
        l1=absolutes if has_absolutes and not has_groups else None,
        l2=squares if smooth and has_squares else None,
    )


def _shrink(u: F64, amount: F64, start: I64, sizes: I64) -> F64:
    """v_j = u_j n / (n + amount_j), n > 0 the root of sum of (u_j / (n + amount_j))^2 = 1 in each group; 0 without one.

    Newton's method on the inverse of the square root of that sum, which is concave in n, and affine where all amounts
    of a group are equal: from below it rises to the root and never passes it. It starts at the largest |u_j| - amount_j
    or at |u| - the largest amount, which are below the root, and from where on no share of the sum exceeds 1.
    """

    def each(x: F64) -> F64:
        return np.repeat(x, sizes)

    size = np.abs(u)
    largest = np.maximum.reduceat(size, start)
    scale = np.where(largest > 0.0, largest, 1.0)
    whole = scale * np.sqrt(np.add.reduceat((u / each(scale)) ** 2, start))
    length = np.maximum.reduceat(size - amount, start)
    length = np.maximum(0.0, np.maximum(length, whole - np.maximum.reduceat(amount, start)))
    moves = length > 0.0
    for _ in range(60):
        reach = each(length) + amount
        reach[reach == 0.0] = 1.0  # then u is 0 as well
        share = (size / reach) ** 2
        square = np.add.reduceat(share, start)
        moves |= square > 1.0
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            rise = (np.sqrt(square) - 1.0) * square / np.add.reduceat(share / reach, start)
        rise = np.where(moves & (rise > 1e-15 * length), rise, 0.0)
        length += rise
        if not rise.any():
            break
    found: F64 = u * (each(np.where(moves, length, 0.0)) / reach)
    return found
