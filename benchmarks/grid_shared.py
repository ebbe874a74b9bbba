"""Sixteen states, one table for all edges, flooding, damped by half: nanoseconds per message, both operators.

    python benchmarks/grid_shared.py [--size 128] [--repeats 5] [--threads 1 2] [--quick] [--check] [--json]

For sum-product there is a second reference, `matrix`: NumPy's product of the exponentiated messages and the table,
the fastest way to write it where one table is shared and its energies are of moderate span.
"""

from __future__ import annotations

from collections.abc import Sequence

import messages
import problems
import timing
from agreement import same_beliefs
from reference import product

OPTIONS = {"schedule": "flooding", "damping": 0.5}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=128)
    chosen = parser.parse_args(arguments)
    size = 8 if chosen.quick or chosen.check else chosen.size
    problem = problems.grid(size, 16, "shared")
    work = f"grid {size} x {size}, 16 states, one table"
    for minimize in (False, True):
        if chosen.check:
            same_beliefs(work, problem, minimize=minimize, **OPTIONS)
        else:
            others = None if minimize else {"matrix": product(problem)}
            messages.measure(work, problem, chosen, minimize=minimize, others=others, **OPTIONS)
    if chosen.check:
        same_beliefs(f"{work}, by matrices", problem, minimize=False, send=product, **OPTIONS)


if __name__ == "__main__":
    main()
