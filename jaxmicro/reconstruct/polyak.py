"""Move the prediction of a clean volume towards lower loss: no step size to choose."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.phases import hardened


def moved_to_lower(
    loss: Callable[[Float[Array, "*grid p"]], Float[Array, ""]],
    x0_hat: Float[Array, "*grid p"],
    *,
    steps: int = 1,
    largest: float = 1.0,
    each: bool = False,
    smoothed: Callable[[Float[Array, "*grid p"]], Float[Array, "*grid p"]] | None = None,
) -> Float[Array, "*grid p"]:
    """A predicted clean volume with its logits moved towards lower loss of its most probable phases.

    Gradient steps of the length that would bring a loss to zero whose root is linear in the logits (Polyak's with
    minimum 0, twice because the loss is a square). Decided voxels hardly move: their derivative is small.

    Args:
        loss: of one-hot fractions; at least 0.
        x0_hat: 2 p - 1, with p the posterior of each phase.
        steps: gradients taken.
        largest: change of any logit in one step.
        each: cut a longer change voxel by voxel, and do not shorten all of it; where a few voxels have most of the
            gradient, as the throats of a current do, the others would hardly move.
        smoothed: symmetric positive linear filter of the gradient, its metric; None: steepest descent voxel by voxel.
    """

    def of_logits(logits: Float[Array, "*grid p"]) -> Float[Array, ""]:
        return loss(hardened(jax.nn.softmax(logits, axis=-1)))

    def step(_, logits: Float[Array, "*grid p"]) -> Float[Array, "*grid p"]:
        value, gradient = jax.value_and_grad(of_logits)(logits)
        direction = gradient if smoothed is None else smoothed(gradient)
        change = 2 * value / (jnp.sum(gradient * direction) + 1e-20) * direction
        if each:
            return logits - jnp.clip(change, -largest, largest)
        return logits - change * jnp.minimum(1.0, largest / (jnp.max(jnp.abs(change)) + 1e-20))

    logits = jnp.log(jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0))
    return 2 * jax.nn.softmax(jax.lax.fori_loop(0, steps, step, logits), axis=-1) - 1
