"""Conjugate gradients with an energy-based stopping criterion."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxmicro.physics.grid import Haloed, Unknowns
from jaxmicro.physics.stages import staged

WINDOW = 5  # iterations whose energy decrease estimates the remaining error


class Iterate(NamedTuple):
    """State of the iteration; `decreases` holds the last WINDOW energy decreases, `gained` the sum of all."""

    u: Unknowns
    r: Unknowns
    p: Haloed
    rz: Float[Array, ""]
    decreases: Float[Array, " window"]
    gained: Float[Array, ""]
    iterations: Int[Array, ""]


class Solved(NamedTuple):
    """Result of conjugate gradients; `left` estimates |u - u*|_K^2 from the residual of u, 0 if not `checked`."""

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

    A step along p decreases the energy u.Ku - 2 b.u by alpha r.z, and all later steps together by |u - u*|_K^2, the
    squared error. The decrease over the last WINDOW steps is therefore an estimate of the squared error before them
    (Hestenes and Stiefel 1952, section 6; Strakos and Tichy 2002). The iteration stops when it is below tolerance^2
    times the energy.

    With `checked`, the residual r of the final u is then computed, not updated, and one more step is begun from it:
    r.z with z = M r approximates r.K^-1 r, the squared error. This is a second pass of the same loop, so that the cycle
    is compiled once.

    Args:
        product: K u of haloed unknowns; linear.
        haloed: u -> u with the planes around it that `product` reads; linear.
        interior: inverse of `haloed`.
        precondition: r -> M r with M symmetric.
        residual: b - K u.
        zero: unknowns that are all 0.
        start_energy: energy at u = 0, from which the decreases are subtracted; the error is relative to the root of the
            result. 0: the error is relative to |u|_K.
        tolerance: relative error of u in the energy norm.
        checked: whether `left` is estimated from the residual of the final u.
    """
    rounding = 10 * float(jnp.finfo(zero.dtype).eps)

    def threshold(state: Iterate) -> Float[Array, ""]:
        # the energy of a medium that does not conduct is 0: then the rounding error of the initial energy is the scale
        return tolerance**2 * jnp.maximum(jnp.abs(start_energy - state.gained), rounding * start_energy)

    def met(state: Iterate) -> Bool[Array, ""]:
        steady = (state.iterations >= WINDOW) & (jnp.sum(state.decreases) <= threshold(state))
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

    def run(checking: Int[Array, ""] | int, previous: Solved) -> Solved:
        limit = jnp.where(checking, 1, max_iterations)
        infinite = jnp.full((), jnp.inf, zero.dtype)  # the first direction is the first z, with weight rz / inf = 0
        none = jnp.zeros((), zero.dtype)
        last = lax.while_loop(
            lambda state: ~met(state) & (state.iterations < limit) & ~jnp.isnan(state.rz),
            step,
            Iterate(
                previous.u,
                residual(previous.u),
                haloed(zero),
                infinite,
                jnp.zeros(WINDOW, zero.dtype),
                none,
                jnp.int32(0),
            ),
        )
        checked_start = previous._replace(left=jnp.maximum(last.rz, 0))
        solved = Solved(last.u, last.iterations, met(last), none)
        return jax.tree.map(lambda a, b: jnp.where(checking, a, b), checked_start, solved)

    start = Solved(zero, jnp.int32(0), jnp.bool_(False), jnp.zeros((), zero.dtype))
    return lax.fori_loop(0, 2, run, start) if checked else run(0, start)


def _ratio(numerator: Float[Array, ""], denominator: Float[Array, ""]) -> Float[Array, ""]:
    """numerator / denominator, and 0 for 0 / 0: no step for a right-hand side of zero, as in second derivatives."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)
