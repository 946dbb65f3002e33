"""The Gaussian diffusion process and one step of its reversal, independent of the network."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion.noise import Scalar, alpha, eps_from_x0, sigma


def renoise(x_s: Float[Array, "*grid"], s: Scalar, t: Scalar, noise: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    """Forward step q(x_t | x_s) from log SNR s back to the smaller t (P-Micro3Diff eq. 21)."""
    ratio = alpha(t) / alpha(s)
    return ratio * x_s + jnp.sqrt(jnp.maximum(sigma(t) ** 2 - (ratio * sigma(s)) ** 2, 0.0)) * noise


class StepInput(NamedTuple):
    """Arguments of one reverse step, from log SNR `t` to the larger `s`."""

    x_t: Array
    x0_hat: Array
    x0_before: Array  # prediction of the previous step, at log SNR `before`; equal to x0_hat at the first step
    noise: Array
    before: Scalar
    t: Scalar
    s: Scalar


def ddim_step(step: StepInput, *, eta: float) -> Array:
    """DDIM (Song et al. 2021, eqs. 12, 16): eta = 0 deterministic, eta = 1 the ancestral step of DDPM."""
    t, s = step.t, step.s
    eps_hat = eps_from_x0(step.x_t, t, step.x0_hat)
    variance = (sigma(s) / sigma(t)) ** 2 * (1 - (alpha(t) / alpha(s)) ** 2)  # of q(x_s | x_t, x_0)
    fresh = eta**2 * variance
    return alpha(s) * step.x0_hat + jnp.sqrt(sigma(s) ** 2 - fresh) * eps_hat + jnp.sqrt(fresh) * step.noise


def dpm_solver_step(step: StepInput, *, eta: float) -> Array:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), for eta = 1 its SDE form; second order in the log-SNR step.

    With lambda = log_snr / 2 and h = lambda_s - lambda_t, the noise-free part of x contracts by exp(-(1 + eta^2) h)
    towards the prediction extrapolated linearly in lambda.
    """
    h = (step.s - step.t) / 2
    h_before = (step.t - step.before) / 2
    first = h_before <= 0
    slope = jnp.where(first, 0.0, h / (2 * jnp.where(first, 1.0, h_before)))
    x0_hat = (1 + slope) * step.x0_hat - slope * step.x0_before
    decay = jnp.exp(-(1 + eta**2) * h)
    mean = sigma(step.s) / sigma(step.t) * jnp.exp(-(eta**2) * h) * step.x_t + alpha(step.s) * (1 - decay) * x0_hat
    return mean + sigma(step.s) * jnp.sqrt(1 - jnp.exp(-2 * eta**2 * h)) * step.noise
