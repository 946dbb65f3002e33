"""Argument types of the descriptors, and the array operations they share."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real, Shaped

from jaxmicro.errors import UserError

Phase = Shaped[Array | np.ndarray, "*grid"]
"""Indicator of one phase on a 2D or 3D grid: bool, integers 0 and 1, or floats in 0..1 read as the share of the phase
in the voxel (a soft phase, in which the descriptors are differentiable)."""

Fractions = Shaped[Array | np.ndarray, "*grid p"]
"""Share of each phase in each voxel; the shares of a voxel sum to 1."""

Length = float | int | Real[Array, ""]
"""A length in the unit of the voxel size; traced by `jax.jit` like any number."""


def as_field(phase: Phase) -> Float[Array, "*grid"]:
    """The indicator in floating point: floats keep their dtype, booleans and integers get the default float dtype."""
    field = jnp.asarray(phase)
    return field if jnp.issubdtype(field.dtype, jnp.floating) else field.astype(jnp.result_type(float))


def as_mask(phase: Phase) -> Bool[np.ndarray, "*grid"]:
    """The indicator as a NumPy mask; a soft phase is thresholded at one half.

    >>> as_mask(np.array([0.2, 0.7])).tolist()
    [False, True]
    """
    field = np.asarray(phase)
    return field if field.dtype == bool else field > 0.5


def check_lag(r_max: int, largest: int, why: str) -> None:
    """Checks that a lag in voxels is possible in the grid.

    Raises:
        UserError: when `r_max` is negative or above `largest`.
    """
    if not 0 <= r_max <= largest:
        raise UserError(f"r_max is {r_max} voxels but must lie in 0..{largest} ({why}); choose a smaller r_max")


def shifted(field: Shaped[Array, "*grid"], offset: tuple[int, ...], *, periodic: bool) -> Shaped[Array, "*pair"]:
    """The values at x + offset for all x with a partner there: all x when periodic, else those of the overlap."""
    if periodic:
        return jnp.roll(field, tuple(-d for d in offset), axis=tuple(range(field.ndim)))
    return field[_overlap(offset, field.shape)]


def base(field: Shaped[Array, "*grid"], offset: tuple[int, ...], *, periodic: bool) -> Shaped[Array, "*pair"]:
    """The values at all x with a partner at x + offset, in the order of `shifted`."""
    return field if periodic else field[_overlap(tuple(-d for d in offset), field.shape)]


def unit_offset(ndim: int, axis: int) -> tuple[int, ...]:
    """Offset of one voxel along `axis` (negative axes count from the last).

    >>> unit_offset(3, -1)
    (0, 0, 1)
    """
    return tuple(int(a == axis % ndim) for a in range(ndim))


def _overlap(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(d, 0), n + min(d, 0)) for d, n in zip(offset, shape, strict=True))
