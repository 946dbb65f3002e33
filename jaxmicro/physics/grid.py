"""Boundary conditions of the voxel grid, implemented here only, and operations along its axes.

Each axis has one boundary condition. "fixed": the concentration is `drop` on the first face and 0 on the last.
"periodic": it repeats, and decreases by `drop` per period. "insulated": no flux through either face. Functions act on
one axis, so that 2D and 3D share their code.
"""

import math
from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Side = Literal["fixed", "insulated", "periodic"]
Grid = Float[Array, "..."]  # any of the following, or values on faces
Cells = Float[Array, "*cell"]  # one value per voxel
Unknowns = Float[Array, "*unknown"]  # free values of the concentration, or forces on them
Nodes = Float[Array, "*node"]  # concentration at its points, including those on the boundary
Haloed = Float[Array, "*haloed"]  # unknowns, with the planes around them that a product reads
Drops = tuple[float, ...]  # of the concentration along each axis; zero along insulated axes


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
    """Sums of planes 0 and 1, 2 and 3, ... along an axis; an odd number is padded with zeros, or by mode="edge"."""
    if grid.shape[axis] % 2:
        width = [(0, 0)] * grid.ndim
        width[axis] = (0, 1)
        grid = jnp.pad(grid, width, mode=mode)
    return every_other(grid, 0, axis) + every_other(grid, 1, axis)


def halved(cells: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the next coarser grid; the last voxel along an odd edge covers one fine voxel."""
    return tuple(-(-n // 2) for n in cells)


def every_other(grid: Grid, start: int, axis: int) -> Grid:
    """grid[start::2] along one axis."""
    n = grid.shape[axis]
    return lax.slice_in_dim(grid, min(start, n), n, 2, axis)


def with_boundary(unknowns: Grid, axis: int, side: Side, drop: float = 0.0) -> Grid:
    """The unknowns together with the boundary values that the condition implies."""
    if side == "fixed":
        ends = padded(unknowns, axis, 1, 1)
        return ends.at[at_plane(0, axis)].set(drop) if drop else ends
    if side == "periodic":
        return jnp.concatenate([unknowns, planes(unknowns, 0, 1, axis) - drop], axis)
    return unknowns


def onto_unknowns(forces: Grid, axis: int, side: Side) -> Grid:
    """Transpose of `with_boundary` for drop 0: forces on the unknowns from forces on all values."""
    if side == "fixed":
        return planes(forces, 1, -1, axis)
    if side == "periodic":
        return planes(forces, 0, -1, axis) + padded(planes(forces, -1, None, axis), axis, 0, forces.shape[axis] - 2)
    return forces


def fixed_axis(sides: tuple[Side, ...]) -> int:
    """The fixed axis, or 0. It is the first axis of haloed arrays, because the planes beyond its ends have u = 0."""
    return sides.index("fixed") if "fixed" in sides else 0


def fixed_first(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The conditions of the axes with the fixed axis first."""
    first = fixed_axis(sides)
    return (sides[first], *sides[:first], *sides[first + 1 :])


def surrounded(grid: Grid, width: int, *, periodic: bool = False) -> Grid:
    """`grid` with `width` planes added at both ends of its first axis: zeros, or its periodic continuation.

    Zeros along the first axis need no pass over memory: XLA writes them in the loop that computes `grid`. Along other
    axes they would add a branch to its innermost loop.
    """
    ends = [(width, width), *[(0, 0)] * (grid.ndim - 1)]
    return jnp.pad(grid, ends, mode="wrap") if periodic else jnp.pad(grid, ends)


def neighbour(grid: Grid, offset: tuple[int, ...], width: int, sides: tuple[Side, ...]) -> Grid:
    """grid[i + offset] for each i of a grid padded by `surrounded`.

    The result is one contiguous slice of the flat array, which XLA reads as vectors. Beyond the end of a row it reads
    the start of the next row: such values must be multiplied by zero. Along periodic axes they are replaced here.
    """
    shape = (grid.shape[0] - 2 * width, *grid.shape[1:])
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    flat = grid.reshape(-1)

    def along(axis: int, start: int) -> Grid:
        if axis == len(shape):
            return lax.slice_in_dim(flat, start, start + math.prod(shape)).reshape(shape)
        step, n = offset[axis], shape[axis]
        inside = along(axis + 1, start + step * strides[axis])
        if axis == 0 or step == 0 or sides[axis] != "periodic":
            return inside
        end, period = (n - 1, n) if step > 0 else (0, -n)
        beyond = along(axis + 1, start + (step - period) * strides[axis])
        return jnp.where(lax.broadcasted_iota(jnp.int32, shape, axis) == end, beyond, inside)

    return along(0, width * strides[0])


def at_plane(at: int, axis: int) -> tuple[slice | int, ...]:
    """Index expression of one plane of an axis."""
    return (*[slice(None)] * axis, at)
