"""MAE, PSNR and SSIM equal those of scikit-image, whose conventions they follow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import metrics

from jaxmicro.evaluate import grey, mean_absolute_error, peak_signal_to_noise, structural_similarity


@pytest.mark.parametrize("shape", [(64, 64), (7, 30)])
@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_measures_are_those_of_scikit_image(shape: tuple[int, int], noise: float):
    rng = np.random.default_rng(0)
    reference = (rng.random(shape) < 0.4).astype(np.float32)
    image = np.clip(reference + noise * rng.normal(size=shape), 0, 1).astype(np.float32)
    found = [float(jax.jit(f)(image, reference)) for f in (peak_signal_to_noise, structural_similarity)]
    assert found[0] == pytest.approx(metrics.peak_signal_noise_ratio(reference, image, data_range=1), rel=1e-5)
    assert found[1] == pytest.approx(metrics.structural_similarity(reference, image, data_range=1), abs=2e-5)
    assert float(mean_absolute_error(image, reference)) == pytest.approx(np.abs(image - reference).mean(), rel=1e-5)


def test_equal_images_have_no_error():
    image = jax.random.uniform(jax.random.key(0), (16, 16))
    assert float(mean_absolute_error(image, image)) == 0
    assert jnp.isinf(peak_signal_to_noise(image, image))
    assert float(structural_similarity(image, image)) == pytest.approx(1.0, abs=1e-5)


def test_the_measures_do_not_depend_on_the_unit_of_grey_levels():
    a, b = jax.random.uniform(jax.random.key(0), (2, 16, 16))
    for measure in (peak_signal_to_noise, structural_similarity):
        assert float(measure(255 * a, 255 * b, data_range=255.0)) == pytest.approx(float(measure(a, b)), rel=1e-4)


def test_grey_levels_are_evenly_spaced_in_the_order_of_the_phases():
    np.testing.assert_allclose(grey(jnp.eye(5)), [0, 0.25, 0.5, 0.75, 1])
