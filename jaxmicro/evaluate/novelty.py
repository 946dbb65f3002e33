"""Generated samples against the collection that a prior was trained on: are they copies, and do they vary as much?

Distances are shares of differing voxels at the best of all shifts along periodic axes, mirrors and exchanges of axes
that the training used. They are computed for the few training samples whose two-point statistics are nearest, which do
not change by these symmetries: those of a copy are equal.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, UInt8

from jaxmicro.collection import LabelSource
from jaxmicro.evaluate.memorisation import FALSE_ALARMS, copy_limit, simplex

_CANDIDATES = 8  # training samples of the nearest statistics, with which a sample is compared
_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # voxels, up to half of an edge
_BLANK = 0.02  # samples with a smaller share of phases other than the most abundant one are too blank to compare
_READ = 2**22  # voxels that are read at once


class Symmetry(NamedTuple):
    """What a training did to its samples, by number of the axis.

    Attributes:
        periodic: whether samples are, for each axis.
        shifted, mirrored: axes along which they were shifted cyclically, and reversed.
        orders: of the axes, the first of which is that of the samples.
    """

    periodic: tuple[bool, ...]
    shifted: tuple[int, ...]
    mirrored: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]


def two_point_along(
    labels: Integer[np.ndarray, "*grid"], phases: int, periodic: Sequence[bool]
) -> Float[np.ndarray, "axis lag"]:
    """Probability that two voxels at a distance along an axis have the same phase, the sum of S2 over the phases, at a
    few distances up to half of the edge; NaN beyond."""
    found = np.full((labels.ndim, len(_LAGS)), np.nan)
    for axis, edge in enumerate(labels.shape):
        along = np.moveaxis(labels, axis, 0)
        for place, lag in enumerate(_LAGS):
            if lag <= edge // 2:
                equal = along == np.roll(along, lag, axis=0) if periodic[axis] else along[lag:] == along[:-lag]
                found[axis, place] = np.mean(equal)
    return found


def nearest_samples(
    queries: UInt8[np.ndarray, " k *grid"], samples: LabelSource, *, phases: int, symmetry: Symmetry
) -> tuple[Float[np.ndarray, " k"], Integer[np.ndarray, " k"]]:
    """Distance of each query to its nearest sample, and the number of that sample.

    The distance is the share of voxels that differ, over that which differ from a blank sample of the query's most
    abundant phase: 0 is a copy, 1 no closer than a blank sample. Nearly blank queries have the distance 1.
    """
    number, grid = samples.shape[0], samples.shape[1:]
    chunk = max(1, _READ // int(np.prod(grid)))
    chunks = [np.arange(first, min(first + chunk, number)) for first in range(0, number, chunk)]
    known = np.concatenate([_statistics(samples[some], phases, symmetry) for some in chunks])
    own = _statistics(queries, phases, symmetry)
    chosen = []
    for numbers in own:
        apart = [np.sum((_exchanged(numbers, phases, order) - known) ** 2, axis=1) for order in symmetry.orders]
        chosen.append(np.argsort(np.min(apart, axis=0), kind="stable")[:_CANDIDATES])
    equal = np.array(
        [
            np.asarray(_best_match(jnp.asarray(query), jnp.asarray(samples[some]), phases=phases, symmetry=symmetry))
            for query, some in zip(queries, chosen, strict=True)
        ]
    )
    differing = 1 - equal.max(axis=1)
    content = np.array([_content(query, phases) for query in queries])
    distance = np.where(content < _BLANK, 1.0, differing / np.maximum(content, _BLANK))
    return distance, np.array([some[place] for some, place in zip(chosen, equal.argmax(axis=1), strict=True)])


def copies(
    generated: UInt8[np.ndarray, " k *grid"],
    training: LabelSource,
    held_out: UInt8[np.ndarray, " h *grid"],
    *,
    phases: int,
    symmetry: Symmetry,
) -> dict[str, Any]:
    """Distances of generated samples to their nearest training samples, beside those of held-out ones.

    A Weibull distribution with the mean and standard deviation of the logarithms of the distances of the held-out
    samples gives the limit below which the nearest generated one is in at most one of 100 sets without copies; samples
    below it are counted as copied. The limit is None where there are fewer than three held-out samples, or one of them
    is in the training, too; then only identical ones are counted. A copy of which more than about 5 % of the voxels
    were changed may not be found, because its two-point statistics are those of other samples.

    Returns:
        {"generated": [distance], "held_out": [distance], "nearest": [number of the training sample], "limit", "copied",
        "flagged"}.
    """
    both, nearest = nearest_samples(np.concatenate([generated, held_out]), training, phases=phases, symmetry=symmetry)
    distance, reference = np.split(both, [len(generated)])
    limit = copy_limit(reference, len(generated)) if len(reference) > 2 else 0.0
    copied = int(np.sum(distance < max(limit, 1 / generated[0].size)))  # without a limit only identical ones
    return {
        "generated": [round(float(d), 4) for d in distance],
        "held_out": [round(float(d), 4) for d in reference],
        "nearest": [int(number) for number in nearest[: len(generated)]],
        "limit": round(float(limit), 4) if limit else None,
        "false_alarms": FALSE_ALARMS,
        "copied": copied,
        "flagged": copied > 0,
    }


def diversity(
    samples: UInt8[np.ndarray, " k *grid"], *, phases: int, symmetry: Symmetry, origin: np.ndarray | None = None
) -> dict[str, float | None]:
    """How much samples vary: the mean distance of pairs (share of voxels that differ at the best shift, over the share
    in independent samples of their fractions), and the spread of S2 (root mean square over distances and axes of the
    standard deviation between samples, over the variance of the phases).

    Args:
        origin: of each sample; pairs of one origin are left out. None: all are independent.
    """
    fractions = np.array([[np.mean(labels == p) for p in range(phases)] for labels in samples])
    unlike = 1 - np.sum(fractions.mean(axis=0) ** 2)
    curves = np.array([two_point_along(labels, phases, symmetry.periodic) for labels in samples])
    curves = curves[..., np.isfinite(curves[0])] if len(curves) else curves
    shifts_only = symmetry._replace(mirrored=(), orders=symmetry.orders[:1])
    apart = []
    for i, j in itertools.combinations(range(len(samples)), 2):
        if origin is None or origin[i] != origin[j]:
            equal = _best_match(
                jnp.asarray(samples[i]), jnp.asarray(samples[j][None]), phases=phases, symmetry=shifts_only
            )
            independent = 1 - fractions[i] @ fractions[j]
            apart.append((1 - float(equal[0])) / max(independent, 1e-6))
    return {
        "pair_distance": float(np.mean(apart)) if apart else None,
        "two_point_spread": float(np.sqrt(np.mean(np.var(curves, axis=0, ddof=1))) / max(unlike, 1e-6))
        if len(samples) > 1
        else None,
    }


def _statistics(samples: UInt8[np.ndarray, " n *grid"], phases: int, symmetry: Symmetry) -> Float[np.ndarray, "n d"]:
    """Fractions, and S2 along each axis: unchanged by shifts and mirrors, exchanged as the axes are."""
    rows = []
    for labels in samples:
        fractions = [np.mean(labels == p) for p in range(phases)]
        along = np.nan_to_num(two_point_along(labels, phases, symmetry.periodic), nan=0.0)
        rows.append(np.concatenate([fractions, along.ravel()]))
    return np.array(rows)


def _exchanged(numbers: Float[np.ndarray, " d"], phases: int, order: Sequence[int]) -> Float[np.ndarray, " d"]:
    along = numbers[phases:].reshape(len(order), -1)
    return np.concatenate([numbers[:phases], along[list(order)].ravel()])


def _content(labels: UInt8[np.ndarray, "*grid"], phases: int) -> float:
    """Share of the voxels that are not of the most abundant phase."""
    return float(1 - max(np.mean(labels == p) for p in range(phases)))


@functools.partial(jax.jit, static_argnames=("phases", "symmetry"))
def _best_match(
    query: UInt8[Array, "*grid"], samples: UInt8[Array, " n *grid"], *, phases: int, symmetry: Symmetry
) -> Float[Array, " n"]:
    """Largest share of voxels of the query, moved by any of the symmetries, that have the phase of each sample."""
    code = jnp.asarray(simplex(phases), jnp.float32)
    axes, voxels = symmetry.shifted, query.size
    still = tuple(a for a in range(query.ndim + 1) if a not in axes)  # summed over, as are the codes

    def spectrum(labels: UInt8[Array, "*grid"]) -> Array:
        return jnp.fft.rfftn(code[labels], axes=axes) if axes else code[labels]

    def best(moved: UInt8[Array, "*grid"], other: Array) -> Float[Array, ""]:
        product = jnp.sum(other * jnp.conj(spectrum(moved)), axis=still)
        if axes:
            product = jnp.fft.irfftn(product, s=[query.shape[a] for a in axes])
        return jnp.round(jnp.max(product) + voxels / phases) / voxels

    moved = jnp.stack(
        [
            jnp.flip(jnp.transpose(query, order), axis=flipped)
            for order in symmetry.orders
            for count in range(len(symmetry.mirrored) + 1)
            for flipped in itertools.combinations(symmetry.mirrored, count)
        ]
    )
    return jax.lax.map(
        lambda sample: jnp.max(jax.lax.map(functools.partial(best, other=spectrum(sample)), moved)), samples
    )
