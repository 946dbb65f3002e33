"""Ancestral sampling of images from a 2D prior."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion import PlaneModel, StepInput, ddim_step, log_snr_times


def sample_planes(
    model: PlaneModel, shape: tuple[int, ...], *, log_snr_min: float, log_snr_max: float, keys: jax.Array
) -> Float[Array, "n h w c"]:
    """Images in the space of the diffusion, by DDIM steps with eta = 1 evenly spaced in log SNR.

    Args:
        shape: n, h, w, c.
        keys: one for the initial noise, and one for each step.
    Returns:
        The last prediction of the clean images.
    """
    times = log_snr_times(len(keys) - 1, log_snr_min=log_snr_min, log_snr_max=log_snr_max)

    def step(x_t, now):
        t, s, key = now
        evidence = model.evidence(x_t, jnp.broadcast_to(t, shape[:1]))
        x0_hat = model.combine(evidence[None], jnp.ones(1), x_t, t)
        noise = jax.random.normal(key, shape)
        return ddim_step(StepInput(x_t, x0_hat, x0_hat, noise, t, t, s), eta=1.0), x0_hat

    x_t = jax.random.normal(keys[0], shape)
    _, predictions = jax.lax.scan(step, x_t, (times[:-1], times[1:], keys[1:]))
    return predictions[-1]
