"""What happens at the sides of the voxel grid: the one place that knows boundary conditions.

A side condition belongs to an axis. "fixed": the concentration is `drop` on the first face and 0 on the last.
"periodic": it repeats, less `drop` per period. "insulated": no flux through either face. Every function here acts on
one axis, so 2D and 3D are the same code.
"""

import math
from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Side = Literal["fixed", "insulated", "periodic"]
Grid = Float[Array, "..."]  # any of the following, and faces
Cells = Float[Array, "*cell"]  # one value per voxel
Unknowns = Float[Array, "*unknown"]  # free values of the concentration, or forces on them
Nodes = Float[Array, "*node"]  # values where the concentration lives, those on the sides included
Haloed = Float[Array, "*haloed"]  # unknowns and the planes around them, as a product reads them
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
    n = grid.shape[axis]
    return lax.slice_in_dim(grid, min(start, n), n, 2, axis)


def with_boundary(unknowns: Grid, axis: int, side: Side, drop: float = 0.0) -> Grid:
    """The unknowns and, beside them, the values that the side conditions imply."""
    if side == "fixed":
        ends = padded(unknowns, axis, 1, 1)
        return ends.at[at_plane(0, axis)].set(drop) if drop else ends
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


def fixed_axis(sides: tuple[Side, ...]) -> int:
    """The fixed axis, or 0. It comes first in what a product reads: beyond its ends are planes with u = 0."""
    return sides.index("fixed") if "fixed" in sides else 0


def fixed_first(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides in that order."""
    first = fixed_axis(sides)
    return (sides[first], *sides[:first], *sides[first + 1 :])


def surrounded(grid: Grid, width: int, *, periodic: bool = False) -> Grid:
    """`grid` between `width` planes beyond either end of its first axis: zeros, or what a period repeats.

    Zeros there cost no pass over memory: XLA makes them in the loop that makes `grid`. Along other axes they would put
    a branch into its innermost loop.
    """
    ends = [(width, width), *[(0, 0)] * (grid.ndim - 1)]
    return jnp.pad(grid, ends, mode="wrap") if periodic else jnp.pad(grid, ends)


def neighbour(grid: Grid, offset: tuple[int, ...], width: int, sides: tuple[Side, ...]) -> Grid:
    """grid[i + offset] for each i of a grid that `surrounded` put between planes.

    One contiguous slice of all numbers in a row, which XLA reads as vectors. So beyond the end of a row lies the start
    of the next: what is read there must be multiplied by zero, but for periodic axes, which are closed here.
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
    """Index of one plane of an axis."""
    return (*[slice(None)] * axis, at)
