"""Mean square differences of the volume fractions of parallel slices, measured and expected of isotropic media."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.descriptors.fields import Fractions, as_field


def slice_steps(fractions: Fractions, *, lags: Sequence[int] = (1,), periodic: bool = False) -> Float[Array, "3 p lag"]:
    """Mean square difference of a phase's fraction between slices at some lags, normal to each axis.

    Args:
        fractions: share of each phase in each voxel of a volume, phases on the last axis.
        lags: distances of the slices in voxels.
        periodic: whether the volume is periodic.
    Returns:
        One number per axis z y x, phase and lag; dimensionless, differentiable.
    Raises:
        ValueError: when a lag is not below the shortest edge.

    >>> layers = jnp.repeat(jnp.array([0, 1, 1]), 4).reshape(3, 2, 2)
    >>> slice_steps(jnp.eye(2)[layers])[0].tolist()
    [[0.5], [0.5]]
    """
    field = as_field(fractions)
    if max(lags) >= min(field.shape[:3]):
        raise ValueError(f"no slices are {max(lags)} apart along the shortest of the edges {field.shape[:3]}")
    by_axis = []
    for axis in range(3):
        share = jnp.mean(field, axis=tuple(other for other in range(3) if other != axis))
        steps = [share - jnp.roll(share, lag, 0) if periodic else share[lag:] - share[:-lag] for lag in lags]
        by_axis.append(jnp.stack([jnp.mean(step**2, axis=0) for step in steps], axis=-1))
    return jnp.stack(by_axis)


def isotropic_slice_steps(
    covariance: Float[Array, "p r"] | Float[np.ndarray, "p r"], shape: Sequence[int], *, lags: Sequence[int] = (1,)
) -> Float[Array, "3 p lag"]:
    """Expected `slice_steps` of volumes of a shape of an isotropic material, from the covariance in its planes.

    The mean square difference of slices of area A at a distance h is 2/A times the integral over the plane of
    C(r) - C(sqrt(r^2 + h^2)), which equals 4 pi / A times the integral of r C(r) from 0 to h. It therefore follows from
    one micrograph.

    Args:
        covariance: C(r) = S2(r) - phi^2 of each phase at r = 0, 1, ... voxels, linearly interpolated.
        shape: edges z y x; those of slices shall be long compared with the correlation length.
        lags: distances of the slices in voxels, at most the largest distance of the covariance.
    Returns:
        One number per axis z y x, phase and lag; dimensionless. NaN where the integral is less than a tenth of that of
        a constant C(0), because the noise of the estimated C then dominates.
    Raises:
        ValueError: when a lag exceeds the largest distance of the covariance.
    """
    if max(lags) >= covariance.shape[-1]:
        raise ValueError(f"the covariance reaches to {covariance.shape[-1] - 1} voxels, expected {max(lags)} or more")
    integrals = []
    for lag in lags:
        r = np.arange(lag)
        weights = np.zeros(lag + 1)
        weights[:-1] += (3 * r + 1) / 6  # integral of r C(r) from r to r + 1, C linear
        weights[1:] += (3 * r + 2) / 6
        integral, upper_bound = covariance[:, : lag + 1] @ weights.astype(np.float32), lag**2 / 2 * covariance[:, 0]
        integrals.append(jnp.where(integral > 0.1 * upper_bound, integral, jnp.nan))
    scale = 4 * np.pi / math.prod(shape) * jnp.asarray(shape, jnp.float32)  # 4 pi over the area of a slice
    return scale[:, None, None] * jnp.stack(integrals, axis=-1)[None]


def dependent_steps(covariance: Float[np.ndarray, " r"]) -> float:
    """Number of successive steps from slice to slice that are worth one independent step in the variance of the mean of
    their squares.

    The covariance of the fractions of large slices at a distance h is proportional to the integral of s C(s) from h to
    infinity. The covariance of steps is its negative second difference, and the number is the sum of the squared
    correlations of steps over all lags.

    Args:
        covariance: C at r = 0, 1, ... voxels, as for `isotropic_slice_steps`; taken as zero from its first zero on.

    >>> dependent_steps(np.array([1.0, 0.0, 0.0]))
    1.5
    """
    below = np.flatnonzero(covariance <= 0)
    known = np.append(covariance[: below[0] if below.size else covariance.size], [0.0, 0.0])
    r = np.arange(known.size - 1)
    pieces = ((3 * r + 1) * known[:-1] + (3 * r + 2) * known[1:]) / 6  # integral of r C(r) from r to r + 1, C linear
    if pieces[0] <= 0:
        return 1.0
    correlation = np.diff(pieces) / (2 * pieces[0])  # of a step with each later one
    return float(1 + 2 * np.sum(correlation**2))
