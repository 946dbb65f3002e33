"""Connectivity of one phase: clusters, percolation, Euler characteristic.

Two voxels are connected when they share a face (2D: an edge), so voxels that meet at a corner do not conduct. Clusters
are labelled on the host and have no gradient; the Euler characteristic is a sum of products and has one.
"""

import itertools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxmicro.descriptors.clusters import label_clusters, spanning
from jaxmicro.descriptors.fields import Phase, as_field, as_mask, base, shifted, unit_offset


def percolation(phase: Phase, axis: int) -> bool:
    """Whether one cluster of the phase reaches both sides of the grid that are normal to `axis`.

    >>> percolation(np.array([[1, 0], [1, 0]]), 0), percolation(np.array([[1, 0], [1, 0]]), 1)
    (True, False)
    """
    return percolating_fraction(phase, axis=axis) > 0


def percolating_fraction(phase: Phase, *, axis: int) -> float:
    """Share of the phase in clusters that reach both sides of the grid normal to `axis`.

    Args:
        phase: indicator of the phase; a soft phase is thresholded at one half.
        axis: direction of percolation.
    Returns:
        0..1, dimensionless; 0 when the phase is absent.
    Source: Stauffer and Aharony, Introduction to Percolation Theory (1994).

    >>> percolating_fraction(np.array([[1, 1, 0, 1]]).T, axis=1)
    1.0
    """
    clusters, sizes = _clusters(phase)
    return _share(sizes, spanning(clusters, axis) - 1)


def percolating_clusters(phase: Phase, *, axis: int) -> Bool[np.ndarray, "*grid"]:
    """Mask of the voxels in clusters that reach both sides of the grid normal to `axis`.

    >>> percolating_clusters(np.array([[1, 1, 1], [0, 1, 0], [0, 0, 1]]), axis=1).astype(int).tolist()
    [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    """
    clusters, _ = _clusters(phase)
    return np.isin(clusters, spanning(clusters, axis))


def connected_fraction(phase: Phase) -> float:
    """Share of the phase in its largest cluster.

    Args:
        phase: indicator of the phase; a soft phase is thresholded at one half.
    Returns:
        0..1, dimensionless; 0 when the phase is absent.

    >>> connected_fraction(np.array([[1, 1, 0, 1]])) == 2 / 3
    True
    """
    sizes = _clusters(phase)[1]
    return _share(sizes, np.argmax(sizes, keepdims=True)) if sizes.size else 0.0


def cluster_sizes(phase: Phase) -> Int[np.ndarray, " cluster"]:
    """Number of voxels in each cluster of the phase, largest first.

    >>> cluster_sizes(np.array([[1, 0, 1, 1]])).tolist()
    [2, 1]
    """
    return np.sort(_clusters(phase)[1])[::-1]


@partial(jax.jit, static_argnames="periodic")
def euler_characteristic(phase: Phase, *, periodic: bool = False) -> Float[Array, ""]:
    """Euler characteristic of one phase: in 3D clusters - tunnels + cavities, in 2D clusters - holes.

    Voxels of the phase are the vertices of a complex; pairs, squares and cubes of neighbours inside the phase are its
    edges, faces and cells, and chi = vertices - edges + faces - cells.

    Args:
        phase: indicator I; in a soft phase each of them has the product of its voxels as weight (differentiable).
        periodic: whether the grid is periodic.
    Returns:
        chi, an integer for an indicator; negative for a well-connected phase.
    Source: Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science (2000).

    >>> import jax.numpy as jnp
    >>> ring = jnp.ones((3, 3)).at[1, 1].set(0.0)
    >>> float(euler_characteristic(ring))
    0.0
    """
    return _alternating(phase, jnp.sum, periodic=periodic)


@partial(jax.jit, static_argnames="periodic")
def euler_density(phase: Phase, *, periodic: bool = False) -> Float[Array, ""]:
    """Euler characteristic of one phase per voxel of a statistically homogeneous medium.

    In a window, `euler_characteristic` over the number of voxels is biased by the border. Here the numbers of vertices,
    edges, faces and cells are each divided by their largest possible number in the window, which is unbiased for any
    size of the window.

    Args:
        phase: indicator I, as in `euler_characteristic`.
        periodic: whether the grid is periodic; then it is the Euler characteristic over the number of voxels.
    Returns:
        chi per voxel (2D: per pixel).
    Source: Ohser and Muecklich, Statistical Analysis of Microstructures in Materials Science (2000).

    >>> import jax.numpy as jnp
    >>> float(euler_density(jnp.zeros((4, 4)).at[1, 1].set(1.0), periodic=True))
    0.0625
    """
    return _alternating(phase, jnp.mean, periodic=periodic)


def _alternating(phase: Phase, of_cells: Callable, *, periodic: bool) -> Float[Array, ""]:
    """Vertices - edges + faces - cells, each the sum or the mean (`of_cells`) over all of its kind."""
    field = as_field(phase)
    total = jnp.zeros((), field.dtype)
    for count in range(field.ndim + 1):
        for axes in itertools.combinations(range(field.ndim), count):
            total = total + (-1) ** count * of_cells(_cells(field, axes, periodic=periodic))
    return total


def _cells(field: Float[Array, "*grid"], axes: tuple[int, ...], *, periodic: bool) -> Float[Array, "*cell"]:
    """Product of the voxels of each cell of two voxels along each of `axes`."""
    for axis in axes:
        offset = unit_offset(field.ndim, axis)
        field = base(field, offset, periodic=periodic) * shifted(field, offset, periodic=periodic)
    return field


def _clusters(phase: Phase) -> tuple[Int[np.ndarray, "*grid"], Int[np.ndarray, " cluster"]]:
    """Cluster number of each voxel (0 outside the phase) and the size of cluster 1, 2, ..."""
    clusters = label_clusters(as_mask(phase))
    return clusters, np.bincount(clusters.ravel())[1:]


def _share(sizes: Int[np.ndarray, " cluster"], chosen: Int[np.ndarray, " chosen"]) -> float:
    total = sizes.sum()
    return float(sizes[chosen].sum() / total) if total else 0.0
