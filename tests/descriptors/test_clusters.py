"""Clusters of periodic grids."""

import numpy as np
import pytest

from jaxmicro.descriptors import label_clusters, winding
from tests import reference


@pytest.mark.parametrize("corners", [False, True], ids=["faces", "corners"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_clusters_and_their_windings_equal_flooding_of_the_periodic_medium(ndim: int, corners: bool):
    rng, winding_clusters = np.random.default_rng(ndim), 0
    for number in range(40):
        shape = tuple(rng.integers(1, 8, size=ndim))  # includes edges of one voxel, which is its own neighbour
        mask = rng.random(shape) < rng.uniform(0.2, 0.6)
        periodic = tuple(map(bool, rng.integers(0, 2, size=ndim))) if number % 2 else (True,) * ndim
        expected, expected_winds = reference.lifted_clusters(mask, corners, periodic)
        clusters, winds = winding(mask, corners=corners, periodic=periodic)
        np.testing.assert_array_equal(label_clusters(mask, corners=corners, periodic=periodic), clusters)
        pairs = np.unique(np.stack([clusters.ravel(), expected.ravel()]), axis=1)
        assert all(np.unique(side).size == side.size for side in pairs)  # the same sets with any numbering
        np.testing.assert_array_equal(winds[pairs[0]], expected_winds[pairs[1]])
        winding_clusters += winds.any(axis=1).sum()
    assert winding_clusters > 10


def test_a_path_that_closes_after_two_periods_winds_and_one_that_returns_in_its_own_does_not():
    winds = winding(two_periods())[1]
    np.testing.assert_array_equal(winds, [[False, False], [True, True]])
    hook = np.zeros((6, 6), bool)  # leaves through the first face and returns through it
    hook[:2, 1] = hook[:2, 3] = hook[4, 1:4] = hook[5, 1] = hook[5, 3] = True
    clusters, winds = winding(hook)
    assert clusters.max() == 1 and not winds.any()
    assert label_clusters(hook).max() == 3


def two_periods() -> np.ndarray:
    """A path of 48 pixels that closes after two periods along y and one along x: stairs, 4 right for 8 down."""
    thread = np.zeros((16, 16), bool)
    thread[0:9, 0] = thread[8, 0:5] = thread[8:, 4] = thread[0, 4:9] = True
    thread[0:9, 8] = thread[8, 8:13] = thread[8:, 12] = thread[0, 12:] = True
    return thread
