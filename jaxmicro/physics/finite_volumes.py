"""Cell-centred finite volumes on voxels: one unknown per voxel, two-point flux through the faces.

The conductance of the face between voxels a and b is 2 / (1 / kappa_a + 1 / kappa_b): exact for layers in series, and
exactly zero next to a blocked voxel. This is the scheme of most voxel codes (TauFactor, GeoDict), whose results it
reproduces.

D_eff is a lower bound for the voxel geometry: the scheme minimises the complementary energy of fluxes that are
linear across each voxel (Raviart-Thomas), with the trapezoidal rule for its integral, which is never too small:
(a^2 + b^2) / 2 >= (a^2 + a b + b^2) / 3. So the resistance is never underestimated.
"""

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.physics.grid import (
    Cells,
    Drops,
    Grid,
    Haloed,
    Nodes,
    Side,
    Unknowns,
    at_plane,
    every_other,
    fixed_axis,
    fixed_first,
    in_pairs,
    neighbour,
    padded,
    planes,
    surrounded,
    with_boundary,
)

Faces = tuple[Grid, ...]  # per axis


@dataclass(frozen=True)
class FiniteVolumes:
    """Unknowns are the voxel centres; boundary values sit on the faces, half a voxel away.

    Attributes:
        sides: boundary condition of each axis.
    """

    sides: tuple[Side, ...]
    damping: ClassVar[float] = 0.9  # of Jacobi; the largest eigenvalue of diag(K)^-1 K is 2
    correction: ClassVar[float] = 0.9  # weight of the coarse correction: with 1 a second visit may overshoot

    def unknowns(self, cells: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the array of unknowns on a grid of `cells`."""
        return cells

    def positions(self, n: int, axis: int) -> Float[Array, " unknown"]:
        """Coordinates of the unknowns along an axis of n voxels, in voxels."""
        return jnp.arange(n, dtype=float) + 0.5

    def material(self, kappa: Cells) -> Faces:
        """Conductance of the faces normal to each axis."""
        return tuple(self._conductance(kappa, axis) for axis in range(kappa.ndim))

    def _conductance(self, kappa: Cells, axis: int) -> Grid:
        side = self.sides[axis]
        cells = with_boundary(kappa, axis, side) if side == "periodic" else kappa
        inner = harmonic(planes(cells, 0, -1, axis), planes(cells, 1, None, axis))
        if side != "fixed":
            return inner
        return jnp.concatenate([2 * planes(kappa, 0, 1, axis), inner, 2 * planes(kappa, -1, None, axis)], axis)

    def field(self, u: Unknowns, drops: Drops) -> Nodes:
        """Concentration at the voxel centres."""
        return u

    def from_field(self, field: Nodes) -> Unknowns:
        """The unknowns."""
        return field

    def _face_flux(self, conductance: Grid, u: Unknowns, drop: float, axis: int) -> Grid:
        values = with_boundary(u, axis, self.sides[axis], drop)
        return conductance * (planes(values, 0, -1, axis) - planes(values, 1, None, axis))

    def forces(self, material: Faces, u: Unknowns, drops: Drops) -> Unknowns:
        """K u - b: net flux out of each voxel."""
        total = self.product(self.stencil(material), self.haloed(u))
        for axis, drop in enumerate(drops):
            if drop:  # the drop adds a flux into the first voxels and, if periodic, one out of the last
                periodic = self.sides[axis] == "periodic"
                flux = drop * material[axis][at_plane(-1 if periodic else 0, axis)]
                total = total.at[at_plane(0, axis)].add(-flux)
                total = total.at[at_plane(-1, axis)].add(flux) if periodic else total
        return total

    def haloed(self, u: Unknowns) -> Haloed:
        """The unknowns with the planes around them that `product` reads."""
        first = fixed_axis(self.sides)
        return surrounded(jnp.moveaxis(u, first, 0), 1, periodic=self.sides[first] == "periodic")

    def interior(self, haloed: Haloed) -> Unknowns:
        """Inverse of `haloed`: the unknowns alone."""
        return jnp.moveaxis(haloed[1:-1], 0, fixed_axis(self.sides))

    def stencil(self, material: Faces) -> Faces:
        """Conductance of the face after each voxel, per axis, haloed, the fixed axis first; 0 at insulated ends."""
        first = fixed_axis(self.sides)
        stencil = []
        for axis, (faces, side) in enumerate(zip(material, self.sides, strict=True)):
            faces = jnp.moveaxis(padded(faces, axis, 0, 1) if side == "insulated" else faces, first, 0)
            if side == "fixed":  # the face before the first voxel follows a plane of zeros
                stencil.insert(0, padded(faces, 0, 0, 1))
            else:
                stencil.append(surrounded(faces, 1, periodic=self.sides[first] == "periodic"))
        return tuple(stencil)

    def product(self, stencil: Faces, haloed: Haloed) -> Unknowns:
        """K u, from the stencil and the haloed unknowns."""
        at = functools.partial(neighbour, width=1, sides=fixed_first(self.sides))
        axes = range(haloed.ndim)
        here = at(haloed, (0,) * haloed.ndim)
        total = jnp.zeros((), haloed.dtype)
        for axis, behind in enumerate(stencil):
            ahead, back = (tuple(step * int(a == axis) for a in axes) for step in (1, -1))
            total = total + at(behind, (0,) * haloed.ndim) * (here - at(haloed, ahead))
            total = total + at(behind, back) * (here - at(haloed, back))
        return jnp.moveaxis(total, 0, fixed_axis(self.sides))

    def diagonal(self, stencil: Faces) -> Unknowns:
        """diag(K): sum of the conductances of the faces of each voxel."""
        sides, axes = fixed_first(self.sides), range(len(stencil))
        at = functools.partial(neighbour, width=1, sides=sides)
        total = jnp.zeros_like(at(stencil[0], (0,) * len(stencil)))
        for axis, behind in enumerate(stencil):
            if sides[axis] != "periodic" or total.shape[axis] > 1:  # no flux from a voxel to itself
                total = total + at(behind, (0,) * len(stencil)) + at(behind, tuple(-int(a == axis) for a in axes))
        return jnp.moveaxis(total, 0, fixed_axis(self.sides))

    def energy(self, kappa: Cells, u: Unknowns, drops: Drops) -> Float[Array, ""]:
        """Sum over faces of conductance times difference squared."""
        total = jnp.zeros((), u.dtype)
        for axis in range(kappa.ndim):
            values = with_boundary(u, axis, self.sides[axis], drops[axis])
            difference = planes(values, 0, -1, axis) - planes(values, 1, None, axis)
            total = total + jnp.sum(self._conductance(kappa, axis) * difference**2)
        return total

    def flux(self, kappa: Cells, u: Unknowns, drops: Drops) -> Float[Array, "*cell axis"]:
        """-kappa grad u at the voxel centres, per voxel edge: the mean flux of the two faces along each axis."""
        components = []
        for axis, side in enumerate(self.sides):
            flux = self._face_flux(self._conductance(kappa, axis), u, drops[axis], axis)
            after, before = _beside(flux, axis, side)
            components.append((after + before) / 2)
        return jnp.stack(components, axis=-1)

    def face_fluxes(
        self, kappa: Cells, u: Unknowns, drops: Drops, axis: int
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Total flux in through the first face and out through the last."""
        flux = self._face_flux(self._conductance(kappa, axis), u, drops[axis], axis)
        return jnp.sum(planes(flux, 0, 1, axis)), jnp.sum(planes(flux, -1, None, axis))

    def coarsened(self, material: Faces) -> Faces:
        """Conductance of the faces of voxels of twice the edge: fine faces in parallel, over twice the distance.

        Unlike a mean diffusivity, this does not connect clusters that have no common face.
        """
        coarse = []
        for axis, (faces, side) in enumerate(zip(material, self.sides, strict=True)):
            odd = (faces.shape[axis] - (side == "fixed")) % 2 == 1  # number of voxels; insulated: of faces between
            outer = planes(faces, -1, None, axis)
            faces = every_other(faces, 0 if side == "fixed" else 1, axis)
            if odd and side != "insulated":
                faces = jnp.concatenate([faces, outer], axis)  # of the last voxel, alone in its block
            for other in set(range(faces.ndim)) - {axis}:
                faces = in_pairs(faces, other)
            coarse.append(faces / 2)
        return tuple(coarse)

    def preconditioner(self) -> "FiniteVolumes":
        """The discretisation of the multigrid cycle: the same."""
        return self

    def prolong(self, coarse: Grid, cells: tuple[int, ...]) -> Grid:
        """Piecewise constant interpolation of a correction from voxels of twice the edge.

        Linear interpolation across a jump of the diffusivity would couple a cluster to its surroundings; at contrast
        1e6 conjugate gradients then take ten times as many iterations.
        """
        for axis, n in enumerate(cells):
            coarse = planes(jnp.repeat(coarse, 2, axis), 0, n, axis)
        return coarse

    def restrict(self, fine: Grid, cells: tuple[int, ...]) -> Grid:
        """Transpose of `prolong`."""
        for axis in range(fine.ndim):
            fine = in_pairs(fine, axis)
        return fine


def harmonic(a: Grid, b: Grid) -> Grid:
    """2 / (1 / a + 1 / b), and 0 where both are 0."""
    both = a + b
    blocked = both == 0
    return jnp.where(blocked, 0.0, 2 * a * b / jnp.where(blocked, 1.0, both))


def _beside(faces: Grid, axis: int, side: Side) -> tuple[Grid, Grid]:
    """The face after and the face before each voxel."""
    if side == "fixed":
        return planes(faces, 1, None, axis), planes(faces, 0, -1, axis)
    if side == "periodic":
        return faces, jnp.roll(faces, 1, axis)
    return padded(faces, axis, 0, 1), padded(faces, axis, 1, 0)
