"""Work on long vectors, cut into pieces of a fixed length: threads share them, and sums are added in their order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from factorgraph_ebm._jit import F8, READ_F8, REAL, kernel
from factorgraph_ebm.inference.threads import share_out

PIECE = 1 << 16
"entries of a vector that a thread takes at once"


def by_pieces(work: Callable[[slice], float], n: int, threads: int) -> float:
    """The sum of `work` over the pieces of n entries, in order, whoever did them.

    Examples
    --------
    >>> x = np.arange(200_000.0)
    >>> by_pieces(lambda piece: float(x[piece].max()), len(x), threads=2)
    593212.0
    """
    pieces = [slice(low, min(low + PIECE, n)) for low in range(0, n, PIECE)]
    found = [0.0] * len(pieces)

    def each(number: int) -> None:
        found[number] = float(work(pieces[number]))

    share_out(each, len(pieces), threads)
    total = 0.0
    for one in found:
        total += one
    return total


@kernel(REAL, READ_F8, REAL, READ_F8, READ_F8, F8)
def add_squares(slope, count, strength, w, out):  # type: ignore[no-untyped-def]
    """out = slope / count + the gradient of the sum of strength * w^2, which is returned."""
    total = 0.0
    for i in range(np.uint64(len(w))):
        half = strength[i] * w[i]
        out[i] = slope[i] / count + 2.0 * half
        total += half * w[i]
    return total
