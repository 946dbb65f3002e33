"""The real microstructures of the studies, from experiments/data (origin and licence of each in its README)."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from jaxmicro.io import read
from jaxmicro.types import Microstructure

DATA = Path(__file__).parent / "data"
TEST_DEPTH = 128  # planes along z that are kept for testing: enough for volumes of 128^3

# file, edge of a voxel (from the literature, not stated by the sources), unit
_FILES: dict[str, tuple[str, float | None, str | None]] = {
    "sofc": ("sofc_electrode_3phase.png", 65.0, "nm"),
    "nmc": ("nmc_cathode_3phase_slice.png", None, None),
    "carbonate": ("carbonate_binary.png", None, None),
    "composite": ("composite_3phase.png", None, None),
    "berea3d": ("berea_sandstone_3d.tif", 5.345, "um"),
    "nmc3d": ("nmc_cathode_3phase_3d.tif", 0.398, "um"),
    "rock3d": ("porous_rock_3d.tif", None, None),
}
BEREA_SLICE = 64  # plane along z that serves as the micrograph "berea"; it lies in the half that is not tested on


def micrograph(name: str) -> Microstructure:
    """The image "h w" of one of the five materials: sofc, nmc, carbonate, berea, composite."""
    if name == "berea":
        return _part(whole_volume("berea3d"), slice(BEREA_SLICE, BEREA_SLICE + 1), flat=True)
    return _read(name)


def whole_volume(name: str) -> Microstructure:
    """A true volume "z y x": berea3d or nmc3d."""
    return _read(name)


def training_half(volume: Microstructure) -> Microstructure:
    """The first part of a true volume along z: all planes but the last TEST_DEPTH."""
    return _part(volume, slice(0, volume.shape[0] - TEST_DEPTH))


def test_half(volume: Microstructure) -> Microstructure:
    """The last TEST_DEPTH planes of a true volume along z; no model ever sees them."""
    return _part(volume, slice(volume.shape[0] - TEST_DEPTH, None))


def cubes(volume: Microstructure, edge: int, most: int) -> list[Microstructure]:
    """Disjoint cubes, evenly spread over all that fit."""
    corners = list(itertools.product(*(range(0, n - edge + 1, edge) for n in volume.shape)))
    chosen = np.unique(np.linspace(0, len(corners) - 1, min(most, len(corners))).round().astype(int))
    return [
        dataclasses.replace(
            volume, labels=np.ascontiguousarray(volume.labels[z : z + edge, y : y + edge, x : x + edge])
        )
        for z, y, x in (corners[i] for i in chosen)
    ]


def label_stack(file: str) -> np.ndarray:
    """Labels "n h w" of an .npz file of images."""
    with np.load(DATA / file, allow_pickle=False) as data:
        return data["labels"]


def _read(name: str) -> Microstructure:
    file, voxel_size, unit = _FILES[name]
    return read(DATA / file, voxel_size=voxel_size, unit=unit)


def _part(volume: Microstructure, planes: slice, *, flat: bool = False) -> Microstructure:
    labels = np.ascontiguousarray(volume.labels[planes])
    return Microstructure(
        labels[0] if flat else labels,
        volume.values,
        volume.voxel_size,
        volume.unit,
        f"{volume.source}, z {planes.start}:{planes.stop if planes.stop is not None else volume.shape[0]}",
    )
