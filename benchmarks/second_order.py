"""Second-order forward-backward as one writes it by hand in Numba, for the number of states it is compiled for.

    alpha_t(j, k) = u_t(k) sum_i alpha_(t-1)(i, j) T(i, j, k)
    beta_(t-1)(i, j) = sum_k T(i, j, k) u_t(k) beta_t(j, k)

over pairs of neighbouring states, scaled to sum to 1; all chains have T = exp(-energies), and u is exp(-energies) of
states, less their least. A step is K products of a vector with a matrix whose rows lie along what is written, so that
four sums stay in one packed register: forward the matrices T(., j, .), backward the same turned over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from problems import F64

U8 = np.uint64


def compile_for(states: int) -> Callable[[F64, F64], tuple[F64, F64]]:
    """A function of unary energies (N, length, K) and tables (K, K, K), K a multiple of 4.

    It returns log Z (N,) and marginals (N, length, K).
    """
    if states % 4:
        raise ValueError(f"{states} states are not a multiple of four.")
    K = U8(states)
    by_hand: Any = numba.njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")

    @by_hand
    def multiply(a, matrices, out):  # type: ignore[no-untyped-def]
        """out[j, k] = sum over i of a[i, j] matrices[j, i, k]"""
        for j in range(K):
            for k in range(U8(0), K, U8(4)):
                s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
                for i in range(K):
                    c = a[i, j]
                    s0 += c * matrices[j, i, k]
                    s1 += c * matrices[j, i, k + U8(1)]
                    s2 += c * matrices[j, i, k + U8(2)]
                    s3 += c * matrices[j, i, k + U8(3)]
                out[j, k], out[j, k + U8(1)], out[j, k + U8(2)], out[j, k + U8(3)] = s0, s1, s2, s3

    @by_hand
    def pass_messages(unary, forward, backward, log_partition, marginals):  # type: ignore[no-untyped-def]
        count, n = U8(unary.shape[0]), U8(unary.shape[1])
        u = np.empty((n, K))
        alpha = np.empty((n, K, K))
        one, two = np.empty((K, K)), np.empty((K, K))
        for c in range(count):
            found = 0.0
            for t in range(n):
                low = np.inf
                for k in range(K):
                    low = min(low, unary[c, t, k])
                for k in range(K):
                    u[t, k] = np.exp(low - unary[c, t, k])
                found -= low
            # alpha[t, j, k] of states j before and k at t.
            for j in range(K):
                for k in range(K):
                    alpha[U8(1), j, k] = u[U8(0), j] * u[U8(1), k]
            for t in range(U8(2), n):
                multiply(alpha[t - U8(1)], forward, two)
                total = 0.0
                for j in range(K):
                    for k in range(K):
                        total += two[j, k] * u[t, k]
                found += np.log(total)
                share = 1.0 / total
                for j in range(K):
                    for k in range(K):
                        alpha[t, j, k] = two[j, k] * u[t, k] * share
            # one[k, j] is beta of states j before and k at t.
            for k in range(K):
                for j in range(K):
                    one[k, j] = 1.0
            for back in range(U8(1), n):
                t = n - back
                total = 0.0
                first = t == U8(1)
                for j in range(K):
                    marginals[c, U8(0), j] = 0.0
                for k in range(K):
                    column = 0.0
                    for j in range(K):
                        joint = alpha[t, j, k] * one[k, j]
                        column += joint
                        if first:
                            marginals[c, U8(0), j] += joint
                    marginals[c, t, k] = column
                    total += column
                if back == U8(1):
                    log_partition[c] = found + np.log(total)
                share = 1.0 / total
                for k in range(K):
                    marginals[c, t, k] *= share
                if first:
                    for j in range(K):
                        marginals[c, U8(0), j] *= share
                    break
                for k in range(K):
                    scale = u[t, k] * share
                    for j in range(K):
                        one[k, j] *= scale
                multiply(one, backward, two)
                one, two = two, one

    def run(unary: F64, tables: F64) -> tuple[F64, F64]:
        weights = np.exp(-tables)
        forward = np.ascontiguousarray(weights.transpose(1, 0, 2))  # [j, i, k]
        backward = np.ascontiguousarray(weights.transpose(1, 2, 0))  # [j, k, i]
        log_partition, marginals = np.empty(len(unary)), np.empty(unary.shape)
        pass_messages(unary, forward, backward, log_partition, marginals)
        return log_partition, marginals

    return run
