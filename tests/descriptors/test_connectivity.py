import numpy as np
import pytest
import reference
from media import ball, checkerboard, laminate
from skimage.measure import euler_number

from jaxmicro.descriptors import (
    cluster_sizes,
    connected_fraction,
    euler_characteristic,
    percolating_clusters,
    percolating_fraction,
    percolation,
)


@pytest.mark.parametrize(("shape", "phi"), [((14, 15), 0.6), ((8, 9, 7), 0.35)])
def test_labelled_clusters_equal_flooding(shape: tuple[int, ...], phi: float):
    for seed in range(3):
        phase = np.random.default_rng(seed).random(shape) < phi
        sizes = sorted(map(len, reference.clusters(phase)), reverse=True)
        assert cluster_sizes(phase).tolist() == sizes
        assert connected_fraction(phase) == pytest.approx(sizes[0] / phase.sum())
        for axis in range(len(shape)):
            share = reference.percolating_fraction(phase, axis)
            assert percolating_fraction(phase, axis=axis) == pytest.approx(share)
            assert percolation(phase, axis) == (share > 0)


def test_a_laminate_percolates_along_its_layers_only():
    phase = laminate((12, 5, 6), thickness=3)
    assert [percolating_fraction(phase, axis=axis) for axis in range(3)] == [0.0, 1.0, 1.0]
    assert connected_fraction(phase) == 0.5  # two of the four layers, not connected


def test_corners_do_not_connect():
    phase = checkerboard((6, 6))
    assert not percolation(phase, 0)
    assert cluster_sizes(phase).tolist() == [1] * 18


def test_two_clusters_at_one_side_each_do_not_percolate():
    phase = np.array([[1, 1, 0, 1, 1]])
    assert percolating_fraction(phase, axis=1) == 0.0


def test_percolating_clusters_are_the_percolating_fraction_of_the_phase():
    phase = np.random.default_rng(0).random((8, 9, 7)) < 0.35
    for axis in range(3):
        part = percolating_clusters(phase, axis=axis)
        assert not (part & ~phase).any()
        assert part.sum() / phase.sum() == pytest.approx(percolating_fraction(phase, axis=axis))


def test_only_the_spanning_cluster_counts():
    phase = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0]])
    assert percolating_fraction(phase, axis=1) == pytest.approx(4 / 6)


def test_an_absent_phase_is_not_connected():
    phase = np.zeros((4, 4))
    assert connected_fraction(phase) == 0.0
    assert percolating_fraction(phase, axis=0) == 0.0
    assert float(euler_characteristic(phase)) == 0.0


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_the_euler_characteristic_equals_a_loop_over_cells(shape: tuple[int, ...], periodic: bool, float64: None):
    phase = np.random.default_rng(0).random(shape)
    expected = reference.euler_characteristic(phase, periodic)
    assert float(euler_characteristic(phase, periodic=periodic)) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("shape", [(20, 21), (12, 13, 14)])
def test_the_euler_characteristic_equals_that_of_scikit_image(shape: tuple[int, ...]):
    phase = np.random.default_rng(0).random(shape) < 0.5
    assert float(euler_characteristic(phase)) == euler_number(phase, connectivity=1)


def test_the_euler_characteristic_counts_clusters_tunnels_and_cavities():
    sphere = ball(16, 3, 5)
    shell = sphere - ball(16, 3, 3)
    assert float(euler_characteristic(sphere)) == 1
    assert float(euler_characteristic(shell)) == 2  # one cluster, one cavity
    ring = shell * (np.abs(np.arange(16) - 7.5) < 2)[:, None, None]
    assert float(euler_characteristic(ring)) == 0  # one cluster, one tunnel
    assert float(euler_characteristic(checkerboard((6, 6)))) == 18
    assert float(euler_characteristic(np.ones((4, 4, 4)), periodic=True)) == 0  # a torus
