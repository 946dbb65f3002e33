"""The error measures have the values of their definitions."""

import numpy as np
import pytest

from jaxmicro.evaluate import error_rate, normalised_two_point, relative_area_error, shape_error

RNG = np.random.default_rng(0)
CURVE = 0.4 * np.exp(-np.arange(33) / 6.0)


@pytest.mark.parametrize("measure", [error_rate, relative_area_error, shape_error])
def test_equal_curves_have_no_error(measure):
    assert measure(CURVE, CURVE) == 0.0


def test_a_curve_that_is_ten_percent_larger_has_an_error_of_ten_percent():
    assert error_rate(1.1 * CURVE, CURVE) == pytest.approx(10.0)
    assert relative_area_error(1.1 * CURVE, CURVE) == pytest.approx(10.0)


def test_areas_may_agree_where_curves_do_not():
    constant = np.full(5, 0.5)
    other = np.array([0.5, 0.6, 0.5, 0.4, 0.5])
    assert relative_area_error(other, constant) == pytest.approx(0.0)
    assert error_rate(other, constant) == pytest.approx(100 * 0.2 / 2.0)  # two triangles of area 0.1 over an area of 2


def test_the_area_error_never_exceeds_the_error_rate():
    for _ in range(20):
        a, b = RNG.random((2, 12)) + 0.1
        assert relative_area_error(a, b) <= error_rate(a, b) + 1e-9


def test_the_shape_of_s2_does_not_depend_on_the_volume_fraction():
    shape = np.exp(-np.arange(20) / 4.0)
    low, high = (phi**2 + phi * (1 - phi) * shape for phi in (0.2, 0.7))
    np.testing.assert_allclose(normalised_two_point(low), shape, atol=1e-12)
    assert shape_error(low, high) == pytest.approx(0.0, abs=1e-12)


def test_the_normalised_two_point_correlation_of_a_phase_that_fills_the_grid_is_zero():
    assert np.all(normalised_two_point(np.ones(4)) == 0.0)


def test_curves_of_unequal_length_raise_an_error():
    with pytest.raises(ValueError, match="r_max"):
        error_rate([0.3, 0.1, 0.1], [0.3, 0.1])
