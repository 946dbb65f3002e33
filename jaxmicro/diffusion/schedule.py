"""Noise schedules, as values of log_snr = log(alpha^2 / sigma^2)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion.noise import Scalar, linear_beta

CLEAN = 20.0  # log SNR of data without noise: sigma is 5e-5


def log_snr_times(steps: int, *, log_snr_min: Scalar | float, log_snr_max: Scalar | float) -> Float[Array, " t"]:
    """`steps` + 1 values of log SNR, evenly spaced from the noisiest to the cleanest."""
    return jnp.linspace(log_snr_min, log_snr_max, steps + 1)


def ddpm_times(steps: int, *, train_steps: int = 1000, beta_max: float = 2e-2) -> Float[Array, " t"]:
    """log SNR at `steps` evenly spaced times of the linear-beta process from t = T to 1, and CLEAN at the end.

    With `steps` = `train_steps` every time of the process is visited once (P-MicroLad eqs. 24 to 26).
    """
    schedule = linear_beta(train_steps, beta_max=beta_max)[::-1]
    visited = schedule[jnp.round(jnp.linspace(0, train_steps - 1, steps)).astype(int)]
    return jnp.append(visited, CLEAN)
