"""The synthetic media have the statistics that their docstrings state."""

import numpy as np
import pytest
from known_media import gaussian_field_two_point, laminate, overlapping_spheres_two_point, voronoi_grains

from jaxmicro.data import (
    gaussian_field,
    labyrinth,
    laguerre_grain_images,
    laguerre_grains,
    overlapping_spheres,
    pack_spheres,
    polydisperse_spheres,
    sphere_density,
    tessellation,
)
from jaxmicro.errors import UserError

# Monte-Carlo comparisons allow 4.5 standard errors, estimated from the scatter between independent media.
STANDARD_ERRORS = 4.5
LAGS = np.array([0, 1, 2, 3, 5, 8, 12, 17.0])


def two_point(indicator: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Periodic S2 along the last axis at whole lags, by counting."""
    return np.array([(indicator & np.roll(indicator, int(lag), axis=-1)).mean() for lag in lags])


def assert_mean_is(samples: list[np.ndarray], expected: np.ndarray):
    error = np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(np.mean(samples, axis=0) - expected) < STANDARD_ERRORS * error).all()


def test_a_laminate_has_exact_fractions_and_repeats_along_its_axis():
    labels = laminate((5, 24, 7), thicknesses=(3, 2, 1), axis=1)
    assert [(labels == k).mean() for k in range(3)] == pytest.approx([3 / 6, 2 / 6, 1 / 6], abs=1e-15)
    assert (labels == labels[:1, :, :1]).all()
    assert (labels[:, 6:] == labels[:, :-6]).all()


def test_the_two_point_correlation_across_a_laminate_is_a_triangle():
    across = two_point(laminate((4, 40), thicknesses=(3, 7), axis=1) == 0, np.arange(11))
    np.testing.assert_allclose(across, np.array([3, 2, 1, 0, 0, 0, 0, 0, 1, 2, 3]) / 10, atol=1e-15)


@pytest.mark.parametrize(("shape", "radius"), [((128, 128), 6.0), ((32, 32, 32), 4.0)])
@pytest.mark.parametrize("periodic", [True, False])
def test_the_matrix_between_overlapping_spheres_fills_exp_minus_density_volume(shape, radius, periodic):
    volume = np.pi * radius**2 if len(shape) == 2 else 4 / 3 * np.pi * radius**3
    density = 0.8 / volume
    media = [
        overlapping_spheres(shape, radius=radius, density=density, seed=s, periodic=periodic) == 0 for s in range(24)
    ]
    assert_mean_is([np.mean(medium) for medium in media], np.exp(-density * volume))


def test_the_density_for_a_fraction_gives_that_fraction():
    density = sphere_density(0.3, radius=5.0, dimensions=3)
    assert 1 - np.exp(-density * 4 / 3 * np.pi * 5.0**3) == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize(("shape", "radius"), [((128, 128), 6.0), ((40, 40, 40), 5.0)])
def test_two_point_correlation_of_overlapping_spheres_is_the_analytic_one(shape, radius):
    density = sphere_density(0.6, radius=radius, dimensions=len(shape))
    media = [overlapping_spheres(shape, radius=radius, density=density, seed=s) for s in range(24)]
    expected = overlapping_spheres_two_point(LAGS, radius=radius, density=density, dimensions=len(shape))
    assert_mean_is([two_point(medium == 0, LAGS) for medium in media], expected)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_overlapping_spheres_lose_all_correlation_beyond_a_diameter(dimensions):
    s2 = overlapping_spheres_two_point(np.array([0.0, 10.0, 30.0]), radius=5.0, density=2e-3, dimensions=dimensions)
    assert s2[1] == s2[2] == pytest.approx(s2[0] ** 2, rel=1e-12)


@pytest.mark.parametrize("fraction", [0.5, 0.2])
@pytest.mark.parametrize(("shape", "length"), [((128, 128), 4.0), ((40, 40, 40), 3.0)])
@pytest.mark.parametrize("periodic", [True, False])
def test_two_point_correlation_of_a_gaussian_level_set_is_the_analytic_one(shape, length, fraction, periodic):
    lags = LAGS if periodic else LAGS[:1]  # periodic counting would join the two faces of a medium that does not wrap
    media = [
        gaussian_field(shape, correlation_length=length, fractions=(fraction, 1 - fraction), seed=s, periodic=periodic)
        for s in range(16)
    ]
    expected = gaussian_field_two_point(lags, correlation_length=length, fraction=fraction)
    assert_mean_is([two_point(medium == 0, lags) for medium in media], expected)


def test_the_analytic_gaussian_two_point_correlation_has_its_limits():
    r = np.array([0.0, 2.0, 1e3])
    for fraction in (0.1, 0.5, 0.8):
        s2 = gaussian_field_two_point(r, correlation_length=3.0, fraction=fraction)
        assert s2[0] == pytest.approx(fraction, abs=1e-6)  # the integrand ends steeply at full correlation
        assert s2[2] == pytest.approx(fraction**2, abs=1e-12)
    half = gaussian_field_two_point(r, correlation_length=3.0, fraction=0.5)
    np.testing.assert_allclose(half, 0.25 + np.arcsin(np.exp(-(r**2) / 18)) / (2 * np.pi), atol=1e-12)


def test_each_axis_of_a_gaussian_field_has_its_own_correlation_length():
    media = [gaussian_field((96, 128), correlation_length=(2.0, 6.0), fractions=(1, 1), seed=s) for s in range(16)]
    for axis, length in enumerate((2.0, 6.0)):
        expected = gaussian_field_two_point(LAGS, correlation_length=length, fraction=0.5)
        assert_mean_is([two_point(np.moveaxis(medium == 0, axis, -1), LAGS) for medium in media], expected)


@pytest.mark.parametrize("medium", [gaussian_field, labyrinth])
def test_exact_fractions_are_met_to_one_pixel(medium):
    scale = {"correlation_length": 4.0} if medium is gaussian_field else {"wavelength": 9.0}
    labels = medium((60, 50), fractions=(0.2, 0.3, 0.5), seed=3, exact_fractions=True, **scale)
    fractions = np.bincount(labels.ravel()) / labels.size
    np.testing.assert_allclose(fractions, (0.2, 0.3, 0.5), atol=1.01 / labels.size)


def test_a_labyrinth_has_its_wavelength():
    s2 = np.mean(
        [
            two_point(
                labyrinth((128, 128), wavelength=16, bandwidth=0.05, fractions=(1, 1), seed=s) == 0, np.arange(25)
            )
            for s in range(8)
        ],
        axis=0,
    )
    # The covariance in a plane is the Bessel function J0(2 pi r / w): minimum at 0.610 w, next maximum at 1.117 w.
    assert np.argmin(s2) == pytest.approx(0.610 * 16, abs=1)
    assert 14 + np.argmax(s2[14:]) == pytest.approx(1.117 * 16, abs=1)


def test_a_tessellation_gives_every_pixel_to_the_nearest_point():
    shape, points = (20, 30), np.random.default_rng(0).uniform(size=(12, 2)) * (20, 30)
    weights = np.random.default_rng(1).uniform(0, 9, 12)
    cells = tessellation(shape, points, weights=weights)
    for y, x in np.ndindex(shape):
        apart = np.abs(points - (y + 0.5, x + 0.5))
        power = (np.minimum(apart, np.array(shape) - apart) ** 2).sum(axis=1) - weights
        assert cells.cell[y, x] == np.argmin(power)


def test_every_voronoi_point_has_one_cell_and_the_cells_fill_the_volume():
    points = np.random.default_rng(0).uniform(size=(40, 3)) * 32
    volumes = np.bincount(tessellation((32, 32, 32), points).cell.ravel(), minlength=40)
    assert len(volumes) == 40
    assert volumes.min() > 0
    assert volumes.sum() == 32**3


def test_the_wall_between_two_points_lies_half_way():
    points = np.array([[5.0, 4.0], [5.0, 16.0]])
    cells = tessellation((10, 20), points, periodic=False)
    np.testing.assert_array_equal(cells.cell, np.broadcast_to(np.arange(20) >= 10, (10, 20)))
    distance = np.broadcast_to(np.abs(np.arange(20) + 0.5 - 10), (10, 20))
    np.testing.assert_allclose(cells.wall_distance, distance, atol=1e-9)


@pytest.mark.parametrize(("shape", "grains", "coefficient"), [((160, 160), 60, 2.0), ((40, 40, 40), 50, 2.910)])
def test_the_area_of_voronoi_boundaries_is_that_of_a_poisson_tessellation(shape, grains, coefficient):
    # A thin boundary of thickness t has fraction a t - b t^2: (4 f(t) - f(2t)) / (2 t) is a. The number of points N is
    # fixed, not Poisson; that moves the mean by about 1 / (8 N) in 2D and 1 / (9 N) in 3D: 0.2 %, less than the error.
    density = grains / np.prod(shape)
    areas = []
    for seed in range(12):
        points = np.random.default_rng(seed).uniform(size=(grains, len(shape))) * shape
        wall = tessellation(shape, points).wall_distance
        areas.append((4 * np.mean(wall < 0.5) - np.mean(wall < 1.0)) / 2)
    assert_mean_is(areas, coefficient * density ** (1 / len(shape)))


def test_the_boundary_phase_of_voronoi_grains_is_the_wall_of_its_thickness():
    labels = voronoi_grains((50, 50), grains=9, boundary=3.0, seed=4)
    points = np.random.default_rng(4).uniform(size=(9, 2)) * 50
    np.testing.assert_array_equal(labels == 1, tessellation((50, 50), points).wall_distance < 1.5)


@pytest.mark.parametrize("shape", [(80, 80), (30, 30, 30)])
def test_packed_spheres_do_not_overlap_across_the_periodic_faces(shape):
    radii = np.random.default_rng(0).uniform(3, 6, 25 if len(shape) == 2 else 12)
    packing = pack_spheres(shape, radii, seed=0)
    apart = packing.centres[:, None] - packing.centres
    apart -= np.array(shape) * np.round(apart / np.array(shape))
    gaps = np.linalg.norm(apart, axis=-1) - packing.radii[:, None] - packing.radii
    assert gaps[~np.eye(len(radii), dtype=bool)].min() >= 0
    assert packing.overlap == 0


def test_an_impossible_packing_ends_and_reports_its_overlap():
    packing = pack_spheres((10, 10), np.full(3, 4.0), seed=0, attempts=300)
    assert packing.overlap > 0
    assert len(packing.centres) == 3


def test_polydisperse_spheres_have_the_given_fraction():
    labels = polydisperse_spheres((64, 64, 64), fraction=0.25, seed=2)
    # one sphere of mean diameter more or less is 0.7 % of this volume, of diameter mean + 2 std 2.5 %
    assert labels.mean() == pytest.approx(0.25, abs=0.025)


def test_laguerre_grains_of_each_size_share_the_area_equally_and_have_their_size():
    sizes, shares, diameters = (6.0, 9.0, 12.0), [], []
    numbers = [round(64 * 64 / 3 / (np.pi / 4 * d**2)) for d in sizes[::-1]]
    for seed in range(12):
        areas = np.bincount(laguerre_grains((64, 64), sizes=sizes, seed=seed).cell.ravel(), minlength=sum(numbers))
        groups = np.split(areas, np.cumsum(numbers)[:-1])
        shares.append([group.sum() / 64**2 for group in groups])
        diameters.append([2 * np.sqrt(group.mean() / np.pi) for group in groups])
    np.testing.assert_allclose(
        np.mean(shares, axis=0), 1 / 3, atol=0.03
    )  # whole numbers of grains: 12 * 113 px is 0.331
    np.testing.assert_allclose(np.mean(diameters, axis=0), sizes[::-1], rtol=0.05)


def test_laguerre_grain_images_differ_and_repeat_with_their_seed():
    images = laguerre_grain_images(3, (32, 32), seed=5)
    assert images.shape == (3, 32, 32)
    assert (images[0] != images[1]).any()
    np.testing.assert_array_equal(images[:2], laguerre_grain_images(2, (32, 32), seed=5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laminate((4, 4), thicknesses=(2, 0)), "at least one voxel"),
        (lambda: gaussian_field((8, 8), correlation_length=2.0, fractions=(0.0, 1.0), seed=0), "must be positive"),
        (lambda: labyrinth((8, 8), wavelength=800.0, fractions=(1, 1), seed=0), "no wave of length"),
    ],
)
def test_an_impossible_medium_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
