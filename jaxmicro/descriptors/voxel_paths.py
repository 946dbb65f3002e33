"""Paths through one phase over voxels that share a face, an edge or a corner, with steps of length 1, sqrt 2, sqrt 3.

Lengths are in voxels. The first axis is the normal of a film; a periodic film repeats along the other axes only.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped, UInt8

from jaxmicro.descriptors.fields import Length

# What a path that only rises can be longer than its height, as long as that is less than 1. In steps: all straight; one
# along the diagonal of a square; one along that of a cube; two along that of a square. Then: nothing below 1.
EXCESSES = np.array([0.0, math.sqrt(2) - 1, math.sqrt(3) - 1, 2 * (math.sqrt(2) - 1), np.inf])
_NONE = len(EXCESSES) - 1
_AFTER_STEP = np.array(
    [[0, 1, 2, 3, 4], [1, 3, 4, 4, 4], [2, 4, 4, 4, 4]], np.uint8
)  # axes moved along besides, before


@functools.partial(jax.jit, static_argnames="periodic")
def distances_from(
    other: Bool[Array | np.ndarray, "*grid"],
    phase: Bool[Array | np.ndarray, "*grid"],
    reach: Length,
    *,
    periodic: bool = False,
) -> Float[Array, "*grid"]:
    """Length of the shortest path through a phase from its interface with another phase.

    The interface lies half way between neighbours of the two phases, so that a path begins with half a step.

    Args:
        other: voxels of the other phase.
        phase: voxels of the phase; paths lead through these.
        reach: only distances below it are sought.
    Returns:
        Distance of each voxel of the phase in voxels; infinite at `reach` or more and outside the phase.

    >>> distances_from(np.array([[1, 0, 0, 0]]) > 0, np.array([[0, 1, 1, 1]]) > 0, 2.0).tolist()
    [[inf, 0.5, 1.5, inf]]
    """

    def within(distance):
        return jnp.where(phase & (distance < reach), distance, jnp.inf)

    def longer(state):
        distance, _ = state
        nearer = within(jnp.minimum(distance, _one_step_on(distance, periodic)))
        return nearer, jnp.any(nearer < distance)

    first = within(_one_step_on(jnp.where(other, 0.0, jnp.inf), periodic) / 2)
    return jax.lax.while_loop(lambda state: state[1], longer, (first, jnp.any(jnp.isfinite(first))))[0]


@functools.partial(jax.jit, static_argnames="periodic")
def beside(mask: Bool[Array | np.ndarray, "*grid"], *, periodic: bool = False) -> Bool[Array, "*grid"]:
    """Voxels with a neighbour in the mask, over a face, an edge or a corner."""
    return jnp.isfinite(_one_step_on(jnp.where(mask, 0.0, jnp.inf), periodic))


@functools.partial(jax.jit, static_argnames="periodic")
def rising_excess(phase: Bool[Array | np.ndarray, "*grid"], *, periodic: bool = False) -> UInt8[Array, "*grid"]:
    """What the shortest path through a phase to the first plane of a grid is longer than its height, where that is less
    than 1: the position in `EXCESSES`.

    A step across costs 1 or more above the height that it gains, one back 2 or more. Paths with less to spare move
    towards the plane with each step, so that one sweep over the planes finds all of them.

    >>> EXCESSES[rising_excess(np.array([[1, 0, 0], [1, 1, 1], [0, 1, 1]]) > 0)].round(2).tolist()
    [[0.0, inf, inf], [0.0, 0.41, inf], [inf, 0.41, 0.83]]
    """

    def next_plane(before, plane):
        around = _surrounded(before, _NONE, periodic)
        least = jnp.full_like(before, _NONE)
        for after, steps in zip(_AFTER_STEP, [[(0,) * before.ndim], *_steps(before.ndim)], strict=False):
            least = jnp.minimum(least, jnp.asarray(after)[_least(around, steps)])
        excess = jnp.where(plane, least, jnp.uint8(_NONE))
        return excess, excess

    first = jnp.where(phase[0], jnp.uint8(0), jnp.uint8(_NONE))
    _, others = jax.lax.scan(next_plane, first, jnp.asarray(phase[1:]))
    return jnp.concatenate([first[None], others])


def _one_step_on(distance: Float[Array, "*grid"], periodic: bool) -> Float[Array, "*grid"]:
    """Least distance of a neighbour, and the step from there."""
    planes = jnp.pad(distance, [(1, 1), *[(0, 0)] * (distance.ndim - 1)], constant_values=jnp.inf)
    around = jax.vmap(lambda plane: _surrounded(plane, jnp.inf, periodic))(planes)
    nearest = jnp.full_like(distance, jnp.inf)
    for steps in _steps(distance.ndim):
        nearest = jnp.minimum(nearest, _least(around, steps) + math.hypot(*steps[0]))
    return nearest


def _steps(ndim: int) -> list[list[tuple[int, ...]]]:
    """Steps to the neighbours of a voxel: along one axis, along two at once, and so on."""
    every = list(itertools.product((-1, 0, 1), repeat=ndim))
    return [[d for d in every if np.count_nonzero(d) == axes] for axes in range(1, ndim + 1)]


def _surrounded(plane: Shaped[Array, "*plane"], outside: float | int, periodic: bool) -> Shaped[Array, "*wider"]:
    """A plane with one more voxel at each side: of the next period, or `outside`."""
    return jnp.pad(plane, 1, mode="wrap") if periodic else jnp.pad(plane, 1, constant_values=outside)


def _least(around: Shaped[Array, "*wider"], steps: list[tuple[int, ...]]) -> Shaped[Array, "*grid"]:
    """The least value at x + step for each x of a grid, which `around` surrounds by one voxel."""
    shifted = [around[tuple(slice(1 + d, n - 1 + d) for d, n in zip(s, around.shape, strict=True))] for s in steps]
    return functools.reduce(jnp.minimum, shifted)
