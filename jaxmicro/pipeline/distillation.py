"""Score distillation of one volume towards setpoints of its targets and curves of its micrograph."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.devices import jit_network
from jaxmicro.guidance import CURVES, DistillationConfig, Target, distill
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.setpoints import without_values
from jaxmicro.reconstruct import MisfitWeights, TargetStatistics, statistics_misfit

CURVE_WEIGHT = 32.0  # of the misfit of S2, among those of the quantities


def distil_volume(
    prior: Prior,
    labels: np.ndarray,
    key: jax.Array,
    constraints: TargetStatistics,
    targets: Sequence[Target],
    setpoints: np.ndarray,
    curves: Sequence[Target],
    *,
    config: DistillationConfig,
) -> np.ndarray:
    """Labels "z y x" of a volume distilled from another (`guidance.distill`).

    Args:
        labels: of the volume to start from.
        targets, setpoints: quantities, and a number for each.
        curves: targets for S2 and lineal path, whose values are those of `constraints`.
    """
    distilled = _distilled(
        prior.params, jnp.asarray(labels), jnp.asarray(setpoints, jnp.float32), key, constraints,
        prior=prior.config, targets=without_values(targets), curves=without_values(curves), config=config,
    )  # fmt: skip
    return np.asarray(distilled)


@functools.partial(jit_network, static_argnames=("prior", "targets", "curves", "config"))
def _distilled(
    params,
    labels,
    setpoints,
    key,
    constraints: TargetStatistics,
    *,
    prior: PriorConfig,
    targets,
    curves,
    config: DistillationConfig,
):
    model, codec = models.plane_model(prior, params), models.codec(prior, params)
    fractions = one_hot(labels, prior.phases)
    extra_misfit = curve_misfit(constraints, curves, labels.shape) if curves else None
    distilled = distill(model, codec, fractions, targets, setpoints, config=config, key=key, extra_misfit=extra_misfit)
    return jnp.argmax(distilled, axis=-1).astype(jnp.uint8)


def curve_misfit(
    constraints: TargetStatistics, curves: Sequence[Target], shape: tuple[int, ...]
) -> Callable[[jax.Array], jax.Array]:
    """Misfit of phase fractions "z y x p" from the curves of the micrograph that are targets, each for its own phases,
    and from the volume fractions of these phases."""
    phi = constraints.fractions
    assert phi is not None and constraints.covariance is not None
    path = phi[:, None] * jnp.ones(2) if constraints.lineal_path is None else constraints.lineal_path

    def has_target(quantity: str | None) -> jax.Array:
        phases = sorted({target.phase for target in curves if quantity in (None, target.quantity)})
        return jnp.isin(jnp.arange(len(path)), jnp.asarray(phases, int))

    weights = {
        "two_point": MisfitWeights(path=None, interface=None, two_point=CURVE_WEIGHT),
        "lineal_path": MisfitWeights(interface=None),
    }
    terms = [
        statistics_misfit(
            jnp.where(has_target(name)[:, None], path, jnp.nan),
            constraints.covariance if name == "two_point" else None,
            shape=shape, weights=weights[name],
        )
        for name in CURVES
    ]  # fmt: skip

    def total(fractions):
        deviation = jnp.where(has_target(None), jnp.mean(fractions, axis=(0, 1, 2)) / phi - 1, 0.0)
        return jnp.sum(deviation**2) + sum(term(fractions) for term in terms if term is not None)

    return total
