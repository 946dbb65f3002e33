"""Interface optimisation of a finished volume towards its targets, with setpoints corrected by exact measurement."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro.guidance import Target, misfit, soft_values
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.setpoints import (
    MAX_SETPOINT_RATIO,
    nominal_setpoints,
    setpoint_bounds,
    values_of,
    without_values,
)
from jaxmicro.pipeline.targets import INTERFACE_QUANTITIES, largest_residual
from jaxmicro.reconstruct import (
    MisfitWeights,
    TargetStatistics,
    dyadic_lags,
    dyadic_lineal_path,
    optimise_interfaces,
    plane_covariance,
)

TARGET_WEIGHT = 16.0  # of the misfit of the targets, among those of the statistics
# A volume that conducts better along an axis has another lineal path, whose weight is therefore smaller, and is no
# longer isotropic, so that the term of the steps from slice to slice is left out.
RELAXED_WEIGHTS = MisfitWeights(path=0.1, interface=0.01, two_point=32.0)
STEPS = 40  # Polyak steps of a pass towards targets; more passes do more than longer ones
# Standard deviation of the gradient filter, voxels. Of 3 volumes of 64^3 at 30 % more diffusivity of the pores, with 0,
# 0.5, 0.8, 1.1: clusters of pores per 1000 voxels 0.22, 0.09, 0.05, 0.04 (0.03 before), S2 errors 0.73, 0.66, 0.58,
# 0.59 %.
FILTER_WIDTH = 1.0
PASSES = 6  # of optimisation and exact measurement, at most
MAX_CORRECTION = 1.05  # factor on a setpoint from pass to pass
NEAR_ENOUGH = 0.5  # largest residual at which no further pass is made


def move_interfaces(
    labels: np.ndarray,
    values: list[float],
    targets: Sequence[Target],
    constraints: TargetStatistics,
    *,
    measure: Callable[[np.ndarray], list[float]],
    report: Callable[[int, int], None],
) -> tuple[np.ndarray, list[float]]:
    """A periodic volume with its interfaces optimised until its targets are met, and the values it then has.

    Each pass runs Polyak steps (`reconstruct.optimise_interfaces`; step size in `reconstruct.polyak_step`) on the
    objective: the misfits of S2, lineal path and interface area (`reconstruct.statistics_misfit`, weighted by
    RELAXED_WEIGHTS; the interface area only if it is no target) plus TARGET_WEIGHT times that of the targets
    (`guidance.misfit`). If S2 and lineal path are the only targets, the objective is that of `optimise_interfaces`.
    Then the volume is measured exactly, and the setpoints are corrected by what it missed. If both the given volume and
    that after the first pass meet the targets, the latter is taken, because its S2 and lineal path are closer.

    Args:
        labels: "z y x".
        values: of the volume, one for each target.
        constraints: fractions, and S2 and lineal path; None: those of the volume itself.
        measure: labels -> values.
        report: called with the number of passes made and PASSES.
    """
    phases = len(jnp.asarray(constraints.fractions))
    if constraints.lineal_path is None or constraints.covariance is None:
        own, reach = one_hot(jnp.asarray(labels), phases), min(labels.shape) // 2
        path = dyadic_lineal_path(own, lags=len(dyadic_lags(reach)))
        constraints = constraints._replace(lineal_path=path, covariance=plane_covariance(own, r_max=reach))
    moved = tuple(target for target in targets if target.quantity in INTERFACE_QUANTITIES)
    nominal, correction = nominal_setpoints(moved), np.ones(len(moved))
    best = largest_residual(targets, values), labels, values
    for number in range(PASSES):
        report(number, PASSES)
        # The differentiable diffusivity is that of a medium whose blocked phases conduct a thousandth
        # (`quantities.LEAK`), in single precision; the exact one has zeros. Setpoints are rescaled by the ratio of the
        # two in the present volume.
        soft = np.asarray(_soft_values(jnp.asarray(labels), targets=without_values(moved), phases=phases))
        exact = np.maximum(values_of(moved, targets, values), 1e-12)
        ratio = np.clip(soft / exact, 1 / MAX_SETPOINT_RATIO, MAX_SETPOINT_RATIO)
        setpoints = jnp.asarray(nominal * ratio * correction, jnp.float32)
        before = labels
        labels = np.asarray(_optimised(jnp.asarray(before), constraints, setpoints, targets=without_values(moved)))
        values = measure(labels)
        residual = largest_residual(targets, values)
        if residual < best[0] or (number == 0 and residual <= 1):
            best = residual, labels, values
        if not moved or residual < NEAR_ENOUGH:
            break
        shortfall = nominal / np.maximum(values_of(moved, targets, values), 1e-12)
        if np.array_equal(labels, before):  # no voxel changed its phase: a small correction would change none either
            factor = np.where(shortfall > 1, MAX_CORRECTION, 1 / MAX_CORRECTION)
        else:
            factor = np.clip(np.sqrt(shortfall), 1 / MAX_CORRECTION, MAX_CORRECTION)
        correction = np.clip(correction * factor, *setpoint_bounds(moved, 2.0))
    report(PASSES, PASSES)
    return best[1:]


@functools.partial(jax.jit, static_argnames="targets")
def _optimised(labels, constraints: TargetStatistics, setpoints, *, targets):
    """Interfaces optimised for the statistics alone, or for these and the setpoints of targets."""
    assert constraints.fractions is not None
    assert constraints.lineal_path is not None and constraints.covariance is not None
    statistics = constraints.fractions, constraints.lineal_path, constraints.covariance
    if not targets:
        return optimise_interfaces(labels, *statistics)
    area_is_target = any(target.quantity == "surface_area" for target in targets)
    return optimise_interfaces(
        labels,
        *statistics,
        weights=RELAXED_WEIGHTS._replace(interface=None) if area_is_target else RELAXED_WEIGHTS,
        steps=STEPS,
        filter_width=FILTER_WIDTH,
        extra_misfit=lambda fractions: TARGET_WEIGHT * misfit(fractions, targets, setpoints),
    )


@functools.partial(jax.jit, static_argnames=("targets", "phases"))
def _soft_values(labels, *, targets, phases: int):
    """The values of targets as the gradient sees them."""
    return soft_values(one_hot(labels, phases), targets) if targets else jnp.zeros(0)
