"""Messages of a function c of the number of variables that are on.

Min-sum: let d_i = x_i(on) - x_i(off), in ascending order, and let the first q be those that had rather be on. Of any k
variables that are on at least energy, the k first are; each that is not as it had rather be costs |d_i|. Leaving out
one at a time needs only running sums and minima of these costs, none of which is ever taken away from another, so that
infinite and huge ones cost no digits: O(n log n). Tarlow, Givoni and Zemel, "HOP-MAP: efficient message passing with
high order potentials", AISTATS 2010.

Sum-product: the distribution of the number on is a product of polynomials q_i + p_i t, one for each variable. Products
are made pairwise up a binary tree; down the tree each node is sent what the factor is worth for each number on within
it, from what its parent was sent and the polynomial of its sibling. Tarlow, Swersky, Zemel, Adams and Frey, "Fast exact
inference for recursive cardinality models", UAI 2012. The products are plain sums, since a Fourier transform
would lose small numbers beside large ones: O(n^2) for all n messages, half a nanosecond each. Where one leaves the
range of the probability domain, the factor is counted again in energies.
"""

from __future__ import annotations

import numpy as np

from factorgraph_ebm._jit import inlined, kernel
from factorgraph_ebm.factors.elementary import exp_minus
from factorgraph_ebm.factors.message_kernels import SIGNATURE, MessageKernels, is_target

U8 = np.uint64
RARE = 1e-130
"sums below this are made again in energies"
NONE = 1e-153
"""shares below this are taken as 0: at most a few thousand of them are lost, nothing beside RARE, and products of two
others are no denormal numbers, which are a hundred times slower"""


def cardinality_scratch(n: int) -> int:
    """Return the working space of one factor: two arrays of n for sorting and counting, and a tree."""
    return max(8 * n + 8, 3 * n + 4 + _tree_size(n) + 2 * n + 4)


