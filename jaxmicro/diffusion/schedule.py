"""Noise schedules, as values of log_snr = log(alpha^2 / sigma^2)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear_beta(steps: int = 1000, *, beta_min: float = 1e-4, beta_max: float = 2e-2) -> Float[Array, " t"]:
    """log SNR of the DDPM process with evenly spaced betas, t = 1..steps (Ho et al. 2020; P-MicroLad Table A.3).

    P-Micro3Diff uses beta_max = 1e-2, which leaves a visible trace of the image at the last time.
    """
    alpha_bar = jnp.cumprod(1 - jnp.linspace(beta_min, beta_max, steps))  # P-Micro3Diff eq. 19
    return jnp.log(alpha_bar) - jnp.log1p(-alpha_bar)


def log_snr_times(steps: int, *, log_snr_min: float, log_snr_max: float) -> Float[Array, " t"]:
    """`steps` + 1 values of log SNR, evenly spaced from the noisiest to the cleanest."""
    return jnp.linspace(log_snr_min, log_snr_max, steps + 1)


def ddpm_times(steps: int, *, train_steps: int = 1000, beta_max: float = 2e-2) -> Float[Array, " t"]:
    """`steps` + 1 values of log SNR at evenly spaced times of the linear-beta process, noisiest first."""
    schedule = linear_beta(train_steps, beta_max=beta_max)[::-1]
    return schedule[jnp.round(jnp.linspace(0, train_steps - 1, steps + 1)).astype(int)]
