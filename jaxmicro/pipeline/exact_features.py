"""Samples brought to asked features exactly: what sampling missed is removed along their interfaces.

Each pass changes labels by Gauss-Newton steps (`reconstruct.match_values`) on the differentiable features
(`guidance.soft_features`), rescaled to the exact ones of the present labels, and then measures by the code that
measures collections. A pass that comes no closer is undone, and where not all can be met together, no feature ends
farther from what is asked than it was sampled.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxmicro.collection import Collection
from jaxmicro.guidance import feature_deviations, is_guidable, soft_features
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.batches import labels_in_batches
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sample_properties import solves_together
from jaxmicro.reconstruct import match_values

PASSES = 12  # of steps and measurement, at most
TOLERANCE = 2e-3  # relative deviation up to which a feature is met; of fractions also half a voxel
_MAX_RATIO = 2.0  # of an exact feature to the differentiable one; beyond, the latter is not corrected


def can_be_met(name: str, value: float, samples: Collection) -> bool:
    """Whether samples can be brought to a value of a feature: those that have a gradient; of a tortuosity factor only a
    finite one, because a connection is not removed by moving interfaces."""
    return math.isfinite(value) and is_guidable(name, phases=samples.phases, ndim=len(samples.grid))


def meet_features(
    samples: Collection,
    names: Sequence[str],
    asked: Float[np.ndarray, "n m"],
    *,
    known: Mapping[int, UInt8[np.ndarray, "*grid"]] | None = None,
    on_sample: Callable[[int, UInt8[np.ndarray, "*grid"]], None] | None = None,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, " n *grid"]:
    """Labels of samples whose interfaces are changed, where it is possible until they have the asked features.

    Args:
        samples: their labels, voxel size and periodicity; features and table are not used.
        names: of features that `can_be_met`.
        asked: value of each for each sample, NaN where none is asked.
        known, on_sample: as `labels_in_batches`.
    Raises:
        UserError: a solve of the measurement does not converge.
    """
    total, left_out = len(samples), ""
    fractions = [f"volume_fraction.{phase}" for phase in range(samples.phases)]
    if set(fractions) <= set(names):
        # one fraction follows from all others: the largest, for which the same voxels are the smallest deviation
        left_out = max(fractions, key=lambda name: np.nanmean(np.append(asked[:, names.index(name)], 0)))
    stepped = np.array([i for i, name in enumerate(names) if name != left_out], int)
    names, grid = tuple(names), samples.grid

    def make(places: np.ndarray) -> np.ndarray:
        return _met_batch(samples.subset(places), names, stepped, asked[places])

    size = min(solves_together(grid), total)
    return labels_in_batches(
        make, grid, total=total, size=size, stage="exact features", known=known, on_sample=on_sample, progress=progress
    )


def deviations(
    names: Sequence[str], values: Float[np.ndarray, "n m"], asked: Float[np.ndarray, "n m"]
) -> Float[np.ndarray, "n m"]:
    """Relative deviations from what is asked, of tortuosity factors by their reciprocals (`feature_deviations`)."""
    return np.asarray(jax.vmap(functools.partial(feature_deviations, list(names)))(jnp.array(values), jnp.array(asked)))


def is_met(
    names: Sequence[str], values: Float[np.ndarray, "n m"], asked: Float[np.ndarray, "n m"], voxels: int
) -> Bool[np.ndarray, "n m"]:
    """Whether each feature is what was asked, within `TOLERANCE`, or for fractions half a voxel; also where none is."""
    granular = np.array([name.startswith("volume_fraction") for name in names]) & (
        np.abs(values - asked) <= 0.501 / voxels
    )
    return granular | (np.abs(deviations(names, values, asked)) <= TOLERANCE)


def _met_batch(
    samples: Collection, names: tuple[str, ...], stepped: np.ndarray, asked: Float[np.ndarray, "b m"]
) -> np.ndarray:
    """One batch of samples, each of which depends on itself alone; `stepped` are the features that the steps see."""

    def measured(labels: np.ndarray) -> np.ndarray:
        return measured_table(dataclasses.replace(samples, labels=labels), names)

    labels, voxels = samples.samples(np.arange(len(samples))), math.prod(samples.grid)
    if not names:
        return labels
    values = measured(labels)
    best = _Best(labels, *_rank(names, values, asked, voxels))
    sampled = best.deviations
    for number in range(PASSES):
        left = ~is_met(names, values, asked, voxels).all(axis=1)
        if not left.any():
            break
        moved = np.asarray(
            _moved(
                jnp.asarray(labels), jnp.asarray(asked[:, stepped], jnp.float32),
                jnp.asarray(values[:, stepped], jnp.float32), jax.random.key(number),
                names=tuple(names[i] for i in stepped), periodic=samples.periodic, phases=samples.phases,
                voxel_size=samples.voxel_size or 1.0,
            )
        )  # fmt: skip
        found = measured(moved)
        worst, before = (np.abs(deviations(names, each, asked)).max(axis=1) for each in (found, values))
        best = _better(best, _Best(moved, *_rank(names, found, asked, voxels)), sampled)
        closer = left & (worst < before)
        labels = np.where(closer.reshape(-1, *[1] * (labels.ndim - 1)), moved, labels)
        values = np.where(closer[:, None], found, values)
    return best.labels


class _Best(NamedTuple):
    """Labels "b *grid", how many features of each are met, and deviations "b m", 0 where met."""

    labels: np.ndarray
    met: np.ndarray
    deviations: np.ndarray


def _rank(names: tuple[str, ...], values: np.ndarray, asked: np.ndarray, voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of features of each sample that are met, and the absolute deviations of the others."""
    met = is_met(names, values, asked, voxels)
    return met.sum(axis=1), np.where(met, 0.0, np.abs(deviations(names, values, asked)))


def _better(one: _Best, other: _Best, sampled: np.ndarray) -> _Best:
    """Of each sample the other labels where no feature deviates more than `sampled`, and more features are met, or as
    many with a smaller largest deviation."""
    worst, others = one.deviations.max(axis=1), other.deviations.max(axis=1)
    wins = (other.met > one.met) | ((other.met == one.met) & (others < worst))
    wins &= (other.deviations <= sampled).all(axis=1)
    return _Best(*(np.where(wins.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(one, other, strict=True)))


@functools.partial(jax.jit, static_argnames=("names", "periodic", "phases", "voxel_size"))
def _moved(
    labels: UInt8[Array, " b *grid"],
    asked: Float[Array, "b m"],
    exact: Float[Array, "b m"],
    key: jax.Array,
    *,
    names: tuple[str, ...],
    periodic: tuple[bool, ...],
    phases: int,
    voxel_size: float,
) -> UInt8[Array, " b *grid"]:
    """Labels after one pass of steps, given the exact features of those before."""
    soft = functools.partial(soft_features, names=names, periodic=periodic, voxel_size=voxel_size)

    def one(labels: UInt8[Array, "*grid"], asked: Float[Array, " m"], exact: Float[Array, " m"]):
        # blocked phases conduct a little in the differentiable features, and single precision rounds them
        ratio = exact / soft(one_hot(labels, phases))
        near = (ratio >= 1 / _MAX_RATIO) & (ratio <= _MAX_RATIO)
        ratio = jnp.where(near, ratio, 1.0)  # also where a phase does not percolate
        return match_values(
            labels,
            lambda fractions: feature_deviations(names, soft(fractions) * ratio, asked),
            phases=phases,
            periodic=periodic,
            key=key,
        )

    return jax.vmap(one)(labels, asked, exact)
