"""Tuning of the constraints of a prior, so that its volumes have the S2 and the lineal path of its micrograph."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior, with_constraints
from jaxmicro.pipeline.progress import Progress, with_prefix
from jaxmicro.pipeline.sampling import sample_volumes, sampling_config
from jaxmicro.pipeline.target_statistics import target_fractions
from jaxmicro.reconstruct import dyadic_lags, dyadic_lineal_path, plane_covariance

GAINS = (1.0, 0.75, 0.5)  # share of the excess that is subtracted, round by round; the last ones average noise
VOLUMES = 1  # of each round
EDGE = 64  # largest edge of a pilot volume
SEED = 7_654_321  # of the pilot volumes; unlikely to be a seed of a user


def tune_correlation(prior: Prior, *, progress: Progress | None = None) -> Prior:
    """The prior with constraints under which finished volumes have the S2 and the lineal path of its micrograph.

    A constraint imposed on a noisy volume is not quite what the finished one has: an imperfect network, and planes that
    must agree, coarsen or refine structures. What pilot volumes have in excess of the micrograph is subtracted from the
    constraints, once for each of GAINS. `record["tuning"]` keeps the error of S2 in each round: the root mean square
    over phases and distances, relative to the variance. If it does not fall, as with a network that has learned
    nothing, the constraints are the statistics of the micrograph. For latent priors nothing needs tuning: their
    finished volumes are corrected (`reconstruct.optimise_interfaces`).

    Raises:
        UserError: when the prior does not know the two-point correlation of its micrograph.
    """
    material = prior.material
    if material is None or material.target_covariance is None:
        raise UserError("this prior does not know how its micrograph correlates; train it again on the micrograph")
    factor = prior.config.factor
    edge = max(min(prior.config.patch, EDGE) // factor, 1) * factor
    unknown = np.empty((prior.config.phases, 0))
    path = material.target_lineal_path
    targets = _Curves(material.target_covariance, unknown if path is None else path)
    constraints, errors = targets, []
    for number, gain in enumerate(GAINS):
        constrained = with_constraints(prior, *constraints)
        volumes = sample_volumes(
            constrained,
            sampling_config(constrained, shape=(edge,) * 3),
            shape=(edge,) * 3,
            fractions=[target_fractions(prior, "micrograph")] * VOLUMES,
            seed=SEED + number,
            numbers=range(VOLUMES),
            progress=with_prefix(progress, f"tuning, round {number + 1} of {len(GAINS)}: "),
        )
        each = [_excess(volume.labels, targets, prior.config.phases) for volume in volumes]
        excess = _Curves(*(np.mean(curves, axis=0) for curves in zip(*each, strict=True)))
        errors.append(float(np.sqrt(np.mean((excess.covariance / targets.covariance[:, :1]) ** 2))))
        constraints = _Curves(
            constraints.covariance - gain * excess.covariance,
            np.maximum(constraints.lineal_path - gain * excess.lineal_path, 0.0),
        )
    record = {**prior.record, "tuning": errors}
    best = constraints if errors[-1] < errors[0] else targets
    return dataclasses.replace(with_constraints(prior, *best), record=record)


class _Curves(NamedTuple):
    covariance: np.ndarray  # "p r"
    lineal_path: np.ndarray  # "p k", at `dyadic_lags`; k = 0 where it is unknown


def _excess(labels: np.ndarray, targets: _Curves, phases: int) -> _Curves:
    """The curves of a periodic volume less the targets, up to half its edge; 0 beyond."""
    fractions, half = one_hot(jnp.asarray(labels), phases), min(labels.shape) // 2
    reach = min(half, targets.covariance.shape[1] - 1)
    covariance = np.zeros_like(targets.covariance)
    measured = plane_covariance(fractions, r_max=reach)
    covariance[:, : reach + 1] = np.asarray(measured) - targets.covariance[:, : reach + 1]
    path, lags = np.zeros_like(targets.lineal_path), min(targets.lineal_path.shape[1], len(dyadic_lags(half)))
    path[:, :lags] = np.asarray(dyadic_lineal_path(fractions, lags=lags))[:, :lags] - targets.lineal_path[:, :lags]
    return _Curves(covariance, path)
