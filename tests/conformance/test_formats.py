"""Every writable format, on drawn graphs: the same energies come back; what cannot be written is refused by name.

A format joins by being registered.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracle import EPSILON, brute
from strategies import case_of

import factorgraph_ebm as fg
from factorgraph_ebm.formats import FORMATS

LOSSY = sorted(suffix for suffix, format in FORMATS.items() if format.write and not (format.lossless or format.only))
LOSSLESS = sorted(suffix for suffix, format in FORMATS.items() if format.write and format.lossless)
KINDS = ["normal", "integer", "forbidden", "integer forbidden", "tied", "denormal"]
BLOCK = 60


@pytest.mark.parametrize("suffix", [*LOSSY, ".uai.gz"])
def test_other_peoples_formats_keep_every_energy(suffix, tmp_path):
    """One array "x", cells in order of `graph.variables`, parameters bound, structures as tables."""
    written = 0
    for seed in range(60_000, 60_000 + BLOCK):
        case = case_of(seed, forest=seed % 2 == 0, kinds=KINDS)
        path = tmp_path / f"{seed}{suffix}"
        if any(f.reals for f in case.graph.factors):
            with pytest.raises(fg.FormatError, match="observed real"):
                fg.write(case.graph, path, parameters=case.parameters)
            continue
        fg.write(case.graph, path, parameters=case.parameters)
        mine, theirs = brute(case.graph, None, case.values), brute(fg.read(path))
        written += 1
        assert theirs.states.tolist() == mine.states.tolist()
        allowed = np.isfinite(mine.energies)
        np.testing.assert_array_equal(np.isfinite(theirs.energies), allowed)
        slack = 1e-12 + 8 * EPSILON * mine.mass
        np.testing.assert_allclose(theirs.energies[allowed], mine.energies[allowed], rtol=1e-12, atol=slack)
    assert written > BLOCK / 3


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_our_own_format_keeps_everything(suffix, tmp_path):
    """Names, roles, states, structures, parameters and every bit of every number."""
    written = 0
    for seed in range(61_000, 61_000 + 2 * BLOCK):
        case = case_of(seed, forest=seed % 2 == 0, kinds=[*KINDS, "huge"])
        path = tmp_path / f"{seed}{suffix}"
        try:
            fg.write(case.graph, path)
        except fg.FormatError as problem:
            assert "Computed" in str(problem)
            continue
        again = fg.read(path)
        written += 1
        assert dict(again.variables) == dict(case.graph.variables)
        for name, variable in again.variables.items():
            assert (variable.role, variable.states) == (case.graph[name].role, case.graph[name].states)
        assert dict(again.parameters) == dict(case.graph.parameters)
        for a, b in zip(again.factors, case.graph.factors, strict=True):
            assert (a.kind, a.name, a.shape) == (b.kind, b.name, b.shape)
        np.testing.assert_array_equal(
            brute(again, None, case.values).energies, brute(case.graph, None, case.values).energies
        )
    assert written > BLOCK
