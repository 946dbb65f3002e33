"""Variational autoencoder: phase fractions "n *grid p" <-> a Gaussian code "n *cell c" (P-MicroLad 3.2, appendix A).

The input is one-hot and the output logits, so that phases have no order as grey levels would have. After training the
code is normalised to zero mean and unit variance per channel (`latent_statistics`); the diffusion is in this code.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxmicro.diffusion import Codec
from jaxmicro.models.layers import ResidualBlock, SelfAttention, conv, depth_to_space, space_to_depth


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Architecture of encoder and decoder, and their loss."""

    phases: int
    patch: int = 64  # edge of the training crops, pixels
    channels: int = 4  # c, of the code
    fold: int = 2  # edge of the pixel blocks rearranged into channels at the input (space to depth); 1: none
    encoder: tuple[int, ...] = (32, 32)  # widths at each resolution, finest first; each but the first halves the edge
    decoder: tuple[int, ...] = (32, 32)  # widths of the decoder, also finest first
    dims: int = 2  # spatial dimensions
    periodic: tuple[bool, ...] = ()  # for each axis, whether samples continue at their opposite face; (): along none
    blocks: int = 1  # residual blocks after each change of resolution; two more at the coarsest
    attention: bool = False  # among all pixels of the coarsest resolution
    reconstruction: str = "cross_entropy"  # or "l1", of the phase fractions (eq. 51); a mean over the pixels
    kl_weight: float = 0.01  # of the sum of KL over the code, per pixel; 1: the evidence lower bound

    def __post_init__(self):
        if len(self.encoder) != len(self.decoder) or not self.encoder:
            raise ValueError(f"encoder {self.encoder} and decoder {self.decoder} must have as many widths, at least 1")
        counts = (*self.encoder, *self.decoder, self.patch, self.channels)
        if len(self.encoder) > 8 or not all(1 <= count <= 8192 for count in counts):
            raise ValueError(
                f"widths {self.encoder} and {self.decoder}, patch {self.patch} and channels {self.channels} of the "
                "autoencoder must lie between 1 and 8192, with at most eight widths"
            )
        if not (1 <= self.fold <= 64 and 1 <= self.blocks <= 64):
            raise ValueError(f"fold is {self.fold} and blocks {self.blocks}; expected 1 to 64 each")
        if not 0 <= self.kl_weight < math.inf:
            raise ValueError(f"kl_weight is {self.kl_weight}, expected zero or more")
        if self.reconstruction not in ("cross_entropy", "l1"):
            raise ValueError(f"reconstruction is {self.reconstruction!r}, expected 'cross_entropy' or 'l1'")
        if self.dims not in (2, 3):
            raise ValueError(f"dims of the autoencoder is {self.dims}, expected 2 or 3")
        if len(self.periodic) not in (0, self.dims):
            raise ValueError(f"periodic is {self.periodic}, expected one entry for each of {self.dims} axes, or none")
        if self.patch % self.factor:
            raise ValueError(f"patch edge {self.patch} is not a multiple of the autoencoder's factor {self.factor}")

    @property
    def factor(self) -> int:
        """Edge in pixels of one cell of the code."""
        return self.fold * 2 ** (len(self.encoder) - 1)


def small(phases: int, latent_size: int = 16, *, patch: int = 64) -> VAEConfig:
    """Autoencoder for a CPU: in crops of 64 x 64 no layer has more than 32 x 32 pixels or 64 channels.

    Args:
        latent_size: edge of the code of a crop.
    """
    widths = (32, 32, 64, 64)[: _levels(latent_size, patch, fold=2)]
    return VAEConfig(phases=phases, patch=patch, encoder=widths, decoder=widths)


def paper(phases: int, latent_size: int = 16, *, patch: int = 64) -> VAEConfig:
    """P-MicroLad Tables A.2 and A.4: widths 128 to 256, attention, L1.

    The paper does not say how eq. 51 is reduced. Its weight of 0.5 fits its results if L1 is summed over the pixels and
    KL averaged over the numbers of the code, which is 0.5 / (numbers of the code) as `VAEConfig.kl_weight`.
    """
    levels = _levels(latent_size, patch, fold=1)
    return VAEConfig(
        phases=phases,
        patch=patch,
        fold=1,
        encoder=(128, 128, *(256,) * (levels - 2)),
        decoder=(64, 128, *(256,) * (levels - 2)),
        blocks=2,
        attention=True,
        reconstruction="l1",
        kl_weight=0.5 / (4 * latent_size**2),
    )


def _levels(latent_size: int, patch: int, *, fold: int) -> int:
    levels = math.log2(patch / latent_size / fold) + 1
    if levels < 1 or levels != int(levels):
        raise ValueError(
            f"no code of {latent_size} x {latent_size} for crops of {patch}: their edge must be {fold * latent_size} "
            "times a power of two"
        )
    return int(levels)


class Encoder(nn.Module):
    """Phase fractions -> mean and log variance of the code."""

    config: VAEConfig

    @nn.compact
    def __call__(
        self, fractions: Float[Array, "n *grid p"]
    ) -> tuple[Float[Array, "n *cell c"], Float[Array, "n *cell c"]]:
        cfg = self.config
        h = conv(cfg.encoder[0], cfg.dims, periodic=cfg.periodic)(space_to_depth(2 * fractions - 1, cfg.fold))
        for width in cfg.encoder[1:]:
            h = conv(width, cfg.dims, stride=2, periodic=cfg.periodic)(h)
            for _ in range(cfg.blocks):
                h = ResidualBlock(width, cfg.dims, cfg.periodic)(h)
        h = nn.swish(nn.RMSNorm()(_coarsest(cfg, h)))
        mean, log_var = jnp.split(conv(2 * cfg.channels, cfg.dims, size=1)(h), 2, axis=-1)
        return mean, jnp.clip(log_var, -20.0, 10.0)


class Decoder(nn.Module):
    """Code -> logits of the phases."""

    config: VAEConfig

    @nn.compact
    def __call__(self, z: Float[Array, "n *cell c"]) -> Float[Array, "n *grid p"]:
        cfg = self.config
        h = _coarsest(cfg, conv(cfg.decoder[-1], cfg.dims, periodic=cfg.periodic)(z))
        for width in cfg.decoder[-2::-1]:
            h = conv(width, cfg.dims, upsampled=True, periodic=cfg.periodic)(h)
            for _ in range(cfg.blocks):
                h = ResidualBlock(width, cfg.dims, cfg.periodic)(h)
        h = nn.swish(nn.RMSNorm()(h))
        return depth_to_space(conv(cfg.fold**cfg.dims * cfg.phases, cfg.dims, periodic=cfg.periodic)(h), cfg.fold)


def _coarsest(config: VAEConfig, h: Float[Array, "n *cell d"]) -> Float[Array, "n *cell d"]:
    """Residual block, attention, residual block. Called inside a compact module, whose submodules these are."""
    width = h.shape[-1]
    h = ResidualBlock(width, config.dims, config.periodic)(h)
    if config.attention:
        h = SelfAttention()(h)
    return ResidualBlock(width, config.dims, config.periodic)(h)


def init_vae(config: VAEConfig, key: jax.Array) -> dict[str, Any]:
    """Initial parameters {"encoder", "decoder"}."""
    encoder_key, decoder_key = jax.random.split(key)
    fractions = jnp.zeros((1, *(config.factor,) * config.dims, config.phases))
    code = jnp.zeros((1, *(1,) * config.dims, config.channels))
    return {
        "encoder": dict(Encoder(config).init(encoder_key, fractions)["params"]),
        "decoder": dict(Decoder(config).init(decoder_key, code)["params"]),
    }


def encode(
    config: VAEConfig, params, fractions: Float[Array, "n *grid p"]
) -> tuple[Float[Array, "n *cell c"], Float[Array, "n *cell c"]]:
    """Mean and log variance of the code q(z | x) = N(mean, exp(log_var)) (P-MicroLad eq. 17)."""
    code: Any = Encoder(config).apply({"params": params["encoder"]}, fractions)
    return code


def decode(config: VAEConfig, params, z: Float[Array, "n *cell c"]) -> Float[Array, "n *grid p"]:
    """Logits of the phases (P-MicroLad eq. 22); their softmax is the phase fractions."""
    logits: Any = Decoder(config).apply({"params": params["decoder"]}, z)
    return logits


def kl_divergence(mean: Float[Array, "*grid"], log_var: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    """KL[N(mean, exp(log_var)) || N(0, 1)] of each element, in nats.

    >>> kl_divergence(jnp.array([0.0, 2.0]), jnp.zeros(2)).tolist()
    [0.0, 2.0]
    """
    return (mean**2 + jnp.exp(log_var) - 1 - log_var) / 2


def vae_loss(
    config: VAEConfig, params, labels: Shaped[Array, " n *grid"], key: jax.Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """P-MicroLad eq. 51: reconstruction + kl_weight KL, both per pixel.

    Reconstruction is the mean over crops and pixels, of the cross-entropy (nats) or of |p - x| summed over the phases
    and halved (for two phases the paper's L1). KL is summed over the numbers of the code, divided by the pixels of a
    crop, and averaged over the crops.
    """
    x = jax.nn.one_hot(labels, config.phases)
    mean, log_var = encode(config, params, x)
    z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
    log_p = jax.nn.log_softmax(decode(config, params, z), axis=-1)
    if config.reconstruction == "l1":
        error = jnp.mean(jnp.sum(jnp.abs(jnp.exp(log_p) - x), axis=-1)) / 2
    else:
        error = -jnp.mean(jnp.sum(log_p * x, axis=-1))
    kl = jnp.sum(kl_divergence(mean, log_var)) / labels.size
    return error + config.kl_weight * kl, {config.reconstruction: error, "kl_per_pixel": kl}


def latent_statistics(codes: Iterable[Float[Array, "n *cell c"]]) -> dict[str, Float[Array, " c"]]:
    """Mean and standard deviation of each channel over all crops and cells, for the normalisation of the code."""
    cells = jnp.concatenate([code.reshape(-1, code.shape[-1]) for code in codes])
    return {"mean": cells.mean(axis=0), "std": cells.std(axis=0)}


def vae_codec(config: VAEConfig, params, statistics: dict[str, Float[Array, " c"]]) -> Codec:
    """Conversion of phase fractions to the normalised mean code, and of a normalised code to phase fractions."""
    mean, std = (statistics[name].reshape((1,) * (config.dims + 1) + (-1,)) for name in ("mean", "std"))

    def to_code(fractions: Float[Array, "n *grid p"]) -> Float[Array, "n *cell c"]:
        return (encode(config, params, fractions)[0] - mean) / std

    def to_fractions(z: Float[Array, "n *cell c"]) -> Float[Array, "n *grid p"]:
        logits = decode(config, params, mean + std * z)
        # softmax over the first axis: over the last one XLA fuses it with the last layers, on one core of a CPU
        return jnp.moveaxis(jax.nn.softmax(jnp.moveaxis(logits, -1, 0), axis=0), 0, -1)

    return Codec(to_code, to_fractions, config.factor, config.channels)
