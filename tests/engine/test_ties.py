"""Which energies count as equal: one rule, in kernels and in arrays."""

import math

import numpy as np
import pytest

from factorgraph_ebm.engine.ties import TIE, is_tied, margins


@pytest.mark.parametrize("least", [0.0, 0.5, -1.0, 3e7, -1e300])
def test_kernels_and_arrays_draw_the_line_at_the_same_place(least):
    margin = float(margins(np.array(least)))
    assert margin == TIE * max(1.0, abs(least))
    for energy in (least, least + 0.5 * margin, least + margin, least + 2.0 * margin, least + 1e6 * margin, math.inf):
        assert is_tied.function(energy, least) == (energy - least <= margin)
    assert not is_tied.function(least + 2.0 * margin, least)
