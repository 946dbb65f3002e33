"""Misfit of a volume from setpoints of its targets: the loss that guidance and interface optimisation reduce."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.guidance.quantities import QUANTITIES, of_each_plane
from jaxmicro.guidance.targets import Target


def soft_values(fractions: Float[Array, "z y x p"], targets: Sequence[Target]) -> Float[Array, " m"]:
    """Values of the quantities of targets in a volume of phase fractions."""
    return jnp.stack([_of_whole(fractions, target) for target in targets])


def misfit(
    fractions: Float[Array, "z y x p"], targets: Sequence[Target], setpoints: Float[Array, " m"]
) -> Float[Array, ""]:
    """Weighted sum of the squared relative deviations from setpoints, differentiable.

    An inequality contributes where it is violated; a target for each section (`Target.each`) contributes the mean over
    the sections.

    Args:
        setpoints: one for each target: its value, or a corrected one.

    >>> fractions = jnp.full((2, 2, 2, 2), 0.5)
    >>> float(misfit(fractions, [Target("volume_fraction", 0, value=0.4)], jnp.array([0.4])))  # (0.5 / 0.4 - 1)^2
    0.0625
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
