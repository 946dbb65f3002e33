"""The prior of images or volumes: a network, what it predicts, and its loss.

x_t = alpha x + sigma eps. In pixel space x in {-1, 1}^p is the one-hot phase of each pixel, in a latent space the
normalised code of an autoencoder (vae.py). Three ways to predict, the first in pixel space only:

- "categorical": the network predicts *context logits*, to which the exact likelihood of the noisy pixel is added,
  p(phase | x_t) = softmax(net(x_t) + 2 alpha / sigma^2 x_t), since |x_t - alpha x|^2 / (2 sigma^2) differs between two
  phases a, b by -2 alpha (x_t[a] - x_t[b]) / sigma^2. Trained by cross-entropy.
- "epsilon": the network predicts the noise (Ho et al. 2020; P-Micro3Diff eq. 15, P-MicroLad eq. 21); squared error.
- "velocity": the network predicts alpha eps - sigma x (Salimans & Ho 2022); squared error.

The prior of a collection is conditioned on named features of its samples, of which any subset may be given: in training
some are dropped at random, so that one network is p(x | any of them). Sampling may exaggerate them (classifier-free
guidance, Ho & Salimans 2022): output(none) + guidance (output(given) - output(none)).
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxmicro.diffusion import (
    Codec,
    alpha,
    diffuse,
    linear_beta,
    pixel_codec,
    sigma,
    velocity,
    x0_from_eps,
    x0_from_velocity,
)
from jaxmicro.models.conditions import drop_features
from jaxmicro.models.unet import UNet, UNetConfig
from jaxmicro.models.vae import VAEConfig, init_vae, vae_codec
from jaxmicro.types import check_fields


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Configuration of a prior: phases, prediction, noise levels and networks; stored with its weights."""

    phases: int  # number of phases
    patch: int = 64  # edge of the training crops in pixels; unused with `shape`
    shape: tuple[int, ...] = ()  # of the samples of a collection, "h w" or "z y x"; (): edges of `patch`
    conditions: tuple[str, ...] = ()  # names of the features that it can be conditioned on
    prediction: str = "categorical"  # or "epsilon", "velocity"
    # range of noise levels in training: phases are undetermined at the first, certain at the last
    log_snr_range: tuple[float, float] = (-6.0, 3.0)
    levels: str = "uniform"  # distribution of noise levels: uniform in that range, or "ddpm": 1000 times of linear beta
    unet: UNetConfig = UNetConfig()
    vae: VAEConfig | None = None  # of a prior in latent space; None: pixel space

    def __post_init__(self):
        if self.phases < 2:
            raise ValueError(f"a prior needs at least 2 phases, got {self.phases}")
        if not 1 <= self.patch <= 8192 or self.phases > 256:
            raise ValueError(f"patch is {self.patch} and phases {self.phases}; expected 1 to 8192 and 2 to 256")
        low, high = self.log_snr_range
        if not -100 <= low < high <= 100:
            raise ValueError(f"log_snr_range is {self.log_snr_range}, expected two increasing numbers within -100..100")
        predictions = ("categorical", "epsilon", "velocity")[self.vae is not None :]
        if self.prediction not in predictions:
            raise ValueError(f"prediction in {self.space} space is {self.prediction!r}, expected one of {predictions}")
        if self.levels not in ("uniform", "ddpm"):
            raise ValueError(f"levels is {self.levels!r}, expected 'uniform' or 'ddpm'")
        if len(self.sample_shape) != self.unet.dims:
            raise ValueError(f"samples have shape {self.sample_shape}, the network {self.unet.dims} dimensions")
        if not all(1 <= edge <= 8192 for edge in self.sample_shape) or math.prod(self.sample_shape) > 2**31:
            raise ValueError(f"samples have shape {self.sample_shape}, expected edges of 1 to 8192, 2^31 pixels in all")
        if any(edge % self.factor for edge in self.sample_shape):
            edges = " x ".join(map(str, self.sample_shape))
            raise ValueError(f"{edges} is no multiple of the network's factor {self.factor}")
        if len(set(self.conditions)) < len(self.conditions) or len(self.conditions) > 256:
            raise ValueError(f"conditions are {self.conditions}, expected at most 256 different names")
        if self.vae is not None and (self.vae.phases, self.vae.dims) != (self.phases, self.unet.dims):
            raise ValueError(
                f"the autoencoder is for {self.vae.phases} phases in {self.vae.dims}D, "
                f"the prior for {self.phases} in {self.unet.dims}D; make them equal"
            )
        if self.vae is not None and not self.shape and self.vae.patch != self.patch:
            raise ValueError(
                f"the autoencoder is for crops of {self.vae.patch}, the prior for {self.patch}; make them equal"
            )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Pixels of a sample along each axis."""
        return self.shape or (self.patch,) * self.unet.dims

    @property
    def space(self) -> str:
        """Space of the diffusion: "pixel" or "latent"."""
        return "pixel" if self.vae is None else "latent"

    @property
    def cell(self) -> int:
        """Edge in pixels of one cell of that space."""
        return 1 if self.vae is None else self.vae.factor

    @property
    def channels(self) -> int:
        """Number of channels of that space."""
        return self.phases if self.vae is None else self.vae.channels

    @property
    def factor(self) -> int:
        """Pixels; edges of images and volumes must be multiples of it."""
        return self.cell * self.unet.factor

    def to_dict(self) -> dict:
        """The configuration as numbers, strings and lists, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "PriorConfig":
        """Inverse of `to_dict`; raises TypeError on an unknown field and ValueError on an invalid value."""
        as_tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        for part, kind in {"unet": UNetConfig, "vae": VAEConfig}.items():
            if as_tuples.get(part) is not None:
                fields = {k: tuple(v) if isinstance(v, list) else v for k, v in as_tuples[part].items()}
                as_tuples[part] = kind(**fields)
                check_fields(as_tuples[part])
        config = cls(**as_tuples)
        check_fields(config)
        return config


