"""Preconditioner of steady diffusion: one multigrid cycle with damped Jacobi smoothing before and after.

The coarse grids have the same discretisation on voxels of twice the edge, with averaged conductances: as effective as
the exact (Galerkin) coarse operator at any contrast, and cheaper. Restriction is the transpose of prolongation and the
two smoothing steps are the same, so that the cycle is symmetric, as conjugate gradients require. In 3D each grid visits
the next coarser one twice (W cycle): that costs a quarter more than once (V cycle), and halves the iterations of finite
volumes, for which a single visit becomes less effective with every grid, because of their constant prolongation. In 2D
a V cycle is faster (64 x 64, elements: by a third).
Source: Briggs, Henson and McCormick, A Multigrid Tutorial (2000), chapters 3 to 5.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jaxmicro.physics.discretisation import Discretisation, Material
from jaxmicro.physics.grid import Cells, Grid, Haloed, Unknowns, halved
from jaxmicro.physics.stages import staged

VISITS = {2: 1, 3: 2}  # of the next coarser grid, by dimension
LARGEST_DENSE = 300  # unknowns of the coarsest grid, which is solved directly
COARSEST_SWEEPS = 8  # of Jacobi, if the coarsest grid is larger (thin boxes cannot be coarsened further)


class Level(NamedTuple):
    """Operators of one grid; `inverse` only of the coarsest, and only if it is solved directly."""

    stencil: Material
    inverse_diagonal: Unknowns
    inverse: Float[Array, "unknown unknown"] | None


def hierarchy(discretisation: Discretisation, kappa: Cells) -> list[Level]:
    """The levels of a cycle, finest first, in the dtype of `kappa`."""
    material, cells = discretisation.material(kappa), kappa.shape
    levels = []
    while True:
        stencil = discretisation.stencil(material)
        diagonal = staged(discretisation.diagonal)(stencil)
        last = _is_coarsest(discretisation, cells)
        dense = last and diagonal.size <= LARGEST_DENSE
        inverse = _dense_inverse(discretisation, stencil, diagonal) if dense else None
        levels.append(Level(stencil, reciprocal(diagonal), inverse))
        if last:
            return levels
        material, cells = discretisation.coarsened(material), halved(cells)


def cycle(discretisation: Discretisation, levels: list[Level], cells: tuple[int, ...], r: Unknowns) -> Unknowns:
    """z, an approximate solution of K z = r. Linear and symmetric in r; `cells` is the shape of the finest grid."""
    level, coarser = levels[0], levels[1:]
    if level.inverse is not None:
        return (level.inverse @ r.reshape(-1)).reshape(r.shape)

    @staged
    def first(level: Level, r: Unknowns) -> Haloed:
        return discretisation.haloed(discretisation.damping * level.inverse_diagonal * r)

    @staged
    def residual(level: Level, z: Haloed, r: Unknowns) -> Unknowns:
        return r - discretisation.product(level.stencil, z)

    @staged
    def smoothed(level: Level, z: Haloed, r: Unknowns) -> Unknowns:
        smooth = discretisation.damping * level.inverse_diagonal
        # isolated unknowns, with diagonal 0, are not changed
        return jnp.where(
            smooth > 0, discretisation.interior(z) + smooth * (r - discretisation.product(level.stencil, z)), 0.0
        )

    z = first(level, r)
    if not coarser:
        for _ in range(COARSEST_SWEEPS - 1):
            z = discretisation.haloed(smoothed(level, z, r))
        return discretisation.interior(z)
    coarse_cells = halved(cells)

    @staged
    def restricted(coarse: Level, r: Grid) -> Grid:
        # residuals of isolated unknowns are 0, as their corrections are: otherwise the cycle would not be symmetric
        return jnp.where(coarse.inverse_diagonal > 0, discretisation.restrict(r, cells), 0.0)

    coarse_r = restricted(coarser[0], residual(level, z, r))
    visits = 1 if coarser[0].inverse is not None else VISITS[len(cells)]

    def visit(i: Int[Array, ""] | int, c: Grid) -> Grid:
        left = lax.cond(
            i == 0, lambda c, r: r, lambda c, r: residual(coarser[0], discretisation.haloed(c), r), c, coarse_r
        )
        return c + cycle(discretisation, coarser, coarse_cells, left)

    if visits == 1:
        correction = cycle(discretisation, coarser, coarse_cells, coarse_r)
    else:  # a loop, because an unrolled recursion would double the program with every grid
        correction = lax.fori_loop(0, visits, visit, jnp.zeros_like(coarse_r))

    @staged
    def corrected(z: Haloed, correction: Grid) -> Haloed:
        return z + discretisation.haloed(discretisation.correction * discretisation.prolong(correction, cells))

    return smoothed(level, corrected(z, correction), r)


def reciprocal(diagonal: Unknowns) -> Unknowns:
    """1 / diagonal, and 0 for isolated unknowns (diagonal 0), which are therefore not changed."""
    return jnp.where(diagonal > 0, 1 / jnp.where(diagonal > 0, diagonal, 1), 0)


def _is_coarsest(discretisation: Discretisation, cells: tuple[int, ...]) -> bool:
    small = max(cells) <= 2 or math.prod(discretisation.unknowns(cells)) <= LARGEST_DENSE // 4
    # between fixed faces the next coarser grid needs at least two voxels to have an unknown
    thin = any(side == "fixed" and n <= 3 for side, n in zip(discretisation.sides, cells, strict=True))
    return small or thin


def _dense_inverse(
    discretisation: Discretisation, stencil: Material, diagonal: Unknowns
) -> Float[Array, "unknown unknown"]:
    """(K + small diagonal)^-1; the shift makes K regular if parts of the grid are connected to no fixed face."""
    size = diagonal.size

    def column(unit: Float[Array, " unknown"]) -> Float[Array, " unknown"]:
        return discretisation.product(stencil, discretisation.haloed(unit.reshape(diagonal.shape))).reshape(-1)

    matrix = jax.vmap(column)(jnp.eye(size, dtype=diagonal.dtype))
    flat = diagonal.reshape(-1)
    shift = jnp.where(flat > 0, 1e-5 * flat, 1.0)
    inverse = jnp.linalg.inv(matrix + jnp.diag(shift))
    connected = flat > 0
    return jnp.where(connected[:, None] & connected[None, :], (inverse + inverse.T) / 2, 0.0)
