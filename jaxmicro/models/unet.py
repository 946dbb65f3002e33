"""U-Net over space-to-depth pixels: (x_t, log SNR, features) -> one output per pixel and channel."""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.models.conditions import ConditionEmbedding
from jaxmicro.models.layers import (
    ResidualBlock,
    SelfAttention,
    conv,
    depth_to_space,
    fourier_features,
    space_to_depth,
    upsample,
)

DETAIL_FOLD = 2  # edge of the blocks in which the output is corrected: convolutions of few channels are slow on CPUs


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of a U-Net. The edge of its input must be a multiple of `factor`."""

    patch: int = 2  # edge of the pixel blocks rearranged into channels at the input (1: none, as in a latent space)
    widths: tuple[int, ...] = (32, 64, 128)  # channels at each resolution, finest first
    blocks: int = 1  # residual blocks per resolution, on the way down and again on the way up
    # self-attention at each resolution, () for none; with it inputs must have the size that the network was trained on
    attention: tuple[bool, ...] = ()
    embedding: int = 128  # width of the log-SNR embedding
    dims: int = 2  # spatial dimensions
    periodic: tuple[bool, ...] = ()  # for each axis, whether samples continue at their opposite face; (): along none
    # channels of convolutions over blocks of 2 pixels a side that correct the output; 0: none. Without, single voxels
    # of blocks of 4^3 stay wrong, which have more numbers than the usual finest width has channels
    detail: int = 0

    def __post_init__(self):
        if self.attention and len(self.attention) != len(self.widths):
            raise ValueError(
                f"attention has {len(self.attention)} entries, widths has {len(self.widths)}: give one each"
            )
        if not 1 <= len(self.widths) <= 8 or not all(1 <= width <= 8192 for width in self.widths):
            raise ValueError(f"widths are {self.widths}, expected one to eight channel counts between 1 and 8192")
        if not (1 <= self.patch <= 64 and 1 <= self.blocks <= 64 and 2 <= self.embedding <= 8192):
            raise ValueError(
                f"patch is {self.patch} and blocks {self.blocks} (1 to 64 each), embedding {self.embedding} (2 to 8192)"
            )
        if self.dims not in (2, 3):
            raise ValueError(f"dims is {self.dims}, expected 2 or 3")
        if not 0 <= self.detail <= 8192:
            raise ValueError(f"detail is {self.detail}, expected 0 to 8192 channels")
        if len(self.periodic) not in (0, self.dims):
            raise ValueError(f"periodic is {self.periodic}, expected one entry for each of {self.dims} axes, or none")

    @property
    def factor(self) -> int:
        """Pixels; the edge of the input must be a multiple of it."""
        return math.lcm(self.patch * 2 ** (len(self.widths) - 1), DETAIL_FOLD if self.detail else 1)


class UNet(nn.Module):
    """Residual U-Net conditioned on log SNR and, if there are any, on features of the sample.

    Without attention it is fully convolutional, for inputs of any size.
    """

    config: UNetConfig
    channels: int  # of the output
    conditions: int = 0  # features that it can be conditioned on

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n *spatial c"],
        log_snr: Float[Array, " n"],
        condition: Float[Array, "n f"] | None = None,
    ) -> Float[Array, "n *spatial d"]:
        """Output of each pixel; `condition` has the standardised features, NaN where one is not given, None: none."""
        cfg = self.config
        emb = nn.Dense(cfg.embedding)(fourier_features(log_snr, cfg.embedding))
        if self.conditions:
            if condition is None:
                condition = jnp.full((len(x), self.conditions), jnp.nan)
            emb = emb + ConditionEmbedding(cfg.embedding)(condition)
        emb = nn.swish(nn.Dense(cfg.embedding)(nn.swish(emb)))
        h = conv(cfg.widths[0], cfg.dims, periodic=cfg.periodic)(space_to_depth(x, cfg.patch))
        skips = []
        for level, width in enumerate(cfg.widths):
            if level:
                h = conv(width, cfg.dims, stride=2, periodic=cfg.periodic)(h)
            for _ in range(cfg.blocks):
                h = self._block(h, emb, level)
                skips.append(h)
        h = ResidualBlock(cfg.widths[-1], cfg.dims, cfg.periodic)(h, emb)
        if self.conditions:  # features are of the whole sample: what it has so far is compared with them here
            pooled = h.mean(axis=tuple(range(1, 1 + cfg.dims)))
            emb = emb + nn.Dense(cfg.embedding)(nn.swish(nn.Dense(cfg.embedding)(jnp.concatenate([pooled, emb], -1))))
        for level in reversed(range(len(cfg.widths))):
            if level < len(cfg.widths) - 1:
                h = upsample(conv(cfg.widths[level], cfg.dims, size=1)(h))
            for _ in range(cfg.blocks):
                h = self._block(jnp.concatenate([h, skips.pop()], axis=-1), emb, level)
        h = nn.swish(nn.RMSNorm()(h))
        h = conv(cfg.patch**cfg.dims * self.channels, cfg.dims, zero=True, periodic=cfg.periodic)(h)
        return self._detailed(x, depth_to_space(h, cfg.patch), emb)

    def _detailed(self, x, output, emb):
        """The output with a correction from its surroundings and those of the input, at first none."""
        cfg = self.config
        if not cfg.detail:
            return output
        h = space_to_depth(jnp.concatenate([x, output], axis=-1), DETAIL_FOLD)
        h = conv(cfg.detail, cfg.dims, periodic=cfg.periodic)(h)
        h = nn.swish(ResidualBlock(cfg.detail, cfg.dims, cfg.periodic)(h, emb))
        correction = conv(DETAIL_FOLD**cfg.dims * self.channels, cfg.dims, zero=True, periodic=cfg.periodic)(h)
        return output + depth_to_space(correction, DETAIL_FOLD)

    def _block(self, h, emb, level: int):
        h = ResidualBlock(self.config.widths[level], self.config.dims, self.config.periodic)(h, emb)
        return SelfAttention()(h) if self.config.attention and self.config.attention[level] else h