def init(config: PriorConfig, key: jax.Array) -> dict:
    """Initial parameters, a nested dict of float32 arrays: those of the U-Net, or in latent space {"unet", "vae",
    "latent"} with mean and standard deviation of the code in "latent"."""
    x = jnp.zeros((1,) + (config.unet.factor,) * config.unet.dims + (config.channels,))
    unet = dict(_unet(config).init(key, x, jnp.zeros(1))["params"])
    if config.vae is None:
        return unet
    code = {"mean": jnp.zeros(config.channels), "std": jnp.ones(config.channels)}
    return {"unet": unet, "vae": init_vae(config.vae, jax.random.fold_in(key, 1)), "latent": code}


def network_params(config: PriorConfig, params) -> Any:
    """The parameters of the U-Net."""
    return params if config.vae is None else params["unet"]


def codec(config: PriorConfig, params) -> Codec:
    """Conversion between phase fractions and the space of the diffusion."""
    if config.vae is None:
        return pixel_codec(config.phases)
    return vae_codec(config.vae, params["vae"], params["latent"])


def spread(log_snr: Float[Array, " n"], ndim: int) -> Float[Array, "n ..."]:
    """One value per sample, reshaped to broadcast with arrays of `ndim` dimensions."""
    return log_snr.reshape(log_snr.shape + (1,) * (ndim - 1))


def _unet(config: PriorConfig) -> UNet:
    return UNet(config.unet, config.channels, len(config.conditions))


def network(
    config: PriorConfig,
    params,
    x_t: Float[Array, "n *grid p"],
    log_snr: Float[Array, " n"],
    condition: Float[Array, "n f"] | None = None,
) -> Array:
    """Output of the U-Net: context logits (categorical), noise (epsilon) or velocity.

    Args:
        condition: standardised features in the order of `config.conditions`, NaN where one is not given; None: none is.
    """
    output = _unet(config).apply({"params": params}, x_t, log_snr, condition)
    return cast(Array, output)  # without mutable collections apply returns the output alone


def likelihood_logits(x_t: Float[Array, "... p"], log_snr: Float[Array, "..."]) -> Float[Array, "... p"]:
    """Logits of each phase given the noisy value of the pixel alone: 2 alpha / sigma^2 x_t; exact."""
    return 2 * alpha(log_snr) / sigma(log_snr) ** 2 * x_t


