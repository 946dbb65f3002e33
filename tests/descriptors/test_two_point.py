import math
from functools import partial

import jax
import numpy as np
import pytest
import reference
from known_media import gaussian_field_two_point, overlapping_spheres_two_point
from media import ball, checkerboard, laminate, outside_overlapping_balls

from jaxmicro.data.synthetic import (
    gaussian_field,
    overlapping_spheres,
    sphere_density,
)
from jaxmicro.descriptors import (
    centred,
    directional_two_point,
    radial_lags,
    radial_two_point,
    two_point_correlation,
)
from jaxmicro.errors import UserError


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 3)])
def test_fourier_transforms_equal_a_loop_over_pairs(shape: tuple[int, ...], periodic: bool, float64: None):
    phase = np.random.default_rng(0).random(shape)
    r_max = min(shape) // 2
    fast, slow = two_point_correlation(phase, periodic=periodic), reference.two_point_correlation(phase, periodic)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    fast = radial_two_point(phase, r_max=r_max, periodic=periodic)
    np.testing.assert_allclose(fast, reference.radial_two_point(phase, r_max, periodic), rtol=1e-12)
    for axis in range(len(shape)):
        fast = directional_two_point(phase, axis=axis, r_max=2, periodic=periodic)
        np.testing.assert_allclose(fast, reference.directional_two_point(phase, axis, 2, periodic), rtol=1e-12)


@pytest.mark.parametrize("shape", [(16, 12), (8, 9, 10)])
def test_lag_zero_is_the_volume_fraction_and_the_mean_over_periodic_lags_its_square(
    shape: tuple[int, ...], float64: None
):
    phase = (np.random.default_rng(0).random(shape) < 0.3).astype(float)
    s2 = two_point_correlation(phase, periodic=True)
    assert float(s2[(0,) * len(shape)]) == pytest.approx(phase.mean(), rel=1e-12)
    assert float(s2.mean()) == pytest.approx(phase.mean() ** 2, rel=1e-12)
    assert float(radial_two_point(phase, r_max=3)[0]) == pytest.approx(phase.mean(), rel=1e-12)
    assert float(directional_two_point(phase, axis=0, r_max=3)[0]) == pytest.approx(phase.mean(), rel=1e-12)


def test_directional_and_radial_agree_with_all_lags(float64: None):
    phase = np.random.default_rng(0).random((9, 8))
    s2 = two_point_correlation(phase, periodic=False)
    np.testing.assert_allclose(directional_two_point(phase, axis=1, r_max=7), s2[0, :8], rtol=1e-12)
    opposite = s2[np.ix_(-np.arange(17) % 17, -np.arange(15) % 15)]
    np.testing.assert_allclose(opposite, s2, rtol=1e-12)  # S2(-r) = S2(r)
    nearest = float(radial_two_point(phase, r_max=1)[1])  # the 8 neighbours: |d| = 1 and sqrt(2) round to 1
    count = [8 * 8, 9 * 7, 8 * 7, 8 * 7]
    assert nearest == pytest.approx(float(np.average([s2[1, 0], s2[0, 1], s2[1, 1], s2[1, -1]], weights=count)))


def test_a_window_of_a_uniform_phase_has_no_edge_effect():
    for s2 in (radial_two_point(np.ones((7, 9)), r_max=6), directional_two_point(np.ones((7, 9)), axis=0, r_max=6)):
        np.testing.assert_allclose(s2, 1.0, rtol=1e-5)


def test_a_laminate_has_a_triangle_wave_across_and_a_constant_along_its_layers(float64: None):
    phase = laminate((24, 10), thickness=4)
    across = directional_two_point(phase, axis=0, r_max=12, periodic=True)
    np.testing.assert_allclose(across, np.abs(np.array([4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0])) / 8, atol=1e-12)
    np.testing.assert_allclose(directional_two_point(phase, axis=1, r_max=5), 0.5, rtol=1e-12)


def test_a_checkerboard_alternates(float64: None):
    s2 = directional_two_point(checkerboard((8, 8, 8)), axis=2, r_max=6, periodic=True)
    np.testing.assert_allclose(s2, [0.5, 0, 0.5, 0, 0.5, 0, 0.5], atol=1e-12)


