"""A trained prior: its network, its parameters, and the statistics of its micrograph."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.devices import jit_network
from jaxmicro.errors import UserError
from jaxmicro.evaluate import mean_lineal_path, phase_covariance
from jaxmicro.models import PredictorConfig, PriorConfig
from jaxmicro.pipeline.conditions import Conditions
from jaxmicro.reconstruct import dyadic_lags, expected_boundary_density
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit


@dataclass(frozen=True)
class Material:
    """Metadata and statistics of the micrograph of a prior, which sampling needs and volumes inherit."""

    values: tuple[float, ...]  # grey level of each phase in the file
    volume_fractions: tuple[float, ...]
    voxel_size: float | None = None
    unit: str | None = None
    source: str = ""
    roughness: tuple[float, ...] = ()  # boundary density expected at the log SNRs of `roughness_levels`; (): unknown
    covariance: tuple[tuple[tuple[float, ...], ...], ...] = ()  # C_pq(r) of the phases, r in voxels; (): unknown
    lineal_path: tuple[tuple[float, ...], ...] = ()  # L(r) of each phase, r in voxels; (): unknown
    # Covariance to which each phase is constrained while sampling in pixel space, tuned so that finished volumes have
    # that of the micrograph (`tuning`)
    held_covariance: tuple[tuple[float, ...], ...] = ()
    held_lineal_path: tuple[tuple[float, ...], ...] = ()  # the same for L, at `reconstruct.dyadic_lags`

    def __post_init__(self):
        phases, fractions = len(self.values), self.volume_fractions
        if not all(math.isfinite(value) for value in self.values) or sorted(set(self.values)) != list(self.values):
            raise UserError(f"the values of the phases are {self.values}; expected finite ones that increase")
        if len(fractions) != phases or not all(0 <= fraction <= 1 for fraction in fractions):
            raise UserError(f"the volume fractions are {fractions}; expected one between 0 and 1 for each phase")
        if abs(math.fsum(fractions) - 1) > 1e-3:
            raise UserError(f"the volume fractions {fractions} sum to {math.fsum(fractions):g}; expected 1")
        if self.voxel_size is not None and not 0 < self.voxel_size < math.inf:
            raise UserError(f"the voxel size is {self.voxel_size}; expected a positive length")
        plain_unit(self.unit)
        if not all(0 <= value < math.inf for value in self.roughness):
            raise UserError("the roughness is damaged; expected numbers of zero or more")
        for name in ("covariance", "lineal_path", "held_covariance", "held_lineal_path"):
            _check_curves(name, getattr(self, name), phases)

    @property
    def target_covariance(self) -> np.ndarray | None:
        """S2(r) - phi^2, "p r", of volumes that have the fractions and the S2 of the micrograph; None: unknown.

        `covariance` estimates that of the medium, which includes the variance of the volume fraction between
        micrographs of this size. Volumes have the fractions of this micrograph: that variance is subtracted at every
        distance, so that the value at r = 0 is phi (1 - phi).
        """
        if not self.covariance:
            return None
        of_medium, phi = np.asarray(self.covariance).diagonal().T, np.asarray(self.volume_fractions)
        return of_medium - (of_medium[:, 0] - phi * (1 - phi))[:, None]

    @property
    def target_lineal_path(self) -> np.ndarray | None:
        """Lineal path of the micrograph, "p k", of each phase at `reconstruct.dyadic_lags`; None: unknown."""
        path = np.asarray(self.lineal_path)
        return path[:, dyadic_lags(path.shape[1] - 1)] if self.lineal_path else None


def _check_curves(name: str, curves: tuple, phases: int) -> None:
    """Refuses curves unless there is one for each phase (of the covariance: pair of phases), with values -1 to 1."""
    pairs = name == "covariance"
    rows = [curve for row in curves for curve in row] if pairs else list(curves)
    complete = len(curves) in (0, phases) and all(len(row) == phases for row in curves if pairs)
    if not complete or len({len(row) for row in rows}) > 1 or () in rows:
        raise UserError(f"the {name} is incomplete; expected one curve for each phase, all of one length")
    if not all(abs(value) <= 1 for row in rows for value in row):  # nor is NaN
        raise UserError(f"the {name} has values beyond -1 to 1")


@dataclass(frozen=True)
class FeaturePredictor:
    """A trained predictor of process parameters: sample -> their distribution."""

    config: PredictorConfig
    params: Any


@dataclass(frozen=True)
class Prior:
    """A trained prior of a micrograph, or of a collection: network, parameters, material, and how it was trained."""

    config: PriorConfig
    params: Any
    material: Material | None = None  # None for a general prior
    record: dict = dataclasses.field(default_factory=dict)  # data, seed, steps, wall time, validation loss
    conditions: Conditions | None = None  # of a prior of a collection
    predictor: FeaturePredictor | None = None  # of a prior of a collection with process parameters


def check_of_planes(prior: Prior) -> None:
    """Check that a prior is that of the planes of a material, from which volumes can be reconstructed.

    Raises:
        UserError: it is that of a collection.
    """
    if prior.config.shape:
        size = " x ".join(map(str, prior.config.shape))
        raise UserError(
            f"the prior is that of a collection, of whole samples of {size}: 'jaxmicro generate' makes samples of it"
        )


def material_of(micrograph: Microstructure, *more: Microstructure) -> Material:
    """The metadata of a micrograph that its prior stores; of several, volume fractions are means weighted by area."""
    every = (micrograph, *more)
    sizes = np.array([each.labels.size for each in every])
    fractions = sizes @ np.array([each.volume_fractions for each in every]) / sizes.sum()
    source = micrograph.source + (f" and {len(more)} more" if more else "")
    shares = micrograph.volume_fractions if not more else tuple(float(share) for share in fractions)
    return Material(micrograph.values, shares, micrograph.voxel_size, micrograph.unit, source)


def roughness_levels(config: PriorConfig) -> jax.Array:
    """The log SNRs at which a prior stores the roughness of its micrograph."""
    return jnp.linspace(*config.log_snr_range, 37)


def with_statistics(prior: Prior, crops: np.ndarray, images: Sequence[np.ndarray], *, seed: int = 0) -> Prior:
    """The prior with the statistics of its micrograph that sampling in 3D needs.

    The roughness controls the coupling of planes (in pixel space only: the planes of a latent volume have no phases
    before they are decoded); the covariance of the phases gives the scatter of volume fractions, and covariance and
    lineal path are the target statistics of volumes.

    Args:
        crops: crops of the images, "n h w", which are noised and denoised at each level.
        images: all images, "h w" or "n h w"; the roughness of the few crops is scaled to their boundary density.
    """
    if prior.material is None:
        return prior
    roughness = np.empty(0)
    if prior.config.space == "pixel":
        roughness = _roughness(prior.params, jnp.asarray(crops), jax.random.key(seed), config=prior.config)
        pairs = [(np.diff(image, axis=axis) != 0).reshape(-1) for image in images for axis in (-2, -1)]
        roughness = roughness * np.concatenate(pairs).mean() / roughness[-1]  # at the last level denoising is exact
    covariance = phase_covariance(images, prior.config.phases)
    lineal_path = mean_lineal_path(images, prior.config.phases)
    material = dataclasses.replace(
        prior.material,
        roughness=tuple(round(float(value), 6) for value in roughness),
        covariance=tuple(rounded_curves(row) for row in covariance),
        lineal_path=rounded_curves(lineal_path),
    )
    return dataclasses.replace(prior, material=material)


@functools.partial(jit_network, static_argnames="config")
def _roughness(params, crops, key, *, config: PriorConfig):
    model = models.plane_model(config, params)
    return expected_boundary_density(model, crops, config.phases, roughness_levels(config), key=key)


def without_tuning(prior: Prior) -> Prior:
    """The prior with the statistics of its micrograph as constraints, if it knows them, instead of the tuned ones."""
    material = prior.material
    if material is None or material.target_covariance is None or material.target_lineal_path is None:
        return prior
    return with_constraints(prior, material.target_covariance, material.target_lineal_path)


def with_constraints(prior: Prior, covariance: np.ndarray, lineal_path: np.ndarray) -> Prior:
    """The prior with a covariance "p r" and a lineal path "p k" as constraints; k = 0: the path is unknown."""
    assert prior.material is not None
    path = rounded_curves(lineal_path) if lineal_path.size else ()
    material = dataclasses.replace(prior.material, held_covariance=rounded_curves(covariance), held_lineal_path=path)
    return dataclasses.replace(prior, material=material)


def rounded_curves(curves: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Curves as a prior stores them: tuples rounded to 7 digits.

    >>> rounded_curves(np.array([[0.5, 1 / 3]]))
    ((0.5, 0.3333333),)
    """
    return tuple(tuple(round(float(value), 7) for value in curve) for curve in curves)
