"""One loss of one variable: how far a volume is from its targets, and the step that brings it nearer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.guidance.quantities import QUANTITIES, hardened
from jaxmicro.guidance.targets import Target


def measured(fractions: Float[Array, "z y x p"], targets: Sequence[Target]) -> Float[Array, " m"]:
    """The numbers of a volume that the targets are about."""
    return jnp.stack([QUANTITIES[t.quantity].measure(fractions, t.phase, t.axis) for t in targets])


def misfit(fractions: Float[Array, "z y x p"], targets: Sequence[Target], aims: Float[Array, " m"]) -> Float[Array, ""]:
    """Weighted sum of the squared relative deviations from the aims; a bound counts where it is violated.

    Args:
        aims: a number for each target: its value, or what is aimed at in order to arrive there.
    """
    off = measured(fractions, targets) / aims - 1
    sides = jnp.array([{"=": 0.0, ">=": -1.0, "<=": 1.0}[t.relation] for t in targets])
    off = jnp.where(sides * off < 0, 0.0, off)
    return jnp.sum(jnp.array([t.weight for t in targets]) * off**2)


def steer(
    x0_hat: Float[Array, "z y x p"],
    targets: Sequence[Target],
    aims: Float[Array, " m"],
    *,
    steps: int = 2,
    largest: float = 1.0,
) -> Float[Array, "z y x p"]:
    """A predicted clean volume with its logits moved towards the aims.

    Gradient steps of the length that would bring a misfit linear in the logits to zero (Polyak's with minimum 0, twice
    because the misfit is a square): no step size to choose. Decided voxels hardly move: their derivative is small.

    Args:
        x0_hat: 2 p - 1, with p the posterior of each phase.
        steps: gradients taken.
        largest: change of any logit in one step.
    """

    def loss(logits: Float[Array, "z y x p"]) -> Float[Array, ""]:
        return misfit(hardened(jax.nn.softmax(logits, axis=-1)), targets, aims)

    def step(_, logits: Float[Array, "z y x p"]) -> Float[Array, "z y x p"]:
        value, gradient = jax.value_and_grad(loss)(logits)
        change = 2 * value / (jnp.sum(gradient**2) + 1e-20) * gradient
        return logits - change * jnp.minimum(1.0, largest / (jnp.max(jnp.abs(change)) + 1e-20))

    logits = jnp.log(jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0))
    return 2 * jax.nn.softmax(jax.lax.fori_loop(0, steps, step, logits), axis=-1) - 1
