"""The 2D planes of a volume normal to its axes, and the role of a 2D prior that denoises them."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float


def take_planes(volume: Float[Array, "z y x c"], axis: int) -> Float[Array, "n h w c"]:
    """The planes normal to `axis` (0 = z, 1 = y, 2 = x) as a batch, in order along that axis."""
    return jnp.moveaxis(volume, axis, 0)


def put_planes(planes: Float[Array, "n h w c"], axis: int) -> Float[Array, "z y x c"]:
    """Inverse of `take_planes`: stack planes normal to `axis` to a volume."""
    return jnp.moveaxis(planes, 0, axis)


@runtime_checkable
class Evidence(Protocol):
    """The network on a batch of planes: what they say of x_0, in a form that can be weighed and added."""

    def __call__(self, x_t: Float[Array, "n h w c"], log_snr: Float[Array, " n"]) -> Float[Array, "n h w c"]:
        """Returns the evidence at each pixel."""
        ...


@runtime_checkable
class Combine(Protocol):
    """Joins the evidence of the planes through each voxel to the mean of x_0 given all of them."""

    def __call__(
        self,
        evidence: Float[Array, "a *grid c"],
        weights: Float[Array, " a"],
        x_t: Float[Array, "*grid c"],
        log_snr: Float[Array, ""],
    ) -> Float[Array, "*grid c"]:
        """Returns x0_hat; a single plane is evidence[None] with weights [1]."""
        ...


class Codec(NamedTuple):
    """Phase fractions of planes <-> the space that diffuses; with `PlaneModel` all that 3D code knows of a prior."""

    encode: Callable[[Float[Array, "n h w p"]], Float[Array, "n i j c"]]  # edges shrink by `factor`
    decode: Callable[[Float[Array, "n i j c"]], Float[Array, "n h w p"]]  # fractions, which sum to 1 over p
    factor: int  # pixels per cell along an axis
    channels: int


def pixel_codec(phases: int) -> Codec:
    """The exact one: phases as +1 and -1."""
    return Codec(lambda fractions: 2 * fractions - 1, lambda x: (x + 1) / 2, 1, phases)


class PlaneModel(NamedTuple):
    """What multi-plane denoising knows of a 2D prior."""

    evidence: Evidence
    combine: Combine
