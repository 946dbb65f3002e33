"""Constraints of a design beside its targets: while it is sampled, and while its interfaces are optimised."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro.guidance import CURVES, Target, TargetSpec
from jaxmicro.pipeline.feasibility import Method, fractions_for_targets
from jaxmicro.pipeline.prior import Prior, without_tuning
from jaxmicro.pipeline.target_statistics import constrained_statistics, target_fractions, target_statistics
from jaxmicro.pipeline.targets import INTERFACE_QUANTITIES, can_optimise_interfaces
from jaxmicro.reconstruct import SamplingConfig, TargetStatistics


class Plan(NamedTuple):
    """How the targets of a volume are reached.

    Attributes:
        curves: the targets for S2 and lineal path, which are constraints of the sampling.
        guided: the targets that the sampling is guided towards, or the distillation descends to.
        sampling_constraints: while sampling, or curves of the distillation.
        interface_constraints: while interfaces are optimised; None: they are not.
        reconstruction_first: whether the reconstruction is the first round, because at the same volume fractions
            nothing or only its interfaces are left to change.
    """

    curves: tuple[Target, ...]
    guided: tuple[Target, ...]
    sampling_constraints: TargetStatistics
    interface_constraints: TargetStatistics | None
    reconstruction_first: bool


def plan_design(
    prior: Prior, config: SamplingConfig, targets: Sequence[Target], *, method: Method, release: Sequence[str]
) -> Plan:
    """The plan for targets with values; arguments as `design`."""
    fractions, guided_method = target_fractions(prior, "micrograph"), method == "guided"
    constrained = fractions_for_targets(targets, fractions)
    unchanged = (
        constrained is not None and fractions is not None and bool(np.allclose(constrained, fractions, atol=1e-6))
    )
    curves = tuple(t for t in targets if t.quantity in CURVES)
    # the sampling imposes curves and volume fractions as constraints; a distillation has the gradient only
    guided = tuple(
        t for t in targets if t not in curves and not (guided_method and t.quantity == "volume_fraction" and not t.each)
    )
    interfaces = None
    if guided_method and can_optimise_interfaces(targets, prior, periodic=config.periodic):
        known = bool(curves) or (unchanged and not release)
        interfaces = _interface_constraints(prior, config, constrained, known=known)
    # sections in which a phase does not percolate have to be sampled anew
    first = guided_method and unchanged and all(t.quantity != "slice_diffusivity" for t in targets)
    first = first and (interfaces is not None or all(t.quantity == "two_point" for t in targets))
    sampling = _sampling_constraints(
        prior, config, constrained, curves, method=method, release=release, release_lineal_path=bool(guided)
    )
    return Plan(curves, guided, sampling, interfaces, first)


def constrained_in_design(
    prior: Prior,
    sampling: SamplingConfig,
    targets: Sequence[Target | TargetSpec],
    *,
    method: str = "guided",
    release: Sequence[str] = (),
) -> tuple[str, ...]:
    """What designed volumes are constrained to (names of `evaluate.CONSTRAINABLE`), and their targets
    ("diffusivity.0.z"): agreement of these is no evidence of realism.

    Args:
        sampling: as `sampling_config` resolves it.
        targets: as `read_targets` gives them.
        release: as in `design`; with S2 the lineal path and the interface are released.
    """
    names = tuple(target.name for target in targets)
    quantities = {t.quantity for t in targets}
    own = tuple(name for name in ("volume_fraction", *CURVES) if name in quantities)
    if method == "sds":
        return (*own, *names)
    constrained = constrained_statistics(prior, sampling)
    by_interfaces = can_optimise_interfaces(targets, prior, periodic=sampling.periodic)
    if by_interfaces:  # as `interfaces.RELAXED_WEIGHTS` weighs them
        free = {"surface_area"} & quantities | ({"slice_steps"} if quantities & set(INTERFACE_QUANTITIES) else set())
        every = (*constrained, "two_point", "lineal_path", "surface_area", "slice_steps")
        constrained = tuple(name for name in every if name not in free)
    if "two_point" in release:
        constrained = tuple(name for name in constrained if name == "volume_fraction")
    elif not by_interfaces and quantities - {*CURVES, "volume_fraction"}:  # the sampling then releases the lineal path
        constrained = tuple(name for name in constrained if name not in ("lineal_path", "surface_area"))
    return (*dict.fromkeys([*constrained, *own]), *names)


def constraints_of_one(prior: Prior, config: SamplingConfig, fractions: Sequence[float] | None) -> TargetStatistics:
    """`target_statistics` of one volume."""
    fractions = None if fractions is None else tuple(fractions)
    return jax.tree.map(lambda leaf: leaf[0], target_statistics(prior, config, [fractions]))


def _sampling_constraints(
    prior: Prior,
    config: SamplingConfig,
    fractions: Sequence[float] | None,
    curves: Sequence[Target],
    *,
    method: Method,
    release: Sequence[str],
    release_lineal_path: bool,
) -> TargetStatistics:
    """Constraints of the sampling, or curves of the distillation.

    Args:
        release_lineal_path: for phases whose lineal path is no target: a volume that conducts better, or has more
            interface, has another one.
    """
    guided = method == "guided"
    # the tuned constraints of the prior, under which sampled volumes have the statistics of the micrograph
    statistics = constraints_of_one(prior if guided else without_tuning(prior), config, fractions)
    if statistics.covariance is None and curves:
        assert prior.material is not None  # checked by `read_targets`
        statistics = statistics._replace(covariance=jnp.asarray(prior.material.target_covariance, jnp.float32))
    if guided and "two_point" in release:
        # the roughness of planes constrains the interface area, too, which the slope of S2 at 0 fixes
        release_lineal_path, statistics = True, statistics._replace(covariance=None, roughness=None)
    if not release_lineal_path or not guided or statistics.lineal_path is None:
        return statistics
    phases = [t.phase for t in curves if t.quantity == "lineal_path"]
    is_target = np.isin(np.arange(len(statistics.lineal_path)), phases)[:, None]
    return statistics._replace(lineal_path=jnp.where(is_target, statistics.lineal_path, jnp.nan) if phases else None)


def _interface_constraints(
    prior: Prior, config: SamplingConfig, fractions: Sequence[float] | None, *, known: bool
) -> TargetStatistics | None:
    """Constraints while interfaces are optimised: fractions, S2 and lineal path of the micrograph, not the tuned ones.

    Args:
        known: whether these curves belong to the fractions; if not, the volume keeps its own (None).
    """
    if fractions is None:
        return None
    own = constraints_of_one(without_tuning(prior), config, fractions)
    return own if known else own._replace(lineal_path=None, covariance=None)
