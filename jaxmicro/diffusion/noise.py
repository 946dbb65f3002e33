"""The Gaussian noising x_t = alpha x_0 + sigma eps, alpha^2 + sigma^2 = 1, written in log_snr = log(alpha^2 / sigma^2).

Used by the networks, which predict one of its terms, and by the diffusion process.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def alpha(log_snr: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Signal amplitude of x_t = alpha x_0 + sigma eps."""
    return jnp.sqrt(jax.nn.sigmoid(log_snr))


def sigma(log_snr: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Noise amplitude of x_t = alpha x_0 + sigma eps."""
    return jnp.sqrt(jax.nn.sigmoid(-log_snr))


def diffuse(x_0: Float[Array, "*grid"], log_snr: Float[Array, "..."], eps: Float[Array, "*grid"]) -> Array:
    """x_t = alpha x_0 + sigma eps (Ho et al. 2020, eq. 4)."""
    return alpha(log_snr) * x_0 + sigma(log_snr) * eps


def x0_from_eps(x_t: Float[Array, "*grid"], log_snr: Float[Array, "..."], eps: Float[Array, "*grid"]) -> Array:
    """x_0 = (x_t - sigma eps) / alpha."""
    return (x_t - sigma(log_snr) * eps) / alpha(log_snr)


def velocity(x_0: Float[Array, "*grid"], log_snr: Float[Array, "..."], eps: Float[Array, "*grid"]) -> Array:
    """v = alpha eps - sigma x_0: a target of unit scale at every noise level (Salimans & Ho 2022, appendix D)."""
    return alpha(log_snr) * eps - sigma(log_snr) * x_0


def x0_from_velocity(x_t: Float[Array, "*grid"], log_snr: Float[Array, "..."], v: Float[Array, "*grid"]) -> Array:
    """x_0 = alpha x_t - sigma v."""
    return alpha(log_snr) * x_t - sigma(log_snr) * v


def eps_from_x0(x_t: Float[Array, "*grid"], log_snr: Float[Array, "..."], x_0: Float[Array, "*grid"]) -> Array:
    """eps = (x_t - alpha x_0) / sigma."""
    return (x_t - alpha(log_snr) * x_0) / sigma(log_snr)


def linear_beta(steps: int = 1000, *, beta_min: float = 1e-4, beta_max: float = 2e-2) -> Float[Array, " t"]:
    """log SNR of the DDPM process with evenly spaced betas, t = 1..steps (Ho et al. 2020; P-MicroLad Table A.3).

    P-Micro3Diff uses beta_max = 1e-2, with which the image is still visible at the last time.
    """
    alpha_bar = jnp.cumprod(1 - jnp.linspace(beta_min, beta_max, steps))  # P-Micro3Diff eq. 19
    return jnp.log(alpha_bar) - jnp.log1p(-alpha_bar)
