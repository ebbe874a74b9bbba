"""Threads: the same bits for any number of them, from many callers at once, and after fork and spawn."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import warnings

import numpy as np
import pytest

import factorgraph_ebm as fg
from factorgraph_ebm.inference.threads import together

# For the whole module: what a test sets for a block, it sets for the callers on all other threads, too.
pytestmark = pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")


def grid(n=48, states=2, seed=0):
    rng = np.random.default_rng(seed)
    y = fg.output("y", shape=(n, n), n_states=states)
    return fg.FactorGraph(
        [
            fg.Table([y], energies=rng.normal(size=(n, n, states))),
            fg.Table([y[1:], y[:-1]], energies=rng.normal(size=(n - 1, n, states, states)) / 3),
            fg.Potts([y[:, 1:], y[:, :-1]], penalty=0.4),
        ]
    )


def chains(count=300, states=9, seed=0):
    rng = np.random.default_rng(seed)
    pair = rng.normal(size=(states, states))
    found = []
    for n in rng.integers(5, 60, count):
        y = fg.output("y", shape=int(n), n_states=states)
        unary = rng.normal(size=(int(n), states))
        found.append(fg.FactorGraph([fg.Table([y], energies=unary), fg.Table([y[:-1], y[1:]], energies=pair)]))
    return found


def code(n=600, seed=0):
    """Frames of a code, told as costs of its bits."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.repeat(np.arange(n), 3)).reshape(-1, 6)
    y = fg.output("y", shape=n, n_states=2)
    members = rows[[len(set(row)) == 6 for row in rows.tolist()]]
    energies = [np.stack([np.zeros(n), rng.normal(2.6, 2.3, n)], -1) for _ in range(30)]
    return [fg.FactorGraph([fg.Table([y], energies=e), fg.Parity(y, members=members)]) for e in energies]


STOP = {"method": "bp", "stop": "feasible", "max_iterations": 30}
WORK = {
    "frames": (fg.marginals, code(), STOP),
    "frames, flooding": (fg.minimize, code(), {**STOP, "schedule": "flooding", "damping": 0.1}),
    "grid of two states": (fg.marginals, grid(), {"method": "bp", "max_iterations": 30}),
    "flooding": (fg.marginals, grid(), {"method": "bp", "schedule": "flooding", "damping": 0.3, "max_iterations": 30}),
    "minimum": (fg.minimize, grid(), {"method": "bp", "max_iterations": 30}),
    "five states": (fg.marginals, grid(30, 5), {"method": "bp", "max_iterations": 20}),
    "minimum of five states": (fg.minimize, grid(30, 5), {"method": "bp", "max_iterations": 20}),
    "chains": (fg.marginals, chains(), {}),
    "best paths": (fg.minimize, chains(), {}),
    "small loops": (fg.marginals, [grid(6, 3, seed) for seed in range(40)], {"method": "bp", "damping": 0.2}),
}


def bits(verb, graph, options, threads):
    answers = verb(graph, threads=threads, **options)
    answers = answers if isinstance(answers, list) else [answers]
    tail = [(a.iterations, a.residual, a.log_partition if verb is fg.marginals else a.energy) for a in answers]
    return [a["y"].tobytes() for a in answers], tail


@pytest.mark.parametrize("name", list(WORK))
def test_any_number_of_threads_gives_the_same_bits(name):
    verb, graph, options = WORK[name]
    one = bits(verb, graph, options, 1)
    for threads in (2, 3, 7, None):
        assert bits(verb, graph, options, threads) == one


def test_many_callers_at_once():
    expected = {name: bits(*WORK[name], 1) for name in WORK}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [(name, pool.submit(bits, *WORK[name], 2)) for _ in range(3) for name in WORK]
        for name, job in jobs:
            assert job.result() == expected[name]


def _child(name):
    return bits(*WORK[name], 2)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_after_fork_and_spawn(method):
    """The parent has helpers when it forks; the child makes its own."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    expected = bits(*WORK["flooding"], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forking beside threads
        if method == "spawn":
            # A test module is no importable name for a new interpreter, so the child gets its program as text.
            program = (
                "import numpy as np, factorgraph_ebm as fg\n"
                "y = fg.output('y', shape=(40, 40), n_states=2)\n"
                "g = fg.FactorGraph([fg.Table([y], energies=np.linspace(0, 1, 3200).reshape(40, 40, 2)),"
                " fg.Potts([y[1:], y[:-1]], penalty=.5), fg.Potts([y[:, 1:], y[:, :-1]], penalty=.5)])\n"
                "one, two = (fg.marginals(g, method='bp', threads=n)['y'].tobytes() for n in (1, 2))\n"
                "assert one == two\n"
            )
            context = multiprocessing.get_context("spawn")
            child = context.Process(target=exec, args=(program, {}))
            child.start()
            child.join(120)
            assert child.exitcode == 0
        else:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                same = _child("flooding") == expected
                os.write(writer, b"y" if same else b"n")
                os._exit(0)
            os.waitpid(child, 0)
            assert os.read(reader, 1) == b"y"


def test_the_caller_finishes_alone_and_hears_what_a_helper_raised():
    assert together(lambda i: float(i), 1) == 0.0
    assert together(lambda i: float(10 + i), 4) == 10.0

    def fails(i):
        if i:
            raise ZeroDivisionError
        return 0.0

    # A helper that never started is not waited for; one that did is heard.
    try:
        together(fails, 3)
    except ZeroDivisionError:
        pass
    assert np.isfinite(together(lambda i: 1.0, 2))
