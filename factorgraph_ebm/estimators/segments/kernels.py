"""What segments cost, spread over the states of tokens, and the transpose of that.

Of a segment of label k that begins at token t and has d tokens,

    E = sum over its tokens i of a_i(k) + b_t(k) + c_(t+d-1)(k) + s_(t,d)(k) + l(k, d)

where a, b, c are the scores of its tokens, of its first and of its last one, s of the segment, l of its length.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import F8, NOTHING, READ_F8, READ_I8, SIZE, kernel

U8 = np.uint64


@kernel(NOTHING, READ_F8, READ_F8, READ_F8, READ_I8, READ_I8, READ_I8, READ_I8, SIZE, SIZE, SIZE, F8)
def spread_energies(  # type: ignore[no-untyped-def]
    score, of_segment, length, longest, begin_at, inside_at, to_end, parts, most, states, out
):  # fmt: skip
    """Write the energies of all states of tokens, (tokens, states).

    `score` (tokens, parts, K): a, or a, b and c; `of_segment` (tokens, most, K) or empty; `to_end` (tokens,): tokens to
    the end of the sequence, this one among them, less where it is the first.
    """
    labels = U8(len(longest))
    width = parts * labels
    for t in range(U8(len(to_end))):
        first = to_end[t] < 0
        reach = U8(-to_end[t] if first else to_end[t])
        for k in range(labels):
            own = U8(longest[k])
            o = t * states + U8(begin_at[k])
            total = 0.0
            for e in range(own):
                if e >= reach:
                    out[o + e] = np.inf
                    continue
                at = (t + e) * width + k
                total += score[at]
                found = total + length[U8(begin_at[k]) + e]
                if parts > U8(1):
                    found += score[t * width + labels + k] + score[at + U8(2) * labels]
                if len(of_segment) > 0:
                    found += of_segment[(t * most + e) * labels + k]
                out[o + e] = found
            o = t * states + U8(inside_at[k])
            for e in range(own - U8(1)):
                out[o + e] = np.inf if first or e >= reach else 0.0


@kernel(NOTHING, READ_F8, READ_I8, READ_I8, READ_I8, SIZE, SIZE, SIZE, F8, F8, F8)
def collect_slopes(  # type: ignore[no-untyped-def]
    slope, longest, begin_at, to_end, parts, most, states, score, of_segment, length
):  # fmt: skip
    """Add the slopes with respect to what the energies were made of, from those with respect to the energies."""
    labels = U8(len(longest))
    width = parts * labels
    for t in range(U8(len(to_end))):
        reach = U8(-to_end[t] if to_end[t] < 0 else to_end[t])
        for k in range(labels):
            own = min(U8(longest[k]), reach)
            longer = 0.0
            for back in range(own):
                e = own - U8(1) - back
                found = slope[t * states + U8(begin_at[k]) + e]
                longer += found
                at = (t + e) * width + k
                score[at] += longer
                length[U8(begin_at[k]) + e] += found
                if parts > U8(1):
                    score[t * width + labels + k] += found
                    score[at + U8(2) * labels] += found
                if len(of_segment) > 0:
                    of_segment[(t * most + e) * labels + k] += found


@kernel(NOTHING, READ_I8, READ_I8, READ_F8, READ_F8, SIZE, F8)
def add_transposed(start, column, value, slope, width, out):  # type: ignore[no-untyped-def]
    """Add X' G to `out` (columns, width), for the CSR matrix X and the slopes G (rows, width), row by row."""
    for r in range(U8(len(start) - 1)):
        for i in range(U8(start[r]), U8(start[r + U8(1)])):
            o = U8(column[i]) * width
            for j in range(width):
                out[o + j] += value[i] * slope[r * width + j]
