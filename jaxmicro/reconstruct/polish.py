"""Correct the statistics of a finished volume by moving its interfaces a little.

What is held while a volume is sampled arrives within a percent or two: structures that are decided no longer follow. Of
the finished volume the voxels along interfaces are made undecided again, the more the more their surroundings are of
another phase, and moved along the gradient of the misfit of S2, lineal path and interface. Planes do not show how much
they differ from their neighbours; in a material that looks alike in all directions that follows from S2, and is part of
the misfit, too.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxmicro.phases import one_hot
from jaxmicro.reconstruct.calibrate import calibrate_fractions
from jaxmicro.reconstruct.polyak import moved_to_lower
from jaxmicro.reconstruct.refine import labels_of_fractions
from jaxmicro.reconstruct.segments import Weights, statistics_misfit

WEIGHTS = Weights(path=1.0, interface=0.01, two_point=32.0, slices=3e-4)
SHARPNESS, MARGIN = 12.0, 0.05  # logits per share of the surroundings; least lead of the phase that a voxel has
SURROUNDINGS = 1.0  # deviation of the Gaussian that weighs them, voxels


def polish(
    labels: UInt8[Array, "z y x"],
    fractions: Float[Array, " p"],
    path: Float[Array, "p k"],
    covariance: Float[Array, "p r"],
    *,
    weights: Weights = WEIGHTS,
    steps: int = 60,
    filter_width: float = 0.0,
    also: Callable[[Float[Array, "z y x p"]], Float[Array, ""]] | None = None,
) -> UInt8[Array, "z y x"]:
    """A periodic volume whose S2, lineal path, interface and steps from slice to slice are nearer to what is wanted.

    Args:
        labels: of the volume.
        fractions: wanted volume fraction of each phase.
        path: wanted L of each phase at `segment_lags`; phases whose row is NaN are left alone.
        covariance: wanted S2(r) - phi^2 of each phase in planes, r = 0, 1, ... voxels.
        weights: of the parts of the misfit. Asked for much more interface than there is, a volume gets it as specks.
        steps: gradients taken. A fraction of a percent of the voxels changes in each of the first, then fewer.
        filter_width: standard deviation, in voxels, of the Gaussian that smooths gradients: interfaces move as a whole
            instead of single voxels changing their phase (the sensitivity filter of topology optimisation, Sigmund,
            Mech. Struct. Mach. 25, 493, 1997). 0: gradients as they are.
        also: another misfit of phase fractions, added to that of the statistics.
    """
    known = statistics_misfit(path, covariance, shape=labels.shape, weights=weights)
    parts = [part for part in (known, also) if part is not None]
    if not parts:
        return labels

    def misfit(x: Float[Array, "z y x p"]) -> Float[Array, ""]:
        return sum((part(x) for part in parts), jnp.zeros(()))

    smoothed = functools.partial(_blurred, deviation=filter_width) if filter_width else None

    def step(_, x0_hat: Float[Array, "z y x p"]) -> Float[Array, "z y x p"]:
        return calibrate_fractions(moved_to_lower(misfit, x0_hat, each=True, smoothed=smoothed), fractions)

    x0_hat = jax.lax.fori_loop(0, steps, step, 2 * _softened(one_hot(labels, len(fractions))) - 1)
    return labels_of_fractions((1 + x0_hat) / 2, fractions)


def _softened(phases: Float[Array, "z y x p"]) -> Float[Array, "z y x p"]:
    """Fractions with the same most probable phases, undecided along the interfaces."""
    around = _blurred(phases, deviation=SURROUNDINGS)
    own = jnp.sum(around * phases, axis=-1, keepdims=True)
    largest_other = jnp.max(around - 2 * phases, axis=-1, keepdims=True)
    lead = jnp.maximum(0.0, largest_other - own + MARGIN)
    return jax.nn.softmax(SHARPNESS * (around + lead * phases), axis=-1)


def _blurred(field: Float[Array, "z y x p"], *, deviation: float) -> Float[Array, "z y x p"]:
    """The field convolved with a Gaussian (standard deviation in voxels, cut at three of them), around the grid."""
    farthest = math.ceil(3 * deviation)
    reach = np.arange(-farthest, farthest + 1)
    weights = np.exp(-0.5 * (reach / deviation) ** 2)
    for axis in range(3):
        shifted = [w * jnp.roll(field, r, axis) for r, w in zip(reach, weights / weights.sum(), strict=True)]
        field = functools.reduce(jnp.add, shifted)
    return field
