"""Phases of voxels along interfaces changed, as few as possible, until numbers of a sample have given values.

Gauss-Newton steps on softened interfaces: the change of the logits, along filtered slopes by which interfaces move as a
whole, that removes the deviations to first order, with gains adapted to what the steps before achieved. The deviations
are those of the most probable phases; the derivative is that of the soft ones, which is the slope of the step function
smoothed over about one unit of the logits.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxmicro.phases import hardened, one_hot, to_labels

SHARPNESS = 12.0  # logits per unit of the share of a phase in the neighbourhood
MARGIN = 0.05  # least lead of a voxel's own phase over the next one, as a share of the neighbourhood
NEIGHBOURHOOD = 1.0  # standard deviation of its Gaussian, voxels
FILTER = 1.5  # standard deviation of the filter of the gradients, voxels
SPREAD = 1.0  # of the slopes, bound in units of their root mean square
NOTICED = 2e-3  # deviation from which on the effect of a step is judged
MAX_GAIN = 16.0  # of a slope's demand
JUMP = 5e-3  # beyond twice the least deviation so far: steps that lead there are halved
MAX_CHANGE = 2.0  # of a logit in one step
DECIDED = 1e-2  # least probability of a phase in a prediction that is steered: what is nearer to 0 would never change
UNEVEN = 0.3  # standard deviation added to the logits, so that the voxels of a flat interface change one by one


class _State(NamedTuple):
    logits: Float[Array, "*grid p"]
    moved: Float[Array, "*grid p"]  # the last step
    before: Float[Array, " m"]  # deviations before it
    gain: Float[Array, " m"]  # factor on what the slopes demand
    best: Float[Array, "*grid p"]  # logits of the smallest largest deviation so far
    least: Float[Array, ""]  # that deviation


def match_values(
    labels: UInt8[Array, "*grid"],
    deviations: Callable[[Float[Array, "*grid p"]], Float[Array, " m"]],
    *,
    phases: int,
    periodic: tuple[bool, ...],
    key: jax.Array,
    steps: int = 11,
) -> UInt8[Array, "*grid"]:
    """Labels with the phase of voxels along interfaces changed so that all deviations are as small as they become.

    Args:
        labels: of one sample.
        deviations: of phase fractions, differentiable; 0 where what is asked is met.
        periodic: whether the sample is, for each axis.
        key: of the order in which the voxels of a flat interface change.
        steps: changes of the logits; the best of the visited labels, the first ones included, is returned.
    """
    soften = functools.partial(_filtered, periodic=periodic)
    start = _logits(one_hot(labels, phases), soften, key)
    return to_labels(_search(start, deviations, soften, steps))


def steer_prediction(
    x0_hat: Float[Array, "*grid p"],
    deviations: Callable[[Float[Array, "*grid p"]], Float[Array, " m"]],
    *,
    periodic: tuple[bool, ...],
    steps: int | Int[Array, ""],
) -> Float[Array, "*grid p"]:
    """A predicted clean sample whose most probable phases have deviations as small as they become, by the same steps.

    Args:
        x0_hat: 2 p - 1, with p the posterior probability of each phase.
        deviations, periodic, steps: as `match_values`.
    Returns:
        2 p - 1 of the best of the visited logits, with p at least about `DECIDED` everywhere; the prediction itself if
        it is the best.
    """
    soften = functools.partial(_filtered, periodic=periodic)
    logits = jnp.log(jnp.clip((x0_hat + 1) / 2, DECIDED, 1.0))
    found = _search(logits, deviations, soften, steps)
    return jnp.where(jnp.all(found == logits), x0_hat, 2 * jax.nn.softmax(found, axis=-1) - 1)


def _search(
    start: Float[Array, "*grid p"],
    deviations: Callable[[Float[Array, "*grid p"]], Float[Array, " m"]],
    soften: Callable[..., Float[Array, "*grid p"]],
    steps: int | Int[Array, ""],
) -> Float[Array, "*grid p"]:
    """The best logits of the first ones and those after each step."""

    def of_logits(logits: Float[Array, "*grid p"]) -> Float[Array, " m"]:
        return deviations(hardened(jax.nn.softmax(logits, axis=-1)))

    def step(_, state: _State) -> _State:
        values, pullback = jax.vjp(of_logits, state.logits)
        (slopes,) = jax.vmap(pullback)(jnp.eye(len(values), dtype=values.dtype))
        smooth = jax.vmap(functools.partial(soften, deviation=FILTER))(slopes)
        axes = tuple(range(1, slopes.ndim))
        # a few throats have most of the slope of a current: they are bounded, so that others change with them
        typical = jnp.sqrt(jnp.mean(smooth**2, axis=axes, keepdims=True)) + 1e-20
        ways = smooth / jnp.sqrt(1 + (smooth / (SPREAD * typical)) ** 2)
        gain = _adapted(state.gain, state.before, values)
        effect = jnp.tensordot(slopes, ways, (axes, axes))
        # rows of what is not asked are 0, and two phases have rows that are alike
        effect = effect + jnp.diag(1e-4 * jnp.maximum(jnp.diag(effect), 1e-20))
        change = -jnp.tensordot(jnp.linalg.solve(effect, gain * values), ways, 1)
        change = jnp.clip(change, -MAX_CHANGE, MAX_CHANGE)
        worst = jnp.max(jnp.abs(values))
        closer, jumped = worst < state.least, worst > 2 * state.least + JUMP  # a connection was made or lost
        moved = jnp.where(jumped, -state.moved / 2, change)
        return _State(
            state.logits + moved,
            jnp.where(jumped, state.moved / 2, change),
            jnp.where(jumped, state.before, values),
            jnp.where(jumped, state.gain / 2, gain),
            jnp.where(closer, state.logits, state.best),
            jnp.where(closer, worst, state.least),
        )

    count = jax.eval_shape(of_logits, start).shape
    infinite = jnp.asarray(jnp.inf, start.dtype)
    state = _State(start, jnp.zeros_like(start), jnp.zeros(count), jnp.ones(count), start, infinite)
    return jax.lax.fori_loop(0, steps + 1, step, state).best  # what the last one finds is not taken


def _adapted(gain: Float[Array, " m"], before: Float[Array, " m"], values: Float[Array, " m"]) -> Float[Array, " m"]:
    """Gains doubled where a step removed less than half of a deviation, halved where it went too far.

    The slope of a current in a blocked voxel is that of its first bit of conduction, at which the whole drop of the
    concentration lies across it; the voxel that is opened conducts much less than that slope says.
    """
    noticed = jnp.abs(before) > NOTICED
    removed = 1 - values / jnp.where(noticed, before, 1)
    factor = jnp.where(removed < 0.5, 2.0, jnp.where(removed > 1.5, 0.5, 1.0))
    return jnp.clip(gain * jnp.where(noticed, factor, 1.0), 1 / MAX_GAIN, MAX_GAIN)


def _logits(
    phases: Float[Array, "*grid p"], soften: Callable[..., Float[Array, "*grid p"]], key: jax.Array
) -> Float[Array, "*grid p"]:
    """Logits with the same most probable phases, small along interfaces: of the shares of the phases in the
    neighbourhood, each voxel's own phase raised where it would not lead."""
    noise = soften(jax.random.normal(key, phases.shape, phases.dtype), deviation=2 * NEIGHBOURHOOD)
    around = soften(phases, deviation=NEIGHBOURHOOD) + UNEVEN / SHARPNESS * noise / jnp.std(noise)
    own = jnp.sum(around * phases, axis=-1, keepdims=True)
    largest_other = jnp.max(around - 2 * phases, axis=-1, keepdims=True)
    lead = jnp.maximum(0.0, largest_other - own + MARGIN)
    return SHARPNESS * (around + lead * phases)


def _filtered(
    field: Float[Array, "*grid p"], *, deviation: float, periodic: tuple[bool, ...]
) -> Float[Array, "*grid p"]:
    """Convolution with a Gaussian, continued periodically or by reflection: a symmetric positive definite operator."""
    for axis, edge in enumerate(field.shape[:-1]):
        matrix = jnp.asarray(_gaussian(edge, deviation, periodic[axis]), field.dtype)
        along = jnp.tensordot(field, matrix, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
        field = jnp.moveaxis(along, -1, axis)
    return field


def _gaussian(edge: int, deviation: float, periodic: bool) -> np.ndarray:
    """A Gaussian as a matrix for a line of voxels, truncated at four standard deviations."""
    reach = int(np.ceil(4 * deviation))
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    rows = np.arange(edge)[:, None]
    columns = (rows + offsets) % edge if periodic else (rows + offsets) % (2 * edge)
    if not periodic:
        columns = np.minimum(columns, 2 * edge - 1 - columns)
    matrix = np.zeros((edge, edge))
    np.add.at(matrix, (rows, columns), kernel / kernel.sum())
    return matrix
