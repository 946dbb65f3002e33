"""Double precision for the tests that ask for it, and only there."""

import jax
import pytest


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield
