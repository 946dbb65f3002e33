"""Conjugate gradients that stop when the energy does."""

from collections.abc import Callable
from typing import NamedTuple

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


def conjugate_gradients(
    product: Callable[[Haloed], Unknowns],
    haloed: Callable[[Unknowns], Haloed],
    interior: Callable[[Haloed], Unknowns],
    precondition: Callable[[Unknowns], Unknowns],
    b: Unknowns,
    start_energy: Float[Array, ""],
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[Unknowns, Int[Array, ""], Bool[Array, ""]]:
    """Solve K u = b from u = 0, K symmetric and positive semi-definite, b in its range.

    A step along p lowers the energy u.Ku - 2 b.u by alpha r.z, and all steps to come lower it by |u - u*|_K^2, the
    error squared. So the decrease over the last steps estimates the error that was left before them (Hestenes and
    Stiefel 1952, section 6; Strakos and Tichy 2002). The iteration stops when it is below tolerance^2 of the energy.

    Args:
        product: K u of unknowns as `haloed` makes them and `interior` undoes it; linear, all of them.
        start_energy: energy at u = 0 when it is known what the energy tends to (then the error is relative to that), or
            0 (then it is relative to |u|_K).
        tolerance: relative error of u in the energy norm.
    Returns:
        u, iterations, and whether the tolerance was met.
    """
    rounding = 10 * float(jnp.finfo(b.dtype).eps)

    def goal(state: Iterate) -> Float[Array, ""]:
        # A medium that does not conduct has no energy to compare with; rounding of where it started is as good.
        return tolerance**2 * jnp.maximum(jnp.abs(start_energy - state.gained), rounding * start_energy)

    def met(state: Iterate) -> Bool[Array, ""]:
        steady = (state.iterations >= WINDOW) & (jnp.sum(state.decreases) <= goal(state))
        return steady | (state.rz == 0)

    def unfinished(state: Iterate) -> Bool[Array, ""]:
        return ~met(state) & (state.iterations < max_iterations) & ~jnp.isnan(state.rz)

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

    zero = jnp.zeros_like(b)
    infinite = jnp.full((), jnp.inf, b.dtype)  # the first direction is the first z: weight rz / inf = 0 of the last one
    decreases = jnp.zeros(WINDOW, b.dtype)
    first = Iterate(zero, b, haloed(zero), infinite, decreases, jnp.zeros((), b.dtype), jnp.int32(0))
    last = lax.while_loop(unfinished, step, first)
    return last.u, last.iterations, met(last)


def _ratio(numerator: Float[Array, ""], denominator: Float[Array, ""]) -> Float[Array, ""]:
    """0 for 0 / 0: a right-hand side of zero (there are such in second derivatives) takes no step."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)
