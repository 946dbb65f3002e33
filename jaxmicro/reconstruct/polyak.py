"""Polyak steps on the logits of a predicted clean volume."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.phases import hardened


def polyak_step(
    loss: Callable[[Float[Array, "*grid p"]], Float[Array, ""]],
    x0_hat: Float[Array, "*grid p"],
    *,
    steps: int = 1,
    max_change: float = 1.0,
    clip_each: bool = False,
    gradient_filter: Callable[[Float[Array, "*grid p"]], Float[Array, "*grid p"]] | None = None,
) -> Float[Array, "*grid p"]:
    """Gradient steps of Polyak's step size on the logits of a predicted clean volume, for a loss with minimum 0.

    The step size 2 L / |grad L|^2 brings a loss whose square root is linear in the logits to zero. The loss is
    evaluated on the most probable phases, with the derivative of the soft ones (`phases.hardened`): the logits of
    decided voxels hardly change, because the derivative of their softmax is small.

    Args:
        loss: L of phase fractions, at least 0.
        x0_hat: 2 p - 1, with p the posterior probability of each phase.
        steps: number of steps.
        max_change: upper bound of the change of any logit in one step.
        clip_each: apply the bound to each voxel instead of shortening the whole step; where a few voxels have most of
            the gradient, as the throats that carry a current do, the others would hardly change.
        gradient_filter: symmetric positive definite linear filter of the gradient, the inverse metric of the descent;
            None: the identity.
    Returns:
        2 p - 1 after the steps.
    Source: Polyak, USSR Comput. Math. Math. Phys. 9, 14 (1969).
    """

    def loss_of_logits(logits: Float[Array, "*grid p"]) -> Float[Array, ""]:
        return loss(hardened(jax.nn.softmax(logits, axis=-1)))

    def step(_, logits: Float[Array, "*grid p"]) -> Float[Array, "*grid p"]:
        value, gradient = jax.value_and_grad(loss_of_logits)(logits)
        direction = gradient if gradient_filter is None else gradient_filter(gradient)
        change = 2 * value / (jnp.sum(gradient * direction) + 1e-20) * direction
        if clip_each:
            return logits - jnp.clip(change, -max_change, max_change)
        return logits - change * jnp.minimum(1.0, max_change / (jnp.max(jnp.abs(change)) + 1e-20))

    logits = jnp.log(jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0))
    return 2 * jax.nn.softmax(jax.lax.fori_loop(0, steps, step, logits), axis=-1) - 1
