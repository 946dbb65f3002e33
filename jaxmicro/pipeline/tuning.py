"""How strongly a prior's planes of different directions are coupled in 3D: measured on a few volumes."""

import dataclasses
import functools

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.evaluate import fraction_covariance, slice_statistics
from jaxmicro.pipeline.prior import Prior, Progress
from jaxmicro.pipeline.volumes import default_sampling, reconstruct

PILOTS = (0.06, 0.2)  # couplings that are tried
LARGEST = 0.4  # coupling that may be chosen
EDGE = 64  # largest edge of a pilot volume
NEAREST, FARTHEST = 2, 16  # voxels between which S2 is compared: structures, not interfaces, not the whole volume
SEED = 7_654_321  # of the pilot volumes; nobody will ask for the same


def tune_coupling(prior: Prior, *, progress: Progress | None = None) -> Prior:
    """The prior with the coupling at which its volumes are neither finer nor coarser than its micrograph.

    More coupling makes structures larger: S2 at medium distances rises with it, nearly linearly. Two volumes at each
    of two couplings give the line, and its zero the coupling (between 0 and 0.4). The right one depends on the material
    and on how good the network is. `record["tuning"]` keeps what was found; where S2 does not rise with the coupling,
    the coupling stays as it was.

    Raises:
        UserError: the prior does not know the covariance of its micrograph.
    """
    if prior.material is None or not prior.material.covariance:
        raise UserError("this prior does not know how its micrograph correlates; train it again on the micrograph")
    factor = prior.config.factor
    edge = max(min(prior.config.patch, EDGE) // factor, 1) * factor
    excess = []
    for couple in PILOTS:
        volumes = reconstruct(
            prior,
            shape=(edge,) * 3,
            volumes=2,
            seed=SEED,
            sampling=dataclasses.replace(default_sampling(prior.config), couple=couple),
            progress=progress and functools.partial(_tell, progress, f"coupling {couple}: "),
        )
        excess.append(_excess(prior, [volume.labels for volume in volumes]))
    slope = (excess[1] - excess[0]) / (PILOTS[1] - PILOTS[0])
    found = {"couplings": list(PILOTS), "excess": excess}
    record = {**prior.record, "tuning": found}
    if not slope > 0:  # a network that has learned nothing, or phases that the pilots lack
        return dataclasses.replace(prior, record=record)
    couple = round(float(np.clip(PILOTS[0] - excess[0] / slope, 0.0, LARGEST)), 3)
    return dataclasses.replace(prior, material=dataclasses.replace(prior.material, couple=couple), record=record)


def _tell(progress: Progress, prefix: str, stage: str, done: int, total: int, note: str) -> None:
    progress(prefix + stage, done, total, note)


def _excess(prior: Prior, volumes: list[np.ndarray]) -> float:
    """Mean over phases and distances of S2 of the volumes less that of the micrograph, relative to the variance.

    The volumes have exactly the fractions of the micrograph. Pieces of the material of that size do not, and the
    variance of theirs is a part of the micrograph's covariance at every distance, which such volumes cannot have.
    """
    assert prior.material is not None
    covariance = np.asarray(prior.material.covariance)
    scatter = np.diag(fraction_covariance(covariance, volumes[0].shape))
    r_max = min(covariance.shape[-1] - 1, FARTHEST, volumes[0].shape[0] - 1)
    found = [slice_statistics(labels, prior.config.phases, r_max) for labels in volumes]
    excess = []
    for phase, fraction in enumerate(prior.material.volume_fractions):
        own = covariance[phase, phase, : r_max + 1]
        mean = np.mean([statistics[phase]["two_point"] for statistics in found], axis=0)
        excess.append(np.mean((mean - fraction**2 - own + scatter[phase])[NEAREST:]) / own[0])
    return float(np.mean(excess))
