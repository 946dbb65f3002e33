"""Preparation of grey levels before they become phases: crops, masks, data bars, stacks of separate images."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from jaxmicro.errors import UserError
from jaxmicro.io.raster import Raster

_RANGE = re.compile(r"\s*(?:(?P<only>-?\d+)|(?P<start>-?\d+)?\s*:\s*(?P<stop>-?\d+)?)\s*")
_LEAST_BOX = 0.1  # smallest share of the sample in the box that is read
_RELATED = 0.2  # correlation of neighbouring planes over that of neighbouring pixels: below, they are separate images
_SMOOTH = 0.3  # correlation of neighbouring pixels, below which planes cannot be judged
_PLANES = 32  # planes that are compared, at most


def cropped(raster: Raster, ranges: str) -> Raster:
    """The part of a raster in ranges "START:STOP" separated by commas, one for each axis in the order of the array.

    As in NumPy: START counts from 0, STOP is excluded, negative numbers count from the end, ":" is the whole axis, and
    a single number is one plane. A plane of a volume, also as a range of one voxel, is an image.

    Raises:
        UserError: the ranges cannot be read, are not one for each axis, lie outside, or leave less than a plane.

    >>> cropped(Raster(np.zeros((4, 6))), ":-1,2:").array.shape
    (3, 4)
    >>> cropped(Raster(np.zeros((4, 6, 5))), "0:3,-1,:").array.shape
    (3, 5)
    """
    shape, axes = raster.array.shape, "zyx"[-raster.array.ndim :]
    parts = ranges.split(",")
    matches = [_RANGE.fullmatch(part) for part in parts]
    if None in matches or len(parts) != len(shape):
        raise UserError(
            f"--crop {ranges}: expected {len(shape)} ranges START:STOP separated by commas, in the order "
            f"{', '.join(axes)}, such as {','.join(f'0:{edge}' for edge in shape)}; ':' is all of an axis"
        )
    slices = []
    for match, edge, axis in zip(matches, shape, axes, strict=True):
        assert match is not None
        start, stop = (None if match[name] is None else int(match[name]) for name in ("start", "stop"))
        if match["only"] is not None:
            start = int(match["only"])
            stop = start + 1 or None  # -1 is the last plane
        if max(abs(start or 0), abs(stop or 0)) > edge or not range(*slice(start, stop).indices(edge)):
            raise UserError(f"--crop {ranges}: {match[0].strip()} is no part of axis {axis}, which has {edge} voxels")
        slices.append(slice(start, stop))
    part = raster.array[tuple(slices)]
    long = [axis for axis, edge in enumerate(part.shape) if edge > 1]
    if len(long) < 2:
        raise UserError(f"--crop {ranges} leaves {_sizes(part.shape)} voxels; expected 2 ranges of several voxels")
    spacing = None if raster.spacing is None else tuple(raster.spacing[axis] for axis in long)
    return replace(raster, array=part.squeeze(), spacing=spacing, periodic=raster.periodic and part.shape == shape)


def without(raster: Raster, values: Sequence[float | int]) -> Raster:
    """A box of the sample (`box_within`) in which no voxel has one of the values that mark its surroundings.

    Correlations, chords and diffusivities are supported for a box only, not for a region of any shape.

    Args:
        values: grey levels, or NaN; float values within 1e-4 of their range match.
    Raises:
        UserError: no voxel has one of the values, or the box holds less than a tenth of the sample.
    """
    array = raster.array
    outside = np.zeros(array.shape, bool)
    for value in map(float, values):
        matches = np.isnan(array) if np.isnan(value) and array.dtype.kind == "f" else _equal(array, value)
        if not matches.any():
            raise UserError(f"--ignore {value:g}: no voxel has this value; leave it out")
        outside |= matches
    if outside.all():
        raise UserError(f"--ignore {_listed(values)}: all voxels have such a value; nothing is left")
    box = box_within(~outside)
    part, sample = array[box], outside.size - np.count_nonzero(outside)
    if part.size < _LEAST_BOX * sample:
        raise UserError(
            f"--ignore {_listed(values)}: these voxels are spread through the image: the largest box without them that "
            f"was found is {_sizes(part.shape)}, {100 * part.size / sample:.2g}% of the rest; crop a part without them "
            "(--crop), or if they are rare give them to their neighbours (--merge-rare)"
        )
    where = ",".join(f"{axis.start}:{axis.stop}" for axis in box)
    remark = (
        f"{100 * outside.mean():.3g}% of the voxels lie outside of the sample; the box --crop {where} of "
        f"{_sizes(part.shape)} without them is read, {100 * part.size / sample:.3g}% of the sample"
    )
    return replace(raster, array=part, periodic=False, remarks=(*raster.remarks, remark))


def box_within(valid: Bool[np.ndarray, "*grid"]) -> tuple[slice, ...]:
    """A large box of valid voxels that cannot be extended along any axis, as slices.

    Boxes are grown along the axes, in every order, from the largest cube and from the largest square in every two axes
    (in an image from the largest square, row and column); the largest is returned. For discs and cylinders it is the
    inscribed box.

    >>> box_within(np.array([[0, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool))
    (slice(0, 3, None), slice(1, 4, None))
    """
    axes = range(valid.ndim)
    seeds = [
        _largest(valid, some) for count in (valid.ndim, valid.ndim - 1) for some in itertools.combinations(axes, count)
    ]
    grown = [_grown(valid, seed, order) for seed in seeds for order in itertools.permutations(axes)]
    return max(grown, key=lambda box: np.prod([axis.stop - axis.start for axis in box]))


def _largest(valid: np.ndarray, axes: Sequence[int]) -> tuple[slice, ...]:
    """The largest valid cube (square, line) along `axes`, by bisection; one voxel thick along the others."""

    def first(edge: int) -> tuple[slice, ...] | None:
        size = [edge if axis in axes else 1 for axis in range(valid.ndim)]
        centres = ndimage.minimum_filter(valid, size=size, mode="constant", cval=False)
        place = int(np.argmax(centres))
        corner = np.array(np.unravel_index(place, valid.shape)) - np.array(size) // 2
        return (
            tuple(slice(int(c), int(c) + s) for c, s in zip(corner, size, strict=True)) if centres.flat[place] else None
        )

    fits, too_large = 1, min(valid.shape[axis] for axis in axes) + 1
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        fits, too_large = (fits, middle) if first(middle) is None else (middle, too_large)
    found = first(fits)
    assert found is not None  # the caller has checked that some voxels are valid
    return found


def _grown(valid: np.ndarray, box: tuple[slice, ...], order: Sequence[int]) -> tuple[slice, ...]:
    for axis in order:
        column = valid[(*box[:axis], slice(None), *box[axis + 1 :])]
        free = column.all(axis=tuple(other for other in range(valid.ndim) if other != axis))
        blocked = np.flatnonzero(~free)
        below, above = blocked[blocked < box[axis].start], blocked[blocked >= box[axis].stop]
        start, stop = below.max(initial=-1) + 1, above.min(initial=free.size)
        box = (*box[:axis], slice(int(start), int(stop)), *box[axis + 1 :])
    return box


def data_bar(image: Shaped[np.ndarray, "h w"]) -> str | None:
    """Remark on an image whose last rows look like the data bar of a microscope; None if they do not.

    A bar has rows of a single value over the whole width, and the image above it has none.
    """
    height, width = image.shape
    flat = np.flatnonzero((image == image[:, :1]).all(axis=1))
    if width < 16 or flat.size < 3 or not height / 2 <= flat[0] <= height - 4:
        return None
    if flat.size < 0.1 * (height - flat[0]):
        return None
    return f"rows {flat[0]} to {height - 1} look like a data bar: --crop 0:{flat[0]},: leaves them out"


def unrelated(stack: Shaped[np.ndarray, "z y x"]) -> bool:
    """Whether neighbouring planes are uncorrelated, although neighbouring pixels are correlated."""
    if len(stack) < 2 or min(stack.shape[1:]) < 16:
        return False
    return resemblance(stack) < _RELATED


def resemblance(stack: Shaped[np.ndarray, "z y x"]) -> float:
    """Correlation of neighbouring planes over that of neighbouring pixels; NaN where the latter is small."""
    first = np.unique(np.linspace(0, len(stack) - 2, _PLANES).astype(int))
    one, next_one = (stack[planes].astype(np.float32) for planes in (first, first + 1))
    within = np.mean([_correlation(one[:, 1:], one[:, :-1]), _correlation(one[:, :, 1:], one[:, :, :-1])])
    return float(np.mean(_correlation(one, next_one)) / within) if within > _SMOOTH else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation coefficient of each plane of `one` with that of `other`; 0 for a constant plane."""
    one, other = (planes - planes.mean(axis=(1, 2), keepdims=True) for planes in (one, other))
    spread = np.sqrt((one**2).mean(axis=(1, 2)) * (other**2).mean(axis=(1, 2)))
    return (one * other).mean(axis=(1, 2)) / np.where(spread > 0, spread, 1.0)


def _equal(array: np.ndarray, value: float) -> np.ndarray:
    if array.dtype.kind != "f" or not np.isfinite(array).any():
        return array == value
    finite = array[np.isfinite(array)]
    return np.abs(array - value) <= 1e-4 * (finite.max() - finite.min())


def _listed(values: Sequence[float | int]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
