"""Two-point correlation S2 by fast Fourier transform: all lags, radial, and along one axis.

Periodic medium: each lag has as many pairs as there are voxels, and S2 is the circular autocorrelation. Otherwise the
grid is a window of a larger medium: it is padded with zeros and each lag is divided by the number of overlapping pairs,
which makes the estimate unbiased for a statistically homogeneous medium.

In a window, the mean of the phase over the voxels with a partner at r differs from that of the whole window, and the
plain estimate minus phi^2 contains the difference. It gives the two phases of a two-phase medium different covariances,
although they are equal in any medium; `centred` removes this error.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.fft import next_fast_len

from jaxmicro.descriptors.fields import Phase, as_field, check_lag


@partial(jax.jit, static_argnames="periodic")
def two_point_correlation(phase: Phase, *, periodic: bool) -> Float[Array, "*lag"]:
    """Two-point correlation S2(r) = <I(x) I(x + r)> of one phase at every lag vector.

    Args:
        phase: indicator I; values between 0 and 1 are read as phase fractions (differentiable).
        periodic: whether the grid is periodic; otherwise the unbiased estimate from a window.
    Returns:
        S2, dimensionless, S2(0) = phi for an indicator. Lag 0 is at index 0 and negative lags are at the end, as in
        `numpy.fft.fftfreq`. Along an axis of n voxels there are n lags when periodic (the mean of S2 over all lags is
        phi^2), else the 2n - 1 lags from -(n - 1) to n - 1.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.2; MicroLad (2025), eq. 47.

    >>> import jax.numpy as jnp
    >>> round(float(two_point_correlation(jnp.eye(2), periodic=True)[0, 0]), 6)
    0.5
    """
    field = as_field(phase)
    if periodic:
        return _autocorrelation(field, field.shape) / field.size
    pairs = _autocorrelation(field, _padded([2 * n - 1 for n in field.shape]))
    for axis, n in enumerate(field.shape):
        pairs = _lags(pairs, axis, n - 1)
    lags = [np.fft.ifftshift(np.arange(1 - n, n)) for n in field.shape]
    return jnp.fft.ifftshift(pairs) / jnp.asarray(_overlap_count(lags, field.shape), field.dtype)


@partial(jax.jit, static_argnames=("r_max", "periodic"))
def radial_two_point(phase: Phase, *, r_max: int, periodic: bool = False) -> Float[Array, " r"]:
    """Radially averaged two-point correlation S2(r), r = 0..r_max.

    The lags with r - 1/2 <= |d| < r + 1/2 form bin r; S2(r) is the share of their pairs with both ends in the phase.
    For isotropic media; otherwise see `directional_two_point`.

    Args:
        phase: indicator I; values between 0 and 1 are read as phase fractions (differentiable).
        r_max: largest distance in voxels; below the shortest edge, and at most half of it when periodic.
        periodic: whether the grid is periodic; the default is the unbiased estimate from a window.
    Returns:
        S2 at the r_max + 1 distances 0..r_max, dimensionless; S2(0) = phi for an indicator.
    Raises:
        UserError: when `r_max` is outside of these bounds.
    Source: MicroLad (2025), eq. 47.

    >>> import jax.numpy as jnp
    >>> radial_two_point(jnp.ones((4, 4)), r_max=2).shape
    (3,)
    """
    field = as_field(phase)
    edge = min(field.shape)
    if periodic:
        check_lag(r_max, edge // 2, "half the shortest edge")
    else:
        check_lag(r_max, edge - 1, "the shortest edge - 1")
    pairs = _autocorrelation(field, field.shape if periodic else _padded([n + r_max for n in field.shape]))
    for axis in range(field.ndim - 1):
        pairs = _lags(pairs, axis, r_max)
    pairs = pairs[..., : r_max + 1]  # the other half follows from C(-d) = C(d)
    ring, multiplicity, count, _ = _shells(field.shape, r_max, periodic)
    in_phase = (pairs * jnp.asarray(multiplicity, field.dtype)).ravel()
    total = np.bincount(ring, weights=count)[: r_max + 1]
    hits = jax.ops.segment_sum(in_phase, ring, num_segments=r_max + 2)[: r_max + 1]
    return hits / jnp.asarray(total, field.dtype)


def radial_lags(shape: Sequence[int], *, r_max: int, periodic: bool = False) -> Float[np.ndarray, " r"]:
    """Mean distance of the voxel pairs in each bin of `radial_two_point`, r = 0..r_max.

    A bin is a shell of lags with r - 1/2 <= |d| < r + 1/2, more of which are in its outer half: the mean distance of
    bin 1 is 1.21 in 2D and 1.28 in 3D, that of bin r > 1 slightly more than r.

    Args:
        shape: of the grid, from which the number of pairs at each lag follows.
        r_max, periodic: as in `radial_two_point`.
    Returns:
        Distances in voxels.

    >>> radial_lags((64, 64, 64), r_max=3, periodic=True).round(3).tolist()
    [0.0, 1.276, 2.231, 3.134]
    """
    ring, _, count, distance = _shells(tuple(shape), r_max, periodic)
    pairs, total = (np.bincount(ring, weights=weights)[: r_max + 1] for weights in (count, count * distance))
    return total / pairs


@partial(jax.jit, static_argnames=("axis", "r_max", "periodic"))
def directional_two_point(phase: Phase, *, axis: int, r_max: int, periodic: bool = False) -> Float[Array, " r"]:
    """Two-point correlation S2(r) along one axis, r = 0..r_max.

    Args:
        phase: indicator I; values between 0 and 1 are read as phase fractions (differentiable).
        axis: direction of the lag.
        r_max: largest lag in voxels; below the edge along `axis`.
        periodic: whether the grid is periodic; the default is the unbiased estimate from a window.
    Returns:
        S2 at the r_max + 1 lags 0..r_max, dimensionless; S2(0) = phi for an indicator.
    Raises:
        UserError: when `r_max` is negative or not below the edge along `axis`.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.2.

    >>> import jax.numpy as jnp
    >>> directional_two_point(jnp.array([[1.0, 1.0, 0.0, 0.0]]), axis=1, r_max=1).round(4)
    Array([0.5   , 0.3333], dtype=float32)
    """
    field = jnp.moveaxis(as_field(phase), axis, -1)
    edge = field.shape[-1]
    check_lag(r_max, edge - 1, f"the edge along axis {axis} - 1")
    size = edge if periodic else _padded([edge + r_max])[0]
    spectrum = jnp.fft.rfft(field, size, axis=-1)
    power = jnp.mean(spectrum.real**2 + spectrum.imag**2, axis=tuple(range(field.ndim - 1)))
    pairs = jnp.fft.irfft(power, size)[: r_max + 1]
    count = np.full(r_max + 1, edge) if periodic else edge - np.arange(r_max + 1)
    return pairs / jnp.asarray(count, field.dtype)


def centred(estimate: Callable[..., Array]) -> Callable[..., Array]:
    """Estimator of S2(r) = C(r) + phi^2 from the covariance C(r) about the mean of the grid, for an estimator of S2.

    The covariances C_pq(r) = <(I_p(x) - phi_p)(I_q(x + r) - phi_q)> of such estimates sum to zero over the phases q, as
    in any medium; those of the two phases of a two-phase medium are equal. S2(0) = phi is unchanged, and so are all
    estimates of periodic grids. In a window the estimate has a smaller variance than the plain one; its bias is
    2 (Var(phi) - Cov(phi, m)), with m the mean over the voxels with a partner at r, a small part of Var(phi).

    >>> import jax.numpy as jnp
    >>> phase = jnp.array([[1.0, 1.0, 0.0, 0.0, 0.0]])
    >>> (centred(directional_two_point)(phase, axis=1, r_max=1) - 0.4**2).round(4)
    Array([0.24, 0.11], dtype=float32)
    >>> (centred(directional_two_point)(1 - phase, axis=1, r_max=1) - 0.6**2).round(4)
    Array([0.24, 0.11], dtype=float32)
    """

    @wraps(estimate)
    def about_the_mean(phase: Phase, **options: Any) -> Array:
        field = as_field(phase)
        mean = jnp.mean(field)
        return estimate(field - mean, **options) + mean**2

    return about_the_mean


def _autocorrelation(field: Float[Array, "*grid"], size: tuple[int, ...]) -> Float[Array, "*lag"]:
    """sum_x I(x) I(x + r), circular on a grid of `size` after padding with zeros (Wiener-Khinchin)."""
    axes = tuple(range(field.ndim))
    spectrum = jnp.fft.rfftn(field, size, axes=axes)
    return jnp.fft.irfftn(spectrum.real**2 + spectrum.imag**2, size, axes=axes)


def _padded(needed: list[int]) -> tuple[int, ...]:
    """The next edges for which a fast Fourier transform is efficient."""
    return tuple(int(next_fast_len(n, real=True) or n) for n in needed)


def _lags(pairs: Float[Array, "*lag"], axis: int, r_max: int) -> Float[Array, "*kept"]:
    """The lags -r_max..r_max of one axis, in rising order."""
    size = pairs.shape[axis]
    negative = jax.lax.slice_in_dim(pairs, size - r_max, size, axis=axis)
    return jnp.concatenate([negative, jax.lax.slice_in_dim(pairs, 0, r_max + 1, axis=axis)], axis=axis)


def _shells(shape: tuple[int, ...], r_max: int, periodic: bool) -> tuple[np.ndarray, ...]:
    """Bin of each lag (r_max + 1: beyond the last bin), its multiplicity, number of voxel pairs, and distance; all but
    the multiplicity as flat arrays.

    The lags are -r_max..r_max along all axes but the last, and 0..r_max along that; since C(-d) = C(d), lags that are
    positive along the last axis have a multiplicity of 2, others of 1.
    """
    lags = [np.arange(-r_max, r_max + 1)] * (len(shape) - 1) + [np.arange(r_max + 1)]
    distance = np.sqrt(sum(d.astype(float) ** 2 for d in np.meshgrid(*lags, indexing="ij", sparse=True)))
    multiplicity = np.broadcast_to(np.where(lags[-1] > 0, 2, 1), distance.shape)
    count = multiplicity * _overlap_count(lags, shape, periodic=periodic)
    ring = np.minimum(np.floor(distance + 0.5).astype(np.int32), r_max + 1)
    return ring.ravel(), multiplicity, count.ravel(), distance.ravel()


def _overlap_count(lags: list[np.ndarray], shape: tuple[int, ...], *, periodic: bool = False) -> np.ndarray:
    """Number of voxel pairs at each lag vector: prod_i (n_i - |d_i|), or the number of voxels when periodic."""
    edges = [np.full(d.shape, n) if periodic else n - np.abs(d) for d, n in zip(lags, shape, strict=True)]
    grids = np.meshgrid(*edges, indexing="ij", sparse=True)
    return np.asarray(np.prod(np.broadcast_arrays(*[g.astype(np.int64) for g in grids]), axis=0))
