"""Transport properties of a medium: effective diffusivity, its tensor, tortuosity factor, local flux.

Finite volumes are the default because other voxel codes use them. They bound D_eff of the voxel geometry from below,
bilinear elements from above; where the two differ the voxels are too coarse, so report both. Connectivity, not the
solver, determines whether a medium conducts: without a connected path of voxels D_eff is exactly 0.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from jaxmicro.descriptors import label_clusters, spanning, winding
from jaxmicro.errors import UserError
from jaxmicro.physics.equilibrium import equilibrium, virtual_work
from jaxmicro.physics.steady_diffusion import (
    Backend,
    DiffusionSolution,
    Diffusivity,
    Ends,
    Scheme,
    Sides,
    SolverConfig,
    checked,
    problem,
    scheme_of,
    solve,
)

PerPhase = Float[Array | np.ndarray, " p"]
Flag = bool | np.bool_ | Bool[Array, ""]


def diffusivity_of_phases(
    fractions: Float[Array | np.ndarray, "*grid p"], diffusivities: Float[Array | np.ndarray, " d"]
) -> Float[Array, "*grid"]:
    """Diffusivity of each voxel, sum_p fraction_p D_p: exact for one-hot phases, differentiable for soft ones.

    Args:
        fractions: share of each phase in each voxel.
        diffusivities: D_p; any unit, 0 for a blocked phase.
    Raises:
        UserError: the numbers of diffusivities and phases differ.

    >>> diffusivity_of_phases(jnp.eye(2), jnp.array([0.5, 2.0])).tolist()
    [0.5, 2.0]
    """
    fractions = jnp.asarray(fractions)
    diffusivities = jnp.asarray(diffusivities, fractions.dtype)
    if fractions.shape[-1] != diffusivities.size:
        raise UserError(f"{fractions.shape[-1]} phases and {diffusivities.size} diffusivities; give one per phase")
    return fractions @ diffusivities


def effective_diffusivity(
    kappa: Diffusivity,
    *,
    axis: int,
    discretisation: Scheme = "finite_volume",
    ends: Ends = "fixed",
    sides: Sides = "insulated",
    percolates: Flag | None = None,
    config: SolverConfig = SolverConfig(),  # noqa: B008  (frozen)
    guess: Float[Array | np.ndarray, "*node"] | None = None,
    backend: Backend = "xla",
) -> Float[Array, ""]:
    """D_eff along one axis: mean flux over mean gradient, differentiable in kappa.

    Args:
        percolates: whether the conducting voxels connect the two faces, or with periodic ends wind around the grid
            along the axis (`clusters.winding`); if not, D_eff and its derivative are 0. None: determined from kappa,
            with connections through faces of voxels for finite volumes, also through corners for elements; inside jit,
            where that is impossible, True.
        Others as in `solve`.
    Returns:
        D_eff in the unit of kappa; NaN if the solver did not converge.

    >>> float(effective_diffusivity(jnp.array([[1.0, 1.0], [3.0, 3.0]]), axis=1))
    2.0
    """
    solution = solve(
        kappa,
        axis=axis,
        discretisation=discretisation,
        ends=ends,
        sides=sides,
        config=config,
        guess=guess,
        backend=backend,
    )
    if percolates is None:
        percolates = isinstance(kappa, Tracer) or _connects(np.asarray(kappa) > 0, axis, discretisation, ends, sides)
    return conducted(solution, percolates)


def _connects(conducting: Bool[np.ndarray, "*grid"], axis: int, discretisation: Scheme, ends: Ends, sides: Sides):
    """Whether conducting voxels percolate along the axis; elements also conduct through corners."""
    periodic = [(ends if a == axis % conducting.ndim else sides) == "periodic" for a in range(conducting.ndim)]
    corners = discretisation == "q1"
    if ends == "periodic":
        return bool(winding(conducting, corners=corners, periodic=periodic)[1][:, axis].any())
    return spanning(label_clusters(conducting, corners=corners, periodic=periodic), axis).size > 0


def conducted(solution: DiffusionSolution, percolates: Flag) -> Float[Array, ""]:
    """D_eff of a solution: 0 if the medium does not percolate, NaN if the solver did not converge."""
    return jnp.where(percolates, jnp.where(solution.converged, solution.d_eff, jnp.nan), 0.0)


def tortuosity_factor(
    d_eff: Float[Array, ""], volume_fraction: float | Float[Array, ""], diffusivity: float = 1.0
) -> Float[Array, ""]:
    """tau = phi D_0 / D_eff of the one conducting phase: at least 1, infinite when D_eff is 0, NaN when it is negative.

    Args:
        d_eff: effective diffusivity of the medium, all other phases blocked.
        volume_fraction: phi of the conducting phase, including its isolated parts.
        diffusivity: D_0 of the conducting phase, in the unit of `d_eff`.
    Raises:
        UserError: the fraction is not between 0 and 1 (not checked inside jit), or the diffusivity is not above 0.
    Source: Cooper et al., SoftwareX 5, 203 (2016), eq. 1.

    >>> float(tortuosity_factor(jnp.float32(0.25), 0.5)), float(tortuosity_factor(jnp.float32(0.0), 0.5))
    (2.0, inf)
    """
    if not isinstance(volume_fraction, Tracer) and not 0 <= float(volume_fraction) <= 1:
        raise UserError(f"volume fraction {float(volume_fraction):g} is not between 0 and 1")
    if not diffusivity > 0:
        raise UserError(f"diffusivity {diffusivity:g} of the conducting phase is not above 0")
    conducts = d_eff > 0
    tau = volume_fraction * diffusivity / jnp.where(conducts, d_eff, 1)
    return jnp.where(conducts, tau, jnp.where(d_eff == 0, jnp.inf, jnp.nan))


def effective_tensor(
    kappa: Diffusivity,
    *,
    discretisation: Scheme = "finite_volume",
    percolates: Sequence[Flag] | Bool[np.ndarray, " axis"] | None = None,
    config: SolverConfig = SolverConfig(),  # noqa: B008  (frozen)
) -> Float[Array, "axis axis"]:
    """Full effective diffusivity tensor of the medium repeated periodically.

    D_ij = <grad u_i . kappa grad u_j>, u_j - x_j periodic: symmetric by construction, differentiable in kappa.

    Args:
        percolates: whether a cluster of conducting voxels winds around the grid along each axis (`clusters.winding`);
            if not, row and column of the axis are 0. None: determined as in `effective_diffusivity`.
    Returns:
        D in the unit of kappa; NaN in the row and the column of an axis whose solve did not converge.
    Raises:
        UserError: as for `solve`, or `percolates` does not have one flag for each axis.
    Source: Torquato (2002), section 13.2; Bensoussan, Lions and Papanicolaou (1978).

    >>> effective_tensor(jnp.array([[1.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.5]]
    """
    kappa = checked(kappa)
    if percolates is None:
        if isinstance(kappa, Tracer):
            percolates = [True] * kappa.ndim
        else:
            percolates = np.any(winding(np.asarray(kappa) > 0, corners=discretisation == "q1")[1], axis=0)
    flags = jnp.asarray(percolates, bool)
    if flags.shape != (kappa.ndim,):
        raise UserError(f"percolates has shape {flags.shape}; expected one flag for each of {kappa.ndim} axes")
    return _tensor(kappa, flags, scheme_of(discretisation, ("periodic",) * kappa.ndim, "xla"), config)


@partial(jax.jit, static_argnames=("scheme", "config"))
def _tensor(kappa, percolates: Bool[Array, " axis"], scheme, config: SolverConfig) -> Float[Array, "axis axis"]:
    scale = jax.lax.stop_gradient(jnp.max(kappa))
    scale = jnp.where(scale > 0, scale, 1)
    relative, axes = kappa / scale, range(kappa.ndim)
    drops = [tuple(float(n) if a == axis else 0.0 for a, n in enumerate(kappa.shape)) for axis in axes]  # slope 1
    # along an axis that does not percolate the right-hand side is 0, so that its solve ends immediately
    driven = [jnp.where(percolates[axis], relative, 0) for axis in axes]
    fields = [equilibrium(driven[axis], None, scheme, drops[axis], config) for axis in axes]
    work = {
        (i, j): virtual_work(scheme, drops[i], drops[j], relative, fields[i].u, fields[j].u)
        for i in axes
        for j in axes
        if i <= j
    }
    tensor = jnp.stack([jnp.stack([work[min(i, j), max(i, j)] for j in axes]) for i in axes])
    good = jnp.stack([field.met & (field.error <= 10 * config.tolerance) for field in fields])
    good = good[:, None] & good[None, :] & jnp.all(kappa >= 0)
    conducts = percolates[:, None] & percolates[None, :]
    return jnp.where(conducts, jnp.where(good, scale * tensor / kappa.size, jnp.nan), 0.0)


def flux_field(
    kappa: Diffusivity,
    concentration: Float[Array | np.ndarray, "*node"],
    *,
    axis: int,
    discretisation: Scheme = "finite_volume",
    ends: Ends = "fixed",
    sides: Sides = "insulated",
) -> Float[Array, "*grid axis"]:
    """-kappa grad u in each voxel, per voxel edge, for u that decreases by 1 over the grid along `axis`.

    Args:
        concentration: of a `solve` with the same arguments.
    Returns:
        One component per axis, last. The mean along `axis`, times the edge of the grid along it, is D_eff.
    """
    kappa = checked(kappa)
    scheme, drops = problem(kappa.ndim, axis, discretisation, sides, "xla", ends=ends)
    return scheme.flux(kappa, scheme.from_field(jnp.asarray(concentration)), drops)