def test_one_disc_has_the_intersection_area_of_two_discs(float64: None):
    radius, edge = 20.0, 96
    s2 = np.asarray(radial_two_point(ball(edge, 2, radius), r_max=44, periodic=True)) * edge**2
    r = np.arange(45)
    h = np.minimum(r / (2 * radius), 1)
    lens = 2 * radius**2 * (np.arccos(h) - h * np.sqrt(1 - h**2))
    # The boundary is known to half a voxel in a ring of width 1/2: a few parts in a thousand of the area.
    np.testing.assert_allclose(s2, lens, atol=0.01 * math.pi * radius**2)


def test_overlapping_discs_follow_the_exponential_of_their_union():
    """Outside a Poisson process of discs S2(r) = exp(-rho |union of two discs at distance r|)."""
    radius, edge, rng = 6.0, 400, np.random.default_rng(0)
    area = math.pi * radius**2
    density = math.log(2) / area
    fields = [outside_overlapping_balls(edge, 2, radius=radius, density=density, rng=rng) for _ in range(3)]
    s2 = np.mean([radial_two_point(field.astype(np.float32), r_max=20) for field in fields], axis=0)
    r = np.arange(21)
    h = np.minimum(r / (2 * radius), 1)
    lens = 2 * radius**2 * (np.arccos(h) - h * np.sqrt(1 - h**2))
    # Standard error of phi: sqrt(phi (1 - phi) area / (3 edge^2)) = 0.008; three of it, dS2/dphi is at most 2 phi.
    np.testing.assert_allclose(s2, np.exp(-density * (2 * area - lens)), atol=0.024)


ESTIMATORS = [
    partial(centred(two_point_correlation), periodic=False),
    partial(centred(radial_two_point), r_max=6),
    partial(centred(directional_two_point), axis=1, r_max=9),
]


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_centred_covariances_sum_to_zero_over_the_phases(estimate, float64: None):
    """cov(p, q) from the variances of p, q and p + q; two phases have equal covariances."""
    labels = np.random.default_rng(0).choice(3, p=(0.2, 0.1, 0.7), size=(9, 11))

    def covariance(*phases):
        phase = np.isin(labels, phases).astype(float)
        return np.asarray(estimate(phase)) - phase.mean() ** 2

    np.testing.assert_allclose(covariance(0, 1), covariance(2), atol=1e-12)
    cross = [[(covariance(p, q) - covariance(p) - covariance(q)) / 2 for q in range(3) if q != p] for p in range(3)]
    for p in range(3):
        np.testing.assert_allclose(sum(cross[p]), -covariance(p), atol=1e-12)


@pytest.mark.parametrize("estimate", [two_point_correlation, partial(radial_two_point, r_max=4)])
def test_centring_changes_nothing_in_a_periodic_grid(estimate, float64: None):
    phase = (np.random.default_rng(0).random((8, 9)) < 0.3).astype(float)
    plain, about_mean = (of(phase, periodic=True) for of in (estimate, centred(estimate)))
    np.testing.assert_allclose(about_mean, plain, atol=1e-12)


def mean_over_ring(s2, edge: int, r_max: int) -> np.ndarray:
    """Expectation of `radial_two_point` in a window: mean of an isotropic S2(distance) over the pairs in each ring."""
    d = np.arange(-r_max, r_max + 1)
    distance = np.hypot(d[:, None], d).ravel()
    pairs = np.multiply.outer(edge - np.abs(d), edge - np.abs(d)).ravel()
    ring = np.minimum(np.floor(distance + 0.5).astype(int), r_max + 1)
    sums = (np.bincount(ring, weights=pairs * values) for values in (s2(distance), np.ones_like(distance)))
    return np.divide(*sums)[: r_max + 1]


def known_medium(kind: str, size: float, fraction: float, edge: int):
    """A window of a medium, and the S2 of its phase 0 as a function of distance."""
    seed = round(100 * fraction + size)
    if kind == "level set":
        shares = (fraction, 1 - fraction)
        labels = gaussian_field((edge, edge), correlation_length=size, fractions=shares, seed=seed, periodic=False)
        return labels, partial(gaussian_field_two_point, correlation_length=size, fraction=fraction)
    density = sphere_density(1 - fraction, radius=2 * size, dimensions=2)
    labels = overlapping_spheres((edge, edge), radius=2 * size, density=density, seed=seed, periodic=False)
    return labels, partial(overlapping_spheres_two_point, radius=2 * size, density=density, dimensions=2)


