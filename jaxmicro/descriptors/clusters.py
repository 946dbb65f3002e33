"""Clusters of connected voxels, in grids that may be periodic along some of their axes.

A cluster of a periodic grid continues through the faces normal to its periodic axes. One that connects a voxel with its
image in another period winds around the grid; only such clusters conduct in a periodic medium.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage, sparse
from scipy.sparse import csgraph


def label_clusters(
    mask: Bool[np.ndarray, "*grid"], *, corners: bool = False, periodic: bool | Sequence[bool] = False
) -> Int[np.ndarray, "*grid"]:
    """Cluster number 1, 2, ... of each voxel of a mask, 0 outside it.

    Args:
        corners: whether voxels that share an edge or a corner are connected, too; otherwise only those that share a
            face.
        periodic: whether the grid is periodic, for each axis or for all.

    >>> label_clusters(np.array([[True, False, True]])).tolist()
    [[1, 0, 2]]
    >>> label_clusters(np.array([[True, False, True]]), periodic=True).tolist()
    [[1, 0, 1]]
    """
    clusters = _inside(mask, corners)
    a, b, _ = _crossings(clusters, _of_axes(periodic, mask.ndim), corners)
    return _united(clusters, a, b)[clusters] if a.size else clusters


def winding(
    mask: Bool[np.ndarray, "*grid"], *, corners: bool = False, periodic: bool | Sequence[bool] = True
) -> tuple[Int[np.ndarray, "*grid"], Bool[np.ndarray, "cluster axis"]]:
    """Clusters of a periodic grid, and the axes along which each of them winds around it.

    A path that leaves through a face enters the opposite one in the next period. A cluster winds along an axis if it
    has a closed path whose sum of periods along that axis is not 0. A mean field in a periodic medium drives a current
    through a cluster if and only if the cluster winds along the field.

    Args:
        As `label_clusters`.
    Returns:
        Cluster numbers as `label_clusters` gives them, and for each number (including 0, outside the mask) whether it
        winds along each axis.

    >>> helix = np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool)  # closed through the corner, along both axes
    >>> helix[0, 3] = helix[3, 0] = True
    >>> winding(helix)[1].tolist()
    [[False, False], [True, True]]
    """
    clusters = _inside(mask, corners)
    a, b, periods = _crossings(clusters, _of_axes(periodic, mask.ndim), corners)
    united = _united(clusters, a, b)
    position = _positions(united, a, b, periods)
    closed = position[a] + periods - position[b]  # periods of the path through the crossing and back inside
    winds = np.zeros((united.max(initial=0) + 1, mask.ndim), bool)
    np.logical_or.at(winds, united[a], closed != 0)
    return united[clusters], winds


def spanning(clusters: Int[np.ndarray, "*grid"], axis: int) -> Int[np.ndarray, " cluster"]:
    """Numbers of the clusters that reach both sides of the grid normal to `axis`.

    >>> spanning(np.array([[1, 0, 2], [1, 0, 0]]), 0).tolist()
    [1]
    """
    numbers = np.intersect1d(np.take(clusters, 0, axis=axis), np.take(clusters, -1, axis=axis))
    return numbers[numbers > 0]


def _inside(mask: Bool[np.ndarray, "*grid"], corners: bool) -> Int[np.ndarray, "*grid"]:
    """Clusters of voxels that are connected inside the grid, without periodicity."""
    clusters = np.empty(mask.shape, np.int32)
    ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1), output=clusters)
    return clusters


def _of_axes(periodic: bool | Sequence[bool], ndim: int) -> tuple[bool, ...]:
    return (periodic,) * ndim if isinstance(periodic, bool) else tuple(periodic)


def _crossings(
    clusters: Int[np.ndarray, "*grid"], periodic: tuple[bool, ...], corners: bool
) -> tuple[Int[np.ndarray, " crossing"], Int[np.ndarray, " crossing"], Int[np.ndarray, "crossing axis"]]:
    """Pairs of clusters connected across faces of the grid: first and second cluster, and the periods along each axis
    from the first to the second."""
    crossings = [np.zeros((0, 2 + clusters.ndim), np.int64)]
    for axis in np.flatnonzero(periodic):
        last, first = (np.moveaxis(clusters, axis, 0)[plane] for plane in (-1, 0))
        others = [a for a in range(clusters.ndim) if a != axis]
        for shift in itertools.product((-1, 0, 1) if corners else (0,), repeat=len(others)):
            to, periods = first, [np.zeros(first.shape, np.int64)] * clusters.ndim
            periods[axis] = np.ones(first.shape, np.int64)
            for along, (a, step) in enumerate(zip(others, shift, strict=True)):
                to = np.roll(to, -step, along)
                at = np.arange(first.shape[along]) + step
                beyond = np.floor_divide(at, first.shape[along])
                beyond = beyond.reshape([-1 if i == along else 1 for i in range(first.ndim)])
                periods[a] = np.broadcast_to(beyond, first.shape)
                if not periodic[a]:
                    to = np.where(beyond == 0, to, 0)
            pairs = np.stack([np.broadcast_to(x, first.shape).ravel() for x in (last, to, *periods)], axis=1)
            crossings.append(np.unique(pairs[(pairs[:, 0] > 0) & (pairs[:, 1] > 0)], axis=0))
    pairs = np.concatenate(crossings)
    return pairs[:, 0], pairs[:, 1], pairs[:, 2:]


def _united(clusters, a, b) -> Int[np.ndarray, " cluster"]:
    """Number of the cluster of the periodic grid to which each cluster inside the grid belongs; 0 for 0."""
    size = int(clusters.max(initial=0)) + 1
    graph = sparse.coo_matrix((np.ones(a.size, bool), (a, b)), (size, size))
    component = csgraph.connected_components(graph, directed=False)[1]
    component[component == component[0]] = -1  # outside the mask, so that `np.unique` numbers it 0
    return np.unique(component, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _positions(united, a, b, periods) -> Int[np.ndarray, "cluster axis"]:
    """Position in periods of each cluster inside the grid, relative to one cluster of its united cluster.

    Crossings form a spanning tree of each united cluster; an auxiliary root joins the trees. Positions are sums of
    periods along the path to the root, by pointer doubling: each round doubles the length of the paths summed.
    """
    root = united.size
    own = np.unique(united, return_index=True)[1]
    start = np.concatenate([a, b, np.full(own.size, root)])
    end = np.concatenate([b, a, own])
    shifts = np.concatenate([periods, -periods, np.zeros((own.size, periods.shape[1]), np.int64)])
    graph = sparse.coo_matrix((np.ones(start.size, bool), (start, end)), (root + 1, root + 1)).tocsr()
    parent = csgraph.breadth_first_order(graph, root, directed=True)[1].astype(np.int64)
    parent[root] = root
    edges, which = np.unique(start.astype(np.int64) * (root + 1) + end, return_index=True)
    nodes = np.arange(root)
    position = np.zeros((root + 1, periods.shape[1]), np.int64)
    position[nodes] = shifts[which[np.searchsorted(edges, parent[nodes] * (root + 1) + nodes)]]
    while np.any(parent != root):
        position, parent = position + position[parent], parent[parent]
    return position
