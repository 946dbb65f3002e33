"""Winograd convolutions for CPUs, with fewer multiplications (Winograd 1980; Lavin & Gray 2016).

Directly, m outputs of a kernel of size r take m r multiplications. As a product of polynomials, evaluated at
m + r - 1 points and interpolated, they take m + r - 1, and in several dimensions the savings of the axes multiply:
4 x 4 outputs of a 3 x 3 kernel take a quarter of the multiplications. cuDNN has this algorithm, XLA for CPUs has not.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TILE = 4  # outputs of a tile along each axis
# Least number of channels, in and out, by the number of dimensions. Measured on two cores, batch 16: in 3D the directly
# computed convolution takes 4.5 times as long with 64 channels at 8^3 and 1.6 times with 32 at 16^3.
LEAST_CHANNELS = {1: 128, 2: 128, 3: 32}
# In 3D the transform of the kernel is the greater part where voxels are few: least number over the batch. Measured as
# above: 128 channels take three times as long as directly at 4^3, and as long at 4 times 4^3; a transformed kernel that
# does not fit the cache is slower than direct up to 1100 voxels (256 channels) or 1500 (512 channels).
LEAST_VOXELS = 256
LEAST_VOXELS_UNCACHED = 1536
CACHED = 2**23  # numbers of a transformed kernel
POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)  # evaluation points besides infinity; oneDNN's, for small rounding errors


def suits(x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"]) -> bool:
    """Whether `convolve` is faster than XLA's convolution: on CPUs, with many channels, edges that are multiples of the
    tile, and in 3D enough voxels. Half precision is excluded because of its rounding errors."""
    *size, c, d = kernel.shape
    if len(size) == 3:
        uncached = math.prod(TILE + r - 1 for r in size) * c * d > CACHED
        if math.prod(x.shape[:-1]) < (LEAST_VOXELS_UNCACHED if uncached else LEAST_VOXELS):
            return False
    filled, precise = all(edge % TILE == 0 for edge in x.shape[1:-1]), x.dtype.itemsize >= 4
    wide = min(c, d) >= LEAST_CHANNELS[len(size)]
    return jax.default_backend() == "cpu" and wide and set(size) <= {2, 3} and filled and precise


def convolve(
    x: Float[Array, "n *spatial c"], kernel: Float[Array, "*size c d"], padding: Sequence[tuple[int, int]]
) -> Float[Array, "n *out d"]:
    """Convolution of stride 1, channels last; the edges of the output are multiples of `TILE`."""
    (n, *edges, c), (*size, _, d) = x.shape, kernel.shape
    spatial = [edge + sum(pad) - r + 1 for edge, pad, r in zip(edges, padding, size, strict=True)]
    dims, tiles = len(spatial), [edge // TILE for edge in spatial]
    of_inputs, of_kernel, to_outputs = zip(*map(_matrices, size), strict=True)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    for axis in reversed(range(dims)):  # the points of each axis become leading axes, in order
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
    """Every `TILE`-th of `count` elements along an axis, from `first`."""
    return x[(slice(None),) * axis + (slice(first, first + TILE * (count - 1) + 1, TILE),)]


def _of_all(matrices: Sequence[np.ndarray], like: Array) -> Array:
    """Kronecker product of the matrices of all axes, in the dtype of `like`."""
    return jnp.asarray(functools.reduce(np.kron, matrices), like.dtype)


def _combined(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """A small matrix times a vector of arrays, written out so that XLA fuses it into one pass."""
    return [sum(float(a) * part for a, part in zip(row, parts, strict=True) if a) for row in matrix]  # pyright: ignore


@functools.cache
def _matrices(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices A, B and C of y = C ((A x) * (B k)), from polynomials evaluated at POINTS (Toom, Cook)."""
    points = np.array(POINTS[: TILE + size - 2])
    others = [np.delete(points, i) for i in range(len(points))]
    zeros = [*others, points]
    to_inputs = np.array([np.pad(np.poly(z)[::-1], (0, len(points) - len(z))) for z in zeros])
    scale = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    at_points = np.vander(points, size, increasing=True) / scale[:, None]
    to_kernel = np.vstack([at_points, np.eye(size)[-1:]])
    to_outputs = np.vstack([np.vander(points, TILE, increasing=True), np.eye(TILE)[-1:]]).T
    return to_inputs, to_kernel, to_outputs
