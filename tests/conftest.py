"""Settings of every suite: reproducible hypothesis, and where the shared benchmark data lies."""

from __future__ import annotations

import pathlib

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("ci")

#: The benchmark files lie beside the repository; they are not part of it.
DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> pathlib.Path:
    """The folder of shared benchmark files; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no benchmark data at {DATA}")
    return DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """The same draws in every run."""
    return np.random.default_rng(20)
