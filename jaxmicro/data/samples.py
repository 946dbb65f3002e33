"""Batches of whole samples of a collection: seeded, bit-exact on resumption, sharded by process.

Draw j of a stream is a pure function of (seed, j): every run through the collection is a permutation of its samples
from (seed, number of the run), and the random numbers of the augmentation are block j of a counter-based generator.
Batch k is the draws k * batch ... (k + 1) * batch - 1, for any number of processes, also after a restart.

Augmentation uses the symmetries of the material: shifts along periodic axes, mirrors, exchanges of axes. Features
follow: where two axes are exchanged, so are the features that name them, and what would change a feature in a way that
is not known is refused.
"""

import functools
import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import UInt8

from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError

_SCALAR = re.compile(r"[a-z][a-z_]*\.\d+")  # properties that no axis is named in: volume_fraction.0


def is_plain(feature: Feature) -> bool:
    """Whether it is known how symmetries change a property: it names an axis, or is of one phase as a whole."""
    return feature.axis is not None or _SCALAR.fullmatch(feature.name) is not None


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Number and seed of the samples of a batch, and the symmetries of the material.

    Axes are letters, as in `tortuosity.1.z`: of images "y" and "x", of volumes also "z".
    """

    batch: int = 32  # samples in a batch, over all processes together
    seed: int = 0  # of order and augmentation, >= 0
    shifted_axes: tuple[str, ...] | None = None  # cyclic shifts; None: all periodic axes where no feature forbids it
    mirrored_axes: tuple[str, ...] = ()  # each is reversed in half of the draws
    symmetric_axes: tuple[str, ...] = ()  # exchanged with each other, all orders equally likely: x and y of a film

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"a batch must have at least 1 sample, found {self.batch}")
        if self.seed < 0:
            raise UserError(f"the seed must not be negative, found {self.seed}")


class Symmetries(NamedTuple):
    """What is done to a sample of "*grid", by number of the axis, and to its features."""

    shifted: tuple[int, ...]
    mirrored: tuple[int, ...]
    orders: list[tuple[int, ...]]  # of the axes, the first of which is the order as it is
    columns: list[np.ndarray]  # for each order the columns that the features are taken from


def sample_batches(
    collection: Collection, config: SampleConfig, *, process_index: int = 0, process_count: int = 1
) -> grain.DatasetIterator:
    """Endless iterator over this process's share of the batches, each a dictionary of "labels", UInt8 "n *grid", and
    "features", Float32 "n f" in the order of the collection's features (choose them with `Collection.select`). An
    infinite tortuosity stays infinite.

    Each run through the collection has every sample once. `get_state()` and `set_state(state)` save and restore the
    exact position; the state is one number. Only the samples of a batch are read.

    Args:
        process_index, process_count: this process yields rows [index, index + 1) * batch / count of each batch.
    Raises:
        UserError: the batch is no multiple of the number of processes, an axis is not one of the collection's, or a
            symmetry contradicts its periodicity, its shape or its features.
    """
    batches = sample_dataset(collection, config, process_index=process_index, process_count=process_count)
    # no threads: the state stays one number, and reading takes less time than a step of training
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def sample_dataset(
    collection: Collection, config: SampleConfig, *, process_index: int = 0, process_count: int = 1
) -> grain.MapDataset:
    """The batches of `sample_batches` with random access: dataset[k] is batch k.

    Raises:
        UserError: as `sample_batches`.
    """
    if not 0 <= process_index < process_count or config.batch % process_count:
        raise UserError(
            f"a batch of {config.batch} does not split among {process_count} processes (this one is {process_index}); "
            "choose a batch that is a multiple of the number of processes"
        )
    symmetries = sample_symmetries(collection, config)
    share = config.batch // process_count
    key = np.random.SeedSequence(config.seed).generate_state(2, np.uint64)
    features = collection.table.astype(np.float32)

    @functools.lru_cache(maxsize=2)
    def order_of(run: int) -> np.ndarray:
        return np.random.default_rng((config.seed, run)).permutation(len(collection))

    def draw(k: int) -> dict[str, np.ndarray]:
        first = int(k) * config.batch + process_index * share
        drawn = [divmod(j, len(collection)) for j in range(first, first + share)]
        chosen = np.array([order_of(run)[place] for run, place in drawn])
        # One block of Philox is four 64-bit words, so block j belongs to draw j alone.
        words = np.random.Philox(key=key, counter=first).random_raw(4 * share).reshape(-1, 4)
        uniform = (words >> np.uint64(11)) * 2.0**-53
        labels = collection.samples(chosen)
        rows = [_transformed(sample, u, symmetries) for sample, u in zip(labels, uniform, strict=True)]
        taken = [symmetries.columns[order] for _, order in rows]
        return {
            "labels": np.stack([sample for sample, _ in rows]),
            "features": np.stack([features[i, columns] for i, columns in zip(chosen, taken, strict=True)]),
        }

    return grain.MapDataset.range(sys.maxsize // config.batch).map(draw)


def _transformed(sample: UInt8[np.ndarray, "*grid"], uniform: np.ndarray, by: Symmetries) -> tuple[np.ndarray, int]:
    """The sample shifted, mirrored, and with its axes in the order of the returned number; four uniform numbers."""
    shifts = [int(uniform[axis] * sample.shape[axis]) for axis in by.shifted]
    if any(shifts):
        sample = np.roll(sample, shifts, by.shifted)
    choice = int(uniform[3] * 2 ** len(by.mirrored) * len(by.orders))
    order, bits = divmod(choice, 2 ** len(by.mirrored))
    sample = np.flip(sample, tuple(axis for bit, axis in enumerate(by.mirrored) if bits >> bit & 1))
    return np.transpose(sample, by.orders[order]), order


def sample_symmetries(collection: Collection, config: SampleConfig) -> Symmetries:
    """What the draws of a configuration do to the samples of a collection.

    Raises:
        UserError: as `sample_batches`.
    """
    number = {letter: place for place, letter in enumerate(collection.axes)}
    for letter in (*(config.shifted_axes or ()), *config.mirrored_axes, *config.symmetric_axes):
        if letter not in number:
            raise UserError(f"samples have no axis {letter!r}; their axes are {', '.join(collection.axes)}")
    properties = [feature for feature in collection.features if feature.role == "property"]
    movable = [a for a in collection.axes if collection.periodic[number[a]] and not _fixed(properties, a)]
    shifted = config.shifted_axes if config.shifted_axes is not None else tuple(movable)
    for letter in shifted:
        if letter not in movable:
            cause = _fixed(properties, letter)
            reason = f"the feature {cause} depends on where its faces lie" if cause else "it is not periodic"
            raise UserError(f"samples cannot be shifted along {letter}: {reason}; leave it out of shifted_axes")
    if collection.axes[0] in config.mirrored_axes:
        _refuse_film(properties, f"mirrored along {collection.axes[0]}", "mirrored_axes")
    if collection.axes[0] in config.symmetric_axes and len(config.symmetric_axes) > 1:
        _refuse_film(properties, f"turned out of {collection.axes[0]}", "symmetric_axes")
    axes = [number[letter] for letter in sorted(set(config.symmetric_axes), key=number.__getitem__)]
    if len({(collection.grid[axis], collection.periodic[axis]) for axis in axes}) > 1:
        raise UserError(
            f"the axes {', '.join(config.symmetric_axes)} of {' x '.join(map(str, collection.grid))} voxels differ in "
            "length or periodicity and cannot be exchanged; leave symmetric_axes empty"
        )
    orders = []
    for exchanged in itertools.permutations(axes):
        order = list(range(len(number)))
        for axis, taken in zip(axes, exchanged, strict=True):
            order[axis] = taken
        orders.append(tuple(order))
    mirrored = tuple(sorted({number[letter] for letter in config.mirrored_axes}))
    columns = [_columns(collection, order) for order in orders]
    return Symmetries(tuple(number[letter] for letter in shifted), mirrored, orders, columns)


def _columns(collection: Collection, order: Sequence[int]) -> np.ndarray:
    """The column that each feature is taken from when axis a of a sample is what was axis order[a]."""
    names = [feature.name for feature in collection.features]
    columns = np.arange(len(names))
    for place, feature in enumerate(collection.features):
        if feature.axis is None or feature.axis not in collection.axes:  # of images: an axis of their volume
            continue
        axis = collection.axes[order[collection.axes.index(feature.axis)]]
        partner = feature.name[:-1] + axis
        if partner not in names:
            raise UserError(
                f"the axes {feature.axis} and {axis} cannot be exchanged: the feature {feature.name} would become "
                f"{partner}, which is not there; measure it, or leave the axis out of symmetric_axes"
            )
        columns[place] = names.index(partner)
    return columns


def _fixed(properties: Sequence[Feature], axis: str) -> str | None:
    """A property that a cyclic shift along an axis changes: measured between the two faces normal to it."""
    return next((f.name for f in properties if f.axis == axis or not is_plain(f)), None)


def _refuse_film(properties: Sequence[Feature], done: str, option: str) -> None:
    """Properties of other programs (CT_f_D_tort1) may tell the two faces of a film from each other."""
    for feature in properties:
        if not is_plain(feature):
            raise UserError(
                f"samples cannot be {done}: it is not known how that changes the feature {feature.name}; leave it out "
                f"of {option}"
            )
