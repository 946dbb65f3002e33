"""The equilibrium field u(kappa) and its virtual work, with their derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxmicro.physics.discretisation import Discretisation
from jaxmicro.physics.grid import Cells, Drops, Haloed, Unknowns
from jaxmicro.physics.krylov import conjugate_gradients
from jaxmicro.physics.multigrid import cycle, hierarchy
from jaxmicro.physics.stages import staged

Operator = Callable[[Unknowns], Unknowns]


class Equilibrium(NamedTuple):
    """Solution of K u = b with its error.

    Attributes:
        u: the unknowns, with the implicit derivative in the diffusivity.
        error: estimate of the relative error of u in the energy norm, from the residual of u itself.
        met: whether the stopping criterion was met before the largest number of iterations.
    """

    u: Unknowns
    error: Float[Array, ""]
    iterations: Int[Array, ""]
    met: Bool[Array, ""]


def equilibrium(kappa: Cells, guess: Unknowns | None, scheme: Discretisation, drops: Drops, config: Any) -> Equilibrium:
    """Solution u of K(kappa) u = b(kappa, drops), iterated from `guess` or the linear profile."""
    start = lax.stop_gradient(linear_profile(kappa, scheme, drops) if guess is None else guess)
    if not start.size:  # one element between two fixed faces: nothing to solve
        return Equilibrium(start, jnp.zeros((), kappa.dtype), jnp.int32(0), jnp.bool_(True))
    return _equilibrium(scheme, drops, config, kappa, start)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _equilibrium(scheme: Discretisation, drops: Drops, config: Any, kappa: Cells, start: Unknowns) -> Equilibrium:
    product, precondition = _operators(scheme, config, kappa)
    start_energy = scheme.energy(kappa, start, drops)
    found = conjugate_gradients(
        product,
        scheme.haloed,
        scheme.interior,
        precondition,
        lambda step: -scheme.forces(scheme.material(kappa), start + step, drops),
        jnp.zeros_like(start),
        start_energy,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )
    u = start + found.u
    energy = jnp.maximum(scheme.energy(kappa, u, drops), 10 * float(jnp.finfo(u.dtype).eps) * start_energy)
    error = jnp.sqrt(found.left / jnp.where(energy > 0, energy, 1))
    return Equilibrium(u, error, found.iterations, found.met)


@_equilibrium.defjvp
def _equilibrium_tangent(scheme, drops, config, primals, tangents):
    """Implicit derivative: K du = -(dK u - db), where dK u - db is the change of the forces at fixed u."""
    (kappa, start), (kappa_dot, _) = primals, tangents
    solution = _equilibrium(scheme, drops, config, kappa, start)
    forces_dot = jax.jvp(lambda k: scheme.forces(scheme.material(k), solution.u, drops), (kappa,), (kappa_dot,))[1]
    u_dot = _linear_solve(kappa, -forces_dot, scheme, config)
    still: Any = np.zeros((), jax.dtypes.float0)  # tangent of an integer in JAX
    return solution, Equilibrium(u_dot, jnp.zeros_like(solution.error), still, still)


def _linear_solve(kappa: Cells, b: Unknowns, scheme: Discretisation, config: Any) -> Unknowns:
    """K^-1 b, with derivatives of any order by the same solver."""
    stencil = scheme.stencil(scheme.material(kappa))
    product, precondition = _operators(scheme, config, lax.stop_gradient(kappa))

    def solver(_: Operator, b: Unknowns) -> Unknowns:
        return conjugate_gradients(
            product,
            scheme.haloed,
            scheme.interior,
            precondition,
            lambda u: b - product(scheme.haloed(u)),
            jnp.zeros_like(b),
            jnp.zeros((), b.dtype),
            tolerance=config.tolerance,
            max_iterations=config.max_iterations,
            checked=False,
        ).u

    return lax.custom_linear_solve(lambda u: scheme.product(stencil, scheme.haloed(u)), b, solver, symmetric=True)


def _operators(
    scheme: Discretisation, config: Any, kappa: Cells
) -> tuple[Callable[[Haloed], Unknowns], Callable[[Unknowns], Unknowns]]:
    """The functions haloed u -> K u, and r -> approximately K^-1 r (one multigrid cycle)."""
    cells, stencil = kappa.shape, scheme.stencil(scheme.material(kappa))
    cycle_scheme = scheme.preconditioner()
    levels = hierarchy(cycle_scheme, kappa.astype(jnp.float32) if config.single_precision_cycle else kappa)

    def product(haloed: Haloed) -> Unknowns:
        return staged(scheme.product)(stencil, haloed)

    def balanced(field: Unknowns) -> Unknowns:
        """The field minus its mean, if no values are fixed: u is then determined up to a constant, and forces sum to
        zero up to rounding errors, which the cycle would amplify."""
        return field if "fixed" in scheme.sides else field - jnp.mean(field)

    def precondition(r: Unknowns) -> Unknowns:
        working = balanced(r).astype(levels[0].inverse_diagonal.dtype)
        return balanced(cycle(cycle_scheme, levels, cells, working).astype(r.dtype))

    return product, precondition


def linear_profile(kappa: Cells, scheme: Discretisation, drops: Drops) -> Unknowns:
    """The solution u for a uniform medium."""
    shape = scheme.unknowns(kappa.shape)
    u = jnp.zeros(shape, kappa.dtype)
    for axis, (n, drop) in enumerate(zip(kappa.shape, drops, strict=True)):
        profile = (drop * (1 - scheme.positions(n, axis) / n)).astype(kappa.dtype)
        u = u + profile.reshape([-1 if a == axis else 1 for a in range(kappa.ndim)])
    return u


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def virtual_work(
    scheme: Discretisation, drops: Drops, other: Drops, kappa: Cells, u: Unknowns, v: Unknowns
) -> Float[Array, ""]:
    """int grad v . kappa grad u for the equilibrium fields u (with `drops`) and v (with `other`)."""
    return _work(scheme, drops, other, kappa, u, v)


@virtual_work.defjvp
def _virtual_work_tangent(scheme, drops, other, primals, tangents):
    """Derivative in kappa at fixed fields: a change of either field with the same boundary values does no work.

    No further solve is needed. The tangent is a differentiable function of kappa and the fields, so that second
    derivatives are correct.
    """
    kappa, u, v = primals
    work_of = partial(_work, scheme, drops, other)
    return virtual_work(scheme, drops, other, *primals), jax.jvp(lambda k: work_of(k, u, v), (kappa,), tangents[:1])[1]


def _work(
    scheme: Discretisation, drops: Drops, other: Drops, kappa: Cells, u: Unknowns, v: Unknowns
) -> Float[Array, ""]:
    if drops == other:
        return scheme.energy(kappa, u, drops)
    both = tuple(a + b for a, b in zip(drops, other, strict=True))
    return (scheme.energy(kappa, u + v, both) - scheme.energy(kappa, u, drops) - scheme.energy(kappa, v, other)) / 2
