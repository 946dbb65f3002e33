"""One loss of one variable: how far a volume is from its targets, and the step that brings it nearer."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.guidance.quantities import QUANTITIES, of_each_plane
from jaxmicro.guidance.targets import Target


def target_values(fractions: Float[Array, "z y x p"], targets: Sequence[Target]) -> Float[Array, " m"]:
    """The numbers of a volume that the targets are about."""
    return jnp.stack([_of_whole(fractions, target) for target in targets])


def misfit(
    fractions: Float[Array, "z y x p"], targets: Sequence[Target], setpoints: Float[Array, " m"]
) -> Float[Array, ""]:
    """Weighted sum of the squared relative deviations from the setpoints, differentiable; of an inequality where it is
    violated, of a target for each section (`Target.each`) the mean over the sections.

    Args:
        setpoints: a number for each target, its value or one that leads to it.
    """
    value = jnp.zeros(())
    for target, setpoint in zip(targets, setpoints, strict=True):
        if target.each:
            numbers = of_each_plane(target.quantity, fractions, target.phase, target.axis)
        else:
            numbers = _of_whole(fractions, target)
        deviation = numbers / setpoint - 1
        side = {"=": 0, ">=": -1, "<=": 1}[target.relation]
        value += target.weight * jnp.mean(jnp.where(side * deviation < 0, 0.0, deviation) ** 2)
    return value


def _of_whole(fractions: Float[Array, "z y x p"], target: Target) -> Float[Array, ""]:
    measure = QUANTITIES[target.quantity].measure_of(periodic=target.periodic)
    return measure(fractions, target.phase, target.axis)
