"""Two states, sum-product, flooding, damped by half: nanoseconds per message on a 256 x 256 grid.

    python benchmarks/grid_sum_product.py [--size 256] [--repeats 5] [--threads 1 2] [--quick] [--check] [--json]

Once with a 2 x 2 table of its own on every edge, once with one table for all. The reference does the same in NumPy,
without a test whether messages have come to rest; the library's iterations include it. Peer: PGMax.
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
    parser.add_argument("--size", type=int, default=256)
    chosen = parser.parse_args(arguments)
    size = 12 if chosen.quick or chosen.check else chosen.size
    for kind, words in (("attractive", "own tables"), ("shared", "one table")):
        problem = problems.grid(size, 2, kind)
        work = f"grid {size} x {size}, 2 states, {words}"
        if chosen.check:
            same_beliefs(work, problem, minimize=False, **OPTIONS)
        else:
            messages.measure(work, problem, chosen, minimize=False, **OPTIONS)


if __name__ == "__main__":
    main()
