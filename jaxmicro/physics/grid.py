"""What happens at the sides of the voxel grid: the one place that knows boundary conditions.

A side condition belongs to an axis. "fixed": the concentration is `drop` on the first face and 0 on the last.
"periodic": it repeats, less `drop` per period. "insulated": no flux through either face. Every function here acts on
one axis, so 2D and 3D are the same code.
"""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Side = Literal["fixed", "insulated", "periodic"]
Grid = Float[Array, "..."]  # any of the following, and faces
Cells = Float[Array, "*cell"]  # one value per voxel
Unknowns = Float[Array, "*unknown"]  # free values of the concentration, or forces on them
Nodes = Float[Array, "*node"]  # values where the concentration lives, those on the sides included
Drops = tuple[float, ...]  # per axis; zero along insulated axes


def planes(grid: Grid, start: int, stop: int | None, axis: int) -> Grid:
    """grid[start:stop] along one axis."""
    index = [slice(None)] * grid.ndim
    index[axis] = slice(start, stop)
    return grid[tuple(index)]


def padded(grid: Grid, axis: int, before: int, after: int) -> Grid:
    """`grid` with planes of zeros before and after it."""
    width = [(0, 0)] * grid.ndim
    width[axis] = (before, after)
    return jnp.pad(grid, width)


def in_pairs(grid: Grid, axis: int, *, mode: str = "constant") -> Grid:
    """Sum of planes 0 and 1, 2 and 3, ... along an axis; an odd number is padded by zeros, or by mode="edge"."""
    if grid.shape[axis] % 2:
        width = [(0, 0)] * grid.ndim
        width[axis] = (0, 1)
        grid = jnp.pad(grid, width, mode=mode)
    return every_other(grid, 0, axis) + every_other(grid, 1, axis)


def halved(cells: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the next coarser grid; the last voxel along an odd edge covers one of the finer grid."""
    return tuple(-(-n // 2) for n in cells)


def every_other(grid: Grid, start: int, axis: int) -> Grid:
    """grid[start::2] along one axis."""
    return lax.slice_in_dim(grid, start, grid.shape[axis], 2, axis)


def with_boundary(unknowns: Grid, axis: int, side: Side, drop: float = 0.0) -> Grid:
    """The unknowns and, beside them, the values that the side conditions imply."""
    if side == "fixed":
        ends = padded(unknowns, axis, 1, 1)
        return ends.at[_plane(0, axis)].set(drop) if drop else ends
    if side == "periodic":
        return jnp.concatenate([unknowns, planes(unknowns, 0, 1, axis) - drop], axis)
    return unknowns


def onto_unknowns(forces: Grid, axis: int, side: Side) -> Grid:
    """Transpose of `with_boundary` at drop 0: forces on all values become forces on the unknowns."""
    if side == "fixed":
        return planes(forces, 1, -1, axis)
    if side == "periodic":
        return planes(forces, 0, -1, axis) + padded(planes(forces, -1, None, axis), axis, 0, forces.shape[axis] - 2)
    return forces


def _plane(at: int, axis: int) -> tuple[slice | int, ...]:
    return (*[slice(None)] * axis, at)
