"""The statistics that sampled volumes are constrained to: volume fractions, roughness, S2 and lineal path."""

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxmicro import evaluate
from jaxmicro.errors import UserError
from jaxmicro.pipeline.prior import Prior, roughness_levels, without_tuning
from jaxmicro.reconstruct import SamplingConfig, TargetStatistics, sampling_times

LINEAL_PATH_RANGE = 0.2  # relative change of a volume fraction up to which the lineal path of its phase is predicted


def target_fractions(
    prior: Prior, fractions: Sequence[float] | Literal["micrograph"] | None
) -> tuple[float, ...] | None:
    """The volume fractions that volumes are constrained to, one for each phase with sum 1; None: free.

    Raises:
        UserError: when there is not one fraction above 0 for each phase of the prior, with sum 1.
    """
    if fractions is None or (fractions == "micrograph" and prior.material is None):
        return None
    if isinstance(fractions, str):
        return prior.material.volume_fractions if prior.material else None
    if len(fractions) != prior.config.phases:
        raise UserError(
            f"{len(fractions)} volume fractions given, but the prior has {prior.config.phases} phases; "
            "give one for each"
        )
    total = math.fsum(fractions)
    given = " ".join(map(str, fractions))
    if not all(fraction > 0 for fraction in fractions):  # nor is NaN
        raise UserError(f"volume fractions must be above zero, found {given}: the prior always makes all its phases")
    if abs(total - 1) > 0.01:
        raise UserError(f"volume fractions must sum to 1; {given} sum to {total:g}")
    return tuple(fraction / total for fraction in fractions)


def scattered_fractions(
    prior: Prior, fractions: tuple[float, ...] | None, *, shape: Sequence[int], volumes: int, seed: int
) -> list[tuple[float, ...]]:
    """Volume fractions of each of several volumes: those of random pieces of the material of that size.

    Drawn from the normal distribution whose covariance the micrograph gives (`evaluate.fraction_covariance`; for a
    material that looks alike in all directions), evenly spread by a scrambled Sobol sequence, in pairs of opposite
    deviations. Number i is the same however many there are.

    Args:
        fractions: their mean. Far from the micrograph's the covariance is still that of the micrograph, and a deviation
            that would leave less than a tenth of a phase is shortened.
        shape: edges of the volumes in voxels.
    Returns:
        The fractions of each volume; each sums to 1.
    Raises:
        UserError: when the prior does not know the covariance of its micrograph, or the fractions are free.
    """
    if prior.material is None or not prior.material.covariance:
        raise UserError("this prior does not know how its micrograph scatters; train it again on the micrograph")
    if fractions is None:
        raise UserError("fractions that are free cannot be scattered; hold them, or leave out the scatter")
    from scipy.stats import norm, qmc  # takes long to import, and only this needs it

    covariance = evaluate.fraction_covariance(np.asarray(prior.material.covariance), shape)
    variances, directions = np.linalg.eigh(covariance)
    scales = np.sqrt(np.maximum(variances[:0:-1], 0))  # largest first; the smallest, of the sum, is zero
    pairs = (volumes + 1) // 2
    points = qmc.Sobol(len(scales), rng=np.random.default_rng(seed)).random_base2(math.ceil(math.log2(pairs)))
    points[:, 0] = (1 + points[:, 0]) / 2  # one half of the distribution: its mirror image belongs to the odd volumes
    deviations = norm.ppf(points) * scales @ directions[:, :0:-1].T
    base = np.asarray(fractions)
    scattered = []
    for number in range(volumes):
        deviation = deviations[number // 2] * (-1) ** number
        room = np.min(base / np.abs(deviation).clip(1e-9))  # no phase vanishes, in either volume of the pair
        scattered.append(tuple((base + deviation * min(1.0, 0.9 * room)).tolist()))
    return scattered


def target_statistics(
    prior: Prior, config: SamplingConfig, fractions: Sequence[tuple[float, ...] | None]
) -> TargetStatistics:
    """The constraints of several volumes (of latent ones while they are decoded), with a leading axis over the volumes.

    Roughness, covariance and lineal path are those of the micrograph. At other volume fractions they are extrapolated:
    the roughness as the probability that two independent voxels differ, the covariance of a phase as its variance
    (right for fine media, and the only guess for others), the lineal path in proportion to the fraction. The lineal
    path is left out for phases whose fraction differs by a relative change of more than LINEAL_PATH_RANGE, and for free
    fractions, which it would constrain to those of the micrograph.

    Args:
        config: as `sampling.sampling_config` resolves it.
        fractions: target volume fractions of each volume; None: free.
    """
    target = None if None in fractions else jnp.asarray(fractions, jnp.float32)
    material = prior.material
    if material is None:
        return TargetStatistics(target)
    own = np.asarray(material.volume_fractions)
    each = np.array([own if given is None else given for given in fractions])
    roughness = covariance = path = None
    if material.roughness and config.steer_gain:
        known = jnp.interp(sampling_times(config), roughness_levels(prior.config), jnp.asarray(material.roughness))
        ratio = (1 - np.sum(each**2, axis=1)) / (1 - np.sum(own**2))
        roughness = jnp.outer(jnp.asarray(ratio, known.dtype), known)
    if material.held_covariance:
        ratio = each * (1 - each) / (own * (1 - own))
        covariance = jnp.asarray(ratio[..., None] * np.asarray(material.held_covariance), jnp.float32)
    if material.held_lineal_path:
        ratio = (each / own)[..., None]
        given = np.array([each_given is not None for each_given in fractions])[:, None, None]
        known = (np.abs(ratio - 1) < LINEAL_PATH_RANGE) & given
        path = jnp.asarray(np.where(known, ratio * np.asarray(material.held_lineal_path), np.nan), jnp.float32)
    return TargetStatistics(target, roughness, covariance, path)


def constrained_statistics(
    prior: Prior, sampling: SamplingConfig, fractions: Sequence[float] | Literal["micrograph"] | None = "micrograph"
) -> tuple[str, ...]:
    """What reconstructed volumes are constrained to (names of `evaluate.CONSTRAINABLE`): agreement of these with the
    micrograph is no evidence of realism.

    Args:
        sampling: as `sampling.sampling_config` resolves it.
        fractions: as in `reconstruct`.
    """
    latent = prior.config.space != "pixel"
    known = without_tuning(prior) if latent else prior
    targets = target_statistics(known, sampling, [target_fractions(prior, fractions)])
    names = ["volume_fraction"] * (targets.fractions is not None)
    if latent and not (sampling.periodic and targets.lineal_path is not None and targets.covariance is not None):
        return tuple(names)
    names += ["two_point"] * (targets.covariance is not None)
    if targets.lineal_path is not None and bool(jnp.isfinite(targets.lineal_path).any()):
        names += ["lineal_path", "surface_area"]
    return (*names, *["slice_steps"] * latent)
