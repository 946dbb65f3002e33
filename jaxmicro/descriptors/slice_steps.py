"""How much the volume fractions of parallel slices differ: what a volume's planes say of each other."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.descriptors.fields import Fractions, as_field


def slice_steps(fractions: Fractions, *, lags: Sequence[int] = (1,), periodic: bool = False) -> Float[Array, "3 p lag"]:
    """Mean square of the difference of a phase's fraction between slices some lags apart, normal to each axis.

    Args:
        fractions: share of each phase in each voxel of a volume, phases on the last axis.
        lags: distances of the slices in voxels.
        periodic: whether the slices continue at the opposite face.
    Returns:
        One number per axis z y x, phase and lag; differentiable.
    Raises:
        ValueError: a lag that does not fit the volume.

    >>> layers = jnp.repeat(jnp.array([0, 1, 1]), 4).reshape(3, 2, 2)
    >>> slice_steps(jnp.eye(2)[layers])[0].tolist()
    [[0.5], [0.5]]
    """
    field = as_field(fractions)
    if max(lags) >= min(field.shape[:3]):
        raise ValueError(f"no slices are {max(lags)} apart along the shortest of the edges {field.shape[:3]}")
    found = []
    for axis in range(3):
        share = jnp.mean(field, axis=tuple(other for other in range(3) if other != axis))
        steps = [share - jnp.roll(share, lag, 0) if periodic else share[lag:] - share[:-lag] for lag in lags]
        found.append(jnp.stack([jnp.mean(step**2, axis=0) for step in steps], axis=-1))
    return jnp.stack(found)


def isotropic_slice_steps(
    covariance: Float[Array, "p r"] | Float[np.ndarray, "p r"], shape: Sequence[int], *, lags: Sequence[int] = (1,)
) -> Float[Array, "3 p lag"]:
    """What `slice_steps` expects of volumes of a shape, if the material looks alike in all directions.

    Slices of area A that are h apart differ by 2/A times the integral over the plane of C(r) - C(sqrt(r^2 + h^2)),
    and of that remains 4 pi / A times the integral of r C(r) from 0 to h: one micrograph says how alike neighbours are.

    Args:
        covariance: C(r) = S2(r) - phi^2 of each phase at r = 0, 1, ... voxels; linear in between.
        shape: edges z y x; the area is that of the slices, large beside the distances at which C is of any size.
        lags: distances of the slices, not longer than the covariance.
    Returns:
        One number per axis z y x, phase and lag; NaN where C falls below zero so soon that the noise of its estimate
        would decide (less than a tenth of what C(0) at all distances gives).
    Raises:
        ValueError: the covariance does not reach as far as a lag.
    """
    if max(lags) >= covariance.shape[-1]:
        raise ValueError(f"the covariance reaches to {covariance.shape[-1] - 1} voxels, expected {max(lags)} or more")
    integrals = []
    for lag in lags:
        r = np.arange(lag)
        weights = np.zeros(lag + 1)
        weights[:-1] += (3 * r + 1) / 6  # of r C(r) from r to r + 1, C linear
        weights[1:] += (3 * r + 2) / 6
        integral, most = covariance[:, : lag + 1] @ weights.astype(np.float32), lag**2 / 2 * covariance[:, 0]
        integrals.append(jnp.where(integral > 0.1 * most, integral, jnp.nan))
    scale = 4 * np.pi / math.prod(shape) * jnp.asarray(shape, jnp.float32)  # over the area of a slice
    return scale[:, None, None] * jnp.stack(integrals, axis=-1)[None]


def dependent_steps(covariance: Float[np.ndarray, " r"]) -> float:
    """Number of successive steps from slice to slice that count as one in the scatter of the mean of their squares.

    The fractions of large slices h apart have a covariance in proportion to the integral of s C(s) from h on; its
    second differences are that of the steps, and the sum of their squared correlations is the number.

    Args:
        covariance: C at r = 0, 1, ... voxels, as for `isotropic_slice_steps`; beyond its first zero it counts as zero.

    >>> dependent_steps(np.array([1.0, 0.0, 0.0]))
    1.5
    """
    below = np.flatnonzero(covariance <= 0)
    known = np.append(covariance[: below[0] if below.size else covariance.size], [0.0, 0.0])
    r = np.arange(known.size - 1)
    pieces = ((3 * r + 1) * known[:-1] + (3 * r + 2) * known[1:]) / 6  # of r C(r) from r to r + 1, C linear
    if pieces[0] <= 0:
        return 1.0
    correlation = np.diff(pieces) / (2 * pieces[0])  # of a step with the next ones
    return float(1 + 2 * np.sum(correlation**2))
