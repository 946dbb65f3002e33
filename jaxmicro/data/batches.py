"""Batches of square crops of label images: seeded, bit-exact on resumption, sharded by process.

Crop number i of a stream is a pure function of (seed, i): its random numbers are block i of a counter-based generator.
Batch k is the crops k * batch ... (k + 1) * batch - 1, for any number of processes, also after a restart. A batch is
read by one gather, including rotations and reflections, which are other strides over the same memory.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import grain
import numpy as np
from jaxtyping import Int64, UInt8

from jaxmicro.errors import UserError

Labels = UInt8[np.ndarray, "h w"]
LabelStack = UInt8[np.ndarray, "n h w"]
_ORIENTATIONS = {"isotropic": 8, "flips": 4, "none": 1}


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """Size, number, seed and orientations of the crops of a batch."""

    patch: int = 64  # edge of a crop, pixels
    batch: int = 32  # crops in a batch, over all processes together
    seed: int = 0  # of positions and orientations, >= 0
    augment: Literal["isotropic", "flips", "none"] = "isotropic"  # 8, 4 (reflections) or 1 orientations

    def __post_init__(self) -> None:
        if self.patch < 1 or self.batch < 1:
            raise UserError(f"patch and batch must be at least 1, found {self.patch} and {self.batch}")
        if self.seed < 0:
            raise UserError(f"the seed must not be negative, found {self.seed}")
        if self.augment not in _ORIENTATIONS:
            raise UserError(f"augment is {self.augment!r}; choose one of {', '.join(_ORIENTATIONS)}")


class Sources(NamedTuple):
    """Arrays to train on and to validate on, ready for `crop_batches`."""

    train: list[np.ndarray]  # each "h w", or "n h w" for a stack of planes
    validation: list[np.ndarray]
    disjoint: bool  # no voxel is in both
    whole: list[np.ndarray]  # the uncut arrays
    weights: list[float] | None = None  # relative frequency of each in the crops; None: its number of crop positions


def training_sources(labels: np.ndarray | Sequence[np.ndarray], *, patch: int = 64, validation: float = 0.2) -> Sources:
    """Disjoint training and validation arrays from images "h w" or volumes "z y x".

    The validation part is a strip (slab) at the end of the longest edge, at least one patch wide. An image too small
    for a patch on both sides of the cut is used whole for both parts, and `disjoint` is False: its loss cannot show
    overfitting. A volume yields the stacks of its planes along every axis whose planes hold a patch. Each of
    several images is cut; those that are too small are for training only, and if all are, the last ones are held out.

    Args:
        labels: the image or volume, or several.
        patch: edge of the crops, pixels.
        validation: share of the longest edge to hold out, 0 < validation < 1.
    Raises:
        UserError: no plane is as large as a patch, or the share is out of range.
    """
    if not isinstance(labels, np.ndarray):
        return _of_several([training_sources(one, patch=patch, validation=validation) for one in labels], validation)
    cut, whole = _cut(labels.shape, patch, validation), _stacks(labels, patch)
    if cut is None:
        return Sources(whole, whole, False, whole)
    axis, at = cut
    first, last = np.split(labels, [at], axis=axis)
    return Sources(_stacks(first, patch), _stacks(last, patch), True, whole)


def _of_several(parts: Sequence[Sources], validation: float) -> Sources:
    """The sources of several images together."""
    if not parts:
        raise UserError("there is nothing to train on: give at least one image")
    if len(parts) == 1:
        return parts[0]
    cut = [part for part in parts if part.disjoint]
    held_out, first = cut, parts
    if not cut:  # all are too small to be cut: whole images are held out
        count = min(max(round(validation * len(parts)), 1), len(parts) - 1)
        first, held_out = parts[:-count], parts[-count:]
    return Sources(
        [array for part in first for array in part.train],
        [array for part in held_out for array in part.validation],
        True,
        [array for part in parts for array in part.whole],
    )


def volume_planes(volume: UInt8[np.ndarray, "z y x"]) -> list[np.ndarray]:
    """The planes of a volume normal to z, y and x: three stacks "n h w", views of the volume."""
    return [np.moveaxis(volume, axis, 0) for axis in range(3)]


def crop_batches(
    sources: np.ndarray | Sequence[np.ndarray],
    config: CropConfig,
    *,
    weights: Sequence[float] | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Endless iterator over this process's share of the batches, each UInt8 "n h w" of labels.

    All crop positions in all planes of all sources are equally likely, unless `weights` are given. `get_state()` and
    `set_state(state)` save and restore the exact position; the state is one number.

    Args:
        sources: one label array or several, of any sizes: images "h w" or stacks "n h w" (see `volume_planes`).
        weights: relative frequency of each source, >= 0. Default: its number of crop positions.
        process_index, process_count: this process yields rows [index, index + 1) * batch / count of each batch.
    Raises:
        UserError: a source is smaller than a patch, or the batch is no multiple of the number of processes.
    """
    batches = crop_dataset(sources, config, weights=weights, process_index=process_index, process_count=process_count)
    # no threads: computing a batch takes less time than passing it between threads
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def crop_dataset(
    sources: np.ndarray | Sequence[np.ndarray],
    config: CropConfig,
    *,
    weights: Sequence[float] | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.MapDataset:
    """The batches of `crop_batches` with random access: `crop_dataset(...)[k]` is batch k. Same arguments.

    Raises:
        UserError: the batch is no multiple of the number of processes, or sources or weights do not fit the config.
    """
    if config.batch % process_count or not 0 <= process_index < process_count:
        raise UserError(
            f"a batch of {config.batch} cannot be shared by {process_count} processes (this is {process_index}); "
            "choose a batch that is a multiple of the number of processes"
        )
    arrays = [sources] if isinstance(sources, np.ndarray) else list(sources)
    share = config.batch // process_count
    draw = crop_function(arrays, config, weights=weights)
    first = process_index * share
    return grain.MapDataset.range(sys.maxsize // config.batch).map(
        lambda k: draw(np.arange(share, dtype=np.int64) + (int(k) * config.batch + first))
    )


def crop_function(
    arrays: Sequence[np.ndarray],
    config: CropConfig,
    *,
    weights: Sequence[float] | None = None,
) -> Callable[[Int64[np.ndarray, " n"]], LabelStack]:
    """Function from consecutive crop numbers i, i + 1, ... to the crops "n h w", each a function of (seed, number)."""
    regions = _regions(arrays, config.patch, weights)
    memory = np.concatenate([array.ravel() for array in arrays])
    key = np.random.SeedSequence(config.seed).generate_state(2, np.uint64)
    steps = np.arange(config.patch, dtype=np.int64)

    def draw(numbers: Int64[np.ndarray, " n"]) -> LabelStack:
        # One block of Philox is four 64-bit words, so block i belongs to crop i alone.
        words = np.random.Philox(key=key, counter=int(numbers[0])).random_raw(4 * len(numbers)).reshape(-1, 4)
        uniform = (words >> np.uint64(11)) * 2.0**-53
        region = np.searchsorted(regions.cumulative, uniform[:, 0] * regions.cumulative[-1], side="right")
        position = (uniform[:, 1] * regions.positions[region]).astype(np.int64)
        orientation = (uniform[:, 2] * _ORIENTATIONS[config.augment]).astype(np.int64)
        corner, down, right = _strides(regions, region, position, orientation, config.patch)
        rows = corner[:, None] + down[:, None] * steps
        return memory[rows[:, :, None] + (right[:, None] * steps)[:, None, :]]

    return draw


class _Regions(NamedTuple):
    """Positions of the sources in one flat array; every field has one entry per source, in pixels."""

    cumulative: np.ndarray  # sum of the probability weights of the sources
    positions: np.ndarray  # number of crop positions: planes * rows * columns
    rows: np.ndarray  # possible top rows of a crop
    columns: np.ndarray  # possible left columns of a crop
    start: np.ndarray  # index of the first pixel in the flat array
    plane_step: np.ndarray  # stride from plane to plane
    row_step: np.ndarray  # stride from row to row


def _regions(arrays: Sequence[np.ndarray], patch: int, weights: Sequence[float] | None) -> _Regions:
    if not arrays:
        raise UserError("there is nothing to crop: give at least one image")
    _check_weights(weights, len(arrays))
    table, offset = [], 0
    for array in arrays:
        _check_source(array, patch)
        height, width = array.shape[-2:]
        planes = array.shape[0] if array.ndim == 3 else 1
        rows, columns = height - patch + 1, width - patch + 1
        table.append((planes * rows * columns, rows, columns, offset, height * width, width))
        offset += array.size
    columns_of_table = [np.array(column, dtype=np.int64) for column in zip(*table, strict=True)]
    weight_of_source = columns_of_table[0] if weights is None else np.array(weights, float)
    return _Regions(np.cumsum(weight_of_source), *columns_of_table)


def _strides(
    regions: _Regions, region: np.ndarray, position: np.ndarray, orientation: np.ndarray, patch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat index of the first pixel of each crop, and the strides to the pixels below and to the right of it.

    The bits of the orientation are: reverse the rows, reverse the columns, exchange rows and columns. The eight values
    are the symmetry group of the square; those below four do not exchange rows and columns.
    """
    plane, within = np.divmod(position, regions.rows[region] * regions.columns[region])
    top, left = np.divmod(within, regions.columns[region])
    row_step, column_step = regions.row_step[region], np.ones_like(region)
    corner = regions.start[region] + plane * regions.plane_step[region] + top * row_step + left
    mirror_rows, mirror_columns, exchange = (orientation & 1, orientation >> 1 & 1, orientation >> 2 & 1)
    corner = corner + (patch - 1) * (mirror_rows * row_step + mirror_columns * column_step)
    down, right = row_step * (1 - 2 * mirror_rows), column_step * (1 - 2 * mirror_columns)
    return corner, np.where(exchange, right, down), np.where(exchange, down, right)


def _cut(shape: Sequence[int], patch: int, validation: float) -> tuple[int, int] | None:
    """Axis (of the longest edge) and index of the cut, with at least a patch on both sides; None if it is too short."""
    if not 0 < validation < 1:
        raise UserError(f"the share to validate on is {validation}; it must lie between 0 and 1")
    if len(shape) not in (2, 3) or sorted(shape)[-2] < patch or (len(shape) == 2 and min(shape) < patch):
        raise UserError(
            f"the image is {' x '.join(map(str, shape))}, smaller than a patch of {patch}; "
            f"use a larger image or a smaller patch"
        )
    axis = int(np.argmax(shape))
    edge = shape[axis]
    if edge < 2 * patch:
        return None
    held_out = min(max(round(validation * edge), patch), edge - patch)
    return axis, edge - held_out


def _stacks(labels: np.ndarray, patch: int) -> list[np.ndarray]:
    """The image itself, or the stacks of planes of a volume that are as large as a patch."""
    if labels.ndim == 2:
        return [labels]
    return [stack for stack in volume_planes(labels) if min(stack.shape[1:]) >= patch]


def _check_source(array: np.ndarray, patch: int) -> None:
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise UserError(
            f"a source of crops must be uint8 labels with 2 axes (image) or 3 (stack of images), "
            f"found {array.dtype} with {array.ndim}"
        )
    if array.size == 0:
        raise UserError("a source of crops is empty; give at least one image")
    if min(array.shape[-2:]) < patch:
        raise UserError(
            f"an image of {array.shape[-2]} x {array.shape[-1]} pixels is smaller than a patch of {patch}; "
            f"use a larger image or a smaller patch"
        )


def _check_weights(weights: Sequence[float] | None, count: int) -> None:
    if weights is None:
        return
    if len(weights) != count or min(weights, default=0) < 0 or not sum(weights) > 0:
        raise UserError(f"weights must be {count} non-negative numbers, one for each source, with a positive sum")
