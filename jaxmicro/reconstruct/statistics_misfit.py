"""Misfit of phase fractions from target statistics: lineal path, interface area, S2, steps from slice to slice.

S2 does not determine connectivity: particles that touch and particles that do not can have the same S2. So predictions
of the clean volume are also moved down the gradient of the misfit of the lineal path, while structures form. The lineal
path at two voxels is the volume fraction less half of the interface area per volume of the phase.
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

STEPS = (1, 2, 4)  # distances of the slices whose volume fractions are compared, voxels
INTERFACE = 0.03  # also where `match_lineal_path` switches it on and off


class MisfitWeights(NamedTuple):
    """Of the parts of a misfit: squares of relative deviations. None: that part is not computed."""

    path: float | None = 1.0  # of the area under the lineal path
    interface: float | Array | None = INTERFACE  # of the share of voxels that the next one does not continue
    two_point: float = 1.0  # of S2, sum over the distances of deviations over the area under it
    slices: float | None = None  # of the steps of fractions from slice to slice, of periodic volumes with known S2


def statistics_misfit(
    path: Float[Array, "p k"],
    covariance: Float[Array, "p r"] | None,
    *,
    shape: tuple[int, ...],
    weights: MisfitWeights,
    periodic: bool = True,
) -> Callable[[Float[Array, "z y x p"]], Float[Array, ""]] | None:
    """How far phase fractions are from a lineal path, a two-point correlation and the steps from slice to slice that it
    foretells (by `weights`); differentiable. Arguments as `match_lineal_path`; None where `shape` is too small for any
    segment."""
    lags = min(path.shape[-1], (min(shape) // 2).bit_length())
    if lags < 2:
        return None
    r = dyadic_lags(2 ** (lags - 1))[:lags].astype(float)
    width = np.gradient(r)[None]  # what each of these distances stands for
    known = jnp.isfinite(path[:, :lags])
    wanted = jnp.where(known, path[:, :lags], 1.0)
    area = jnp.sum(width * wanted, axis=-1, keepdims=True)
    boundary = jnp.maximum(wanted[:, 0] - wanted[:, 1], 1e-4)

    def misfit(fractions: Float[Array, "z y x p"]) -> Float[Array, ""]:
        value = jnp.zeros(())
        if weights.path is not None or weights.interface is not None:
            found = dyadic_lineal_path(fractions, lags=lags, periodic=periodic)
            off = jnp.where(known, found - wanted, 0.0)[:, 1:]
            if weights.path is not None:
                value += weights.path * jnp.sum(width[:, 1:] * (off / area) ** 2)
            if weights.interface is not None:
                value += weights.interface * jnp.sum((off[:, 0] / boundary) ** 2)  # at held fractions
        if covariance is None or not periodic:
            return value
        reach = min(covariance.shape[1] - 1, min(shape) // 2)
        off = plane_covariance(fractions, r_max=reach) - covariance[:, : reach + 1]
        two_point = jnp.sum(covariance[:, : reach + 1] + wanted[:, :1] ** 2, axis=-1, keepdims=True)
        value += weights.two_point * jnp.sum(jnp.where(known[:, :1], off / two_point, 0.0)[:, 1:] ** 2)
        if weights.slices is not None:
            near = [lag for lag in STEPS if lag <= reach]
            expected = isotropic_slice_steps(covariance, shape, lags=near)
            foretold = jnp.isfinite(expected)
            ratio = slice_steps(fractions, lags=near, periodic=True) / jnp.where(foretold, expected, 1.0)
            # the mean of the axes: by itself each scatters by a third in a faithful volume
            off = jnp.mean(jnp.where(foretold & known[None, :, :1], ratio - 1, 0.0), axis=0)
            value += weights.slices * jnp.sum(off**2)
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
    """A predicted clean volume moved towards a lineal path, and towards a two-point correlation.

    Args:
        x0_hat: 2 p - 1, with p the posterior of each phase.
        path: wanted L of each phase at `dyadic_lags`; from k = 0, the volume fraction. Phases whose row is NaN are
            left alone altogether, and so are segments of more than half the shortest edge.
        covariance: wanted S2(r) - phi^2 of each phase in planes, r = 0, 1, ... voxels; of periodic volumes only.
        interface: whether the interface counts, too; while predictions are blurred they have too little of it.
        periodic: whether segments wrap around.
    """
    weights = MisfitWeights(interface=jnp.where(interface, INTERFACE, 0.0))
    misfit = statistics_misfit(path, covariance, shape=x0_hat.shape[:3], weights=weights, periodic=periodic)
    return x0_hat if misfit is None else polyak_step(misfit, x0_hat)
