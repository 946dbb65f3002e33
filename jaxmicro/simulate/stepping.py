"""Adaptive exponential steps of second to third order, with one evaluation of the rate each."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from jaxmicro.simulate.rates import Model, noise_of, rate_of
from jaxmicro.simulate.spectral import Modes

THIRD_ORDER_BELOW = 4.0  # h L up to which the third value of N counts
GROWTH = 1.5  # the most by which a step is longer than the last one


class State(NamedTuple):
    """Between two steps.

    Attributes:
        modes: of phi - mean, at `time`.
        rests: N at this and the two earlier steps.
        gaps: times between those; huge where there is no earlier step, which makes differences vanish.
        step: the next step.
        verified: whether that has been tried, and would be taken.
        splitting: S.
        energy: free energy.
        accepted, rejected: steps taken, and taken back.
        key: for the noise.
    """

    modes: Modes
    rests: tuple[Modes, Modes, Modes]
    gaps: tuple[Float[Array, ""], Float[Array, ""]]
    time: Float[Array, ""]
    step: Float[Array, ""]
    verified: Bool[Array, ""]
    splitting: Float[Array, ""]
    energy: Float[Array, ""]
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]
    key: Array


def start(model: Model, modes: Modes, key: Array) -> State:
    """At time 0. The first step is a hundredth of the time in which the fastest mode grows or decays by e, about."""
    zero, none = jnp.zeros_like(model.mean), jnp.zeros((), jnp.int32)
    rate = rate_of(model, modes, zero, model.curvature)
    curvature = jnp.abs(model.energy.curvature(model.mean)) + model.curvature
    step = 0.04 * model.kappa / (model.largest_mobility * curvature**2)
    if model.config.step is not None:
        step = jnp.full_like(zero, model.config.step)
    uncontrolled = jnp.asarray(model.config.uncontrolled)
    rests, gaps = (rate.rest, rate.rest, rate.rest), (_never(zero), _never(zero))
    return State(modes, rests, gaps, zero, step, uncontrolled, model.curvature, rate.energy, none, none, key)


def advance_to(model: Model, state: State, time: Float[Array, ""]) -> tuple[State, Bool[Array, ""]]:
    """The last state from which `time` is within one step that has been tried (with noise: the state at `time`), and
    whether it was reached within the number of steps allowed."""

    def reached(state: State) -> Bool[Array, ""]:
        there = state.time >= time
        return there if model.config.noise else there | (state.verified & _passes(state, time))

    def goes_on(state: State) -> Bool[Array, ""]:
        return ~reached(state) & (state.accepted + state.rejected < model.config.max_steps)

    state = lax.while_loop(goes_on, functools.partial(_step, model, time), state)
    return state, reached(state)


def extrapolated(model: Model, state: State, h: Float[Array, ""]) -> tuple[Modes, Modes]:
    """The modes after a time h, and the N expected there."""
    x = h * model.decay_rate(state.splitting)
    decay, one, two, three = _phi_functions(x)
    a, b, c = state.rests
    if model.config.noise:  # differences of N would be those of the noise
        return decay * state.modes + h * one * a, a
    first, second = state.gaps
    slope = (a - b) / first
    bend = (slope - (b - c) / second) / (first + second) / (1 + (x / THIRD_ORDER_BELOW) ** 2)
    modes = decay * state.modes + h * (one * a + h * two * slope + h * (2 * h * three + first * two) * bend)
    return modes, a + h * slope + h * (h + first) * bend


def _never(like: Array) -> Array:
    """A gap to an earlier step that there is not."""
    return jnp.full_like(like, float(jnp.finfo(like.dtype).max) ** 0.25)


def _passes(state: State, time: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether the next step ends beyond this time."""
    return state.time + state.step > time * (1 + 8 * jnp.finfo(time.dtype).eps)


