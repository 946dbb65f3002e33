import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from media import ball, checkerboard, laminate, outside_overlapping_balls
from scipy.ndimage import gaussian_filter
from scipy.spatial import SphericalVoronoi

from jaxmicro.descriptors import (
    crofton_surface_area,
    interface_areas,
    relative_surface_area,
    smoothed_surface_area,
    specific_surface_area,
)


def voronoi_shares(ndim: int) -> dict[int, float]:
    """Share of all directions nearest to an axis, a face diagonal or a space diagonal (both senses together)."""
    if ndim == 2:
        return {1: 1 / 4, 2: 1 / 4}
    offsets = np.array([x for x in itertools.product((-1, 0, 1), repeat=3) if any(x)], float)
    areas = SphericalVoronoi(offsets / np.linalg.norm(offsets, axis=1, keepdims=True)).calculate_areas()
    return {k: 2 * areas[np.abs(offsets).sum(axis=1) == k].mean() / (4 * math.pi) for k in (1, 2, 3)}


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 3)])
def test_array_operations_equal_loops_over_faces(shape: tuple[int, ...], periodic: bool, float64: None):
    phase = np.random.default_rng(0).random(shape)
    fractions = np.random.default_rng(1).dirichlet(np.ones(3), size=shape)
    fast = specific_surface_area(phase, periodic=periodic)
    assert float(fast) == pytest.approx(reference.specific_surface_area(phase, periodic), rel=1e-12)
    fast, shares = crofton_surface_area(phase, periodic=periodic), voronoi_shares(len(shape))
    assert float(fast) == pytest.approx(reference.crofton_surface_area(phase, shares, periodic), rel=1e-8)
    fast = interface_areas(fractions, periodic=periodic)
    np.testing.assert_allclose(fast, reference.interface_areas(fractions, periodic), rtol=1e-12)


@pytest.mark.parametrize(("periodic", "mode"), [(True, "wrap"), (False, "nearest")])
def test_smoothed_area_is_the_total_variation_after_an_independent_gaussian_filter(
    periodic: bool, mode: str, float64: None
):
    phase = np.random.default_rng(0).random((9, 8, 12))
    smooth = gaussian_filter(phase, 0.75, mode=mode, truncate=4)
    wide = np.pad(smooth, 1, mode="wrap" if periodic else "edge")
    slopes = [(np.roll(wide, -1, axis) - np.roll(wide, 1, axis))[1:-1, 1:-1, 1:-1] / 2 for axis in range(3)]
    expected = np.sqrt(sum(slope**2 for slope in slopes)).mean()
    # The slopes of this noise are about 0.1, those below 1e-4 are smoothed.
    assert float(smoothed_surface_area(phase, sigma=0.75, periodic=periodic)) == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("shape", [(40, 12), (40, 6, 5)])
def test_a_flat_interface_along_the_grid_is_exact(shape: tuple[int, ...], float64: None):
    step = (np.arange(40) < 20).reshape(-1, *[1] * (len(shape) - 1)) * np.ones(shape)
    for area, tolerance in ((specific_surface_area, 1e-12), (smoothed_surface_area, 1e-3)):
        assert float(area(step)) == pytest.approx(1 / 40, rel=tolerance)
        assert float(area(step, voxel_size=0.2)) == pytest.approx(1 / 8, rel=tolerance)
    layers = laminate(shape, thickness=10)
    assert float(specific_surface_area(layers, periodic=True)) == pytest.approx(1 / 10, rel=1e-12)
    # Crofton: with few directions an interface along the grid is 7 % (3D) or 5 % (2D) too small (table of the module).
    expected = (0.9266 if len(shape) == 3 else 0.9481) / 10
    assert float(crofton_surface_area(layers, periodic=True)) == pytest.approx(expected, rel=1e-4)


