"""The 2D prior: a network, what it predicts, and its loss.

x_t = alpha x + sigma eps. In pixel space x in {-1, 1}^p is the one-hot phase of each pixel, in a latent space the
normalised code of an autoencoder (vae.py). Three ways to predict, the first in pixel space only:

- "categorical": the network predicts *context logits*, to which the exact likelihood of the noisy pixel is added,
  p(phase | x_t) = softmax(net(x_t) + 2 alpha / sigma^2 x_t), since |x_t - alpha x|^2 / (2 sigma^2) differs between two
  phases a, b by -2 alpha (x_t[a] - x_t[b]) / sigma^2. Trained by cross-entropy.
- "epsilon": the network predicts the noise (Ho et al. 2020; P-Micro3Diff eq. 15, P-MicroLad eq. 21); squared error.
- "velocity": the network predicts alpha eps - sigma x (Salimans & Ho 2022); squared error.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxmicro.diffusion import (
    Codec,
    PlaneModel,
    alpha,
    diffuse,
    linear_beta,
    pixel_codec,
    sigma,
    velocity,
    x0_from_eps,
    x0_from_velocity,
)
from jaxmicro.models import vae
from jaxmicro.models.unet import UNet, UNetConfig
from jaxmicro.models.vae import VAEConfig, init_vae, vae_codec
from jaxmicro.types import check_fields


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """Configuration of a prior: phases, prediction, noise levels and networks; stored with its weights."""

    phases: int  # number of phases
    patch: int = 64  # edge of the training crops in pixels
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
        if self.patch % self.factor:
            raise ValueError(f"patch edge {self.patch} is not a multiple of the network's factor {self.factor}")
        if self.vae is not None and (self.vae.phases, self.vae.patch) != (self.phases, self.patch):
            raise ValueError(
                f"the autoencoder is for {self.vae.phases} phases and crops of {self.vae.patch}, "
                f"the prior for {self.phases} and {self.patch}; make them equal"
            )

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


def latent_small(phases: int, latent_size: int = 16, *, patch: int = 64) -> PriorConfig:
    """A latent prior for a CPU; `latent_size` is the edge of the code of a crop."""
    return PriorConfig(
        phases=phases,
        patch=patch,
        prediction="velocity",
        log_snr_range=(-6.0, 5.0),
        unet=UNetConfig(patch=1, widths=(64, 128)),
        vae=vae.small(phases, latent_size, patch=patch),
    )


def latent_paper(phases: int, latent_size: int = 16, *, patch: int = 64) -> PriorConfig:
    """P-MicroLad Tables A.2 to A.4: 1000 steps of linear beta, base width 128, embedding 64, attention throughout."""
    return PriorConfig(
        phases=phases,
        patch=patch,
        prediction="epsilon",
        levels="ddpm",
        log_snr_range=(-10.0, 9.0),  # range of these levels
        unet=UNetConfig(patch=1, widths=(128, 256, 256), attention=(True,) * 3, embedding=64),
        vae=vae.paper(phases, latent_size, patch=patch),
    )


def init(config: PriorConfig, key: jax.Array) -> dict:
    """Initial parameters, a nested dict of float32 arrays: those of the U-Net, or in latent space {"unet", "vae",
    "latent"} with mean and standard deviation of the code in "latent"."""
    x = jnp.zeros((1,) + (config.unet.factor,) * config.unet.dims + (config.channels,))
    unet = dict(UNet(config.unet, config.channels).init(key, x, jnp.zeros(1))["params"])
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


def network(config: PriorConfig, params, x_t: Float[Array, "n *grid p"], log_snr: Float[Array, " n"]) -> Array:
    """Output of the U-Net: context logits (categorical), noise (epsilon) or velocity."""
    output = UNet(config.unet, config.channels).apply({"params": params}, x_t, log_snr)
    return cast(Array, output)  # without mutable collections apply returns the output alone


def likelihood_logits(x_t: Float[Array, "... p"], log_snr: Float[Array, "..."]) -> Float[Array, "... p"]:
    """Logits of each phase given the noisy value of the pixel alone: 2 alpha / sigma^2 x_t; exact."""
    return 2 * alpha(log_snr) / sigma(log_snr) ** 2 * x_t


def posterior_logits(
    config: PriorConfig, params, x_t: Float[Array, "n *grid p"], log_snr: Float[Array, " n"]
) -> Float[Array, "n *grid p"]:
    """Logits of p(phase | x_t): context logits plus the exact likelihood of the pixel."""
    return network(config, params, x_t, log_snr) + likelihood_logits(x_t, spread(log_snr, x_t.ndim))


def plane_model(config: PriorConfig, params) -> PlaneModel:
    """The trained prior as the `PlaneModel` that multi-plane denoising uses."""
    unet = network_params(config, params)

    def evidence(x_t: Float[Array, "n h w p"], log_snr: Float[Array, " n"]) -> Float[Array, "n h w p"]:
        output = network(config, unet, x_t, log_snr)
        if config.prediction == "categorical":
            return jax.nn.log_softmax(output, axis=-1)
        x_0 = x0_from_eps if config.prediction == "epsilon" else x0_from_velocity
        return x_0(x_t, spread(log_snr, x_t.ndim), output)

    return PlaneModel(evidence, product_of_experts if config.prediction == "categorical" else weighted_mean)


def product_of_experts(
    evidence: Float[Array, "a *grid p"],
    weights: Float[Array, " a"],
    x_t: Float[Array, "*grid p"],
    log_snr: Float[Array, ""],
) -> Float[Array, "*grid p"]:
    """Mean of x_0 if the planes through a voxel are independent evidence, each raised to the power of its weight.

    p(phase | x_t) is proportional to p(phase) prod_a [p(phase | plane a) / p(phase)]^w_a times the likelihood of the
    noisy value of the voxel; p(phase) is the mean of p(phase | plane a) over the grid. With weights (1, 0, 0) it is the
    posterior of one plane. Planes share neighbours of the voxel, so that with all weights 1 some count twice.
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
    config: PriorConfig, params, batch: Shaped[Array, " n *grid"], key: jax.Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Training loss, the mean over crops, pixels and noise levels (stratified over the batch), and its metrics.

    Categorical: cross-entropy in nats per pixel; it falls from log p for pure noise to 0 without noise.

    Args:
        params: of the U-Net alone (`network_params`).
        batch: labels "n *grid"; in latent space normalised codes "n *grid c": the autoencoder is not trained here.
    """
    time_key, noise_key = jax.random.split(key)
    log_snr = noise_levels(config, batch.shape[0], time_key)
    x = 2 * jax.nn.one_hot(batch, config.phases) - 1 if config.vae is None else batch
    eps = jax.random.normal(noise_key, x.shape)
    x_t = diffuse(x, spread(log_snr, x.ndim), eps)
    if config.prediction != "categorical":
        target = eps if config.prediction == "epsilon" else velocity(x, spread(log_snr, x.ndim), eps)
        value = jnp.mean((network(config, params, x_t, log_snr) - target) ** 2)
        return value, {"squared_error": value}
    log_p = jax.nn.log_softmax(posterior_logits(config, params, x_t, log_snr), axis=-1)
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
