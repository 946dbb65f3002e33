"""Resampling of labels: to voxels of another size, and to coarser levels of a pyramid."""

from collections.abc import Sequence

import numpy as np

_EQUAL = 1e-6  # shares of a voxel that differ by less are equal up to rounding


def resampled(labels: np.ndarray, phases: int, factors: Sequence[float | int]) -> np.ndarray:
    """Labels on a grid whose voxels are `factors` times as long along each axis.

    The indicator of each phase is interpolated linearly between voxel centres, or averaged over the new voxel along
    axes with coarser voxels; the phase with the largest value is taken, so that no new values arise. Where two phases
    share a new voxel equally, which is frequent with even factors, voxels go to the two phases alternately. Volume
    fractions change by the displacement of interfaces: for features of four new voxels or more by less than 0.01
    (asserted by the tests); finer features are lost to the more frequent phase.

    Args:
        labels: "h w" or "z y x", 0..P-1.
        factors: new edge of a voxel over the old one, along each axis.
    Returns:
        uint8 labels; the grid covers the same region, up to half a new voxel at its end.
    """
    shape = tuple(max(round(edge / factor), 1) for edge, factor in zip(labels.shape, factors, strict=True))
    best, winner = np.full(shape, -1.0, np.float32), np.zeros(shape, np.uint8)
    second = sum(np.indices(shape, sparse=True)) % 2 == 1
    for phase in range(phases):  # one at a time: fields of all phases take P times the memory
        share = (labels == phase).astype(np.float32)
        for axis, (edge, factor) in enumerate(zip(shape, factors, strict=True)):
            if factor != 1:
                share = _along(share, axis, edge, factor)
        better = np.where(second, share > best - _EQUAL, share > best + _EQUAL) & (share > 0)
        winner[better] = phase
        best = np.where(better, share, best)
    return winner


def _along(field: np.ndarray, axis: int, edge: int, factor: float | int) -> np.ndarray:
    """The field on `edge` voxels of `factor` old ones along an axis: their means, or interpolated for factor < 1."""
    if factor > 1:  # differences of the integral of the piecewise constant field are exact means over new voxels
        size = field.shape[axis]
        integral = np.concatenate(
            [np.zeros_like(np.take(field, [0], axis), np.float64), np.cumsum(field, axis, np.float64)], axis
        )
        ends = np.minimum(np.arange(edge + 1) * factor, size)
        return (np.diff(_sample(integral, axis, ends), axis=axis) / factor).astype(np.float32)
    centres = (np.arange(edge) + 0.5) * factor - 0.5
    return _sample(field, axis, np.clip(centres, 0, field.shape[axis] - 1)).astype(np.float32)


def _sample(field: np.ndarray, axis: int, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of a field at fractional indices along an axis."""
    low = np.minimum(at.astype(int), field.shape[axis] - 1)
    high = np.minimum(low + 1, field.shape[axis] - 1)
    weight = (at - low).reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    return (1 - weight) * np.take(field, low, axis) + weight * np.take(field, high, axis)


def halved(labels: np.ndarray) -> np.ndarray:
    """Labels at half the resolution along all axes: one of the eight (four) voxels in each new one.

    Its position alternates from voxel to voxel, so that fractions are kept on average for any structure; a mean would
    remove fine phases, and the most frequent label would favour the abundant phase. Edges of one voxel are kept.
    """
    shape = tuple(max(edge // 2, 1) for edge in labels.shape)
    index = np.indices(shape, sparse=True)
    offsets = sum(i for i in index)
    picked = []
    for axis, (edge, place) in enumerate(zip(labels.shape, index, strict=True)):
        # shifts that differ between the axes, so that no plane is sampled with a single shift
        shift = (offsets + place * axis) % 2
        picked.append(np.minimum(2 * place + shift, edge - 1))
    return labels[tuple(picked)]
