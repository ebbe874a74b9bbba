"""Threads that help a compiled call: started once for each process, handed to whoever asks, never waited for in vain.

A helper that does not get to run takes no task (`engine.tickets`), so the caller alone always finishes. Helpers are
limited for the whole process: callers on many Python threads share them. After a fork the child starts its own.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_lock = threading.Lock()
_pool: tuple[int, int, ThreadPoolExecutor] | None = None


def together(work: Callable[[int], float], threads: int) -> float:
    """Call work(0) here and work(1), work(2), ... on helpers; return what work(0) returned.

    Every call must leave by itself when the common work is done, and release the interpreter's lock meanwhile.
    """
    if threads <= 1:
        return work(0)
    pool = _helpers(threads - 1)
    futures = [pool.submit(work, i) for i in range(1, threads)]
    try:
        return work(0)
    finally:
        for future in futures:
            if not future.cancel():
                future.result()


def share_out(task: Callable[[int], None], count: int, threads: int) -> None:
    """Call task(0), ..., task(count - 1), each once, on at most so many threads: whoever is free takes the next."""
    ticket = itertools.count()

    def work(_: int) -> float:
        while (number := next(ticket)) < count:
            task(number)
        return 0.0

    together(work, min(threads, count))


def _helpers(count: int) -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None or _pool[0] != os.getpid() or _pool[1] < count:
            if _pool is not None and _pool[0] == os.getpid():
                _pool[2].shutdown(wait=False)
            _pool = os.getpid(), count, ThreadPoolExecutor(count, thread_name_prefix="factorgraph_ebm")
        return _pool[2]


def _after_fork() -> None:
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
