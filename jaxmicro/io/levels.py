"""The distinct values of segmented images: which are phases, stray values, float noise or edges of resampled masks.

One file: all rules use the same counts of the values, and messages combine the results of several rules.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from scipy import ndimage

from jaxmicro.errors import UserError

TOLERANCE = 1e-4  # share of the range of float values within which they are equal
RARE = 0.005  # share of the voxels below which a value is reported as rare
THIN = 0.05  # 2 x 2 blocks of one value per voxel of it, below which it forms only lines between other values
_STRAY = 255  # code of a voxel that has no phase yet
_MOST_SHOWN = 10  # values listed in a message

Name = Callable[[float], str]  # text of a value in messages


def plain(value: float) -> str:
    """Text of a grey level."""
    return f"{value:g}"


def colour(value: float) -> str:
    """Text #rrggbb of a colour 0xRRGGBB."""
    return f"#{int(value):06x}"


class Levels(NamedTuple):
    """The distinct values of one or several arrays.

    Attributes:
        values: increasing; float values within TOLERANCE of each other are joined.
        counts: number of voxels of each value.
        bounds: thresholds between neighbouring values.
        joined: number of distinct values that were joined with another one.
    """

    values: np.ndarray
    counts: np.ndarray
    bounds: np.ndarray
    joined: int = 0

    @property
    def shares(self) -> np.ndarray:
        """Share of the voxels of each value; sums to 1."""
        return self.counts / self.counts.sum()


def levels_of(arrays: Sequence[Shaped[np.ndarray, "..."]]) -> Levels:
    """The distinct values of all arrays together, and their counts.

    >>> levels_of([np.array([0.0, 1.0, 1.0000001])]).values.tolist()
    [0.0, 1.0]
    """
    per_array = [np.unique(array, return_counts=True) for array in arrays]
    distinct, index = np.unique(np.concatenate([values for values, _ in per_array]), return_inverse=True)
    counts = np.bincount(index, weights=np.concatenate([counts for _, counts in per_array])).astype(np.int64)
    joined = _without_noise(distinct, counts)
    if joined is not None:
        return joined
    exact = distinct.astype(np.uint8) if distinct.dtype == bool else distinct
    return Levels(exact, counts, exact[1:])


def _without_noise(distinct: np.ndarray, counts: np.ndarray) -> Levels | None:
    """Levels of float values in narrow, well separated groups; None if they are not, or if all are integers."""
    if distinct.dtype.kind != "f" or distinct.size < 2 or (distinct == np.round(distinct)).all():
        return None
    exact = distinct.astype(np.float64)
    tolerance = TOLERANCE * (exact[-1] - exact[0])
    first = np.flatnonzero(np.r_[True, np.diff(exact) > tolerance])
    last = np.r_[first[1:], exact.size] - 1
    wide = exact[last] - exact[first]
    if first.size == exact.size or (wide > tolerance).any():
        return None
    sizes = np.add.reduceat(counts, first)
    means = np.add.reduceat(counts * exact, first) / sizes
    digits = max(0, int(np.ceil(-np.log10(tolerance))))
    values = np.where(wide > 0, np.round(means, digits) + 0.0, exact[first])
    return Levels(values, sizes, (exact[last[:-1]] + exact[first[1:]]) / 2, exact.size - first.size)


class Labelled(NamedTuple):
    """Labels of each array, the value of each label, and remarks for the user.

    Attributes:
        where: indices of the arrays that hold the rare or merged values of the last remark; empty if it names none.
    """

    labels: list[np.ndarray]
    values: tuple[float, ...]
    remarks: tuple[str, ...]
    where: tuple[int, ...] = ()


