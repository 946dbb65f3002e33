"""Conjugate gradients that stop when the energy does."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxmicro.physics.grid import Haloed, Unknowns
from jaxmicro.physics.stages import staged

WINDOW = 5  # iterations whose energy decrease estimates the error left


class Iterate(NamedTuple):
    """State of the iteration; `decreases` holds the last energy decreases, `gained` the sum of all."""

    u: Unknowns
    r: Unknowns
    p: Haloed
    rz: Float[Array, ""]
    decreases: Float[Array, " window"]
    gained: Float[Array, ""]
    iterations: Int[Array, ""]


class Solved(NamedTuple):
    """What conjugate gradients end with; `left` estimates |u - u*|_K^2 of u itself, 0 if that was not checked."""

    u: Unknowns
    iterations: Int[Array, ""]
    met: Bool[Array, ""]
    left: Float[Array, ""]


def conjugate_gradients(
    product: Callable[[Haloed], Unknowns],
    haloed: Callable[[Unknowns], Haloed],
    interior: Callable[[Haloed], Unknowns],
    precondition: Callable[[Unknowns], Unknowns],
    residual: Callable[[Unknowns], Unknowns],
    zero: Unknowns,
    start_energy: Float[Array, ""],
    *,
    tolerance: float,
    max_iterations: int,
    checked: bool = True,
) -> Solved:
    """Solve residual(u) = b - K u = 0 from u = 0, K symmetric and positive semi-definite, b in its range.

    A step along p lowers the energy u.Ku - 2 b.u by alpha r.z, and all steps to come lower it by |u - u*|_K^2, the
    error squared. So the decrease over the last steps estimates the error that was left before them (Hestenes and
    Stiefel 1952, section 6; Strakos and Tichy 2002). The iteration stops when it is below tolerance^2 of the energy.

    If it is to be checked, the residual of u itself is worked out then, and one more step begun from it: r.z with
    z = M r is close to r.K^-1 r, the error squared. It is a second turn of the same loop, so that the cycle is compiled
    once.

    Args:
        product: K u of unknowns as `haloed` makes them and `interior` undoes it; linear, all of them.
        residual: b - K u.
        zero: unknowns that are all 0.
        start_energy: energy at u = 0 when it is known what the energy tends to (then the error is relative to that), or
            0 (then it is relative to |u|_K).
        tolerance: relative error of u in the energy norm.
    """
    rounding = 10 * float(jnp.finfo(zero.dtype).eps)

    def goal(state: Iterate) -> Float[Array, ""]:
        # A medium that does not conduct has no energy to compare with; rounding of where it started is as good.
        return tolerance**2 * jnp.maximum(jnp.abs(start_energy - state.gained), rounding * start_energy)

    def met(state: Iterate) -> Bool[Array, ""]:
        steady = (state.iterations >= WINDOW) & (jnp.sum(state.decreases) <= goal(state))
        return steady | (state.rz == 0)

    def step(state: Iterate) -> Iterate:
        z = precondition(state.r)
        rz = jnp.vdot(state.r, z)
        p = staged(lambda z, weight, p: haloed(z) + weight * p)(z, _ratio(rz, state.rz), state.p)
        k_p = product(p)
        alpha = _ratio(rz, jnp.vdot(z, k_p))  # p.Kp, because p - z is a multiple of the last p, and that.Kp = 0
        decrease = alpha * rz
        return Iterate(
            u=state.u + alpha * interior(p),
            r=state.r - alpha * k_p,
            p=p,
            rz=rz,
            decreases=jnp.roll(state.decreases, 1).at[0].set(decrease),
            gained=state.gained + decrease,
            iterations=state.iterations + 1,
        )

    def turn(checking: Int[Array, ""] | int, so_far: Solved) -> Solved:
        most = jnp.where(checking, 1, max_iterations)
        infinite = jnp.full((), jnp.inf, zero.dtype)  # the first direction is the first z: weight rz / inf = 0
        nothing = jnp.zeros((), zero.dtype)
        last = lax.while_loop(
            lambda state: ~met(state) & (state.iterations < most) & ~jnp.isnan(state.rz),
            step,
            Iterate(
                so_far.u,
                residual(so_far.u),
                haloed(zero),
                infinite,
                jnp.zeros(WINDOW, zero.dtype),
                nothing,
                jnp.int32(0),
            ),
        )
        same = so_far._replace(left=jnp.maximum(last.rz, 0))
        found = Solved(last.u, last.iterations, met(last), nothing)
        return jax.tree.map(lambda a, b: jnp.where(checking, a, b), same, found)

    start = Solved(zero, jnp.int32(0), jnp.bool_(False), jnp.zeros((), zero.dtype))
    return lax.fori_loop(0, 2, turn, start) if checked else turn(0, start)


def _ratio(numerator: Float[Array, ""], denominator: Float[Array, ""]) -> Float[Array, ""]:
    """0 for 0 / 0: a right-hand side of zero (there are such in second derivatives) takes no step."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)
