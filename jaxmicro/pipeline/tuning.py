"""What to hold the volumes of a prior to, so that they have S2 and the lineal path of its micrograph: measured on a
few."""

import dataclasses
import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior, Progress, holding
from jaxmicro.pipeline.volumes import reconstruct
from jaxmicro.reconstruct import plane_covariance, segment_lags, segments_inside

GAINS = (1.0, 0.75, 0.5)  # share of the excess that is taken back, round by round; the last ones average noise
VOLUMES = 1  # of each round
EDGE = 64  # largest edge of a pilot volume
SEED = 7_654_321  # of the pilot volumes; nobody will ask for the same


def tune_correlation(prior: Prior, *, progress: Progress | None = None) -> Prior:
    """The prior with what to hold while sampling so that finished volumes have the S2 and the lineal path of its
    micrograph.

    Holding a volume to what the micrograph has while it is noisy does not quite give it to the finished one: a network
    that is not perfect, and planes that must agree, make structures coarser or finer. What a few volumes have too much
    is taken off what they are held to, once for each of GAINS. `record["tuning"]` keeps how far S2 was off: the root
    mean square over phases and distances, relative to the variance. If that does not fall, as with a network that has
    learned nothing, volumes are held to what the micrograph has. Of latent priors nothing is to be found: their
    finished volumes are corrected (`reconstruct.polish`).

    Raises:
        UserError: the prior does not know the correlation of its micrograph.
    """
    material = prior.material
    if material is None or material.wanted_covariance is None:
        raise UserError("this prior does not know how its micrograph correlates; train it again on the micrograph")
    factor = prior.config.factor
    edge = max(min(prior.config.patch, EDGE) // factor, 1) * factor
    unknown = np.empty((prior.config.phases, 0))
    wanted = _Aims(
        material.wanted_covariance, unknown if material.wanted_segments is None else material.wanted_segments
    )
    aims, off = wanted, []
    for number, gain in enumerate(GAINS):
        volumes = reconstruct(
            holding(prior, *aims),
            shape=(edge,) * 3,
            volumes=VOLUMES,
            seed=SEED + number,
            progress=progress and functools.partial(_tell, progress, f"tuning, round {number + 1} of {len(GAINS)}: "),
        )
        each = [_excess(volume.labels, wanted, prior.config.phases) for volume in volumes]
        excess = _Aims(*(np.mean(parts, axis=0) for parts in zip(*each, strict=True)))
        off.append(float(np.sqrt(np.mean((excess.covariance / wanted.covariance[:, :1]) ** 2))))
        aims = _Aims(aims.covariance - gain * excess.covariance, np.maximum(aims.path - gain * excess.path, 0.0))
    record = {**prior.record, "tuning": off}
    return dataclasses.replace(holding(prior, *(aims if off[-1] < off[0] else wanted)), record=record)


class _Aims(NamedTuple):
    covariance: np.ndarray  # "p r"
    path: np.ndarray  # "p k", at `segment_lags`; k = 0 where it is unknown


def _excess(labels: np.ndarray, wanted: _Aims, phases: int) -> _Aims:
    """What a periodic volume has too much, up to half its edge."""
    fractions, half = one_hot(jnp.asarray(labels), phases), min(labels.shape) // 2
    reach = min(half, wanted.covariance.shape[1] - 1)
    covariance = np.zeros_like(wanted.covariance)
    found = plane_covariance(fractions, r_max=reach)
    covariance[:, : reach + 1] = np.asarray(found) - wanted.covariance[:, : reach + 1]
    path, lags = np.zeros_like(wanted.path), min(wanted.path.shape[1], len(segment_lags(half)))
    path[:, :lags] = np.asarray(segments_inside(fractions, lags=lags))[:, :lags] - wanted.path[:, :lags]
    return _Aims(covariance, path)


def _tell(progress: Progress, prefix: str, stage: str, done: int, total: int, note: str) -> None:
    progress(prefix + stage, done, total, note)
