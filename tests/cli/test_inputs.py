"""What the verbs read, and what they say about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmicro import io
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs


def test_a_zarr_array_of_any_name_is_exported(here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "group.zarr").mkdir()
    io.write_zarr(here / "group.zarr" / "0", Microstructure(blobs(16, ndim=3), (0.0, 255.0)))
    assert jaxmicro("export", here / "group.zarr" / "0", here / "array.npz").code == 0
    np.testing.assert_array_equal(io.read(here / "array.npz").labels, blobs(16, ndim=3))
