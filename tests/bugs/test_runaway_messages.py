"""Messages that grew around loops of hard factors overflowed into +inf, which was taken for a proof: INFEASIBLE."""

from __future__ import annotations

import numpy as np
import pytest

import factorgraph_ebm as fg


@pytest.mark.filterwarnings("ignore::factorgraph_ebm.ConvergenceWarning")
@pytest.mark.parametrize("schedule", ["sequential", "flooding", "residual"])
def test_doubling_messages_are_no_proof(schedule):
    """Each check of two bits hands evidence on and each bit adds up what it hears: messages double in every round."""
    bits = fg.output("bits", shape=4, n_states=2)
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [0, 2], [1, 3]])
    graph = fg.FactorGraph(
        [
            fg.Table([bits[0]], energies=[0.0, 1.0]),
            fg.Parity(bits, members=pairs.tolist()),
        ]
    )
    belief = fg.marginals(graph, method="bp", schedule=schedule, damping=0.0, max_iterations=5000)
    assert belief.status is not fg.Status.INFEASIBLE
    assert not belief.converged or belief.residual < 1e-8
    # It was stopped on the way, or a fixed point was there to be found; never at an overflow.
    assert np.isfinite(belief.residual)
    np.testing.assert_allclose(belief["bits"].sum(-1), 1.0)
