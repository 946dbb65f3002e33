"""Phases of a composition field: labels numbered by increasing composition."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxmicro.simulate.free_energy import Number


def two_phases(field: Float[Array, "*grid"], threshold: Number = 0.5) -> UInt8[Array, "*grid"]:
    """Labels 0 (poor, below the threshold) and 1 (rich).

    >>> two_phases(jnp.array([0.1, 0.5, 0.9])).tolist()
    [0, 1, 1]
    """
    return (field >= threshold).astype(jnp.uint8)


def three_phases(field: Float[Array, "*grid"], low: Number, high: Number) -> UInt8[Array, "*grid"]:
    """Labels 0 (poor, below `low`), 1 (mixed, the band around the interface) and 2 (rich, from `high` on).

    >>> three_phases(jnp.array([0.1, 0.5, 0.9]), 0.2, 0.8).tolist()
    [0, 1, 2]
    """
    return (field >= low).astype(jnp.uint8) + (field >= high).astype(jnp.uint8)
