"""Bilinear (2D) and trilinear (3D) finite elements on voxels, matrix-free.

The elements are those of JAX-FEM (`jaxmicro.physics.jaxfem` returns their stiffness and node order). Here the same
operator is written as sums of shifted arrays, which XLA fuses into one pass over memory. Conforming elements minimise
the energy over a subspace: D_eff is an upper bound, and voxels that share a corner conduct.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxmicro.physics.grid import (
    Cells,
    Drops,
    Grid,
    Haloed,
    Nodes,
    Side,
    Unknowns,
    every_other,
    fixed_axis,
    fixed_first,
    halved,
    in_pairs,
    neighbour,
    onto_unknowns,
    padded,
    planes,
    surrounded,
    with_boundary,
)


@dataclass(frozen=True)
class Elements:
    """Unknowns are the nodes (voxel corners) where the concentration is free.

    Attributes:
        sides: boundary condition of each axis.
    """

    sides: tuple[Side, ...]
    damping: ClassVar[float] = 0.9  # of Jacobi; the largest eigenvalue of diag(K)^-1 K is 1.5
    correction: ClassVar[float] = 1.0  # weight of the coarse correction

    def unknowns(self, cells: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the array of unknowns on a grid of `cells`."""
        return tuple(
            n + {"fixed": -1, "insulated": 1, "periodic": 0}[s] for n, s in zip(cells, self.sides, strict=True)
        )

    def positions(self, n: int, axis: int) -> Float[Array, " unknown"]:
        """Coordinates of the unknowns along an axis of n voxels, in voxels."""
        first = 1 if self.sides[axis] == "fixed" else 0
        return first + jnp.arange(self.unknowns((n,) * len(self.sides))[axis], dtype=float)

    def material(self, kappa: Cells) -> Cells:
        """Coefficients of the operator: the diffusivity itself."""
        return kappa

    def field(self, u: Unknowns, drops: Drops) -> Nodes:
        """Concentration at all nodes, including those on the boundary."""
        for axis, side in enumerate(self.sides):
            u = with_boundary(u, axis, side, drops[axis])
        return u

    def from_field(self, field: Nodes) -> Unknowns:
        """The unknowns among the nodes."""
        for axis, side in enumerate(self.sides):
            start, stop = {"fixed": (1, -1), "insulated": (0, None), "periodic": (0, -1)}[side]
            field = planes(field, start, stop, axis)
        return field

    def forces(self, material: Cells, u: Unknowns, drops: Drops) -> Unknowns:
        """K u - b: half the derivative of the energy with respect to the unknowns."""
        return self.fold(self.residual(material, self.field(u, drops)))

    def fold(self, forces: Nodes) -> Unknowns:
        """Forces on the unknowns from the forces on all nodes."""
        for axis, side in enumerate(self.sides):
            forces = onto_unknowns(forces, axis, side)
        return forces

    def residual(self, kappa: Cells, nodes: Nodes) -> Nodes:
        """int kappa grad u . grad v for the basis function v of every node."""
        free = Elements(("insulated",) * kappa.ndim)  # every node is an unknown
        return free.product(free.stencil(kappa), free.haloed(nodes))

    def haloed(self, u: Unknowns) -> Haloed:
        """The unknowns with the planes around them that `product` reads."""
        first = fixed_axis(self.sides)
        u = jnp.moveaxis(u, first, 0)
        return surrounded(u, _reach(u.shape), periodic=self.sides[first] == "periodic")

    def interior(self, haloed: Haloed) -> Unknowns:
        """Inverse of `haloed`: the unknowns alone."""
        width = _reach(haloed.shape)
        return jnp.moveaxis(haloed[width:-width], 0, fixed_axis(self.sides))

    def stencil(self, material: Cells) -> Haloed:
        """Diffusivity of the voxel after each node, haloed; 0 after the last node of an insulated axis."""
        first = fixed_axis(self.sides)
        cells, side = jnp.moveaxis(material, first, 0), self.sides[first]
        behind = [(0, int(other == "insulated")) for other in fixed_first(self.sides)[1:]]
        cells = jnp.pad(cells, [(0, 0), *behind])
        width = _reach(cells.shape)
        if side == "periodic":
            return surrounded(cells, width, periodic=True)
        if side == "fixed":  # the first and last nodes are planes of zeros
            return padded(cells, 0, width - 1, width)
        return padded(cells, 0, width, width + 1)

    def product(self, stencil: Haloed, haloed: Haloed) -> Unknowns:
        """K u, a sum over the voxels at each node, from the stencil and the haloed unknowns."""
        stiffness, corners = _element(stencil.ndim)
        at = functools.partial(neighbour, width=_reach(haloed.shape), sides=fixed_first(self.sides))
        total = jnp.zeros((), haloed.dtype)
        for row, own in zip(stiffness, corners, strict=True):
            # offsets from the corner `own`; corners with coefficient 0 (along the edges of a cube) are omitted
            around = [tuple(c - o for c, o in zip(corner, own, strict=True)) for corner in corners]
            force = sum(k * at(haloed, offset) for k, offset in zip(row, around, strict=True) if abs(k) > 1e-12)
            total = total + at(stencil, tuple(-o for o in own)) * force
        return jnp.moveaxis(total, 0, fixed_axis(self.sides))

    def diagonal(self, stencil: Haloed) -> Unknowns:
        """diag(K) on the unknowns."""
        stiffness, corners = _element(stencil.ndim)
        at = functools.partial(neighbour, width=_reach(stencil.shape), sides=fixed_first(self.sides))
        around = (
            row[i] * at(stencil, tuple(-o for o in own))
            for i, (row, own) in enumerate(zip(stiffness, corners, strict=True))
        )
        return jnp.moveaxis(sum(around, jnp.zeros((), stencil.dtype)), 0, fixed_axis(self.sides))

    def energy(self, kappa: Cells, u: Unknowns, drops: Drops) -> Float[Array, ""]:
        """int kappa |grad u|^2 = -sum_i<j K_ij (u_i - u_j)^2: no negative terms, so no cancellation."""
        stiffness, corners = _element(kappa.ndim)
        nodes = self.field(u, drops)
        values = [at_corner(nodes, corner) for corner in corners]
        density = jnp.zeros_like(kappa)
        for i, j in itertools.combinations(range(len(corners)), 2):
            if abs(stiffness[i][j]) > 1e-12:
                density = density - stiffness[i][j] * (values[i] - values[j]) ** 2
        return jnp.sum(kappa * density)

    def flux(self, kappa: Cells, u: Unknowns, drops: Drops) -> Float[Array, "*cell axis"]:
        """Mean of -kappa grad u over each voxel, per voxel edge."""
        nodes = self.field(u, drops)
        gradients = []
        for axis in range(kappa.ndim):
            gradient = planes(nodes, 1, None, axis) - planes(nodes, 0, -1, axis)
            for other in set(range(kappa.ndim)) - {axis}:
                gradient = (planes(gradient, 1, None, other) + planes(gradient, 0, -1, other)) / 2
            gradients.append(-kappa * gradient)
        return jnp.stack(gradients, axis=-1)

    def face_fluxes(
        self, kappa: Cells, u: Unknowns, drops: Drops, axis: int
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Total flux in through the first face and out through the last: the reactions of the fixed nodes there."""
        forces = self.residual(kappa, self.field(u, drops))
        return jnp.sum(planes(forces, 0, 1, axis)), -jnp.sum(planes(forces, -1, None, axis))

    def coarsened(self, material: Cells) -> Grid:
        """Mean diffusivity of blocks of two voxels along each axis, times the factor of K ~ h^(d - 2) for a doubled h.

        An odd edge is padded by a layer of zeros if the side is insulated (half a block conducts half as well), and
        otherwise by repeating the last layer.
        """
        for axis, side in enumerate(self.sides):
            material = in_pairs(material, axis, mode="constant" if side == "insulated" else "edge")
        return material / 4  # 2^(d - 2) / 2^d

    def preconditioner(self) -> "Elements":
        """The discretisation of the multigrid cycle: the same."""
        return self

    def prolong(self, coarse: Grid, cells: tuple[int, ...]) -> Grid:
        """Linear interpolation of a correction from the coarse grid (twice the voxel edge) to the grid of `cells`."""
        for axis, side in enumerate(self.sides):
            nodes = with_boundary(coarse, axis, side)
            # nodes interleaved with zeros: adding half of both neighbours is then one pass over memory
            apart = [(1, 1, 1) if a == axis else (0, 0, 0) for a in range(nodes.ndim)]
            spread = lax.pad(nodes, jnp.zeros((), nodes.dtype), apart)
            between = (planes(spread, 0, -2, axis) + planes(spread, 2, None, axis)) / 2
            first, count = self._inside(cells, axis)
            coarse = planes(planes(spread, 1, -1, axis) + between, first, first + count, axis)
        return coarse

    def restrict(self, fine: Grid, cells: tuple[int, ...]) -> Grid:
        """Transpose of `prolong`: a residual on the grid of `cells` restricted to the coarse grid."""
        for axis, side in enumerate(self.sides):
            first, count = self._inside(cells, axis)
            nodes = 2 * halved(cells)[axis] + 1  # of the fine grid, up to the last one of the coarse grid
            around = padded(fine, axis, first + 1, nodes - first - count + 1)
            odd = every_other(around, 0, axis)
            beside = (planes(odd, 0, -1, axis) + planes(odd, 1, None, axis)) / 2
            fine = onto_unknowns(every_other(around, 1, axis) + beside, axis, side)
        return fine

    def _inside(self, cells: tuple[int, ...], axis: int) -> tuple[int, int]:
        """Index of the first unknown among the nodes of an axis, and the number of unknowns."""
        return int(self.sides[axis] == "fixed"), self.unknowns(cells)[axis]


def _reach(shape: tuple[int, ...]) -> int:
    """Number of planes after the last unknown that contain its neighbour at offset (1, 1, 1) in flat order."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return -(-sum(strides) // strides[0])


def at_corner(nodes: Nodes, corner: tuple[int, ...]) -> Cells:
    """Values at the nodes of one corner of each voxel."""
    return nodes[tuple(slice(at, edge - 1 + at) for at, edge in zip(corner, nodes.shape, strict=True))]


def _element(dimensions: int) -> tuple[list[list[float]], list[tuple[int, ...]]]:
    from jaxmicro.physics.jaxfem import element_stiffness  # imported here because the import of JAX-FEM takes a second

    stiffness, corners = element_stiffness(dimensions)
    return stiffness.tolist(), [tuple(corner) for corner in corners.tolist()]
