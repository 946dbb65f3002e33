"""The 2D prior: a network, what it predicts, and its loss.

x in {-1, 1}^p is the one-hot phase of each pixel, x_t = alpha x + sigma eps. Two ways to predict:

- "categorical": the network gives *context logits*; the likelihood of the pixel's own noisy value is exact and added,
  p(phase | x_t) = softmax(net(x_t) + 2 alpha / sigma^2 x_t), since |x_t - alpha x|^2 / (2 sigma^2) differs between two
  phases a, b by -2 alpha (x_t[a] - x_t[b]) / sigma^2. Trained by cross-entropy.
- "epsilon": the network gives the noise (Ho et al. 2020; P-Micro3Diff eq. 15). Trained by squared error.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxmicro.models.unet import UNet, UNetConfig
from jaxmicro.noise import alpha, diffuse, sigma, x0_from_eps
from jaxmicro.planes import PlaneModel


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """What a checkpoint needs to be used again."""

    phases: int  # number of phases
    patch: int = 64  # edge of the training crops in pixels
    prediction: str = "categorical"  # or "epsilon"
    log_snr_range: tuple[float, float] = (-6.0, 3.0)  # noise levels seen in training, uniform; all is decided there
    unet: UNetConfig = UNetConfig()

    def __post_init__(self):
        if self.phases < 2:
            raise ValueError(f"a prior needs at least 2 phases, got {self.phases}")
        if self.prediction not in ("categorical", "epsilon"):
            raise ValueError(f"prediction is {self.prediction!r}, expected 'categorical' or 'epsilon'")
        if self.patch % self.unet.factor:
            raise ValueError(f"patch edge {self.patch} is not a multiple of the network's factor {self.unet.factor}")

    def to_dict(self) -> dict:
        """Plain numbers, strings and lists, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "PriorConfig":
        """Inverse of `to_dict`; an unknown field is a TypeError."""
        as_tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        unet: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in as_tuples.pop("unet").items()}
        return cls(unet=UNetConfig(**unet), **as_tuples)


def init(config: PriorConfig, key: jax.Array) -> dict:
    """Fresh parameters, a plain nested dict of float32 arrays."""
    x = jnp.zeros((1,) + (config.unet.factor,) * config.unet.dims + (config.phases,))
    return dict(UNet(config.unet, config.phases).init(key, x, jnp.zeros(1))["params"])


def spread(log_snr: Float[Array, " n"], ndim: int) -> Float[Array, "n ..."]:
    """One value per sample, shaped to multiply arrays of `ndim` dimensions."""
    return log_snr.reshape(log_snr.shape + (1,) * (ndim - 1))


def network(config: PriorConfig, params, x_t: Float[Array, "n *grid p"], log_snr: Float[Array, " n"]) -> Array:
    """The network as it is: context logits (categorical) or noise (epsilon)."""
    output = UNet(config.unet, config.phases).apply({"params": params}, x_t, log_snr)
    return cast(Array, output)  # without mutable collections apply returns the output alone


def likelihood_logits(x_t: Float[Array, "... p"], log_snr: Float[Array, "..."]) -> Float[Array, "... p"]:
    """Logits of each phase from the pixel's own noisy value alone: 2 alpha / sigma^2 x_t; exact."""
    return 2 * alpha(log_snr) / sigma(log_snr) ** 2 * x_t


def posterior_logits(
    config: PriorConfig, params, x_t: Float[Array, "n *grid p"], log_snr: Float[Array, " n"]
) -> Float[Array, "n *grid p"]:
    """Logits of p(phase | x_t): the context's plus the exact likelihood of the pixel itself."""
    return network(config, params, x_t, log_snr) + likelihood_logits(x_t, spread(log_snr, x_t.ndim))


def plane_model(config: PriorConfig, params) -> PlaneModel:
    """The trained prior in the role that multi-plane denoising knows."""

    def evidence(x_t: Float[Array, "n h w p"], log_snr: Float[Array, " n"]) -> Float[Array, "n h w p"]:
        output = network(config, params, x_t, log_snr)
        if config.prediction == "categorical":
            return jax.nn.log_softmax(output, axis=-1)
        return x0_from_eps(x_t, spread(log_snr, x_t.ndim), output)

    return PlaneModel(evidence, product_of_experts if config.prediction == "categorical" else weighted_mean)


def product_of_experts(
    evidence: Float[Array, "a *grid p"],
    weights: Float[Array, " a"],
    x_t: Float[Array, "*grid p"],
    log_snr: Float[Array, ""],
) -> Float[Array, "*grid p"]:
    """Mean of x_0 when the planes through a voxel are independent witnesses, each to the power of its weight.

    p(phase | x_t) is proportional to p(phase) prod_a [p(phase | plane a) / p(phase)]^w_a times the likelihood of the
    voxel's own value; p(phase) is the mean of p(phase | plane a) over the grid. With weights (1, 0, 0) it is the
    posterior of one plane. Planes share neighbours, so that weights of 1 for all would count some of them twice.
    """
    marginal = jnp.log(jnp.mean(jnp.exp(evidence), axis=tuple(range(1, evidence.ndim - 1)), keepdims=True) + 1e-9)
    prior = jnp.tensordot(weights / weights.sum(), marginal, axes=1)
    total = jnp.tensordot(weights, evidence - marginal, axes=1) + prior
    return 2 * jax.nn.softmax(total + likelihood_logits(x_t, log_snr), axis=-1) - 1


def weighted_mean(
    evidence: Float[Array, "a *grid c"],
    weights: Float[Array, " a"],
    x_t: Float[Array, "*grid c"],
    log_snr: Float[Array, ""],
) -> Float[Array, "*grid c"]:
    """Weighted mean of the planes' predictions of x_0."""
    return jnp.tensordot(weights / weights.sum(), evidence, axes=1)


def loss(
    config: PriorConfig, params, labels: Shaped[Array, " n *grid"], key: jax.Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean over crops, pixels and noise levels (uniform in log SNR, stratified over the batch).

    Categorical: cross-entropy in nats per pixel; it falls from log p at pure noise to 0 at none.
    """
    n = labels.shape[0]
    time_key, noise_key = jax.random.split(key)
    low, high = config.log_snr_range
    u = (jnp.arange(n) + jax.random.uniform(time_key, (n,))) / n  # stratified: one level from each n-th of the range
    log_snr = low + (high - low) * u
    x = 2 * jax.nn.one_hot(labels, config.phases) - 1
    eps = jax.random.normal(noise_key, x.shape)
    x_t = diffuse(x, spread(log_snr, x.ndim), eps)
    if config.prediction == "epsilon":
        value = jnp.mean((network(config, params, x_t, log_snr) - eps) ** 2)
        return value, {"squared_error": value}
    log_p = jax.nn.log_softmax(posterior_logits(config, params, x_t, log_snr), axis=-1)
    value = -jnp.mean(jnp.sum(log_p * (x + 1) / 2, axis=-1))
    return value, {"cross_entropy": value}