def test_splitting_every_voxel_leaves_the_faces_unchanged(float64: None):
    rng = np.random.default_rng(0)
    for shape in ((6, 5), (4, 3, 5)):
        labels = rng.integers(0, 3, shape)
        split = labels
        for axis in range(labels.ndim):
            split = np.repeat(split, 2, axis=axis)
        for periodic in (True, False):
            fine = specific_surface_area(split, voxel_size=0.5, periodic=periodic)
            assert float(fine) == pytest.approx(float(specific_surface_area(labels, periodic=periodic)), rel=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_face_of_a_checkerboard_is_an_interface(ndim: int):
    assert float(specific_surface_area(checkerboard((6,) * ndim), periodic=True)) == ndim


@pytest.mark.parametrize(("ndim", "bias"), [(2, 4 / math.pi), (3, 3 / 2)])
def test_faces_of_a_ball_are_too_many_by_the_documented_factor_and_the_other_estimators_are_unbiased(
    ndim: int, bias: float
):
    radius, edge = 20.0, 56
    ball_ = ball(edge, ndim, radius).astype(np.float32)
    true = (2 * math.pi * radius if ndim == 2 else 4 * math.pi * radius**2) / edge**ndim
    # 1 %: number of voxels in a disc of radius 20; 2 %: curvature on the scale of the filter, four or 13 directions.
    assert float(specific_surface_area(ball_)) == pytest.approx(bias * true, rel=0.025)
    assert float(crofton_surface_area(ball_, periodic=True)) == pytest.approx(true, rel=0.02)
    assert float(smoothed_surface_area(ball_)) == pytest.approx(true, rel=0.02)


def test_the_mean_over_orientations_of_a_flat_interface_is_unbiased():
    angles = (np.arange(16) + 0.5) * math.pi / 16
    y, x = np.indices((61, 61)) - 30.0
    disc = np.hypot(y, x) < 28  # a round window, so that the length of the interface in it is the same for all angles
    areas = []
    for angle in angles:
        side = (np.cos(angle) * x + np.sin(angle) * y > 0.25).astype(np.float32)
        both = [side * disc, (1 - side) * disc, disc.astype(np.float32)]
        one, other, rim = (float(crofton_surface_area(part)) for part in both)
        areas.append((one + other - rim) / 2 * 61**2 / 56)
    assert np.mean(areas) == pytest.approx(1.0, abs=0.02)
    assert np.all(np.abs(np.array(areas) - 1) < 0.08)


def test_overlapping_spheres_have_the_surface_of_their_formula():
    """Outside random spheres phi = exp(-rho 4/3 pi R^3) and S_V = rho 4 pi R^2 phi = -3 phi ln(phi) / R."""
    radius, edge = 10.0, 96
    density = math.log(2) / (4 / 3 * math.pi * radius**3)
    field = outside_overlapping_balls(edge, 3, radius=radius, density=density, rng=np.random.default_rng(0))
    expected = -3 * field.mean() * math.log(field.mean()) / radius  # with the volume fraction of this realisation
    # Voxels fill the cusps between spheres: 3 to 5 % of the surface at this radius, twice that at half of it.
    assert float(crofton_surface_area(field, periodic=True)) == pytest.approx(expected, rel=0.06)
    assert float(specific_surface_area(field, periodic=True)) * 2 / 3 == pytest.approx(expected, rel=0.06)


def test_labels_count_each_interface_once_whatever_their_numbers():
    labels = np.random.default_rng(0).integers(0, 3, (9, 8))
    phases = [specific_surface_area(labels == p) for p in range(3)]
    for area in (specific_surface_area, crofton_surface_area):
        total = float(area(labels))
        assert total == pytest.approx(sum(float(area(labels == p)) for p in range(3)) / 2, rel=1e-6)
        assert float(area(labels * 50)) == total
    matrix = interface_areas(jnp.eye(3)[labels])
    np.testing.assert_allclose(matrix.sum(axis=1), jnp.stack(phases), rtol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(jnp.diagonal(matrix), 0)


def test_relative_area_sums_to_one_and_is_symmetric_for_two_phases():
    labels = np.random.default_rng(0).integers(0, 3, (10, 11, 12))
    relative = relative_surface_area(np.eye(3, dtype=np.float32)[labels])
    assert float(relative.sum()) == pytest.approx(1.0, rel=1e-6)
    assert float(relative.max()) <= 0.5  # a phase cannot have more interface than all others together
    two = relative_surface_area(np.eye(2, dtype=np.float32)[labels // 2])
    np.testing.assert_allclose(two, 0.5, rtol=1e-6)
    np.testing.assert_array_equal(relative_surface_area(np.ones((8, 8, 1), np.float32)), 0)


def test_a_soft_interface_has_the_area_of_the_sharp_one(float64: None):
    """A ramp from 0 to 1 has total variation 1, however wide it is."""
    ramp = np.clip((np.arange(60) - 20) / 15, 0, 1)[:, None] * np.ones((60, 4))
    for area, tolerance in ((specific_surface_area, 1e-12), (smoothed_surface_area, 3e-3)):
        assert float(area(ramp)) == pytest.approx(1 / 60, rel=tolerance)
