"""Clusters of voxels: what percolation is decided by."""

import numpy as np
from jaxtyping import Bool, Int
from scipy import ndimage


def label_clusters(mask: Bool[np.ndarray, "*grid"], *, corners: bool = False) -> Int[np.ndarray, "*grid"]:
    """Cluster number 1, 2, ... of each voxel of a mask, 0 outside it. Voxels are connected that share a face, or also
    those that share an edge or a corner."""
    clusters = np.empty(mask.shape, np.int32)
    ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1), output=clusters)
    return clusters


def spanning(clusters: Int[np.ndarray, "*grid"], axis: int) -> Int[np.ndarray, " cluster"]:
    """Numbers of the clusters that reach both sides of the grid that are normal to `axis`."""
    numbers = np.intersect1d(np.take(clusters, 0, axis=axis), np.take(clusters, -1, axis=axis))
    return numbers[numbers > 0]
