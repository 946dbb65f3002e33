"""Planes of any size through a network of bounded size: overlapping tiles, blended."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion import Evidence


def tile_starts(edge: int, tile: int, overlap: int) -> tuple[int, ...]:
    """First pixels of the fewest evenly spaced tiles that cover `edge` with at least `overlap` pixels in common.

    >>> tile_starts(128, 64, 16)
    (0, 32, 64)
    """
    if edge <= tile:
        return (0,)
    count = math.ceil((edge - overlap) / (tile - overlap))
    return tuple(round(i * (edge - tile) / (count - 1)) for i in range(count))


def blend_weights(edge: int, tile: int, overlap: int) -> Float[Array, "k t"]:
    """Weight of each tile at each of its pixels along one axis: smooth, and the weights at a pixel sum to 1."""
    starts = tile_starts(edge, tile, overlap)
    tile = min(tile, edge)
    # above 0: at the edge of the plane there is one tile
    window = jnp.sin(jnp.pi * (jnp.arange(tile) + 0.5) / tile) ** 2 + 1e-3
    index = jnp.asarray(starts)[:, None] + jnp.arange(tile)[None, :]
    total = jnp.zeros(edge).at[index].add(window[None, :])
    return window[None, :] / total[index]


def evidence_tiled(
    evidence: Evidence, x_t: Float[Array, "n h w c"], log_snr: Float[Array, ""], *, tile: int, overlap: int, batch: int
) -> Float[Array, "n h w c"]:
    """Evidence of planes of any size, at most about `batch` tiles of `tile` x `tile` pixels in the network at once."""
    n, h, w, c = x_t.shape
    rows, columns = (jnp.asarray(tile_starts(edge, tile, overlap)) for edge in (h, w))
    row_weights, column_weights = (blend_weights(edge, tile, overlap) for edge in (h, w))
    size = (min(tile, h), min(tile, w), c)

    def one_batch(planes: Float[Array, "m h w c"]) -> Float[Array, "m h w c"]:
        m = planes.shape[0]
        if len(rows) == len(columns) == 1:
            return evidence(planes, jnp.broadcast_to(log_snr, (m,)))

        def cut(plane, i, j):
            return jax.lax.dynamic_slice(plane, (rows[i], columns[j], 0), size)

        i, j = (k.reshape(-1) for k in jnp.meshgrid(jnp.arange(len(rows)), jnp.arange(len(columns)), indexing="ij"))
        tiles = jax.vmap(lambda plane: jax.vmap(lambda a, b: cut(plane, a, b))(i, j))(planes)  # m k th tw c
        predicted = evidence(tiles.reshape(-1, *size), jnp.broadcast_to(log_snr, (m * len(i),))).reshape(tiles.shape)
        weights = row_weights[i][:, :, None] * column_weights[j][:, None, :]
        predicted = predicted * weights[None, ..., None]
        y = rows[i][:, None, None] + jnp.arange(size[0])[None, :, None]
        x = columns[j][:, None, None] + jnp.arange(size[1])[None, None, :]
        return jnp.zeros_like(planes).at[:, y, x].add(predicted)

    return in_batches(one_batch, x_t, batch // (len(rows) * len(columns)))


def in_batches(
    function: Callable[[Float[Array, "m ..."]], Float[Array, "m ..."]], x: Float[Array, "n ..."], limit: int
) -> Float[Array, "n ..."]:
    """A function of a batch applied to a larger batch, with at most `limit` samples at once to bound the memory."""
    at_once = _largest_divisor(x.shape[0], max(1, limit))
    if at_once == x.shape[0]:
        return function(x)
    y = jax.lax.map(function, x.reshape(-1, at_once, *x.shape[1:]))
    return y.reshape(x.shape[0], *y.shape[2:])


def _largest_divisor(n: int, limit: int) -> int:
    return max(d for d in range(1, min(n, limit) + 1) if n % d == 0)