def test_centred_covariances_have_smaller_errors_for_24_known_media():
    edge, r_max = 128, 32
    kinds = [(k, s, f) for k in ("level set", "discs") for s in (2.0, 4.0, 8.0) for f in (0.1, 0.2, 0.35, 0.5)]
    media = [known_medium(*kind, edge) for kind in kinds]
    truth = np.stack([mean_over_ring(s2, edge, r_max) - s2(np.zeros(1)) ** 2 for _, s2 in media])
    phases = np.stack([[labels == 0, labels != 0] for labels, _ in media]).astype(np.float32)
    phi = phases.mean(axis=(2, 3))
    expected = (truth / truth[:, :1])[:, None]  # normalised: volumes have the volume fraction of the image

    def errors(estimate):
        s2 = np.asarray(jax.vmap(jax.vmap(partial(estimate, r_max=r_max)))(phases), float)
        found = (s2 - phi[..., None] ** 2) / (phi * (1 - phi))[..., None]
        return np.sqrt(np.mean((found - expected) ** 2, axis=(0, 2)))  # root mean square for each phase

    plain, about_mean = errors(radial_two_point), errors(centred(radial_two_point))
    assert about_mean[0] == pytest.approx(about_mean[1], rel=1e-3)  # float32
    assert about_mean[0] < 0.9 * plain[0] and about_mean[1] < 0.6 * plain[1]


def test_centring_does_not_bias_s2():
    """256 windows of one periodic medium, whose S2 is the mean of the plain estimate over all windows."""
    medium = gaussian_field((1024, 1024), correlation_length=4.0, fractions=(0.2, 0.8), seed=1) == 0
    windows = medium.reshape(16, 64, 16, 64).swapaxes(1, 2).reshape(256, 64, 64)
    found = np.asarray(jax.vmap(partial(centred(radial_two_point), r_max=32))(windows))
    exact = mean_over_ring(partial(gaussian_field_two_point, correlation_length=4.0, fraction=0.2), 64, 32)
    exact += medium.mean() ** 2 - 0.2**2
    standard_error = found.std(axis=0) / 16
    assert np.all(np.abs(found.mean(axis=0) - exact) < 3 * standard_error)
    assert np.all(standard_error < 0.003)  # small enough to detect a bias of half a percent of phi


def test_the_error_of_single_precision_is_below_1e_5():
    phase = np.random.default_rng(0).random((48, 48, 48)) < 0.5
    fast = radial_two_point(phase, r_max=20)
    s2 = np.fft.irfftn(np.abs(np.fft.rfftn(np.pad(phase, (0, 48)))) ** 2)
    assert float(fast[0]) == pytest.approx(phase.mean(), rel=1e-6)
    along = directional_two_point(phase, axis=0, r_max=20)
    np.testing.assert_allclose(along, s2[:21, 0, 0] / (48**2 * (48 - np.arange(21))), rtol=1e-5)


def test_a_lag_beyond_the_grid_raises_an_error_with_the_remedy():
    with pytest.raises(UserError, match="r_max is 8 voxels but must lie in 0..7"):
        radial_two_point(np.ones((8, 16)), r_max=8)
    with pytest.raises(UserError, match="half the shortest edge"):
        radial_two_point(np.ones((8, 16)), r_max=5, periodic=True)
    with pytest.raises(UserError, match="axis 0"):
        directional_two_point(np.ones((8, 16)), axis=0, r_max=8)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(8, 9), (6, 7, 6)])
def test_radial_lags_are_the_mean_distances_of_the_pairs_in_each_bin(shape: tuple[int, ...], periodic: bool):
    """By a loop over the pairs."""
    points = np.argwhere(np.ones(shape))
    apart = np.abs(points[:, None] - points[None])
    if periodic:
        apart = np.minimum(apart, np.array(shape) - apart)  # half the edge is beyond the last lag here
    distance = np.linalg.norm(apart, axis=-1).ravel()
    expected = [distance[np.floor(distance + 0.5) == r].mean() for r in range(3)]
    assert radial_lags(shape, r_max=2, periodic=periodic) == pytest.approx(expected, rel=1e-12)
    assert expected[1] == pytest.approx((4 + 4 * 2**0.5) / 8 if len(shape) == 2 else (6 + 12 * 2**0.5) / 18, abs=0.02)
