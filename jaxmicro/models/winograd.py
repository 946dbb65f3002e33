"""Convolutions with fewer multiplications, for CPUs (Winograd 1980; Lavin & Gray 2016).

Of m pixels in a row and a kernel of r each output is the sum of r products; taken as products of polynomials, all m
need m + r - 1, one at each of as many points, and each axis saves as much: 4 x 4 pixels with a kernel of 3 x 3 take a
quarter of the multiplications. cuDNN does so by itself, XLA for CPUs does not.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 4  # outputs at once along each axis
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # of the polynomials, and infinity; those of oneDNN, for little rounding


def suits(x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"]) -> bool:
    """Whether it is faster than XLA's convolution: where CPUs are the default, with many channels and edges that tiles
    fill. Half precision would round too much."""
    *size, c, d = kernel.shape
    filled, precise = all(edge % TILE == 0 for edge in x.shape[1:-1]), x.dtype.itemsize >= 4
    return jax.default_backend() == "cpu" and min(c, d) >= 128 and set(size) <= {2, 3} and filled and precise


def convolve(
    x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"], padding: Sequence[tuple[int, int]]
) -> Float[Array, "n *spatial d"]:
    """A convolution with stride 1, as large as its input, channels last; edges are multiples of `TILE`."""
    (n, *spatial, c), (*size, _, d) = x.shape, kernel.shape
    dims, tiles = len(spatial), [edge // TILE for edge in spatial]
    of_inputs, of_kernel, to_outputs = zip(*map(_matrices, size), strict=True)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    for axis in reversed(range(dims)):  # points of each axis come first, in order
        along = x.ndim - 1 - dims + axis
        taps = [_every(x, along, first, tiles[axis]) for first in range(TILE + size[axis] - 1)]
        x = jnp.stack(_combined(of_inputs[axis], taps))
    kernel = _of_all(of_kernel, x) @ kernel.reshape(math.prod(size), c * d)
    products = jnp.einsum("pnc,pcd->pnd", x.reshape(len(kernel), -1, c), kernel.reshape(-1, c, d))
    y = _of_all(to_outputs, x) @ products.reshape(len(kernel), -1)
    y = y.reshape(*(TILE,) * dims, n, *tiles, d)
    y = y.transpose(dims, *(axis for i in range(dims) for axis in (dims + 1 + i, i)), y.ndim - 1)
    return y.reshape(n, *spatial, d)


def _every(x: Array, axis: int, first: int, count: int) -> Array:
    """Each `TILE`-th along an axis."""
    return x[(slice(None),) * axis + (slice(first, first + TILE * (count - 1) + 1, TILE),)]


def _of_all(matrices: Sequence[np.ndarray], like: Array) -> Array:
    """One matrix for all axes."""
    return jnp.asarray(functools.reduce(np.kron, matrices), like.dtype)


def _combined(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """A small matrix times a vector of arrays, written out, so that it is one pass."""
    return [sum(float(a) * part for a, part in zip(row, parts, strict=True) if a) for row in matrix]  # pyright: ignore


@functools.cache
def _matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B and C of y = C ((A x) * (B k)), by way of the values of polynomials at points (Toom, Cook)."""
    points = np.array(POINTS[: TILE + size - 2])
    others = [np.delete(points, i) for i in range(len(points))]
    zeros = [*others, points]
    to_inputs = np.array([np.pad(np.poly(z)[::-1], (0, len(points) - len(z))) for z in zeros])
    scale = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    at_points = np.vander(points, size, increasing=True) / scale[:, None]
    to_kernel = np.vstack([at_points, np.eye(size)[-1:]])
    to_outputs = np.vstack([np.vander(points, TILE, increasing=True), np.eye(TILE)[-1:]]).T
    return to_inputs, to_kernel, to_outputs
