"""The covariance of volume fractions predicted from one image is that between many samples."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxmicro.evaluate import fraction_covariance, phase_covariance
from jaxmicro.io import read

DATA = Path(__file__).parents[1] / "data"


def three_phases(seed: int, edge: int) -> np.ndarray:
    """A Gaussian field cut at two fixed levels: fractions of samples scatter, and that of the middle phase follows
    neither of the others."""
    noise = np.random.default_rng(seed).standard_normal((edge + 32, edge + 32))
    field = gaussian_filter(noise, 3.0, mode="wrap")[16:-16, 16:-16]
    return np.digitize(field, [-0.05, 0.03]).astype(np.uint8)


def scatter(samples: np.ndarray, phases: int) -> np.ndarray:
    """Covariance of the fractions between samples along the first axis."""
    return np.cov([[np.mean(sample == phase) for phase in range(phases)] for sample in samples], rowvar=False)


def test_one_image_predicts_the_scatter_of_many():
    measured = scatter(np.stack([three_phases(seed, 48) for seed in range(1000)]), 3)
    images = [three_phases(seed, 256) for seed in range(2000, 2010)]
    predicted = np.mean([fraction_covariance(phase_covariance([im], 3), (48, 48)) for im in images], axis=0)
    # errors of the variance: 5 % for 1000 images, 3 % for ten images of 300 independent samples each
    assert np.diag(predicted) == pytest.approx(np.diag(measured), rel=0.15)
    assert predicted == pytest.approx(measured, abs=0.15 * np.diag(measured).max())


def test_planes_of_a_sandstone_predict_the_scatter_of_its_cubes():
    """Planes in 2D predict samples in 3D."""
    rock = read(DATA / "berea_sandstone_96.tif").labels
    cubes = rock.reshape(6, 16, 6, 16, 6, 16).transpose(0, 2, 4, 1, 3, 5).reshape(216, 16, 16, 16)
    predicted = fraction_covariance(phase_covariance([rock], 2), (16, 16, 16))
    assert predicted[0, 0] == pytest.approx(scatter(cubes, 2)[0, 0], rel=0.15)  # error of 216 cubes: 10 %


def test_independent_voxels_scatter_as_the_binomial():
    image = (np.random.default_rng(0).random((256, 256)) < 0.3).astype(np.uint8)
    found = fraction_covariance(phase_covariance([image], 2, r_max=3), (8, 9, 10))
    assert found[1, 1] == pytest.approx(0.3 * 0.7 / 720, rel=0.2)  # C is 0 at all lags but one, with noise


def test_the_covariance_of_fractions_that_sum_to_one_sums_to_zero():
    covariance = phase_covariance([three_phases(0, 64), three_phases(1, 96)], 3, r_max=16)
    assert covariance.sum(axis=1) == pytest.approx(0, abs=1e-6)
    assert covariance == pytest.approx(covariance.transpose(1, 0, 2))
    window = fraction_covariance(covariance, (32, 32, 32))
    assert window.sum(axis=0) == pytest.approx(0, abs=1e-9)
    assert np.linalg.eigvalsh(window).min() > -1e-12


def test_larger_windows_scatter_less():
    covariance = phase_covariance([three_phases(0, 128)], 3, r_max=24)
    sizes = [fraction_covariance(covariance, (edge,) * 3)[0, 0] for edge in (16, 32, 64, 128)]
    assert sizes == sorted(sizes, reverse=True)
    # inversely proportional to the volume, for edges above the correlation length
    assert sizes[2] / sizes[3] == pytest.approx(8, rel=0.25)
