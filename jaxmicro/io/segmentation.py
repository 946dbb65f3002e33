"""Segmentation of grey images: multi-Otsu thresholds, mean grey levels of phases, checks of the values."""

import numpy as np
from jaxtyping import Integer, Shaped, UInt8

from jaxmicro.errors import UserError
from jaxmicro.io.otsu import multi_otsu

MAX_PHASES = 8  # more distinct values are grey levels, not phases
MAX_SEGMENTS = 5  # thresholds of more phases do not lie between peaks of a histogram
_EXACT_LEVELS = 256  # up to as many distinct values each have a bin of the histogram
_GREY_BINS = 1024  # bins of the histogram for more values
_OUTLIERS = 0.1  # percent of the darkest and of the brightest pixels outside the bins


def multi_otsu_labels(
    grey: Shaped[np.ndarray, "*grid"], phases: int
) -> tuple[UInt8[np.ndarray, "*grid"], tuple[float, ...]]:
    """Labels of a grey image by the multi-Otsu thresholds, darkest phase first.

    Otsu's thresholds maximise the variance between the phases: exactly for up to 256 distinct values. More values are
    counted in 1024 bins of equal width between the 0.1 and 99.9 percentiles, so that a few hot pixels have no effect,
    and are replaced by the centre of their bin.

    Args:
        grey: grey levels, any real type.
        phases: number of phases P, 2 to 5.
    Returns:
        the labels, and the P - 1 increasing thresholds in grey levels; label k lies between thresholds k - 1 and k.
        A threshold between two phases whose grey levels do not overlap is the middle of the gap.
    Raises:
        UserError: a value is NaN or infinite, there are too few grey levels, or P is out of range.
    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).

    >>> multi_otsu_labels(np.array([[10, 11, 12, 200], [11, 10, 201, 202]], np.uint8), 2)[0].tolist()
    [[0, 0, 0, 1], [0, 0, 1, 1]]
    """
    if not 2 <= phases <= MAX_SEGMENTS:
        raise UserError(f"cannot segment into {phases} phases; give a number from 2 to {MAX_SEGMENTS}")
    check_numbers(grey)
    distinct = np.unique(grey)
    _check_two_phases(distinct)
    if distinct.size < phases:
        raise UserError(f"only {distinct.size} distinct values, too few for {phases} phases; ask for fewer phases")
    levels, counts = _histogram(grey, distinct)
    if levels.size < phases:  # a few levels far from the rest, so that fewer bins than phases are occupied
        raise UserError(f"only {levels.size} separate grey levels, too few for {phases} phases; ask for fewer phases")
    thresholds = multi_otsu(levels, counts, phases)
    return np.digitize(grey, thresholds).astype(np.uint8), tuple(float(level) for level in thresholds)


def mean_levels(
    grey: Shaped[np.ndarray, "*grid"], labels: Integer[np.ndarray, "*grid"], phases: int
) -> tuple[float, ...]:
    """Mean grey level of each phase; NaN for a phase without a voxel."""
    counts = np.bincount(labels.ravel(), minlength=phases)
    sums = np.bincount(labels.ravel(), weights=grey.ravel().astype(np.float64), minlength=phases)
    with np.errstate(invalid="ignore", divide="ignore"):
        return tuple(float(level) for level in sums / counts)


def _histogram(grey: np.ndarray, distinct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Occupied levels of the histogram, and their counts."""
    if distinct.size <= _EXACT_LEVELS:
        counts = np.bincount(np.searchsorted(distinct, grey.ravel()), minlength=distinct.size)
        return distinct.astype(np.float64), counts
    low, high = np.percentile(grey, (_OUTLIERS, 100 - _OUTLIERS))
    if low == high:
        low, high = grey.min(), grey.max()
    counts, edges = np.histogram(grey, bins=np.linspace(low, high, _GREY_BINS + 1))
    occupied = counts > 0
    return ((edges[:-1] + edges[1:]) / 2)[occupied], counts[occupied]


def check_numbers(values: Shaped[np.ndarray, "*grid"]) -> None:
    """Check that an image consists of finite real numbers.

    Raises:
        UserError: it is empty, or holds NaN, infinite or other values.
    """
    if values.size == 0:
        raise UserError(f"the image is empty (shape {values.shape}); expected at least one pixel along each axis")
    if values.dtype.kind not in "buif":
        raise UserError(f"values of type {values.dtype} are not real numbers; save the image as 8-bit labels")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise UserError(
            f"{count} of {values.size} values are NaN or infinite; replace them before saving the image, or where "
            "NaN marks what is outside of the sample pass --ignore nan"
        )


def _check_two_phases(distinct: np.ndarray) -> None:
    if distinct.size < 2:
        raise UserError(
            f"every pixel has the value {distinct[0]:g}: one phase only; at least two phases are needed, "
            "check that the right image was given"
        )
