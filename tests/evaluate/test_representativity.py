"""The standard error equals the scatter of many images, and an image of the stated size has the stated accuracy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxmicro.evaluate import integral_range, representativity, standard_error


def random_image(seed: int, edge: int = 128) -> np.ndarray:
    """Gaussian field cut at a fixed level (not at a quantile, so that the volume fraction scatters)."""
    noise = np.random.default_rng(seed).standard_normal((edge + 32, edge + 32))
    field = gaussian_filter(noise, 3.0, mode="wrap")[16:-16, 16:-16]
    return (field > 0.03).astype(np.uint8)


def test_the_standard_error_is_the_scatter_between_images():
    images = [random_image(seed) for seed in range(200)]
    scatter = np.std([image.mean() for image in images])
    predicted = np.mean([representativity(image, 2)[1]["standard_error"] for image in images[:10]])
    # errors: 5 % of the scatter of 200 images, about 15 % of the integral range of one image of 128^2
    assert predicted == pytest.approx(scatter, rel=0.2)


def test_independent_pixels_are_one_observation_each():
    labels = (np.random.default_rng(0).random((128, 128)) < 0.3).astype(np.uint8)
    part = representativity(labels, 2)[1]
    assert part["integral_range"] == pytest.approx(1, abs=0.2)  # C(1) is 0 on average, but may be slightly positive
    assert part["standard_error"] == pytest.approx(np.sqrt(0.3 * 0.7) / 128, rel=0.1)


def test_an_image_of_the_stated_size_has_the_stated_accuracy():
    part = representativity(random_image(0), 2)[1]
    phi = part["volume_fraction"]
    for percent in (1, 5):
        sigma = standard_error(phi, part["integral_range"], part[f"edge_for_{percent}_percent"] ** 2)
        # the edge is rounded up to whole pixels, and numbers to six digits
        assert 100 * 2 * sigma / phi == pytest.approx(percent, rel=0.01)


def test_an_image_of_twice_the_edge_has_half_the_standard_error():
    assert standard_error(0.3, 50.0, 4 * 100**2) == pytest.approx(standard_error(0.3, 50.0, 100**2) / 2)


def test_both_phases_of_two_are_equally_uncertain():
    first, second = representativity(random_image(1), 2)
    assert first["standard_error"] == pytest.approx(second["standard_error"], rel=1e-3)


def test_the_integral_range_scales_with_the_square_of_the_correlation_length():
    r = np.arange(200)
    fine, coarse = (integral_range(0.25 * np.exp(-r / length)) for length in (5.0, 10.0))
    assert coarse / fine == pytest.approx(4, rel=0.03)  # 2 pi length^2, by a sum over pixels


def test_a_regular_pattern_has_smaller_errors_than_a_random_one():
    rows, columns = np.indices((128, 128))
    pattern = representativity(((rows // 4 + columns // 4) % 2).astype(np.uint8), 2, r_max=16)[0]["error_90"]
    random = representativity(random_image(0), 2, r_max=16)[0]["error_90"]
    assert all(pattern[name] < random[name] / 5 for name in pattern)
