"""Adaptive exponential steps of second to third order, with one evaluation of the rate each.

The states from which steps start are kept on each of the grids of `grids.py`, of which one is in use at a time.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from jaxmicro.simulate.grids import too_coarse, too_fine
from jaxmicro.simulate.rates import Model, Rate, noise_of, rate_of
from jaxmicro.simulate.spectral import Modes

THIRD_ORDER_BELOW = 6.0  # h L up to which the third value of N counts
LONG_STEPS = 1.0  # S of long steps, between the curvature of f at the mean, 0, and the largest in the field, 1
GROWTH = 2.0  # the most by which a step is longer than the last one
FIRST_GROWTH = 30.0  # the same after the first step, whose length is a guess
SLOTS = 4  # states kept: three from which steps start, and the one that is tried


CHECKED_EVERY = 4  # steps after which another grid is considered


class Ring(NamedTuple):
    """States at `SLOTS` times, so that neither a step taken nor one taken back copies any.

    Attributes:
        modes: of phi - mean.
        explicit: their E.
    """

    modes: Float[Array, " slot *mode"]
    explicit: Float[Array, " slot *mode"]

    def at(self, slot: Int[Array, ""]) -> tuple[Modes, Modes]:
        """Modes and E at one of the times."""
        modes, explicit = (lax.dynamic_index_in_dim(x, slot % SLOTS, keepdims=False) for x in self)
        return modes, explicit


class State(NamedTuple):
    """Between two steps: the last state that was left, and a step from there that was tried.

    Attributes:
        rings: on each grid, the finest first; only that in use means anything.
        grid, wanted: which grid is in use, and which is asked for.
        newest: the slot of the state at `time`; that before holds the earlier one, that after the one tried.
        gaps: times between the three; huge where there is no earlier step, which makes differences vanish.
        energy, top: free energy and largest curvature of f at `time`.
        tried: whether the step tried is good.
        h, splitting, tried_energy, tried_top: its length, its S, and what it led to.
        step: length of the next step.
        accepted, rejected: steps that were good, and that were not.
        key: for the noise.
    """

    rings: tuple[Ring, ...]
    grid: Int[Array, ""]
    wanted: Int[Array, ""]
    newest: Int[Array, ""]
    gaps: tuple[Float[Array, ""], Float[Array, ""]]
    time: Float[Array, ""]
    energy: Float[Array, ""]
    top: Float[Array, ""]
    tried: Bool[Array, ""]
    h: Float[Array, ""]
    splitting: Float[Array, ""]
    tried_energy: Float[Array, ""]
    tried_top: Float[Array, ""]
    step: Float[Array, ""]
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]
    key: Array


def start(models: tuple[Model, ...], modes: Modes, key: Array) -> State:
    """At time 0, on the finest grid. The first step is a small part of the time in which a mode grows by e."""
    model = models[0]
    zero, none = jnp.zeros_like(model.mean), jnp.zeros((), jnp.int32)
    rate = rate_of(model, modes, zero)
    curvature = jnp.abs(model.energy.curvature(model.mean)) + model.curvature
    step = 0.04 * model.kappa / (model.largest_mobility * curvature**2)
    if model.config.step is not None:
        step = jnp.full_like(zero, model.config.step)
    never = jnp.full_like(zero, float(jnp.finfo(zero.dtype).max) ** 0.25)
    ring = Ring(*(jnp.broadcast_to(x, (SLOTS, *x.shape)) for x in (modes, rate.explicit)))
    empty = [jax.eval_shape(coarse.config.box.modes, jnp.empty(coarse.config.shape, zero.dtype)) for coarse in models]
    return State(
        rings=(ring, *(Ring(*[jnp.zeros((SLOTS, *x.shape), x.dtype)] * 2) for x in empty[1:])),
        grid=none,
        wanted=none,
        newest=none,
        gaps=(never, never),
        time=zero,
        energy=rate.energy,
        top=rate.top,
        tried=jnp.zeros((), bool),
        h=zero,
        splitting=zero,
        tried_energy=rate.energy,
        tried_top=rate.top,
        step=step,
        accepted=none,
        rejected=none,
        key=key,
    )


def advance_to(models: tuple[Model, ...], state: State, time: Float[Array, ""]) -> tuple[State, Bool[Array, ""]]:
    """The state from which a good step leads to `time` or beyond (with noise: to `time`), and whether it was reached
    within the number of steps allowed."""

    def reached(state: State) -> Bool[Array, ""]:
        return state.time + jnp.where(state.tried, state.h, 0) >= time * (1 - 8 * jnp.finfo(time.dtype).eps)

    def goes_on(state: State) -> Bool[Array, ""]:
        return ~reached(state) & (state.accepted + state.rejected < models[0].config.max_steps)

    def on_all_grids(state: State) -> State:
        for grid in range(len(models)):
            # not a branch for each grid: those of a batch of runs are on different ones, and all would be computed
            state = lax.while_loop(
                lambda s, grid=grid: goes_on(s) & (s.grid == grid) & (s.wanted == grid),
                functools.partial(_step, models, grid, time),
                state,
            )
        for old, new in ((a, b) for a in range(len(models)) for b in (a - 1, a + 1) if 0 <= b < len(models)):
            moves = goes_on(state) & (state.grid == old) & (state.wanted == new)
            state = lax.cond(moves, functools.partial(_moved, models, old, new), lambda s: s, state)
        return state

    if len(models) == 1:
        state = lax.while_loop(goes_on, functools.partial(_step, models, 0, time), state)
    else:
        state = lax.while_loop(goes_on, on_all_grids, state)
    return state, reached(state)


def modes_at(models: tuple[Model, ...], state: State, time: Float[Array, ""]) -> Modes:
    """The modes within the step that was tried, or at its start if it was not good; on the finest grid."""
    if models[0].config.noise:
        return state.rings[0].at(state.newest + state.tried)[0]
    h = jnp.where(state.tried, jnp.clip(time - state.time, 0, state.h), 0)
    fine = models[0].config.box

    def on(grid: int) -> Modes:
        modes = _extrapolated(models[grid], state, state.rings[grid], h, state.splitting)[0]
        return models[grid].config.box.resampled(modes, fine)

    return lax.switch(state.grid, [functools.partial(on, grid) for grid in range(len(models))])


def _moved(models: tuple[Model, ...], old: int, new: int, state: State) -> State:
    """The state on another grid, with E evaluated there: waves that only a finer grid has are in the next step, too."""
    state = _left(state)
    boxes = models[old].config.box, models[new].config.box
    modes = jax.vmap(lambda x: boxes[0].resampled(x, boxes[1]))(state.rings[old].modes)
    rates = lax.map(lambda x: rate_of(models[new], x, state.time), modes)
    return state._replace(
        rings=(*state.rings[:new], Ring(modes, rates.explicit), *state.rings[new + 1 :]),
        grid=jnp.full_like(state.grid, new),
        energy=rates.energy[state.newest],
        tried=jnp.zeros_like(state.tried),
    )


def _extrapolated(
    model: Model, state: State, ring: Ring, h: Float[Array, ""], splitting: Float[Array, ""]
) -> tuple[Modes, Modes]:
    """The modes after a time h, and the N expected there."""
    x, q = h * model.decay_rate(splitting), model.splitting_rate(splitting)
    decay, one, two, three = _phi_functions(x)
    modes, explicit = ring.at(state.newest)
    a = explicit + q * modes
    if model.config.noise:  # differences of N would be those of the noise
        return decay * modes + h * one * a, a
    b, c = (explicit + q * modes for modes, explicit in (ring.at(state.newest - age) for age in (1, 2)))
    first, second = state.gaps
    slope = (a - b) / first
    bend = (slope - (b - c) / second) / (first + second) / (1 + (x / THIRD_ORDER_BELOW) ** 2)
    modes = decay * modes + h * (one * a + h * two * slope + h * (2 * h * three + first * two) * bend)
    return modes, a + h * slope + h * (h + first) * bend


def _splitting(model: Model, h: Float[Array, ""], top: Float[Array, ""]) -> Float[Array, ""]:
    """S: the middle of the curvatures of f in the field, which leaves the least to N, and more for long steps.

    f'' is least near the mean. Extrapolation over steps of any size is stable if S is above 3/4 of the largest f''.
    Waves that grow do so by less than e in a step, as L is at least -M S^2 / 4 kappa.
    """
    if model.config.noise:
        return jnp.maximum(top, model.curvature)
    stiff = h * model.largest_mobility * top**2 / (4 * model.kappa)
    share = (0.5 + LONG_STEPS * stiff) / (1 + stiff)
    middle = share * top + (1 - share) * model.energy.curvature(model.mean)
    return jnp.maximum(middle, -2 * jnp.sqrt(model.kappa / (model.largest_mobility * h)))


def _left(state: State) -> State:
    """The state at the end of the step that was tried, if that is good."""
    past = (jnp.where(state.tried, state.h, state.gaps[0]), jnp.where(state.tried, *state.gaps))
    return state._replace(
        newest=(state.newest + state.tried) % SLOTS,
        gaps=past,
        time=state.time + jnp.where(state.tried, state.h, 0),
        energy=jnp.where(state.tried, state.tried_energy, state.energy),
        top=jnp.where(state.tried, state.tried_top, state.top),
    )


def _step(models: tuple[Model, ...], grid: int, time: Float[Array, ""], state: State) -> State:
    """Leaves for the state that was tried, and tries a step from there."""
    model = models[grid]
    config, box = model.config, model.config.box
    state, ring = _left(state), state.rings[grid]
    h = jnp.minimum(state.step, time - state.time) if config.noise else state.step
    splitting = _splitting(model, h, state.top)
    modes, expected = _extrapolated(model, state, ring, h, splitting)
    key = state.key
    if config.noise:
        key, noise_key = jax.random.split(key)
        modes = modes + noise_of(model, ring.at(state.newest)[0], h, splitting, noise_key)
    rate = rate_of(model, modes, state.time + h)
    miss = rate.explicit + model.splitting_rate(splitting) * modes - expected
    error = jnp.sqrt(box.squared_sum(h / (2 + h * jnp.abs(model.decay_rate(splitting))) * miss))
    eps, cells = float(jnp.finfo(h.dtype).eps), math.prod(box.shape)
    # noise renews the short waves in each step: what they do to N is no error of the statistics, or a small one
    tolerance = math.sqrt(config.tolerance) if config.noise else config.tolerance
    allowed = tolerance * jnp.sqrt(rate.squares) + 8 * eps * math.sqrt(cells)
    slack = 16 * eps * (jnp.abs(rate.energy) + cells * box.cell_volume)
    falls = rate.energy <= state.energy + (jnp.inf if model.source else slack)
    good = (error <= allowed) & falls | config.uncontrolled
    slot = (state.newest + 1) % SLOTS
    ring = Ring(
        lax.dynamic_update_index_in_dim(ring.modes, modes, slot, 0),
        lax.dynamic_update_index_in_dim(ring.explicit, rate.explicit, slot, 0),
    )
    return state._replace(
        rings=(*state.rings[:grid], ring, *state.rings[grid + 1 :]),
        wanted=_wanted(models, grid, state, modes, rate) if len(models) > 1 else state.wanted,
        tried=good,
        h=h,
        splitting=splitting,
        tried_energy=rate.energy,
        tried_top=rate.top,
        step=_next_step(model, state, h, error / allowed, good),
        accepted=state.accepted + good,
        rejected=state.rejected + ~good,
        key=key,
    )


def _wanted(models: tuple[Model, ...], grid: int, state: State, modes: Modes, rate: Rate) -> Int[Array, ""]:
    """The grid on which to go on: a finer one, too, near equilibrium, where grids differ about which step falls."""
    model, box = models[grid], models[grid].config.box

    def found() -> Int[Array, ""]:
        limit = model.config.tolerance * jnp.sqrt(rate.squares)
        slow = (state.energy - rate.energy) / (model.curvature * limit**2 * box.cell_volume)
        finer, coarser = jnp.zeros((), bool), jnp.zeros((), bool)
        if grid > 0:
            finer = too_coarse(box, modes, limit) | (slow < 1)
        if grid + 1 < len(models):
            coarser = too_fine(box, models[grid + 1].config.box, modes, limit) & (slow > 4) & ~finer
        return grid - finer.astype(jnp.int32) + coarser.astype(jnp.int32)

    return lax.cond(state.accepted % CHECKED_EVERY == 0, found, lambda: jnp.asarray(grid, jnp.int32))


def _next_step(
    model: Model, state: State, h: Float[Array, ""], error: Float[Array, ""], good: Bool[Array, ""]
) -> Float[Array, ""]:
    """The length with which the error, relative to that allowed, is expected to be 0.9^3."""
    if model.config.step is not None:
        return state.step
    factor = 0.9 * jnp.maximum(error, 1e-6) ** (-1 / 2 if model.config.noise else -1 / 3)
    growth = jnp.where(state.accepted == 0, FIRST_GROWTH, GROWTH)
    factor = jnp.clip(jnp.where(jnp.isfinite(factor), factor, 0.2), 0.2, jnp.where(good, growth, 0.5))
    return (state.step if model.config.noise else h) * factor


def _phi_functions(x: Array) -> tuple[Array, Array, Array, Array]:
    """exp(-x), and phi_j(-x) = (1 / (j - 1)! - phi_(j-1)(-x)) / x for j = 1, 2, 3; x >= -1."""
    decay = jnp.exp(-x)
    large, small = jnp.maximum(x, 1.0), jnp.minimum(x, 1.0)
    terms = 8 if x.dtype == jnp.float32 else 16
    # below 1 the quotients lose digits: there the series of phi_3, and the others from it
    three = functools.reduce(lambda s, n: 1 / math.factorial(n + 3) - small * s, range(terms, -1, -1), 0.0)
    two = jnp.where(x < 1, 0.5 - small * three, (1 - (1 - decay) / large) / large)
    one = jnp.where(x < 1, 1 - small * (0.5 - small * three), (1 - decay) / large)
    return decay, one, two, jnp.where(x < 1, three, (0.5 - two) / large)
