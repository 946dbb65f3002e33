"""The Gaussian noising x_t = alpha x_0 + sigma eps, alpha^2 + sigma^2 = 1, written in log_snr = log(alpha^2 / sigma^2).

Layer 0: networks, which predict one of its terms, and the diffusion process both speak of it.
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


def eps_from_x0(x_t: Float[Array, "*grid"], log_snr: Float[Array, "..."], x_0: Float[Array, "*grid"]) -> Array:
    """eps = (x_t - alpha x_0) / sigma."""
    return (x_t - alpha(log_snr) * x_0) / sigma(log_snr)