def posterior_logits(
    config: PriorConfig,
    params,
    x_t: Float[Array, "n *grid p"],
    log_snr: Float[Array, " n"],
    condition: Float[Array, "n f"] | None = None,
) -> Float[Array, "n *grid p"]:
    """Logits of p(phase | x_t, features): context logits plus the exact likelihood of the pixel."""
    return network(config, params, x_t, log_snr, condition) + likelihood_logits(x_t, spread(log_snr, x_t.ndim))


def denoiser(
    config: PriorConfig, params, condition: Float[Array, "n f"] | None = None, *, guidance: float = 1.0
) -> Callable[[Float[Array, "n *grid c"], Float[Array, ""]], Float[Array, "n *grid c"]]:
    """Function (x_t, log SNR) -> mean of the clean samples x_0 given their features.

    Args:
        condition: as in `network`.
        guidance: weight w of the features; the output is that without features + w times the difference that they make.
            1: as trained; more exaggerates them, at twice the cost.
    """
    unet = network_params(config, params)

    def output(x_t: Array, log_snr: Array) -> Array:
        levels = jnp.broadcast_to(log_snr, len(x_t))
        if condition is None or guidance == 1.0:
            return network(config, unet, x_t, levels, condition)
        both = jnp.concatenate([jnp.full_like(condition, jnp.nan), condition])
        free, given = jnp.split(
            network(config, unet, jnp.tile(x_t, (2,) + (1,) * (x_t.ndim - 1)), jnp.tile(levels, 2), both), 2
        )
        return free + guidance * (given - free)

    def denoise(x_t: Float[Array, "n *grid c"], log_snr: Float[Array, ""]) -> Float[Array, "n *grid c"]:
        predicted = output(x_t, log_snr)
        if config.prediction == "categorical":
            return 2 * jax.nn.softmax(predicted + likelihood_logits(x_t, log_snr), axis=-1) - 1
        return (x0_from_eps if config.prediction == "epsilon" else x0_from_velocity)(x_t, log_snr, predicted)

    return denoise


def loss(
    config: PriorConfig,
    params,
    batch: Shaped[Array, " n *grid"],
    key: jax.Array,
    features: Float[Array, "n f"] | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Training loss, the mean over crops, pixels and noise levels (stratified over the batch), and its metrics.

    Categorical: cross-entropy in nats per pixel; it falls from log p for pure noise to 0 without noise.

    Args:
        params: of the U-Net alone (`network_params`).
        batch: labels "n *grid"; in latent space normalised codes "n *grid c": the autoencoder is not trained here.
        features: of the samples, standardised; some are dropped at random (`drop_features`).
    """
    time_key, noise_key = jax.random.split(key)
    condition = None if features is None else drop_features(features, jax.random.fold_in(key, 2))
    log_snr = noise_levels(config, batch.shape[0], time_key)
    x = 2 * jax.nn.one_hot(batch, config.phases) - 1 if config.vae is None else batch
    eps = jax.random.normal(noise_key, x.shape)
    x_t = diffuse(x, spread(log_snr, x.ndim), eps)
    if config.prediction != "categorical":
        target = eps if config.prediction == "epsilon" else velocity(x, spread(log_snr, x.ndim), eps)
        value = jnp.mean((network(config, params, x_t, log_snr, condition) - target) ** 2)
        return value, {"squared_error": value}
    log_p = jax.nn.log_softmax(posterior_logits(config, params, x_t, log_snr, condition), axis=-1)
    value = -jnp.mean(jnp.sum(log_p * (x + 1) / 2, axis=-1))
    return value, {"cross_entropy": value}


def noise_levels(config: PriorConfig, count: int, key: jax.Array) -> Float[Array, " n"]:
    """Log SNRs of a batch: one from each of `count` equal parts of all levels."""
    u = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    if config.levels == "ddpm":
        times = linear_beta()
        return times[jnp.minimum((u * len(times)).astype(int), len(times) - 1)]
    low, high = config.log_snr_range
    return low + (high - low) * u
