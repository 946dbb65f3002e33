"""The same question of a real cathode: `python -m experiments.process.tomography`.

A prior is trained on crops of one half of a tomography (three phases), and asked for the features of crops of the
other half, as far as they are within the range of the first. There is no process; crops of one slab are one origin, and
crops of different slabs have no voxel in common.
"""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from experiments.machine import describe
from experiments.materials import test_half, training_half, whole_volume
from experiments.process.config import ProcessConfig
from experiments.process.run import Rows, asked_and_measured, fitted, save
from jaxmicro import pipeline
from jaxmicro.collection import Collection
from jaxmicro.io import read_collection, write_collection
from jaxmicro.io.collection_store import is_finished
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

CATHODE = ProcessConfig(
    features=("volume_fraction", "tortuosity.0.z", "tortuosity.1.z"),
    conditions=200,
    costly=30,
    out=Path("runs/tomography"),
)
EDGE, SLAB, STRIDE = 32, 60, 7


def main() -> None:
    """Crop, measure, train, and write the table of what was asked and measured."""
    cathode = whole_volume("nmc3d")
    rows = [{**row, **describe()} for row in run(CATHODE, training_half(cathode), test_half(cathode))]
    save("tomography", rows)


def run(
    config: ProcessConfig, known: Microstructure, unknown: Microstructure, *, edge: int = EDGE, slab: int = SLAB
) -> Rows:
    """Rows of what was asked of a model of one volume, the features of crops of another, and measured."""
    first, second = (
        measured_crops(config, config.out / f"{name}.zarr", volume, edge, slab)
        for name, volume in (("known", known), ("unknown", unknown))
    )
    prior = fitted(config, first)
    return asked_and_measured(config, prior, within(prior, second))


def measured_crops(config: ProcessConfig, path: Path, volume: Microstructure, edge: int, slab: int) -> Collection:
    """The crops of a volume and their features, made unless they are there."""
    if not is_finished(path):
        write_collection(path, crops(volume, edge, slab))
    features = pipeline.chosen_features(read_collection(path), config.features)
    return pipeline.measure_collection(path, features)


def crops(volume: Microstructure, edge: int, slab: int) -> Collection:
    """Cubes that lie in slabs of a volume, STRIDE voxels apart; of each the number of its slab."""
    found, origins = [], []
    corners = itertools.product(*(range(0, n - min(slab, n) + 1, slab) for n in volume.shape))
    for number, corner in enumerate(corners):
        ends = (min(start + slab, n) for start, n in zip(corner, volume.shape, strict=True))
        places = (range(a, b - edge + 1, STRIDE) for a, b in zip(corner, ends, strict=True))
        for z, y, x in itertools.product(*places):
            found.append(volume.labels[z : z + edge, y : y + edge, x : x + edge])
            origins.append(number)
    labels, table = np.stack(found), np.zeros((len(found), 0))
    of_medium = volume.values, volume.voxel_size, volume.unit, (False,) * 3, "crops of a tomography"
    return Collection(labels, (), table, np.array(origins), *of_medium)


def within(prior: Prior, samples: Collection) -> Collection:
    """The samples whose features are all within the range of those that a prior was trained on."""
    assert prior.conditions is not None
    inside = np.full(len(samples), True)
    for entry in prior.conditions.entries:
        values = samples.column(entry.name)
        inside &= (entry.least <= values) & (values <= entry.most)
    return dataclasses.replace(samples.subset(np.flatnonzero(inside)), source=samples.source)


if __name__ == "__main__":
    main()
