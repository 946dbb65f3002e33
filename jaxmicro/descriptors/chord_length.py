"""Chord lengths: lengths of the intersections of straight lines with one phase, counted on the host, not
differentiable."""

import numpy as np
from jaxtyping import Float, Int

from jaxmicro.descriptors.fields import Phase, as_mask, check_lag


def chord_lengths(phase: Phase, *, axis: int, border: bool = False) -> Int[np.ndarray, " chord"]:
    """Lengths of all chords of one phase along one axis.

    Args:
        phase: indicator of the phase; a soft phase is thresholded at one half.
        axis: direction of the chords.
        border: whether to include the chords that end at the border of the grid, whose true length is unknown.
    Returns:
        Length of each chord in voxels, in the order of the lines. Long chords are more often cut by the border than
        short ones: for the statistics of the medium use `chord_length_distribution` and `mean_chord_length`.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.5.

    >>> chord_lengths(np.array([[1, 0, 1, 1, 0, 1]]), axis=1).tolist()
    [2]
    >>> chord_lengths(np.array([[1, 0, 1, 1, 0, 1]]), axis=1, border=True).tolist()
    [1, 2, 1]
    """
    lines = _lines(phase, axis)
    edge = lines.shape[1]
    step = np.diff(lines, axis=1, prepend=0, append=0)
    start, end = np.nonzero(step == 1)[1], np.nonzero(step == -1)[1]
    keep = np.ones(start.shape, bool) if border else (start > 0) & (end < edge)
    return (end - start)[keep]


def chord_length_distribution(phase: Phase, *, axis: int, r_max: int) -> Float[np.ndarray, " r"]:
    """Probability p(r) that a chord of one phase along one axis is r voxels long, r = 0..r_max.

    A chord with both ends inside the grid has the weight 1 / (n - r - 1), the inverse of the number of positions of a
    chord of its length on a line of n voxels, which corrects the bias of a window towards short chords.

    Args:
        phase: indicator of the phase; a soft phase is thresholded at one half.
        axis: direction of the chords.
        r_max: largest length in voxels; at most n - 2, the longest chord with both ends inside.
    Returns:
        p(0) = 0, ..., p(r_max); dimensionless, sum 1 over all lengths up to n - 2; zero when there is no chord.
    Raises:
        UserError: when `r_max` is negative or above n - 2.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.5; Horvitz-Thompson weights for the window.

    >>> chord_length_distribution(np.array([[0, 1, 0, 0, 1, 0, 0, 1, 1, 0]]), axis=1, r_max=2).round(3).tolist()
    [0.0, 0.636, 0.364]
    """
    edge = phase.shape[axis]
    check_lag(r_max, edge - 2, f"the edge along axis {axis} - 2: longer chords never show both ends")
    length = chord_lengths(phase, axis=axis)
    weight = np.bincount(length, weights=1 / (edge - 1 - length), minlength=max(edge - 1, 1))
    total = weight.sum()
    return weight[: r_max + 1] / (total if total > 0 else 1.0)


def mean_chord_length(phase: Phase, *, axis: int) -> float:
    """Mean chord length of one phase along one axis in voxels, without the bias of the window.

    Each chord has two ends, so the mean is 2 phi over the share of neighbouring voxel pairs that differ; of chords cut
    by the border, the part inside contributes. In an isotropic medium 4 phi / mean (3D) is the surface area per volume.

    Args:
        phase: indicator of the phase; a soft phase is thresholded at one half.
        axis: direction of the chords.
    Returns:
        Mean in voxels; infinite when the phase has no end along this axis, zero when the phase is absent.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.5.

    >>> mean_chord_length(np.tile([0, 0, 1], 20)[None, 1:], axis=1)  # doctest: +ELLIPSIS
    1.0...
    """
    lines = _lines(phase, axis)
    phi = float(lines.mean())
    ends = float(np.mean(lines[:, 1:] != lines[:, :-1])) if lines.shape[1] > 1 else 0.0
    if phi == 0:
        return 0.0
    return 2 * phi / ends if ends > 0 else float("inf")


def _lines(phase: Phase, axis: int) -> Int[np.ndarray, "line edge"]:
    """Indicator, 0 or 1 per voxel, of all lines along `axis`."""
    return np.moveaxis(as_mask(phase), axis, -1).reshape(-1, phase.shape[axis]).astype(np.int8)