def label(
    arrays: Sequence[Shaped[np.ndarray, "..."]], *, max_phases: int, merge_rare: float = 0.0, colours: bool = False
) -> Labelled:
    """Labels 0..P-1 of the distinct values of images, in increasing order, the same for all of them.

    Args:
        arrays: finite numbers, each "*grid".
        max_phases: largest number of phases.
        merge_rare: voxels of values rarer than this share get the phase of most of their neighbours. Where the value
            lies between those of the neighbours, as on a resampled edge, neighbours of closer value weigh more
            (`_closeness`). Voxels without a neighbour that has a phase get the nearest phase in space.
        colours: values are colours 0xRRGGBB, not grey levels.
    Raises:
        UserError: there are more than `max_phases` distinct values, or fewer than two; the message names remedies.
    """
    if not 0 <= merge_rare < 0.5:
        raise UserError(f"the share below which values are rare is {merge_rare:g}; expected a number from 0 to 0.5")
    name = colour if colours else plain
    levels = levels_of(arrays)
    kept = levels.shares >= merge_rare
    if kept.sum() < 2:
        if levels.values.size < 2:
            raise UserError(
                f"every pixel has the value {name(float(levels.values[0]))}: one phase only; at least two phases are "
                "needed, check that the right image was given"
            )
        raise UserError(
            f"fewer than two values have a share of {merge_rare:g} ({_shares(levels, name)}): merge fewer of them"
        )
    if kept.sum() > max_phases:
        raise UserError(_too_many(arrays, levels, max_phases, merge_rare, name))
    remarks = []
    if levels.joined:
        remarks.append(
            f"{levels.joined + levels.values.size} distinct values are read as {levels.values.size}, which they equal "
            f"to within {_percent(TOLERANCE)} of their range (float noise): {_shares(levels, name)}"
        )
    codes = np.full(levels.values.size, _STRAY, np.uint8)
    codes[kept] = np.arange(kept.sum())
    if kept.all():
        warnings, odd = _suspicious(arrays, levels, name)
        labels = [codes[np.searchsorted(levels.bounds, array, side="right")] for array in arrays]
        return Labelled(labels, _plain_values(levels.values), (*remarks, *warnings), _holding(labels, odd))
    remarks.append(f"merged into neighbouring phases: {_shares(levels, name, ~kept)}")
    indices = [np.searchsorted(levels.bounds, array, side="right") for array in arrays]
    labels = [_merged(place, codes, levels) for place in indices]
    return Labelled(labels, _plain_values(levels.values[kept]), tuple(remarks), _holding(indices, ~kept))


def _holding(places: Sequence[np.ndarray], odd: Bool[np.ndarray, " p"]) -> tuple[int, ...]:
    """Indices of the arrays, given as indices of levels, that hold one of the `odd` levels."""
    return tuple(number for number, place in enumerate(places) if odd.any() and odd[place].any())


