"""Lineal path function: probability that a straight segment lies wholly in one phase."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmicro.descriptors.fields import Phase, as_field, check_lag


@partial(jax.jit, static_argnames=("axis", "r_max", "periodic"))
def lineal_path(phase: Phase, *, axis: int, r_max: int, periodic: bool = False) -> Float[Array, " r"]:
    """Lineal path L(r) = probability that a segment of r + 1 voxels along `axis` lies wholly in the phase.

    Args:
        phase: indicator I; in a soft phase the probability of a segment is the product of its voxels (differentiable).
        axis: direction of the segment.
        r_max: largest distance in voxels between the ends of the segment; below the edge along `axis`.
        periodic: whether segments wrap around; by default only those inside the grid are counted (unbiased).
    Returns:
        L at the r_max + 1 distances 0..r_max, dimensionless; L(0) = phi, L <= S2.
    Raises:
        UserError: when `r_max` is negative or not below the edge along `axis`.
    Source: Micro3Diff (Lee and Yun 2024), eq. 23; Lu and Torquato, Phys. Rev. A 45 (1992) 922.

    >>> import jax.numpy as jnp
    >>> lineal_path(jnp.array([[1.0, 1.0, 0.0, 1.0]]), axis=1, r_max=2).round(4)
    Array([0.75  , 0.3333, 0.    ], dtype=float32)
    """
    field = jnp.moveaxis(as_field(phase), axis, 0)
    edge = field.shape[0]
    check_lag(r_max, edge - 1, f"the edge along axis {axis} - 1")
    # The grid is extended by its periodic image, or by zeros, which exclude segments that are not inside the grid.
    tail = field[:r_max] if periodic else jnp.zeros_like(field[:r_max])
    extended = jnp.concatenate([field, tail])

    @jax.checkpoint  # for the gradient, stores one product per lag and recomputes its factors
    def lengthen(segments: Float[Array, "*grid"], r: Array) -> tuple[Float[Array, "*grid"], Float[Array, ""]]:
        segments = segments * jax.lax.dynamic_slice_in_dim(extended, r, edge)
        return segments, _total(segments)

    _, longer = jax.lax.scan(lengthen, field, jnp.arange(1, r_max + 1))
    fitting = np.full(r_max + 1, edge) if periodic else edge - np.arange(r_max + 1)
    lines = field.size // edge
    return jnp.concatenate([_total(field)[None], longer]) / jnp.asarray(fitting * lines, field.dtype)


def _total(field: Float[Array, "*grid"]) -> Float[Array, ""]:
    """Sum in two stages, so that sums of indicators of more than 2^24 voxels are exact in float32."""
    return jnp.sum(jnp.sum(field, axis=0))
