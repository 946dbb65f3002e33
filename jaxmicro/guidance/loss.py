"""One loss of one variable: how far a volume is from its targets, and the step that brings it nearer."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.guidance.quantities import QUANTITIES, of_each_plane
from jaxmicro.guidance.targets import Target
from jaxmicro.reconstruct.polyak import moved_to_lower


def measured(fractions: Float[Array, "z y x p"], targets: Sequence[Target]) -> Float[Array, " m"]:
    """The numbers of a volume that the targets are about."""
    return jnp.stack([_of_whole(fractions, target) for target in targets])


def misfit(fractions: Float[Array, "z y x p"], targets: Sequence[Target], aims: Float[Array, " m"]) -> Float[Array, ""]:
    """Weighted sum of the squared relative deviations from the aims; a bound counts where it is violated. Where each
    section should have the number, the mean over the sections.

    Args:
        aims: a number for each target: its value, or what is aimed at in order to arrive there.
    """
    value = jnp.zeros(())
    for target, aim in zip(targets, aims, strict=True):
        if target.each:
            numbers = of_each_plane(target.quantity, fractions, target.phase, target.axis)
        else:
            numbers = _of_whole(fractions, target)
        off = numbers / aim - 1
        side = {"=": 0, ">=": -1, "<=": 1}[target.relation]
        value += target.weight * jnp.mean(jnp.where(side * off < 0, 0.0, off) ** 2)
    return value


def _of_whole(fractions: Float[Array, "z y x p"], target: Target) -> Float[Array, ""]:
    measure = QUANTITIES[target.quantity].measure_of(periodic=target.periodic)
    return measure(fractions, target.phase, target.axis)


def steer(
    x0_hat: Float[Array, "z y x p"],
    targets: Sequence[Target],
    aims: Float[Array, " m"],
    *,
    steps: int = 2,
    largest: float = 1.0,
) -> Float[Array, "z y x p"]:
    """A predicted clean volume moved towards the aims by gradients of the misfit (`polyak.moved_to_lower`)."""
    return moved_to_lower(lambda fractions: misfit(fractions, targets, aims), x0_hat, steps=steps, largest=largest)
