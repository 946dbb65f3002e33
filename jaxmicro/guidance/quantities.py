"""Quantities that can be targets of a design: descriptors and properties of phase fractions, all differentiable.

Each quantity is a number of one phase, with the estimator that `measure` and `evaluate` use on labels. Quantities of
slices are means over the planes normal to all three axes, so that they can be compared with crops of a micrograph; the
others exist in 3D only. Lengths are in voxels; diffusivities are relative to that of the phase, all others blocked.

The diffusivity of a volume between two opposite faces depends on where it is cut; a periodic volume also has that of
the medium, the diagonal of its effective tensor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.descriptors import crofton_surface_area, relative_surface_area
from jaxmicro.diffusion import take_planes
from jaxmicro.physics import SolverConfig, solve

# Diffusivity of the blocked phases in differentiable solves: isolated clusters need a gradient towards connections, and
# single precision needs a contrast that it can solve.
LEAK = 1e-3
SOLVER = SolverConfig(tolerance=1e-2)  # of the field; the error of the diffusivity, an energy, is its square: 1e-4

Measure = Callable[[Float[Array, "*grid p"], int, int | None], Float[Array, ""]]


@dataclass(frozen=True)
class Quantity:
    """A number of one phase.

    Attributes:
        measure: (fractions "z y x p", phase, axis) -> number; axis None: the mean over the axes.
        of_plane: the number of one image "h w p", such as a micrograph; None for quantities that exist in 3D only.
        directional: whether it can be a target along one axis.
        unit: of the number, in words.
        measure_periodic: the number of the medium repeated periodically, where that differs from `measure`.
    """

    measure: Measure
    of_plane: Callable[[Float[Array, "h w p"], int], Float[Array, ""]] | None
    directional: bool
    unit: str
    measure_periodic: Measure | None = None

    def measure_of(self, *, periodic: bool) -> Measure:
        """The measure of a periodic medium, or of a volume between faces."""
        return self.measure_periodic if periodic and self.measure_periodic is not None else self.measure


def _over_planes(of_plane: Callable[[Float[Array, "h w p"], int], Float[Array, ""]]) -> Measure:
    """The mean over the planes of a volume that are normal to one axis, or to each of the three."""

    def measure(fractions: Float[Array, "z y x p"], phase: int, axis: int | None) -> Float[Array, ""]:
        return jnp.mean(jnp.stack([jnp.mean(each) for each in _of_planes(of_plane, fractions, phase, axis)]))

    return measure


def _of_planes(of_plane, fractions: Float[Array, "z y x p"], phase: int, axis: int | None) -> list[Float[Array, " n"]]:
    """A number of each plane normal to one axis, or to each of the three."""
    # mapped, not batched: batched solves all iterate until the slowest converges
    return [
        jax.lax.map(lambda plane: of_plane(plane, phase), take_planes(fractions, a))
        for a in (range(3) if axis is None else [axis])
    ]


def of_each_plane(
    quantity: str, fractions: Float[Array, "z y x p"], phase: int, axis: int | None = None
) -> Float[Array, " n"]:
    """A quantity of each plane normal to one axis, or to z, then y, then x."""
    of_plane = QUANTITIES[quantity].of_plane
    assert of_plane is not None, quantity
    return jnp.concatenate(_of_planes(of_plane, fractions, phase, axis))


def _volume_fraction(fractions: Float[Array, "*grid p"], phase: int, axis: int | None = None) -> Float[Array, ""]:
    return jnp.mean(fractions[..., phase])


def _surface_area(fractions: Float[Array, "*grid p"], phase: int, axis: int | None = None) -> Float[Array, ""]:
    return crofton_surface_area(fractions[..., phase])


def _relative_area(fractions: Float[Array, "h w p"], phase: int) -> Float[Array, ""]:
    return relative_surface_area(fractions)[phase]


def _diffusivity(
    fractions: Float[Array, "*grid p"], phase: int, axis: int | None = None, *, periodic: bool = False
) -> Float[Array, ""]:
    kappa = LEAK + (1 - LEAK) * fractions[..., phase]
    along = range(kappa.ndim) if axis is None else [axis]
    return jnp.mean(
        jnp.stack([solve(kappa, axis=a, config=SOLVER, **boundary_conditions(periodic)).d_eff for a in along])
    )


def boundary_conditions(periodic: bool) -> dict[str, Any]:
    """Boundary conditions of `physics.solve`: for a periodic medium, or for a volume between two opposite faces with
    u = 1 and u = 0 there and insulated sides."""
    return {"ends": "periodic", "sides": "periodic"} if periodic else {"ends": "fixed", "sides": "insulated"}


def _tortuosity(
    fractions: Float[Array, "z y x p"], phase: int, axis: int | None = None, *, periodic: bool = False
) -> Float[Array, ""]:
    return _volume_fraction(fractions, phase) / _diffusivity(fractions, phase, axis, periodic=periodic)


QUANTITIES = {
    "volume_fraction": Quantity(_volume_fraction, _volume_fraction, False, "share of the volume"),
    "surface_area": Quantity(_surface_area, None, False, "interface area per volume, 1 / voxel"),
    "relative_surface_area": Quantity(
        _over_planes(_relative_area), _relative_area, False, "share of the interface in slices"
    ),
    "slice_diffusivity": Quantity(
        _over_planes(_diffusivity), _diffusivity, False, "mean D_eff / D_0 of slices, both directions"
    ),
    "diffusivity": Quantity(_diffusivity, None, True, "D_eff / D_0 in 3D", partial(_diffusivity, periodic=True)),
    "tortuosity": Quantity(
        _tortuosity,
        None,
        True,
        "tortuosity factor in 3D, volume fraction over D_eff / D_0",
        partial(_tortuosity, periodic=True),
    ),
}
"""Quantity by its name in a target."""
