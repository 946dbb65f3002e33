"""Coarser grids on which a smooth field evolves as exactly, at a part of the cost.

A field whose short waves are weaker than the tolerance needs no grid that resolves them: at first, when only long waves
grow, half the edge does, and where interfaces are wide, three quarters to the end. The shortest waves of a grid say
how strong those beyond it are, for the spectrum of a smooth field falls exponentially.
"""

import dataclasses
import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxmicro.simulate.config import CahnHilliardConfig
from jaxmicro.simulate.spectral import Box, Modes

SHARES = (0.75, 0.5)  # of the edges
COARSENED_FROM = 2**15  # cells, below which a step costs little
LEFT_ABOVE = 1.0  # tolerances, up to which waves beyond the grid are allowed
ENTERED_BELOW = 0.5  # tolerances, below which they must be for a coarser grid


def grids_of(config: CahnHilliardConfig) -> tuple[CahnHilliardConfig, ...]:
    """The simulation on its own grid and on coarser ones of the same box; on its own alone if steps are not controlled.

    >>> [grid.shape for grid in grids_of(CahnHilliardConfig(shape=(64, 64, 50)))]
    [(64, 64, 50), (48, 48, 40), (32, 32, 30)]
    """
    grids = [config]
    if not config.uncontrolled and math.prod(config.shape) >= COARSENED_FROM:
        for share in SHARES:
            shape = tuple(min(edge, _fast_edge(share * edge)) for edge in config.shape)
            lengths = (edge * spacing for edge, spacing in zip(config.shape, config.box.spacing, strict=True))
            spacing = tuple(length / edge for length, edge in zip(lengths, shape, strict=True))
            grids.append(dataclasses.replace(config, shape=shape, spacing=spacing))
    return tuple(grids)


def too_coarse(box: Box, modes: Modes, limit: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether waves beyond this grid are too strong; `limit` is the tolerance of the root of the sum of squares."""
    return _beyond(box, modes, (1.0,) * len(box.shape)) > LEFT_ABOVE * limit


def too_fine(box: Box, coarse: Box, modes: Modes, limit: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether a coarser grid does: waves beyond that are weak."""
    shares = tuple(new / old for old, new in zip(box.shape, coarse.shape, strict=True))
    beyond = jnp.maximum(_beyond(box, modes, shares), jnp.sqrt(_outside(box, modes, shares)))
    return beyond < ENTERED_BELOW * limit


def _beyond(box: Box, modes: Modes, shares: tuple[float, ...]) -> Float[Array, ""]:
    """Root of the sum of squares of the waves beyond a grid with these shares of the edges, from those within."""
    half, most = (_outside(box, modes, tuple(part * share for share in shares)) for part in (0.5, 0.75))
    return most / jnp.sqrt(jnp.maximum(half, jnp.finfo(half.dtype).tiny))


def _outside(box: Box, modes: Modes, shares: tuple[float, ...]) -> Float[Array, ""]:
    """Sum over the cells of the square of the waves shorter than a share of the shortest, along any axis."""
    return box.squared_sum(modes * box.outside(shares, modes.dtype))


def _fast_edge(least: float) -> int:
    """The smallest even edge of at least this many cells that is a product of 2, 3 and 5."""
    edge = 2 * math.ceil(least / 2 - 1e-9)
    while math.gcd(edge, 30**12) != edge:
        edge += 2
    return edge
