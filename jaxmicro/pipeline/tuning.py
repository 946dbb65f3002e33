"""What to hold the volumes of a prior to, so that they have the correlation of its micrograph: measured on a few."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior, Progress
from jaxmicro.pipeline.volumes import reconstruct
from jaxmicro.reconstruct import plane_covariance

GAINS = (1.0, 1.0, 0.5, 0.33)  # share of the excess that is taken back, round by round; the last ones average noise
VOLUMES = 2  # of each round
EDGE = 64  # largest edge of a pilot volume
SEED = 7_654_321  # of the pilot volumes; nobody will ask for the same


def tune_correlation(prior: Prior, *, progress: Progress | None = None) -> Prior:
    """The prior with the covariance to hold while sampling, at which finished volumes have that of its micrograph.

    Holding a volume to the covariance of the micrograph while it is noisy does not quite give it to the finished one: a
    network that is not perfect, and planes that must agree, make structures coarser or finer. What a few volumes have
    too much is taken off what they are held to, four times. `record["tuning"]` keeps how far they were off: the root
    mean square over phases and distances, relative to the variance. If that does not fall, nothing is held.

    Raises:
        UserError: the prior does not know the covariance of its micrograph.
    """
    wanted = None if prior.material is None else prior.material.wanted_covariance
    if wanted is None:
        raise UserError("this prior does not know how its micrograph correlates; train it again on the micrograph")
    factor = prior.config.factor
    edge = max(min(prior.config.patch, EDGE) // factor, 1) * factor
    held, off = wanted, []
    for number, gain in enumerate(GAINS):
        volumes = reconstruct(
            _holding(prior, held),
            shape=(edge,) * 3,
            volumes=VOLUMES,
            seed=SEED + number,
            progress=progress and functools.partial(_tell, progress, f"tuning, round {number + 1} of {len(GAINS)}: "),
        )
        reach = min(edge // 2, wanted.shape[-1] - 1)
        excess = np.zeros_like(wanted)
        for volume in volumes:
            found = plane_covariance(one_hot(jnp.asarray(volume.labels), prior.config.phases), r_max=reach)
            excess[:, : reach + 1] += (np.asarray(found) - wanted[:, : reach + 1]) / len(volumes)
        held = held - gain * excess
        off.append(float(np.sqrt(np.mean((excess / wanted[:, :1]) ** 2))))
    record = {**prior.record, "tuning": off}
    if not off[-1] < off[0]:  # a network that has learned nothing
        return dataclasses.replace(prior, record=record)
    return dataclasses.replace(_holding(prior, held), record=record)


def _holding(prior: Prior, covariance: np.ndarray) -> Prior:
    assert prior.material is not None
    curves = tuple(tuple(round(float(c), 7) for c in curve) for curve in covariance)
    return dataclasses.replace(prior, material=dataclasses.replace(prior.material, held_covariance=curves))


def _tell(progress: Progress, prefix: str, stage: str, done: int, total: int, note: str) -> None:
    progress(prefix + stage, done, total, note)
