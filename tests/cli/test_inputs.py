"""What the verbs read, and what they say about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmicro import io
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs


def test_a_zarr_array_of_any_name_is_exported(here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "group.zarr").mkdir()
    io.write_zarr(here / "group.zarr" / "0", Microstructure(blobs(16, ndim=3), (0.0, 255.0)))
    assert jaxmicro("export", here / "group.zarr" / "0", here / "array.npz").code == 0
    np.testing.assert_array_equal(io.read(here / "array.npz").labels, blobs(16, ndim=3))


def test_the_switches_for_values_that_are_no_phases(here: Path, jaxmicro: Callable[..., Outcome]):
    image = blobs(64) * np.uint8(255)
    image[5, 5] = 12
    bar = np.zeros((16, 64), np.uint8)
    Image.fromarray(np.concatenate([image, bar])).save(here / "image.png")
    said = jaxmicro("export", here / "image.png", here / "as_it_is.npz")
    assert said.code == 0 and "12 (0.0195%) rare: --merge-rare" in said.err and "--crop 0:64,:" in said.err
    clean = jaxmicro("export", here / "image.png", here / "clean.npz", "--crop", "0:64,:", "--merge-rare", "0.1%")
    assert "merged into neighbouring phases: 12 (0.0244%)" in clean.err
    np.testing.assert_array_equal(np.delete(io.read(here / "clean.npz").labels, 5, 0), np.delete(blobs(64), 5, 0))
    masked = jaxmicro("export", here / "image.png", here / "masked.npz", "--crop", ":64,:", "--ignore", "12")
    assert masked.code == 0 and "are read" not in masked.err and io.read(here / "masked.npz").phases == 2


@pytest.mark.parametrize(
    "options, says",
    [
        ("--merge-rare 2", "above 0 and below one half"),
        ("--merge-rare many", "0.001 or 0.1%"),
        ("--ignore black", "a number, nan or a colour"),
        ("--crop 0:9", "expected 2 ranges"),
        ("--merge-rare 1% --segment 2", "leave one out"),
    ],
)
def test_switches_that_cannot_be_read_are_refused(
    options: str, says: str, work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    outcome = jaxmicro("export", work / "image.png", here / "out.npz", *options.split())
    assert outcome.code == 2 and says in outcome.err and outcome.err.count("\n") == 1
    assert not (here / "out.npz").exists()