def _step(model: Model, time: Float[Array, ""], state: State) -> State:
    """One step: taken, or taken back, or, if it passes `time`, found good and left for later."""
    config, box = model.config, model.config.box
    h = jnp.minimum(state.step, time - state.time) if config.noise else state.step
    modes, expected = extrapolated(model, state, h)
    key = state.key
    if config.noise:
        key, noise_key = jax.random.split(key)
        modes = modes + noise_of(model, state.modes, h, state.splitting, noise_key)
    rate = rate_of(model, modes, state.time + h, state.splitting)
    miss = h / (2 + h * model.decay_rate(state.splitting)) * (rate.rest - expected)
    eps, cells = float(jnp.finfo(h.dtype).eps), math.prod(box.shape)
    allowed = config.tolerance * jnp.sqrt(box.squared_sum(modes)) + 8 * eps * math.sqrt(cells)
    error = jnp.sqrt(box.squared_sum(miss)) / allowed
    factor = 0.9 * jnp.maximum(error, 1e-6) ** (-1 / 2 if config.noise else -1 / 3)
    taken = state._replace(
        modes=modes,
        rests=(rate.rest, *state.rests[:2]),
        gaps=(h, state.gaps[0]),
        time=state.time + h,
        energy=rate.energy,
        accepted=state.accepted + 1,
        key=key,
    )
    if config.step is not None:
        return taken
    if config.noise:
        return taken._replace(step=state.step * jnp.where(jnp.isfinite(factor), jnp.clip(factor, 0.2, GROWTH), 0.2))
    slack = 16 * eps * (jnp.abs(rate.energy) + cells * box.cell_volume)
    good = (error <= 1) & (rate.energy <= state.energy + (jnp.inf if model.source else slack))
    shorter = state.step * jnp.where(jnp.isfinite(factor), jnp.clip(factor, 0.2, 0.5), 0.2)
    taken = _resplit(model, taken._replace(step=h * jnp.clip(factor, 0.2, GROWTH), verified=~good), rate.top)
    back = state._replace(step=jnp.where(good, h, shorter), verified=good, rejected=state.rejected + ~good)
    return jax.tree.map(lambda new, old: jnp.where(good & ~_passes(state, time), new, old), taken, back)


def _resplit(model: Model, state: State, top: Float[Array, ""]) -> State:
    """The state with another S if the curvature of f in the field has left the range in which S serves.

    Extrapolation is stable for steps of any size if S is above 3/4 of the largest curvature, and its error is
    proportional to S. The earlier values of N belong to the old S: the next steps begin anew, and small.
    """
    fitting = jnp.maximum(1.1 * top, model.curvature)
    changes = (top > 1.2 * state.splitting) | (fitting < state.splitting / 2)
    splitting = jnp.where(changes, fitting, state.splitting)
    k2 = model.squared_wave_number
    rest = state.rests[0] + model.largest_mobility * (splitting - state.splitting) * k2 * state.modes
    return state._replace(
        rests=(rest, *state.rests[1:]),
        gaps=tuple(jnp.where(changes, _never(gap), gap) for gap in state.gaps),
        step=jnp.where(changes, state.step / 8, state.step),
        splitting=splitting,
    )


def _phi_functions(x: Array) -> tuple[Array, Array, Array, Array]:
    """exp(-x), and phi_j(-x) = (1 / (j - 1)! - phi_(j-1)(-x)) / x for j = 1, 2, 3; x >= 0."""
    decay = jnp.exp(-x)
    large, small = jnp.maximum(x, 1.0), jnp.minimum(x, 1.0)
    terms = 8 if x.dtype == jnp.float32 else 16
    # below 1 the quotients lose digits: there the series of phi_3, and the others from it
    three = functools.reduce(lambda s, n: 1 / math.factorial(n + 3) - small * s, range(terms, -1, -1), 0.0)
    two = jnp.where(x < 1, 0.5 - small * three, (1 - (1 - decay) / large) / large)
    one = jnp.where(x < 1, 1 - small * (0.5 - small * three), (1 - decay) / large)
    return decay, one, two, jnp.where(x < 1, three, (0.5 - two) / large)
