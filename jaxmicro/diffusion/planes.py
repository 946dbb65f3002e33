"""The 2D planes of a volume normal to its axes, and the interfaces of a 2D prior that denoises them."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float


def take_planes(volume: Float[Array, "z y x c"], axis: int) -> Float[Array, "n h w c"]:
    """The planes normal to `axis` (0 = z, 1 = y, 2 = x) as a batch, in order along that axis."""
    return jnp.moveaxis(volume, axis, 0)


def put_planes(planes: Float[Array, "n h w c"], axis: int) -> Float[Array, "z y x c"]:
    """Inverse of `take_planes`: the volume whose planes normal to `axis` are given."""
    return jnp.moveaxis(planes, 0, axis)


@runtime_checkable
class Evidence(Protocol):
    """The network applied to a batch of planes: their evidence for x_0, in a form that can be weighted and added."""

    def __call__(self, x_t: Float[Array, "n h w c"], log_snr: Float[Array, " n"]) -> Float[Array, "n h w c"]:
        """Returns the evidence at each pixel."""
        ...


@runtime_checkable
class Combine(Protocol):
    """Combination of the evidence of all planes through a voxel to the mean of x_0 given these planes."""

    def __call__(
        self,
        evidence: Float[Array, "a *grid c"],
        weights: Float[Array, " a"],
        x_t: Float[Array, "*grid c"],
        log_snr: Float[Array, ""],
    ) -> Float[Array, "*grid c"]:
        """Returns x0_hat; for a single plane pass evidence[None] and weights [1]."""
        ...


class Codec(NamedTuple):
    """Conversion of planes of phase fractions to the space of the diffusion, and back.

    With `PlaneModel` the only interface of a prior that 3D code uses.
    """

    encode: Callable[[Float[Array, "n h w p"]], Float[Array, "n i j c"]]  # edges divided by `factor`
    decode: Callable[[Float[Array, "n i j c"]], Float[Array, "n h w p"]]  # fractions, which sum to 1 over p
    factor: int  # pixels per cell along an axis
    channels: int


def pixel_codec(phases: int) -> Codec:
    """The codec of pixel space: indicators 0 and 1 of the phases as -1 and +1."""
    return Codec(lambda fractions: 2 * fractions - 1, lambda x: (x + 1) / 2, 1, phases)


class PlaneModel(NamedTuple):
    """A 2D prior as multi-plane denoising uses it."""

    evidence: Evidence
    combine: Combine
