"""Preconditioner of steady diffusion: one V(1,1) multigrid cycle with damped Jacobi smoothing.

The coarse grids are the same discretisation on voxels of twice the edge, with averaged conductances: as good as the
exact (Galerkin) coarse operator at any contrast, and cheaper. Restriction is the transpose of prolongation and both
smoothing steps are alike, so the cycle is symmetric, which conjugate gradients require.
Source: Briggs, Henson and McCormick, A Multigrid Tutorial (2000), chapters 3 to 5.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmicro.physics.discretisation import Discretisation, Material
from jaxmicro.physics.grid import Cells, Grid, Unknowns

LARGEST_DENSE = 300  # unknowns of the coarsest grid, which is solved directly
COARSEST_SWEEPS = 8  # of Jacobi, where the coarsest grid is larger (thin boxes cannot be halved further)


class Level(NamedTuple):
    """One grid. `inverse` is of the coarsest only."""

    material: Material
    inverse_diagonal: Unknowns
    inverse: Float[Array, "unknown unknown"] | None


def hierarchy(discretisation: Discretisation, kappa: Cells) -> list[Level]:
    """The grids of a V-cycle, finest first, in the dtype of `kappa`."""
    material, cells = discretisation.material(kappa), kappa.shape
    levels = []
    while True:
        diagonal = discretisation.diagonal(material)
        last = _is_coarsest(discretisation, cells)
        dense = last and diagonal.size <= LARGEST_DENSE
        inverse = _dense_inverse(discretisation, material, diagonal) if dense else None
        levels.append(Level(material, reciprocal(diagonal), inverse))
        if last:
            return levels
        material, cells = discretisation.coarsened(material), halved(cells)


def v_cycle(discretisation: Discretisation, levels: list[Level], cells: tuple[int, ...], r: Unknowns) -> Unknowns:
    """z, an approximate solution of K z = r. Linear and symmetric in r; `cells` is the shape of the finest grid."""
    level, coarser = levels[0], levels[1:]
    smooth = discretisation.damping * level.inverse_diagonal
    zero = (0.0,) * len(cells)
    if level.inverse is not None:
        return (level.inverse @ r.reshape(-1)).reshape(r.shape)
    # Without the barriers XLA would inline each product into the next one, whose compile time then grows like 8^n.
    z = lax.optimization_barrier(smooth * r)
    if not coarser:
        for _ in range(COARSEST_SWEEPS - 1):
            z = lax.optimization_barrier(z + smooth * (r - discretisation.forces(level.material, z, zero)))
        return z
    residual = lax.optimization_barrier(r - discretisation.forces(level.material, z, zero))
    coarse_cells = halved(cells)
    prolong, restrict = _transfer(discretisation, cells, coarse_cells, r.dtype)
    correction = v_cycle(discretisation, coarser, coarse_cells, restrict(residual))
    z = lax.optimization_barrier(z + jnp.where(smooth > 0, prolong(correction), 0.0))
    return lax.optimization_barrier(z + smooth * (r - discretisation.forces(level.material, z, zero)))


def halved(cells: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the next coarser grid; the last voxel along an odd edge covers one of the finer grid."""
    return tuple(-(-n // 2) for n in cells)


def reciprocal(diagonal: Unknowns) -> Unknowns:
    """1 / diagonal, and 0 for unknowns that nothing is connected to: they stay where they are."""
    return jnp.where(diagonal > 0, 1 / jnp.where(diagonal > 0, diagonal, 1), 0)


def _is_coarsest(discretisation: Discretisation, cells: tuple[int, ...]) -> bool:
    small = max(cells) <= 2 or math.prod(discretisation.unknowns(cells)) <= LARGEST_DENSE // 4
    # Between fixed faces two voxels are the fewest that leave an unknown on the next grid.
    thin = any(side == "fixed" and n <= 3 for side, n in zip(discretisation.sides, cells, strict=True))
    return small or thin


def _transfer(discretisation: Discretisation, cells: tuple[int, ...], coarse: tuple[int, ...], dtype):
    """Prolongation to the grid of `cells` and its transpose."""

    def prolong(correction: Grid) -> Grid:
        return discretisation.prolong(correction, cells)

    like = jax.ShapeDtypeStruct(discretisation.unknowns(coarse), dtype)
    transpose = jax.linear_transpose(prolong, like)
    return prolong, lambda residual: transpose(residual)[0]


def _dense_inverse(
    discretisation: Discretisation, material: Material, diagonal: Unknowns
) -> Float[Array, "unknown unknown"]:
    """(K + small diagonal)^-1; the shift makes K regular where parts of the grid hang on no fixed face."""
    size, zero = diagonal.size, (0.0,) * diagonal.ndim

    def column(unit: Float[Array, " unknown"]) -> Float[Array, " unknown"]:
        return discretisation.forces(material, unit.reshape(diagonal.shape), zero).reshape(-1)

    matrix = jax.vmap(column)(jnp.eye(size, dtype=diagonal.dtype))
    flat = diagonal.reshape(-1)
    shift = jnp.where(flat > 0, 1e-5 * flat, 1.0)
    inverse = jnp.linalg.inv(matrix + jnp.diag(shift))
    connected = flat > 0
    return jnp.where(connected[:, None] & connected[None, :], (inverse + inverse.T) / 2, 0.0)