def _tree_size(n: int) -> int:
    total, width = 0, 1
    while True:
        nodes = -(-n // width)
        total += nodes * (width + 1)
        if nodes <= 1:
            return total
        width *= 2


@kernel(*SIGNATURE)
def cardinality_min(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        _min_messages(run, store, t, to_factor, out, scratch, f, f - low, high - low, target)


@inlined
def _min_messages(run, store, t, to_factor, out, scratch, f, row, rows, target):  # type: ignore[no-untyped-def]
    n = run[1]
    # d, slot: sorted; before: sums of the least energies of the slots before; the rest by rank
    d, slot, before, later, best, up, value = 0, n, 2 * n, 3 * n, 4 * n + 1, 5 * n + 2, 6 * n + 2
    total = 0.0
    for i in range(n):
        m = run[8 + 4 * i + 2] + 2 * np.int64(f)
        off, on = to_factor[m], to_factor[m + 1]
        scratch[before + i] = total
        total += off if off < on else on
        scratch[d + i] = 0.0 if off == on else on - off
        scratch[slot + i] = i
    _sort(scratch, d, slot, n)
    q = 0
    while q < n and scratch[d + q] < 0.0:
        q += 1
    for j in range(2):
        c = np.int64(t) + j
        # later[i]: cost of the eager ones from rank i on; best[i]: min over k = i .. q - 1 of c[k] + later[k + 1]
        scratch[later + q] = 0.0
        scratch[best + q] = np.inf
        for i in range(q - 1, -1, -1):
            with_next = store[c + i] + scratch[later + i + 1]
            scratch[best + i] = with_next if with_next < scratch[best + i + 1] else scratch[best + i + 1]
            scratch[later + i] = scratch[later + i + 1] - scratch[d + i]
        # up[r]: min over k > r of c[k] + cost of the ranks r + 1 .. k
        for r in range(n - 1, q - 1, -1):
            if r == n - 1:
                scratch[up + r] = np.inf
            else:
                least = store[c + r + 1] if store[c + r + 1] < scratch[up + r + 1] else scratch[up + r + 1]
                scratch[up + r] = scratch[d + r + 1] + least
        # An eager one left out, of rank r < q: the others have q - 1 eager ones.
        if q > 0:
            beyond = np.inf  # min over k >= q of c[k] + cost of the ranks q .. k
            cost = 0.0
            for k in range(q, n):
                cost += scratch[d + k]
                beyond = store[c + k] + cost if store[c + k] + cost < beyond else beyond
            fewer = np.inf
            for r in range(q):
                if r > 0:
                    fewer -= scratch[d + r - 1]
                fewer = store[c + r] if store[c + r] < fewer else fewer
                least = fewer + scratch[later + r + 1]
                least = scratch[best + r + 1] if scratch[best + r + 1] < least else least
                scratch[value + j * n + r] = beyond if beyond < least else least
        # A reluctant one left out, of rank r >= q.
        least = np.inf
        for k in range(q + 1 if q < n else n):
            least = store[c + k] + scratch[later + k] if store[c + k] + scratch[later + k] < least else least
        cost = 0.0  # of the ranks q .. r - 1
        for r in range(q, n):
            if r > q:
                cost += scratch[d + r - 1]
                least = store[c + r] + cost if store[c + r] + cost < least else least
            more = cost + scratch[up + r]
            scratch[value + j * n + r] = more if more < least else least
    for r in range(n):
        o = 2 * (np.int64(rows) * np.int64(scratch[slot + r]) + np.int64(row))
        out[o] = scratch[value + r]
        out[o + 1] = scratch[value + n + r]
    total = 0.0
    for i in range(n - 1, -1, -1):
        m = run[8 + 4 * i + 2] + 2 * np.int64(f)
        o = 2 * (np.int64(rows) * i + np.int64(row))
        rest = scratch[before + i] + total
        out[o] += rest
        out[o + 1] += rest
        total += to_factor[m] if to_factor[m] < to_factor[m + 1] else to_factor[m + 1]


@inlined
def _sort(x, key, with_, n):  # type: ignore[no-untyped-def]
    """Heapsort of x[key:key + n], ascending, with x[with_:with_ + n] moved along."""
    size = n
    start = n // 2
    while size > 1:
        if start > 0:
            start -= 1
        else:
            size -= 1
            x[key], x[key + size] = x[key + size], x[key]
            x[with_], x[with_ + size] = x[with_ + size], x[with_]
        root = start
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size and x[key + child] < x[key + child + 1]:
                child += 1
            if not x[key + root] < x[key + child]:
                break
            x[key + root], x[key + child] = x[key + child], x[key + root]
            x[with_ + root], x[with_ + child] = x[with_ + child], x[with_ + root]
            root = child


@kernel(*SIGNATURE)
def cardinality_sum(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    for f in range(low, high):
        t = U8(run[4]) if run[4] >= 0 else number[f]
        for in_energies in range(2):
            if in_energies == 1:
                # What is +inf in min-sum is forbidden; of the rest something underflowed.
                _min_messages(run, store, t, to_factor, out, scratch, f, f - low, high - low, target)
            if _count(run, store, t, to_factor, out, scratch, f, f - low, high - low, target, in_energies == 1):
                break


@inlined
def _count(run, store, t, to_factor, out, scratch, f, row, rows, target, in_energies):  # type: ignore[no-untyped-def]
    """All messages of one factor, by a tree; in probabilities, whether all that is sent is in their range."""
    n = run[1]
    inverse, held, tree = 0, n, 3 * n + 4
    lowest = np.inf
    for k in range(n + 1):
        value = store[np.int64(t) + k]
        lowest = value if value < lowest else lowest
    shift = lowest if lowest < np.inf else 0.0
    # Leaves: shares of off and on.
    logs = 0.0
    for i in range(n):
        m = run[8 + 4 * i + 2] + 2 * np.int64(f)
        if in_energies:
            scratch[tree + 2 * i], scratch[tree + 2 * i + 1] = to_factor[m], to_factor[m + 1]
            scratch[inverse + i] = 1.0
            continue
        off, on = exp_minus(to_factor[m]), exp_minus(to_factor[m + 1])
        mass = off + on
        scratch[inverse + i] = 1.0 / mass if mass > 0.0 else 0.0
        scratch[tree + 2 * i] = off * scratch[inverse + i]
        scratch[tree + 2 * i + 1] = on * scratch[inverse + i]
        logs -= np.log(mass) if mass > 0.0 else 0.0
    # Up: each level behind the one below it, every node with room for its size and one more.
    level, size, nodes = tree, 1, n
    while nodes > 1:
        above = level + nodes * (size + 1)
        parents = (nodes + 1) // 2
        for i in range(parents):
            a = level + 2 * i * (size + 1)
            b = a + size + 1
            to = above + i * (2 * size + 1)
            left = min(size, n - 2 * i * size)
            right = min(size, n - (2 * i + 1) * size)
            if right <= 0:
                for k in range(left + 1):
                    scratch[to + k] = scratch[a + k]
            elif parents > 1:  # nobody reads the product of all
                _convolve(scratch, a, left, b, right, to, in_energies)
        level, size, nodes = above, 2 * size, parents
    # Down: a node's place now takes what it is sent.
    for k in range(n + 1):
        scratch[level + k] = store[np.int64(t) + k] if in_energies else exp_minus(store[np.int64(t) + k] - shift)
    while size > 1:
        size //= 2
        children = (n + size - 1) // size
        below = level - children * (size + 1)
        for i in range(nodes):
            sent = level + i * (2 * size + 1)
            a = below + 2 * i * (size + 1)
            b = a + size + 1
            left = min(size, n - 2 * i * size)
            right = min(size, n - (2 * i + 1) * size)
            if right <= 0:
                for k in range(left + 1):
                    scratch[a + k] = scratch[sent + k]
                continue
            _correlate(scratch, b, right, sent, left, held, in_energies)
            _correlate(scratch, a, left, sent, right, held + left + 1, in_energies)
            for k in range(left + 1):
                scratch[a + k] = scratch[held + k]
            for k in range(right + 1):
                scratch[b + k] = scratch[held + left + 1 + k]
        level, nodes = below, children
    good = True
    for i in range(n):
        if not is_target(i, target):
            continue
        o = 2 * (np.int64(rows) * i + np.int64(row))
        for j in range(2):
            total = scratch[tree + 2 * i + j]
            if in_energies:
                out[o + j] = total if out[o + j] < np.inf else np.inf
            else:
                total *= scratch[inverse + i]
                if not total > RARE:
                    good = False
                else:
                    out[o + j] = shift + logs - np.log(total)
    return good


@inlined
def _convolve(x, a, n_a, b, n_b, to, in_energies):  # type: ignore[no-untyped-def]
    """x[to + k] = sum over i of x[a + i] x[b + k - i], or its counterpart in energies."""
    if in_energies:
        for k in range(n_a + n_b + 1):
            first, last = max(0, k - n_b), min(n_a, k)
            x[to + k] = _soft_minimum(x, a + first, b + k - first, last - first + 1, -1)
        return
    for k in range(n_a + n_b + 1):
        x[to + k] = 0.0
    for i in range(n_a + 1):
        share = x[a + i]
        if share > 0.0:
            for k in range(n_b + 1):
                x[to + i + k] += share * x[b + k]
    for k in range(n_a + n_b + 1):
        x[to + k] = x[to + k] if x[to + k] > NONE else 0.0


@inlined
def _correlate(x, a, n_a, sent, n_to, to, in_energies):  # type: ignore[no-untyped-def]
    """x[to + k] = sum over i of x[a + i] x[sent + i + k], or its counterpart in energies, for k up to n_to."""
    if in_energies:
        for k in range(n_to + 1):
            x[to + k] = _soft_minimum(x, a, sent + k, n_a + 1, 1)
        return
    for k in range(n_to + 1):
        x[to + k] = 0.0
    for i in range(n_a + 1):
        share = x[a + i]
        if share > 0.0:
            for k in range(n_to + 1):
                x[to + k] += share * x[sent + i + k]
    for k in range(n_to + 1):
        x[to + k] = x[to + k] if x[to + k] > NONE else 0.0


@inlined
def _soft_minimum(x, a, b, n, step):  # type: ignore[no-untyped-def]
    """-log sum over i < n of exp(-(x[a + i] + x[b + step i])), shifted by its smallest term."""
    least = np.inf
    for i in range(n):
        value = x[a + i] + x[b + step * i]
        least = value if value < least else least
    if least == np.inf:
        return least
    total = 0.0
    for i in range(n):
        total += exp_minus(x[a + i] + x[b + step * i] - least)
    return least - np.log(total)


@kernel(*SIGNATURE)
def cardinality_mixed(run, number, store, weight, constants, to_factor, out, scratch, low, high, target):  # type: ignore[no-untyped-def]
    """Sum over the soft slots first, then minimise over the others: the row with slot after slot taken out, O(n^2)."""
    n = run[1]
    for slot in range(n):
        if not is_target(slot, target):
            continue
        for f in range(low, high):
            t = np.int64(run[4]) if run[4] >= 0 else np.int64(number[f])
            for k in range(n + 1):
                scratch[k] = store[t + k]
            length = n
            for hard in range(2):
                for s in range(n):
                    if s == slot or (1 - run[8 + 4 * s + 3]) != hard:
                        continue
                    m = run[8 + 4 * s + 2] + 2 * np.int64(f)
                    for k in range(length):
                        u, v = scratch[k] + to_factor[m], scratch[k + 1] + to_factor[m + 1]
                        least = u if u < v else v
                        if hard == 0 and least < np.inf:
                            least -= np.log1p(np.exp(-abs(u - v)))
                        scratch[k] = least
                    length -= 1
            o = 2 * (np.int64(high - low) * slot + np.int64(f - low))
            out[o], out[o + 1] = scratch[0], scratch[1]


CARDINALITY = MessageKernels(cardinality_min, cardinality_sum, cardinality_mixed)
