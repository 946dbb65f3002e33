"""Take and put the 2D planes of a volume normal to one of its axes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

AXES = ("z", "y", "x")


def take_planes(volume: Float[Array, "z y x c"], axis: int) -> Float[Array, "n h w c"]:
    """The planes normal to `axis` (0 = z, 1 = y, 2 = x) as a batch, in order along that axis."""
    return jnp.moveaxis(volume, axis, 0)


def put_planes(planes: Float[Array, "n h w c"], axis: int) -> Float[Array, "z y x c"]:
    """Inverse of `take_planes`: stack planes normal to `axis` to a volume."""
    return jnp.moveaxis(planes, 0, axis)
