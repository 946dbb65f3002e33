"""Interface optimisation: change the phase of voxels along interfaces to reduce a misfit of a finished volume.

Constraints that are imposed while sampling are met within a percent or two, because structures that are decided no
longer respond. In a finished volume the fractions of voxels along interfaces are softened, by the share of the phases
in a Gaussian neighbourhood, and changed by descent of the misfit of S2, lineal path and interface area. A micrograph
does not show by how much neighbouring sections differ; in an isotropic material that follows from S2, and is part of
the misfit.
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
from jaxmicro.reconstruct.polyak import polyak_step
from jaxmicro.reconstruct.refine import labels_of_fractions
from jaxmicro.reconstruct.statistics_misfit import MisfitWeights, statistics_misfit

WEIGHTS = MisfitWeights(path=1.0, interface=0.01, two_point=32.0, slices=3e-4)
SHARPNESS = 12.0  # logits per unit of the share of a phase in the neighbourhood
MARGIN = 0.05  # least lead of a voxel's own phase over the next one, as a share of the neighbourhood
NEIGHBOURHOOD = 1.0  # standard deviation of its Gaussian, voxels


def optimise_interfaces(
    labels: UInt8[Array, "z y x"],
    fractions: Float[Array, " p"],
    path: Float[Array, "p k"],
    covariance: Float[Array, "p r"],
    *,
    weights: MisfitWeights = WEIGHTS,
    steps: int = 60,
    filter_width: float = 0.0,
    extra_misfit: Callable[[Float[Array, "z y x p"]], Float[Array, ""]] | None = None,
) -> UInt8[Array, "z y x"]:
    """A periodic volume with the phase of voxels along interfaces changed to reduce the misfit from its targets.

    The misfit is that of the statistics (`statistics_misfit`) plus `extra_misfit`; each step is one of Polyak's on
    the logits, with the step size 2 L / |grad L|^2, at most 1 for each voxel (`polyak_step`).

    Args:
        labels: of the volume.
        fractions: target volume fraction of each phase, imposed after each step.
        path: target lineal path of each phase at `dyadic_lags`; rows of NaN are not part of the misfit.
        covariance: target S2(r) - phi^2 of each phase in planes, r = 0, 1, ... voxels.
        weights: of the terms of the misfit. A target of much more interface area than there is yields isolated voxels.
        steps: number of Polyak steps. A fraction of a percent of the voxels changes in each of the first, then fewer.
        filter_width: standard deviation, in voxels, of the Gaussian that filters gradients, so that interfaces move as
            a whole and no single voxels change (the sensitivity filter of topology optimisation, Sigmund, Mech. Struct.
            Mach. 25, 493, 1997). 0: no filter.
        extra_misfit: another term of the misfit, of phase fractions.
    Returns:
        labels after the steps.
    """
    statistics = statistics_misfit(path, covariance, shape=labels.shape, weights=weights)
    terms = [term for term in (statistics, extra_misfit) if term is not None]
    if not terms:
        return labels

    def misfit(x: Float[Array, "z y x p"]) -> Float[Array, ""]:
        return sum((term(x) for term in terms), jnp.zeros(()))

    gradient_filter = functools.partial(_gaussian_filter, deviation=filter_width) if filter_width else None

    def step(_, x0_hat: Float[Array, "z y x p"]) -> Float[Array, "z y x p"]:
        moved = polyak_step(misfit, x0_hat, clip_each=True, gradient_filter=gradient_filter)
        return calibrate_fractions(moved, fractions)

    x0_hat = jax.lax.fori_loop(0, steps, step, 2 * _softened(one_hot(labels, len(fractions))) - 1)
    return labels_of_fractions((1 + x0_hat) / 2, fractions)


def _softened(phases: Float[Array, "z y x p"]) -> Float[Array, "z y x p"]:
    """Fractions with the same most probable phases, soft along interfaces: a softmax of the shares of the phases in the
    neighbourhood, each voxel's own phase raised where it would not lead."""
    around = _gaussian_filter(phases, deviation=NEIGHBOURHOOD)
    own = jnp.sum(around * phases, axis=-1, keepdims=True)
    largest_other = jnp.max(around - 2 * phases, axis=-1, keepdims=True)
    lead = jnp.maximum(0.0, largest_other - own + MARGIN)
    return jax.nn.softmax(SHARPNESS * (around + lead * phases), axis=-1)


def _gaussian_filter(field: Float[Array, "z y x p"], *, deviation: float) -> Float[Array, "z y x p"]:
    """Periodic convolution with a Gaussian of this standard deviation in voxels, truncated at three of them."""
    reach = math.ceil(3 * deviation)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / deviation) ** 2)
    for axis in range(3):
        shifted = [w * jnp.roll(field, r, axis) for r, w in zip(offsets, weights / weights.sum(), strict=True)]
        field = functools.reduce(jnp.add, shifted)
    return field
