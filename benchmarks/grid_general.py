"""Sixteen states, a general table on every edge, min-sum: nanoseconds per message, and how low 50 sweeps come.

    python benchmarks/grid_general.py [--size 128] [--sweeps 50] [--repeats 5] [--threads 1 2] [--quick] [--check]

The rows for `dtype="float32"` were timed in turns with those before them. The last is one whole call, decoding and
everything else included: seconds, and the energies that it and the reference reach. This instance does not come to
rest, so rounding grows: the last digits of an energy may differ between versions.
"""

from __future__ import annotations

from collections.abc import Sequence

import messages
import problems
import timing
from agreement import same_beliefs


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--sweeps", type=int, default=50)
    chosen = parser.parse_args(arguments)
    size = 8 if chosen.quick or chosen.check else chosen.size
    problem = problems.grid(size, 16, "general")
    work = f"grid {size} x {size}, 16 states, own tables"
    if chosen.check:
        same_beliefs(work, problem, minimize=True, schedule="sequential")
        return
    narrow = {"tables in float32": {"dtype": "float32"}}
    messages.measure(work, problem, chosen, minimize=True, variants=narrow, schedule="sequential")
    messages.whole_call(work, problem, chosen, sweeps=chosen.sweeps, schedule="sequential")


if __name__ == "__main__":
    main()
