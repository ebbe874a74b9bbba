"""Sixteen states, Potts and truncated linear factors, min-sum in sweeps: nanoseconds per message, and energies.

    python benchmarks/grid_structured.py [--size 128] [--sweeps 50] [--repeats 5] [--threads 1 2] [--quick] [--check]

The reference sends its messages in O(K) as well, by whole arrays, flooding. The second row of each structure is one
whole call: seconds, and the energies that it and the reference reach. `rewarded` is the same energy of the Potts grid
as programs count it that reward agreement instead of punishing difference.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import messages
import problems
import timing
from agreement import same_beliefs
from reference import potts, truncated_linear

import factorgraph_ebm as fg


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--sweeps", type=int, default=50)
    chosen = parser.parse_args(arguments)
    size = 8 if chosen.quick or chosen.check else chosen.size
    for kind, send in (("Potts", potts), ("TruncatedLinear", truncated_linear)):
        if not hasattr(fg, kind):
            print(f"this version has no {kind}", file=sys.stderr)
            continue
        problem = problems.grid(size, 16, kind)
        work = f"grid {size} x {size}, 16 states, {kind}"
        if chosen.check:
            same_beliefs(f"{work}, through tables", problem, minimize=True, schedule="sequential")
            same_beliefs(f"{work}, in O(K)", problem, minimize=True, send=send, schedule="sequential")
            continue
        messages.measure(work, problem, chosen, minimize=True, send=send, schedule="sequential")
        messages.whole_call(work, problem, chosen, sweeps=chosen.sweeps, send=send, schedule="sequential")


if __name__ == "__main__":
    main()
