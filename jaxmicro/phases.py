"""Phases as labels, as fractions, and as the grey levels they had in a file: the only place that knows grey levels."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Shaped, UInt8

from jaxmicro.errors import UserError
from jaxmicro.levels import label
from jaxmicro.otsu import multi_otsu
from jaxmicro.types import ArrayLike, Microstructure

MAX_PHASES = 8  # more distinct values than this are read as grey levels, not as phases
MAX_SEGMENTS = 5  # more thresholds than this no longer lie between peaks of a histogram
_EXACT_LEVELS = 256  # with up to as many distinct values each has its own place in the histogram
_GREY_BINS = 1024  # otherwise
_OUTLIERS = 0.1  # percent of the darkest and of the brightest pixels that do not stretch the histogram


def one_hot(labels: Integer[ArrayLike, "*grid"], phases: int) -> Float[Array, "*grid p"]:
    """Phase fractions of a labelled grid: 1 for the phase of the voxel, 0 for the others.

    >>> one_hot(np.array([0, 2]), 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return jax.nn.one_hot(labels, phases, dtype=jnp.float32)


def to_labels(fractions: Float[ArrayLike, "*grid p"]) -> UInt8[Array, "*grid"]:
    """Label of the largest phase fraction in each voxel; the lowest label where two are equal.

    >>> to_labels(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)).tolist()
    [1, 0]
    """
    return jnp.argmax(fractions, axis=-1).astype(jnp.uint8)


def hardened(fractions: Float[Array, "*grid p"]) -> Float[Array, "*grid p"]:
    """One-hot fractions of the most probable phases, with the derivative of the soft ones.

    Quantities of a blurred prediction are not those of the volume it will become (its diffusivity is too high, its
    surface too small); only voxels whose phase is undecided can be moved.
    """
    hard = jax.nn.one_hot(jnp.argmax(fractions, axis=-1), fractions.shape[-1], dtype=fractions.dtype)
    return fractions + jax.lax.stop_gradient(hard - fractions)


def in_phases_of(reference: Microstructure, other: Microstructure) -> Microstructure:
    """`other` with its labels as `reference` numbers them.

    With as many phases the order of the values decides; a microstructure that lacks some of the phases is matched by
    its values.

    Raises:
        UserError: it lacks phases, or has more, and its values are not values of the reference.
    """
    if other.phases == reference.phases:
        return other
    if not set(other.values) <= set(reference.values):
        values, expected = (", ".join(f"{value:g}" for value in m.values) for m in (other, reference))
        raise UserError(
            f"{other.source or 'a volume'} has {other.phases} phases (values {values}), "
            f"{reference.source or 'the reference'} has {reference.phases} phases ({expected}); "
            "compare with the micrograph of the same material, or give the phases its values"
        )
    table = np.array([reference.values.index(value) for value in other.values], np.uint8)
    return replace(other, labels=table[other.labels], values=reference.values)


def labels_from_values(
    values: Shaped[np.ndarray, "*grid"], *, max_phases: int = MAX_PHASES, merge_rare: float = 0.0
) -> tuple[UInt8[np.ndarray, "*grid"], tuple[float, ...]]:
    """Labels 0..P-1 of the distinct values of an image, in increasing order.

    Args:
        values: any numbers; 0 / 127 / 255 become 0 / 1 / 2.
        max_phases: more distinct values than this are taken for a grey image.
        merge_rare: values rarer than this share of the voxels go to neighbouring phases; see `levels.label`.
    Returns:
        the labels, and the value that each label had.
    Raises:
        UserError: NaN or infinite, one value only, or too many distinct values.

    >>> labels_from_values(np.array([[0, 255], [127, 0]]))
    (array([[0, 2],
           [1, 0]], dtype=uint8), (0.0, 127.0, 255.0))
    """
    check_numbers(values)
    found = label([values], max_phases=max_phases, merge_rare=merge_rare)
    return found.labels[0], found.values


def segment(grey: Shaped[np.ndarray, "*grid"], phases: int) -> tuple[UInt8[np.ndarray, "*grid"], tuple[float, ...]]:
    """Labels of a grey image by the multi-Otsu thresholds, darkest phase first.

    Otsu's thresholds maximise the variance between the phases: exactly, for up to 256 distinct values of whatever type.
    More are counted in 1024 bins of equal width between the 0.1 and 99.9 percentiles, so that a few hot pixels do not
    matter, and each counts with the middle of its bin.

    Args:
        grey: grey levels, any real type.
        phases: number of phases P, 2 to 5.
    Returns:
        the labels, and the P - 1 increasing thresholds in grey levels; label k lies between thresholds k - 1 and k.
        A threshold between two phases that do not overlap lies in the middle of the gap.
    Raises:
        UserError: NaN or infinite, too few grey levels, or P out of range.
    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).

    >>> segment(np.array([[10, 11, 12, 200], [11, 10, 201, 202]], np.uint8), 2)[0].tolist()
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
    if levels.size < phases:  # a few levels far from the rest: fewer bins hold them than there are phases
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
    """The levels that occur, and how often."""
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
    """Refuses what are no finite real numbers.

    Raises:
        UserError: there are none, or they are NaN, infinite or not real.
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


def phase_names(phases: int, names: Sequence[str] | None = None) -> list[str]:
    """Names for legends and tables: "phase 0", "phase 1", ..., with the names that were given after them.

    >>> phase_names(2), phase_names(2, ["pore", "solid"])
    (['phase 0', 'phase 1'], ['phase 0 (pore)', 'phase 1 (solid)'])
    """
    return [f"phase {p}" + (f" ({names[p]})" if names else "") for p in range(phases)]
