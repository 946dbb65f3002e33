"""Exact values of the targets of a design, measured on labels."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxmicro.descriptors import lineal_path
from jaxmicro.evaluate import error_rate
from jaxmicro.guidance import QUANTITIES, Target, exact_value
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior
from jaxmicro.reconstruct import plane_covariance


def exact_target_values(targets: Sequence[Target], labels: np.ndarray, prior: Prior, *, periodic: bool) -> list[float]:
    """The value of each target in a volume "z y x": of a quantity by `guidance.exact_value`, of a curve its error rate
    against that of the micrograph, in percent.

    Args:
        periodic: whether the volume is periodic, for curves; for quantities, see `Target.periodic`.
    """

    def one(target: Target) -> float:
        if target.quantity == "two_point":
            return error_rate(*_two_point(labels, target.phase, prior))
        if target.quantity == "lineal_path":
            return error_rate(*_lineal_path(labels, target.phase, prior, periodic=periodic))
        phases = prior.config.phases
        return exact_value(target.quantity, labels, phases, target.phase, target.axis, periodic=target.periodic)

    return [one(target) for target in targets]


def is_of_medium(quantity: str, *, periodic: bool) -> bool:
    """Whether a quantity of a volume is that of the periodic medium, wherever it is cut, and not that between two
    opposite faces."""
    entry = QUANTITIES.get(quantity)
    return periodic and entry is not None and entry.measure_periodic is not None


def excess_covariance(labels: np.ndarray, prior: Prior) -> np.ndarray:
    """Covariance "p r" of a periodic volume in planes less that of the micrograph, r up to half the shortest edge."""
    assert prior.material is not None
    target = np.asarray(prior.material.target_covariance)
    reach = min(target.shape[-1] - 1, min(labels.shape) // 2)
    covariance = plane_covariance(one_hot(jnp.asarray(labels), prior.config.phases), r_max=reach)
    return np.asarray(covariance) - target[:, : reach + 1]


def _two_point(labels: np.ndarray, phase: int, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """S2 in planes of the volume, and that of the micrograph."""
    assert prior.material is not None
    target = np.asarray(prior.material.target_covariance)[phase]
    phi = prior.material.volume_fractions[phase]
    excess = excess_covariance(labels, prior)[phase]
    own = target[: len(excess)] + excess + float(np.mean(labels == phase)) ** 2
    return own, target[: len(excess)] + phi**2


def _lineal_path(labels: np.ndarray, phase: int, prior: Prior, *, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """L of the volume, mean over the axes, and that of the micrograph."""
    assert prior.material is not None
    target = np.asarray(prior.material.lineal_path[phase])[: min(labels.shape) // 2 + 1]
    inside, r_max = jnp.asarray(labels == phase), len(target) - 1
    along = [lineal_path(inside, axis=axis, r_max=r_max, periodic=periodic) for axis in range(3)]
    return np.mean(along, axis=0), target
