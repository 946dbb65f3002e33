import math

import numpy as np
import pytest
import reference
from media import laminate, outside_overlapping_balls

from jaxmicro.descriptors import directional_two_point, lineal_path
from jaxmicro.errors import UserError


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_running_products_equal_a_loop_over_segments(shape: tuple[int, ...], periodic: bool, float64: None):
    phase = np.random.default_rng(0).random(shape)
    for axis in range(len(shape)):
        fast = lineal_path(phase, axis=axis, r_max=3, periodic=periodic)
        np.testing.assert_allclose(fast, reference.lineal_path(phase, axis, 3, periodic), rtol=1e-12)


def test_it_starts_at_the_volume_fraction_does_not_increase_and_is_at_most_two_point():
    phase = (np.random.default_rng(0).random((40, 50)) < 0.8).astype(np.float32)
    for periodic in (True, False):
        path = np.asarray(lineal_path(phase, axis=1, r_max=30, periodic=periodic))
        assert path[0] == pytest.approx(phase.mean(), rel=1e-6)
        assert np.all(path <= directional_two_point(phase, axis=1, r_max=30, periodic=periodic) + 1e-6)
        if periodic:  # in a window each length is a mean over other positions, and may increase by chance
            assert np.all(np.diff(path) <= 0)


def test_across_a_laminate_it_falls_linearly_to_zero_and_along_it_stays(float64: None):
    phase = laminate((24, 10), thickness=4)
    np.testing.assert_allclose(lineal_path(phase, axis=0, r_max=5, periodic=True), [0.5, 0.375, 0.25, 0.125, 0, 0])
    np.testing.assert_allclose(lineal_path(phase, axis=1, r_max=9), 0.5)


def test_a_uniform_phase_has_path_one_at_all_lengths():
    np.testing.assert_array_equal(lineal_path(np.ones((3, 8)), axis=1, r_max=7), np.ones(8))


def test_outside_overlapping_discs_it_is_exponential():
    """L(z) = exp(-rho (pi R^2 + 2 R z)): no centre within R of the segment."""
    radius, edge, rng = 6.0, 400, np.random.default_rng(0)
    density = math.log(2) / (math.pi * radius**2)
    fields = [outside_overlapping_balls(edge, 2, radius=radius, density=density, rng=rng) for _ in range(3)]
    path = np.mean([lineal_path(field, axis=0, r_max=20) for field in fields], axis=0)
    expected = np.exp(-density * (math.pi * radius**2 + 2 * radius * np.arange(21)))
    np.testing.assert_allclose(path, expected, atol=0.024)  # three standard errors of phi, as in test_two_point


def test_a_segment_longer_than_the_grid_raises_an_error():
    with pytest.raises(UserError, match="r_max is 8 voxels but must lie in 0..7"):
        lineal_path(np.ones((8, 16)), axis=0, r_max=8)
