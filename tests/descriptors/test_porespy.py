"""Agreement with PoreSpy, an independent implementation; skipped where it is not installed."""

import warnings

import numpy as np
import pytest

from jaxmicro.descriptors import (
    chord_lengths,
    percolating_fraction,
    percolation,
    radial_two_point,
    two_point_correlation,
    volume_fraction,
)

ps = pytest.importorskip("porespy")


@pytest.fixture(scope="module", params=[(60, 50), (24, 28, 26)], ids=["2d", "3d"])
def medium(request: pytest.FixtureRequest) -> np.ndarray:
    return ps.generators.blobs(shape=request.param, porosity=0.55, blobiness=1, seed=0)


def test_volume_fractions_agree(medium: np.ndarray):
    phi = volume_fraction(np.stack([~medium, medium], axis=-1))
    assert float(phi[1]) == pytest.approx(ps.metrics.porosity(medium), rel=1e-6)


def test_two_point_correlations_agree(medium: np.ndarray, float64: None):
    """PoreSpy pads with zeros, as `periodic=False` does, then takes the plain mean over the lags of a bin."""
    edges = np.array([0.0, *np.arange(0.5, 12)])
    theirs = ps.metrics.two_point_correlation(medium, bins=edges).probability_scaled
    s2 = np.asarray(two_point_correlation(medium.astype(float), periodic=False))
    lags = np.meshgrid(*[np.fft.ifftshift(np.arange(1 - n, n)) for n in medium.shape], indexing="ij")
    ring = np.digitize(np.sqrt(sum(lag**2 for lag in lags)), edges) - 1
    ours = [s2[ring == r].mean() for r in range(12)]
    np.testing.assert_allclose(theirs, ours, rtol=1e-9)
    # Ours weights each lag by its pairs instead: equal up to the scatter of S2 within a bin.
    np.testing.assert_allclose(radial_two_point(medium, r_max=11), theirs, rtol=0.03)


def test_percolation_agrees(medium: np.ndarray):
    for axis in range(medium.ndim):
        assert percolation(medium, axis) == ps.metrics.is_percolating(medium, axis=axis)
        share = ps.metrics.percolating_porosity(medium, axis=axis) / ps.metrics.porosity(medium)
        assert percolating_fraction(medium, axis=axis) == pytest.approx(share)


def test_chord_lengths_agree(medium: np.ndarray):
    chords = ps.filters.apply_chords(medium, axis=0, spacing=1, trim_edges=False)  # every second line
    lines = medium[(slice(None),) + (slice(None, None, 2),) * (medium.ndim - 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PoreSpy's use of scikit-image
        theirs = ps.metrics.chord_counts(chords)
    assert sorted(chord_lengths(lines, axis=0, border=True).tolist()) == sorted(theirs.tolist())
