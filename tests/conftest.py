"""Fixtures that all tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A seeded stream of random numbers, new for each test."""
    return np.random.default_rng(0)
