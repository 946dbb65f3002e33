"""Media whose descriptors are known."""

import numpy as np
from scipy import ndimage


def laminate(shape: tuple[int, ...], thickness: int) -> np.ndarray:
    """Layers of equal thickness normal to the first axis, the first one in the phase; the edge holds an even number."""
    layer = np.arange(shape[0]) // thickness % 2 == 0
    return np.broadcast_to(layer.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(float)


def checkerboard(shape: tuple[int, ...]) -> np.ndarray:
    return (np.indices(shape).sum(axis=0) % 2 == 0).astype(float)


def ball(edge: int, ndim: int, radius: float) -> np.ndarray:
    """One disc or sphere in the middle of the grid (between voxels when the edge is even)."""
    squared = sum((x - (edge - 1) / 2) ** 2 for x in np.indices((edge,) * ndim))
    return (squared <= radius**2).astype(float)


def outside_overlapping_balls(
    edge: int, ndim: int, *, radius: float, density: float, rng: np.random.Generator
) -> np.ndarray:
    """The space outside balls whose centres are a Poisson process of `density` per voxel, on a periodic grid."""
    free = np.ones((edge,) * ndim)
    reach = np.indices((2 * int(radius) + 4,) * ndim).reshape(ndim, -1).T - int(radius) - 1
    for centre in rng.random((rng.poisson(density * edge**ndim), ndim)) * edge:
        voxels = np.floor(centre).astype(int) + reach
        inside = ((voxels - centre) ** 2).sum(axis=1) <= radius**2
        free[tuple(voxels[inside].T % edge)] = 0
    return free


def markov_lines(lines: int, edge: int, *, leave: float, rng: np.random.Generator) -> np.ndarray:
    """Independent stationary lines in which each phase ends with probability `leave` per voxel: geometric chords."""
    change = rng.random((lines, edge)) < leave
    change[:, 0] = rng.random(lines) < 0.5
    return (np.cumsum(change, axis=1) % 2).astype(float)


def level_cut(shape: tuple[int, ...], *, fraction: float, sigma: float = 1.5, seed: int = 0) -> np.ndarray:
    """A smoothed Gaussian field cut so that `fraction` of the voxels is in the phase; periodic."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma, mode="wrap")
    return (noise >= np.quantile(noise, 1 - fraction)).astype(float)
