"""Misfit of phase fractions from target statistics: lineal path, interface area, S2, steps from slice to slice.

S2 does not determine connectivity: particles that touch and particles that do not can have the same S2. So while
structures form, predictions of the clean volume are also changed by a descent of the misfit of the lineal path. The
lineal path of two voxels is the volume fraction less half of the interface area per volume of the phase.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.descriptors import isotropic_slice_steps, slice_steps
from jaxmicro.reconstruct.correlation import plane_covariance
from jaxmicro.reconstruct.lineal_path import dyadic_lags, dyadic_lineal_path
from jaxmicro.reconstruct.polyak import polyak_step

SLICE_LAGS = (1, 2, 4)  # distances of the slices whose volume fractions are compared, voxels
INTERFACE_WEIGHT = 0.03  # default; also that of `match_lineal_path` while its interface term is on


class MisfitWeights(NamedTuple):
    """Weights of the terms of a misfit, which are squares of relative deviations. None: the term is not computed."""

    path: float | None = 1.0  # of the area under the lineal path
    interface: float | Array | None = INTERFACE_WEIGHT  # of L(0) - L(1), voxels whose neighbour is of another phase
    two_point: float = 1.0  # of S2: sum over the distances, each deviation relative to the area under S2
    slices: float | None = None  # of the steps of volume fractions from slice to slice; periodic volumes with known S2


def statistics_misfit(
    path: Float[Array, "p k"],
    covariance: Float[Array, "p r"] | None,
    *,
    shape: tuple[int, ...],
    weights: MisfitWeights,
    periodic: bool = True,
) -> Callable[[Float[Array, "z y x p"]], Float[Array, ""]] | None:
    """Misfit of phase fractions from a lineal path, from S2, and from the steps from slice to slice that S2 implies in
    an isotropic medium; weighted by `weights`, differentiable. Arguments as `match_lineal_path`; None where `shape` is
    too small for a segment of two voxels."""
    lags = min(path.shape[-1], (min(shape) // 2).bit_length())
    if lags < 2:
        return None
    r = dyadic_lags(2 ** (lags - 1))[:lags].astype(float)
    width = np.gradient(r)[None]  # of the interval of distances that each of these represents
    known = jnp.isfinite(path[:, :lags])
    target = jnp.where(known, path[:, :lags], 1.0)
    area = jnp.sum(width * target, axis=-1, keepdims=True)
    boundary = jnp.maximum(target[:, 0] - target[:, 1], 1e-4)

    def misfit(fractions: Float[Array, "z y x p"]) -> Float[Array, ""]:
        value = jnp.zeros(())
        if weights.path is not None or weights.interface is not None:
            lineal_path = dyadic_lineal_path(fractions, lags=lags, periodic=periodic)
            deviation = jnp.where(known, lineal_path - target, 0.0)[:, 1:]
            if weights.path is not None:
                value += weights.path * jnp.sum(width[:, 1:] * (deviation / area) ** 2)
            if weights.interface is not None:
                value += weights.interface * jnp.sum((deviation[:, 0] / boundary) ** 2)  # at constrained fractions
        if covariance is None or not periodic:
            return value
        reach = min(covariance.shape[1] - 1, min(shape) // 2)
        deviation = plane_covariance(fractions, r_max=reach) - covariance[:, : reach + 1]
        two_point = jnp.sum(covariance[:, : reach + 1] + target[:, :1] ** 2, axis=-1, keepdims=True)
        value += weights.two_point * jnp.sum(jnp.where(known[:, :1], deviation / two_point, 0.0)[:, 1:] ** 2)
        if weights.slices is not None:
            slice_lags = [lag for lag in SLICE_LAGS if lag <= reach]
            expected = isotropic_slice_steps(covariance, shape, lags=slice_lags)
            determined = jnp.isfinite(expected)  # NaN where S2 implies no steps
            ratio = slice_steps(fractions, lags=slice_lags, periodic=True) / jnp.where(determined, expected, 1.0)
            # the mean over the axes: along each of them the ratio scatters by a third in a faithful volume
            deviation = jnp.mean(jnp.where(determined & known[None, :, :1], ratio - 1, 0.0), axis=0)
            value += weights.slices * jnp.sum(deviation**2)
        return value

    return misfit


def match_lineal_path(
    x0_hat: Float[Array, "z y x p"],
    path: Float[Array, "p k"],
    *,
    covariance: Float[Array, "p r"] | None = None,
    interface: bool | Array = True,
    periodic: bool = True,
) -> Float[Array, "z y x p"]:
    """A predicted clean volume after a Polyak step of the misfit from a lineal path and, with `covariance`, from S2.

    Args:
        x0_hat: 2 p - 1, with p the posterior probability of each phase.
        path: target L of each phase at `dyadic_lags`, at k = 0 the volume fraction. A row of NaN excludes its phase
            from all terms; segments longer than half the shortest edge are not used.
        covariance: target S2(r) - phi^2 of each phase in planes, r = 0, 1, ... voxels; for periodic volumes only.
        interface: whether the interface area is a term, too; blurred predictions have too little of it.
        periodic: whether segments wrap around.
    """
    weights = MisfitWeights(interface=jnp.where(interface, INTERFACE_WEIGHT, 0.0))
    misfit = statistics_misfit(path, covariance, shape=x0_hat.shape[:3], weights=weights, periodic=periodic)
    return x0_hat if misfit is None else polyak_step(misfit, x0_hat)