def _closeness(value: np.ndarray, phases: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Weight "n p" of neighbours of phase p of n voxels: 1, or (1 - distance / range)^2 if the value of the voxel lies
    between those of its neighbours; distance is |value - phase|, and range that of the neighbours' values.

    With the square one neighbour at a distance of 1/4 of the range outweighs eight at 3/4, because the value of a voxel
    on a resampled edge gives its share of area in either phase.
    """
    low = np.where(present, phases, np.inf).min(axis=1)
    high = np.where(present, phases, -np.inf).max(axis=1)
    edge = (low < value) & (value < high)
    span = np.where(edge, high - low, 1.0)
    weight = (1 - np.abs(value[:, None] - phases) / span[:, None]) ** 2
    return np.where(edge[:, None] & present, weight, 1.0)


def _plain_values(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _merged(index: np.ndarray, codes: np.ndarray, levels: Levels) -> UInt8[np.ndarray, "*grid"]:
    """Labels of one array, from the level of each voxel and the code of each level, without stray values."""
    coded, phases = codes[index], int(codes[codes != _STRAY].max()) + 1
    strays = np.nonzero(coded == _STRAY)
    if strays[0].size == 0:
        return coded
    if strays[0].size == coded.size:
        raise UserError("one of the images holds rare values only; leave it out, or merge fewer values")
    around = np.pad(coded, 1, constant_values=_STRAY)
    votes = np.zeros((strays[0].size, phases))
    for offset in itertools.product((0, 1, 2), repeat=coded.ndim):
        neighbour = around[tuple(axis + step for axis, step in zip(strays, offset, strict=True))]
        known = np.flatnonzero(neighbour != _STRAY)
        votes[known, neighbour[known]] += 1
    unassigned = ~votes.any(axis=1)
    values = levels.values.astype(np.float64)
    coded[strays] = np.argmax(votes * _closeness(values[index[strays]], values[codes != _STRAY], votes > 0), axis=1)
    if unassigned.any():
        isolated = tuple(axis[unassigned] for axis in strays)
        kept = np.where(codes[index] == _STRAY, 1, 0)
        nearest = ndimage.distance_transform_edt(kept, return_distances=False, return_indices=True)
        coded[isolated] = codes[index[tuple(axis[isolated] for axis in np.asarray(nearest))]]
    return coded


def _too_many(arrays: Sequence[np.ndarray], levels: Levels, most: int, merge_rare: float, name: Name) -> str:
    """Error message for an image with more distinct values than phases: the likely cause and its remedy."""
    values, shares = levels.values, levels.shares
    count = int((shares >= merge_rare).sum())
    split = _split(shares, most)
    if split is not None:
        frequent = shares >= split
        rest = f"the other {np.count_nonzero(~frequent)} have {100 * shares[~frequent].sum():.2g} % together"
        return (
            f"{count} distinct values, of which {np.count_nonzero(frequent)} make up the image "
            f"({_shares(levels, name, frequent)}) and {rest}: give these to the neighbouring phases with "
            f"--merge-rare {_percent(split)}, or cut them off with --crop"
        )
    edges = _peaks(arrays, levels, most)
    if edges is not None:
        frequent = shares >= edges
        number = np.count_nonzero(frequent)
        remedies = [] if name is colour else [f"--segment {number} (the number of phases) parts them by grey level"]
        if number == 2 or not remedies:  # beside three, edges between two may have the value of the third
            remedies.append(f"--merge-rare {_percent(edges)} gives the others to the phases around them")
        return (
            f"{count} distinct values: {number} have {_percent(float(shares[frequent].sum()))} of the image "
            f"({_shares(levels, name, frequent)}), and the others lie around them, as in a mask that was resampled or "
            f"saved as JPEG: {', '.join(remedies)}"
        )
    if name is colour:
        return (
            f"a colour image, of {count} colours; save it as grey (one channel), or as labels with one value or colour "
            "a phase"
        )
    if _flat(arrays, float(values[np.argmax(shares)])):
        return (
            f"{count} distinct values in areas of one value ({_shares(levels, name)}): labels, and more than {most} "
            f"phases are not supported; join some of them first, or give rare ones to their neighbours (--merge-rare)"
        )
    outside = int(np.argmax(shares))
    text = (
        f"{count} distinct {arrays[0].dtype} values from {name(float(values[0]))} to {name(float(values[-1]))}: a grey "
        f"image, not at most {most} phases; segment it first, or pass --segment N with N the number of phases"
    )
    if shares[outside] > 0.2 and _fills_a_face(arrays, levels, outside):
        value = name(float(values[outside]))
        text += f" (if {value}, {_percent(float(shares[outside]))} of it, is outside of the sample: --ignore {value})"
    return text


def _split(shares: np.ndarray, most: int) -> float | None:
    """Threshold of the share between up to `most` frequent values, which make up the image, and rare ones; or None."""
    ordered = np.sort(shares)[::-1]
    if ordered.size < 3:
        return None
    counts = np.arange(2, min(most, ordered.size - 1) + 1)
    ratios = np.where(np.cumsum(ordered)[counts - 1] >= 0.8, ordered[counts - 1] / ordered[counts], 0.0)
    best = int(counts[np.argmax(ratios)])
    return _between(ordered[best], ordered[best - 1]) if ratios.max() >= 3 else None


def _peaks(arrays: Sequence[np.ndarray], levels: Levels, most: int) -> float | None:
    """Threshold of the share between at most `most` values that fill areas, and values near them, as interpolation and
    JPEG produce from a mask with fine features. None for grey images, in which no values fill areas, or many voxels are
    far from those that do."""
    ordered = np.sort(levels.shares)[::-1]
    counts = np.arange(2, min(most, ordered.size - 1) + 1)
    if not counts.size:
        return None
    last, next_one = ordered[counts - 1], ordered[counts]
    parted = counts[(np.cumsum(ordered)[counts - 1] >= 0.4) & (last >= 2 * next_one) & (last >= 0.02)]
    if not parted.size:
        return None
    least = float(ordered[parted[-1] - 1])
    frequent = np.asarray(levels.shares >= least)
    kept = [np.take(frequent, np.searchsorted(levels.bounds, array, side="right")) for array in arrays]
    rare = sum(np.count_nonzero(each == 0) for each in kept)
    # rare, and more than two voxels from a frequent value
    far = sum(np.count_nonzero(ndimage.maximum_filter(each, 5) == 0) for each in kept)
    areas = _filled(arrays, levels)[frequent].sum() / levels.counts[frequent].sum()
    return _between(float(ordered[parted[-1]]), least) if far <= 0.1 * rare and areas >= 0.2 else None


def _fills_a_face(arrays: Sequence[np.ndarray], levels: Levels, place: int) -> bool:
    """Whether one value covers more than 80 % of a face: the surroundings of a sample do, phases do not."""
    faces = (array.take(end, axis) for array in arrays for axis in range(array.ndim) for end in (0, -1))
    return any(np.mean(np.searchsorted(levels.bounds, face, side="right") == place) > 0.8 for face in faces)


def _between(low: float, high: float) -> float:
    """A number of few digits in (low, high], near their geometric mean."""
    middle = float(np.sqrt(low * high))
    short = [float(f"{middle:.{digits}g}") for digits in range(1, 6)]
    return next((number for number in short if low < number <= high), middle)


def _suspicious(arrays: Sequence[np.ndarray], levels: Levels, name: Name) -> tuple[list[str], Bool[np.ndarray, " p"]]:
    """Remarks on phases that may be stray values or edges of a resampled mask, and a flag for each such value."""
    if levels.values.size < 3:
        return [], np.zeros(levels.values.size, bool)
    rare = levels.shares < RARE
    thin = _thin(arrays, levels) & ~rare
    if not (rare | thin).any():
        return [], rare
    largest, rest = float(levels.shares[rare | thin].max()), levels.shares[~(rare | thin)]
    hint = ""
    if rest.size >= 2 and rest.min() > largest:
        hint = f": --merge-rare {_percent(_between(largest, rest.min()))} gives them to the neighbouring phases"
    parts = []
    if rare.any():
        parts.append(f"{_shares(levels, name, rare)} rare")
    if thin.any():
        parts.append(f"{_shares(levels, name, thin)} in thin lines between others only, as edges of a resampled mask")
    return [f"{levels.values.size} values are read as phases, of them {' and '.join(parts)}{hint}"], rare | thin


def _thin(arrays: Sequence[np.ndarray], levels: Levels) -> Bool[np.ndarray, " p"]:
    """Flags of values between others that fill hardly any 2 x 2 (x 2) block, while all others do."""
    filled = _filled(arrays, levels) / levels.counts
    thin = filled < THIN
    thin[[0, -1]] = False
    return thin & (filled[~thin].min() > 4 * THIN)


def _filled(arrays: Sequence[np.ndarray], levels: Levels) -> np.ndarray:
    """Number of 2 x 2 (x 2) blocks that one value fills, for each value."""
    filled = np.zeros(levels.values.size)
    for array in arrays:
        if min(array.shape) < 2:
            continue
        lower = array[(slice(None, -1),) * array.ndim]
        same = np.ones(lower.shape, bool)
        for offset in itertools.product((0, 1), repeat=array.ndim):
            upper = tuple(slice(step, edge - 1 + step) for step, edge in zip(offset, array.shape, strict=True))
            same &= array[upper] == lower
        filled += np.bincount(np.searchsorted(levels.bounds, lower[same], side="right"), minlength=filled.size)
    return filled


def _flat(arrays: Sequence[np.ndarray], background: float) -> bool:
    """Whether most voxels outside the background equal their neighbour, as in labels but not in grey images."""
    same = [(array[..., 1:] == array[..., :-1])[array[..., 1:] != background] for array in arrays]
    return bool(sum(map(np.count_nonzero, same)) > 0.5 * sum(map(len, same)))


def _shares(levels: Levels, name: Name, which: np.ndarray | None = None) -> str:
    """Text of values with their shares, the most frequent first."""
    places = np.arange(levels.values.size) if which is None else np.flatnonzero(which)
    order = places[np.argsort(-levels.counts[places], kind="stable")]
    shares = levels.shares
    shown = [f"{name(float(levels.values[p]))} ({_percent(float(shares[p]))})" for p in order[:_MOST_SHOWN]]
    return ", ".join(shown + ["..."] * (order.size > _MOST_SHOWN))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
