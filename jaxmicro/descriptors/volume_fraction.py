"""Volume fraction: the one-point statistic of a microstructure."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.descriptors.fields import Fractions, as_field


def volume_fraction(fractions: Fractions) -> Float[Array, " p"]:
    """Volume fraction phi of each phase: its mean share over the grid.

    Args:
        fractions: share of each phase in each voxel, phases on the last axis; one-hot labels or a soft field.
    Returns:
        phi per phase, 0..1, sum 1; linear in `fractions`.
    Source: Torquato, Random Heterogeneous Materials (2002), section 2.2 (one-point correlation).

    >>> import jax.numpy as jnp
    >>> volume_fraction(jnp.eye(2)[jnp.array([[0, 1], [1, 1]])]).tolist()
    [0.25, 0.75]
    """
    field = as_field(fractions)
    return jnp.mean(field, axis=tuple(range(field.ndim - 1)))
