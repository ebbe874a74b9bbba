"""Sparse random graphs, 4 states, sum-product, flooding: nanoseconds per message, of pairs and of triples.

    python benchmarks/sparse.py [--size 100000] [--repeats 5] [--threads 1 2] [--quick] [--check] [--json]

`--size` variables, each in about three factors over variables drawn at random, so memory is read out of order; every
factor has a table of its own. The reference does the same in NumPy. Both are damped by half. Peer: PGMax.
"""

from __future__ import annotations

from collections.abc import Sequence

import messages
import problems
import timing
from agreement import same_beliefs

OPTIONS = {"schedule": "flooding", "damping": 0.5}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=100_000)
    chosen = parser.parse_args(arguments)
    size = 300 if chosen.quick or chosen.check else chosen.size
    for arity, words in ((2, "pairs"), (3, "triples")):
        problem = problems.random_graph(size, degree=3, arity=arity, states=4)
        work = f"random {words}, {size:,} variables, 4 states"
        if chosen.check:
            same_beliefs(work, problem, minimize=False, **OPTIONS)
        else:
            messages.measure(work, problem, chosen, minimize=False, **OPTIONS)


if __name__ == "__main__":
    main()
