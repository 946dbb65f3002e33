"""Differences of neighbouring slices: exact for layers, and for isotropic media determined by S2."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from known_media import gaussian_field_two_point
from scipy.ndimage import gaussian_filter

from jaxmicro.data.synthetic import gaussian_field
from jaxmicro.descriptors import dependent_steps, isotropic_slice_steps, slice_steps
from jaxmicro.evaluate import phase_covariance
from jaxmicro.io import read
from jaxmicro.phases import one_hot

DATA = Path(__file__).parents[1] / "data"
LAGS = (1, 2, 4)


def covariance(labels: np.ndarray, phases: int) -> np.ndarray:
    """Covariance of each phase in planes normal to z."""
    return np.einsum("ppr->pr", phase_covariance([labels], phases)).astype(np.float32)


def test_steps_of_layers_can_be_counted():
    layers = np.broadcast_to((np.arange(8) // 2 % 2)[:, None, None], (8, 8, 8))
    steps = slice_steps(one_hot(layers, 2), lags=(1, 2, 4), periodic=True)
    np.testing.assert_allclose(steps[0], [[0.5, 1, 0]] * 2)  # every other neighbour is of the other phase
    np.testing.assert_allclose(steps[1:], 0, atol=1e-12)
    window = slice_steps(one_hot(layers, 2))
    np.testing.assert_allclose(window[0], 3 / 7, rtol=1e-6)  # three of the seven steps inside


def test_an_isotropic_medium_has_the_steps_expected_from_its_planes():
    """Gaussian fields, three phases; the error of the variance of steps of six volumes is a few percent."""
    found, expected = [], []
    for seed in range(6):
        field = gaussian_filter(np.random.default_rng(seed).standard_normal((80,) * 3), 3.0, mode="wrap")
        labels = np.digitize(field, np.quantile(field, [0.4, 0.6])).astype(np.uint8)
        found.append(slice_steps(one_hot(labels, 3), lags=LAGS, periodic=True).mean(axis=0))
        expected.append(isotropic_slice_steps(covariance(labels, 3), labels.shape, lags=LAGS).mean(axis=0))
    np.testing.assert_allclose(np.mean(found, axis=0), np.mean(expected, axis=0), rtol=0.15)


def test_a_sandstone_has_the_steps_expected_from_its_planes():
    rock = read(DATA / "berea_sandstone_96.tif").labels
    found = slice_steps(one_hot(rock, 2), lags=(1, 2)).mean(axis=0)
    expected = isotropic_slice_steps(covariance(rock, 2), rock.shape, lags=(1, 2)).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0.25)  # single axes: 0.5 to 2 times


def test_steps_of_independent_voxels_have_a_closed_form():
    """C is C(0) times the overlap of two voxels; the continuum's C falls linearly to zero at one voxel instead."""
    labels = (np.random.default_rng(0).random((2000, 12, 12)) < 0.3).astype(np.uint8)
    found = slice_steps(one_hot(labels, 2), periodic=True)[0]
    np.testing.assert_allclose(found, 2 * 0.3 * 0.7 / 12**2, rtol=0.15)  # error of 2000 slices: 4 %
    expected = isotropic_slice_steps(jnp.array([[0.21, 0.0]]), labels.shape)[0]
    np.testing.assert_allclose(expected, 4 * np.pi * 0.21 / 6 / 12**2, rtol=1e-6)


def test_noisy_covariances_give_nan_and_lags_beyond_the_data_an_error():
    """The integral of a covariance that oscillates at short distances is dominated by noise."""
    assert np.isnan(isotropic_slice_steps(jnp.array([[0.25, -0.25, 0.25]]), (8, 8, 8), lags=(1, 2))).any()
    with pytest.raises(ValueError, match="reaches to 2 voxels, expected 3 or more"):
        isotropic_slice_steps(jnp.array([[0.25, 0.2, 0.1]]), (8, 8, 8), lags=(3,))
    with pytest.raises(ValueError, match="no slices are 8 apart"):
        slice_steps(jnp.zeros((8, 9, 10, 2)), lags=(8,))


def test_larger_slices_differ_less_and_each_axis_has_its_own():
    steps = isotropic_slice_steps(jnp.array([[0.25, 0.2, 0.1]]), (10, 20, 40), lags=(1, 2))
    np.testing.assert_allclose(steps[0] * 800, steps[2] * 200, rtol=1e-6)
    assert np.all(np.diff(steps, axis=-1) > 0)


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_the_integral_of_a_straight_line_is_exact(lag: int):
    """r C(r) with C = 1 - r / 4, from 0 to h: h^2 / 2 - h^3 / 12."""
    found = isotropic_slice_steps(1 - jnp.arange(5.0)[None] / 4, (2, 2, 2), lags=(lag,))
    np.testing.assert_allclose(found, np.pi * (lag**2 / 2 - lag**3 / 12), rtol=1e-6)


def test_the_variance_of_mean_square_steps_is_that_of_the_number_of_independent_steps():
    media = [gaussian_field((48, 24, 24), correlation_length=2.0, fractions=(0.5, 0.5), seed=s) for s in range(200)]
    steps = [np.mean(np.diff(medium.mean(axis=(1, 2)), append=medium[0].mean()) ** 2) for medium in media]
    covariance = gaussian_field_two_point(np.arange(12.0), correlation_length=2.0, fraction=0.5) - 0.25
    # the variance of a mean of n squares of normal numbers is 2 / n of its square; its error for 200 media is 10 %
    independent = 2 / (np.var(steps) / np.mean(steps) ** 2)
    assert independent == pytest.approx(48 / dependent_steps(covariance), rel=0.3)
