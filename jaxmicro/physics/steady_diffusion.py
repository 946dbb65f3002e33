"""Steady diffusion div(kappa grad u) = 0 on a voxel grid, solved and differentiated inside XLA.

Boundary conditions: u = 1 and 0 on two opposite faces, or u decreases by 1 per period; no flux or periodicity on the
other faces. Solver: conjugate gradients with a multigrid preconditioner, in one compiled loop. Functions take one
sample: map over a batch with `jax.vmap`.

Derivatives: D_eff is the minimum of the energy over u, so that its first derivative is that of the energy at fixed u
and needs no second solve. The field u has the implicit derivative, by one more solve of the same kind. Second
derivatives of D_eff follow from both and are correct. Forward and reverse mode both work.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from jaxmicro.errors import UserError
from jaxmicro.physics.discretisation import Discretisation
from jaxmicro.physics.elements import Elements
from jaxmicro.physics.equilibrium import equilibrium, virtual_work
from jaxmicro.physics.finite_volumes import FiniteVolumes
from jaxmicro.physics.grid import Drops, Side

Ends = Literal["fixed", "periodic"]
Sides = Literal["insulated", "periodic"]
Scheme = Literal["finite_volume", "q1"]
Backend = Literal["xla", "jaxfem"]
Diffusivity = Float[Array | np.ndarray, "*grid"]


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """Stopping criterion of the solver, and precision of its preconditioner.

    Attributes:
        tolerance: relative error of the field in the energy norm; that of D_eff is its square.
        max_iterations: a solution that reaches this number has `converged` False.
        single_precision_cycle: compute the preconditioner in float32 also in float64 solves: same iterations, faster.
    """

    tolerance: float = 1e-4
    max_iterations: int = 500
    single_precision_cycle: bool = True

    def __post_init__(self):
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance {self.tolerance} is not between 0 and 1; the default is 1e-4")
        if self.max_iterations < 1:
            raise UserError(f"max_iterations is {self.max_iterations}; allow at least 1, the default is 500")


class DiffusionSolution(NamedTuple):
    """Concentration and effective diffusivity, with estimates of their errors.

    Attributes:
        concentration: u at the voxel centres (finite volumes) or corners (q1, one more along each axis).
        d_eff: mean flux over mean gradient; the unit of the diffusivity. NaN for a diffusivity that is negative or NaN.
        relative_residual: relative error of the final field in the energy norm, estimated from its residual.
        flux_balance: flux in through the first face minus flux out through the last, over the larger of both.
        iterations: of conjugate gradients.
        converged: whether the tolerance was met and the final residual confirms it.
    """

    concentration: Float[Array, "*node"]
    d_eff: Float[Array, ""]
    relative_residual: Float[Array, ""]
    flux_balance: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def solve(
    kappa: Diffusivity,
    *,
    axis: int,
    discretisation: Scheme = "finite_volume",
    ends: Ends = "fixed",
    sides: Sides = "insulated",
    config: SolverConfig = SolverConfig(),  # noqa: B008  (frozen)
    guess: Float[Array | np.ndarray, "*node"] | None = None,
    backend: Backend = "xla",
) -> DiffusionSolution:
    """Solution of div(kappa grad u) = 0 with u decreasing by 1 along `axis`.

    Args:
        kappa: diffusivity of each voxel, "h w" or "z y x"; any unit; 0 for blocked ones, exactly so in finite volumes.
        axis: direction of the flux.
        discretisation: "finite_volume" (two-point flux, as in most voxel codes; a lower bound of D_eff of the voxel
            geometry) or "q1" (bilinear elements; an upper bound, and voxels that touch at a corner conduct).
        ends: condition on the two faces normal to `axis`: "fixed", u = 1 and 0 there, or "periodic", u decreases by 1
            per period (and is determined up to a constant). With periodic ends and sides `d_eff` is a diagonal entry of
            the effective tensor of the medium repeated periodically.
        sides: condition on the other faces.
        config: stopping criterion.
        guess: `concentration` at which the iteration starts, for example of a similar medium.
        backend: "xla" (structured kernel) or "jaxfem" (q1 only: JAX-FEM's residual is the operator; slow).
    Returns:
        The solution, in JAX's precision; `d_eff` and `concentration` are differentiable in kappa. Single precision
        suffices for contrasts up to about 1e4; for larger ones and blocked phases use `jax.enable_x64(True)`.
    Raises:
        UserError: kappa is not a 2D or 3D array, is negative or not finite (NaN inside jit), or an option is invalid.

    >>> float(solve(jnp.ones((4, 4)), axis=0).d_eff)
    1.0
    """
    kappa = checked(kappa)
    problem(kappa.ndim, axis, discretisation, sides, backend, ends=ends)  # raises on invalid options
    # the flux axis first: one program for all axes, without transpositions in its products
    kappa = jnp.moveaxis(kappa, axis, 0)
    scheme, drops = problem(kappa.ndim, 0, discretisation, sides, backend, ends=ends)
    if guess is not None:
        guess = jnp.asarray(guess, kappa.dtype)
        node = jax.eval_shape(lambda k: scheme.field(jnp.zeros(scheme.unknowns(k.shape)), drops), kappa)
        expected = jax.eval_shape(lambda field: jnp.moveaxis(field, 0, axis), node).shape
        if guess.shape != expected:
            raise UserError(f"guess has shape {guess.shape}; the concentration of this grid has {expected}")
        guess = jnp.moveaxis(guess, axis, 0)
    solution = _solve(kappa, guess, scheme, drops, config)
    return solution._replace(concentration=jnp.moveaxis(solution.concentration, 0, axis))


def problem(
    ndim: int, axis: int, discretisation: str, sides: str, backend: str, *, ends: str = "fixed"
) -> tuple[Discretisation, Drops]:
    """The discretisation and the drop of the concentration along each axis, for a flux along `axis`.

    Raises:
        UserError: the grid has no such axis, or the condition or discretisation is unknown.
    """
    if not -ndim <= axis < ndim:
        raise UserError(f"axis {axis} is not one of the {ndim} axes of the grid")
    if ends not in ("fixed", "periodic"):
        raise UserError(f"ends {ends!r} are unknown; choose fixed or periodic")
    if sides not in ("insulated", "periodic"):
        raise UserError(f"sides {sides!r} is unknown; choose insulated or periodic")
    flux_axis = axis % ndim
    conditions: Any = tuple(ends if a == flux_axis else sides for a in range(ndim))
    return scheme_of(discretisation, conditions, backend), tuple(float(a == flux_axis) for a in range(ndim))


def checked(kappa: Diffusivity) -> Float[Array, "*grid"]:
    """`kappa` as a floating-point array, after its shape and values were checked; values are not inside jit.

    Raises:
        UserError: it is empty, not 2D or 3D, not finite, or negative.
    """
    kappa = jnp.asarray(kappa)
    if kappa.ndim not in (2, 3) or kappa.size == 0:
        raise UserError(f"diffusivity has shape {kappa.shape}; expected a non-empty array h w or z y x")
    if not jnp.issubdtype(kappa.dtype, jnp.floating):
        kappa = kappa.astype(float)
    if not isinstance(kappa, Tracer):
        lowest, finite = float(jnp.min(kappa)), bool(jnp.all(jnp.isfinite(kappa)))
        if not finite:
            raise UserError("diffusivity holds NaN or infinity; every voxel needs a finite value, 0 if it is blocked")
        if lowest < 0:
            raise UserError(f"diffusivity {lowest:g} is negative; it must be 0 or larger in every voxel")
    return kappa


def scheme_of(discretisation: str, conditions: tuple[Side, ...], backend: str) -> Discretisation:
    """The discretisation of this name, with one boundary condition per axis.

    Raises:
        UserError: no such discretisation exists for the backend.
    """
    if (discretisation, backend) == ("q1", "jaxfem"):
        from jaxmicro.physics.jaxfem_elements import JaxFemElements

        return JaxFemElements(conditions)
    schemes = {("finite_volume", "xla"): FiniteVolumes, ("q1", "xla"): Elements}
    if (discretisation, backend) not in schemes:
        raise UserError(
            f"no discretisation {discretisation!r} with backend {backend!r}; "
            "choose finite_volume or q1 with xla, or q1 with jaxfem"
        )
    return schemes[discretisation, backend](conditions)


@partial(jax.jit, static_argnames=("scheme", "drops", "config"))
def _solve(kappa, guess, scheme, drops: Drops, config: SolverConfig) -> DiffusionSolution:
    valid = jnp.all(jnp.isfinite(kappa) & (kappa >= 0))
    scale = lax.stop_gradient(jnp.max(kappa))
    scale = jnp.where(scale > 0, scale, 1)
    relative = kappa / scale  # so that no unit overflows single precision
    start = None if guess is None else scheme.from_field(guess)
    u, error, iterations, met = equilibrium(relative, start, scheme, drops, config)
    axis = drops.index(1.0)
    d_eff = scale * virtual_work(scheme, drops, drops, relative, u, u) * kappa.shape[axis] ** 2 / kappa.size
    flux_in, flux_out = scheme.face_fluxes(relative, u, drops, axis)
    largest = jnp.maximum(jnp.abs(flux_in), jnp.abs(flux_out))
    return DiffusionSolution(
        concentration=scheme.field(u, drops),
        d_eff=jnp.where(valid, d_eff, jnp.nan),
        relative_residual=error,
        flux_balance=jnp.where(largest > 0, (flux_in - flux_out) / jnp.where(largest > 0, largest, 1), 0),
        iterations=iterations,
        converged=met & valid & (error <= 10 * config.tolerance),
    )
