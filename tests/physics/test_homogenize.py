"""Bounds, tensor, tortuosity, flux."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from media import level_cut

from jaxmicro import descriptors, physics
from jaxmicro.errors import UserError
from jaxmicro.physics import SolverConfig
from tests import reference
from tests.descriptors.test_clusters import two_periods

SCHEMES = ["finite_volume", "q1"]
TIGHT = SolverConfig(tolerance=1e-7)
PERIODIC = [("finite_volume", (8, 8, 8)), ("q1", (8, 8))]  # elements in 3D take long to compile


@pytest.mark.parametrize("shape", [(32, 32), (12, 12, 12)], ids=["2d", "3d"])
def test_elements_conduct_more_than_volumes_and_both_obey_the_bounds(shape, float64: None):
    phase = level_cut(shape, fraction=0.5, sigma=1.0)
    phi, diffusivities = np.array([1 - phase.mean(), phase.mean()]), np.array([0.1, 1.0])
    kappa = diffusivities[phase.astype(int)]
    volumes, elements = (
        np.mean([physics.effective_diffusivity(kappa, axis=a, discretisation=s) for a in range(kappa.ndim)])
        for s in SCHEMES
    )
    wiener = physics.wiener_bounds(phi, diffusivities)
    hashin_shtrikman = physics.hashin_shtrikman_bounds(phi, diffusivities, dimensions=kappa.ndim)
    assert wiener[0] < hashin_shtrikman[0] < volumes < elements < hashin_shtrikman[1] < wiener[1]


def test_the_bounds_of_both_schemes_approach_each_other_when_voxels_are_split(float64: None):
    coarse = np.where(level_cut((9, 8), fraction=0.6, sigma=1.0), 1.0, 0.05)
    fine = np.kron(coarse, np.ones((2, 2)))  # the same geometry
    below, above = (
        [float(physics.effective_diffusivity(k, axis=0, discretisation=s, config=TIGHT)) for k in (coarse, fine)]
        for s in SCHEMES
    )
    assert below[0] < below[1] < above[1] < above[0]


def test_bounds_close_when_the_phases_are_alike_and_do_not_depend_on_their_order(float64: None):
    phi = np.array([0.2, 0.5, 0.3])
    for dimensions in (2, 3):
        equal = physics.hashin_shtrikman_bounds(phi, np.full(3, 0.7), dimensions=dimensions)
        np.testing.assert_allclose(equal, 0.7, rtol=1e-14)
        d = np.array([1.0, 0.0, 3.0])
        forward = physics.hashin_shtrikman_bounds(phi, d, dimensions=dimensions)
        backward = physics.hashin_shtrikman_bounds(phi[::-1].copy(), d[::-1].copy(), dimensions=dimensions)
        np.testing.assert_allclose(forward, backward, rtol=1e-14)
    lower, upper = physics.hashin_shtrikman_bounds(np.array([0.4, 0.6]), np.array([0.0, 1.0]), dimensions=3)
    assert lower == 0 and upper == pytest.approx(2 * 0.6 / (3 - 0.6))  # Maxwell: 2 phi / (3 - phi)


def test_an_absent_phase_changes_no_bound(float64: None):
    for bounds in (physics.wiener_bounds, lambda phi, d: physics.hashin_shtrikman_bounds(phi, d, dimensions=3)):
        with_it = bounds(np.array([0.5, 0.0, 0.5]), np.array([1.0, 0.0, 2.0]))
        np.testing.assert_allclose(with_it, bounds(np.array([0.5, 0.5]), np.array([1.0, 2.0])), rtol=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tensor_of_layers_is_diagonal_with_the_two_means(scheme: str, float64: None):
    layers = np.array([1.0, 0.2, 0.5, 1.0])
    kappa = np.broadcast_to(layers[:, None], (4, 6)).copy()
    tensor = physics.effective_tensor(kappa, discretisation=scheme, config=TIGHT)
    expected = np.diag([1 / np.mean(1 / layers), np.mean(layers)])
    np.testing.assert_allclose(tensor, expected, atol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tensor_is_symmetric_positive_and_turns_with_the_medium(scheme: str, float64: None):
    noise = np.random.default_rng(0).normal(size=(16, 16))
    streaks = sum(np.roll(noise, (i, i), (0, 1)) for i in range(6))  # along the diagonal: D_01 is not 0
    kappa = np.where(streaks > 0, 1.0, 0.05)
    tensor = np.asarray(physics.effective_tensor(kappa, discretisation=scheme, config=TIGHT))
    assert tensor[0, 1] == tensor[1, 0] > 0.01
    assert np.all(np.linalg.eigvalsh(tensor) > 0)
    mirrored = np.asarray(physics.effective_tensor(kappa[::-1].copy(), discretisation=scheme, config=TIGHT))
    np.testing.assert_allclose(mirrored, tensor * [[1, -1], [-1, 1]], atol=1e-10)
    shifted = physics.effective_tensor(np.roll(kappa, (3, 5), (0, 1)), discretisation=scheme, config=TIGHT)
    np.testing.assert_allclose(shifted, tensor, atol=1e-10)


def test_gradient_of_the_tensor_matches_central_differences(float64: None):
    kappa = np.where(level_cut((10, 12), fraction=0.5) > 0, 1.0, 0.1)
    step, h = kappa * np.random.default_rng(0).normal(size=kappa.shape), 1e-4

    def entry(kappa):
        return jnp.sum(physics.effective_tensor(kappa, config=TIGHT) * jnp.array([[1.0, 2.0], [3.0, 4.0]]))

    slope = (entry(kappa + h * step) - entry(kappa - h * step)) / (2 * h)
    assert np.sum(jax.grad(entry)(kappa) * step) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mean_flux_is_the_effective_diffusivity(scheme: str, float64: None):
    kappa = np.where(level_cut((14, 12), fraction=0.5) > 0, 1.0, 0.1)
    solution = physics.solve(kappa, axis=1, discretisation=scheme, config=TIGHT)
    flux = physics.flux_field(kappa, solution.concentration, axis=1, discretisation=scheme)
    assert flux.shape == (14, 12, 2)
    # Conservation: the same flux through every plane, so the mean is D_eff per edge; first order in the error of u.
    assert np.mean(flux[..., 1]) * 12 == pytest.approx(float(solution.d_eff), rel=1e-6)
    if scheme == "finite_volume":
        assert abs(solution.flux_balance) < 1e-6


def test_tortuosity_factor_of_a_blocked_medium_is_infinite_and_of_a_straight_channel_one():
    kappa = np.zeros((6, 4), np.float32)
    kappa[:, 1] = 2.0
    open_, blocked = (physics.effective_diffusivity(kappa, axis=axis, percolates=axis == 0) for axis in (0, 1))
    assert physics.tortuosity_factor(open_, 0.25, 2.0) == pytest.approx(1.0, rel=1e-6)
    assert open_ / 2.0 == pytest.approx(0.25, rel=1e-6)
    assert blocked == 0.0 and physics.tortuosity_factor(blocked, 0.25, 2.0) == np.inf
    assert np.isnan(physics.tortuosity_factor(jnp.float32(np.nan), 0.25))


def test_a_solution_that_did_not_converge_has_diffusivity_nan():
    kappa = np.where(level_cut((32, 32), fraction=0.5) > 0, 1.0, 1e-3).astype(np.float32)
    assert np.isnan(physics.effective_diffusivity(kappa, axis=0, config=SolverConfig(max_iterations=2)))


def test_diffusivity_of_phases_is_linear_and_an_absent_phase_does_not_matter():
    labels = np.array([[0, 2], [2, 0]])
    fractions = np.eye(3, dtype=np.float32)[labels]
    kappa = physics.diffusivity_of_phases(fractions, np.array([1.0, 7.0, 0.5], np.float32))
    np.testing.assert_array_equal(kappa, np.array([[1.0, 0.5], [0.5, 1.0]], np.float32))
    with pytest.raises(UserError, match="per phase"):
        physics.diffusivity_of_phases(fractions, np.ones(2, np.float32))


@pytest.mark.parametrize("scheme", ["finite_volume", pytest.param("q1", marks=pytest.mark.slow)])
def test_tensor_in_single_precision_is_that_in_double(scheme: str):
    """A periodic field has no fixed value: the mean of the rounding errors of forces must not be amplified."""
    kappa = np.random.default_rng(0).uniform(0.5, 1.5, (8, 8, 8))
    single = physics.effective_tensor(kappa.astype(np.float32), discretisation=scheme)
    with jax.enable_x64(True):
        double = physics.effective_tensor(kappa, discretisation=scheme)
    np.testing.assert_allclose(single, double, atol=1e-5)
    uniform = physics.effective_tensor(np.ones((8, 8), np.float32), discretisation=scheme)
    np.testing.assert_allclose(uniform, np.eye(2), atol=1e-6)


def test_a_medium_without_a_connected_path_has_exactly_zero_diffusivity():
    wall = np.ones((6, 5, 5), np.float32)
    wall[3] = 0
    corner = np.kron(np.eye(2, dtype=np.float32), np.ones((3, 3), np.float32))
    assert float(physics.effective_diffusivity(wall, axis=0)) == 0.0
    assert float(physics.effective_diffusivity(wall, axis=1)) > 0
    assert float(physics.effective_diffusivity(corner, axis=0)) == 0.0
    assert float(physics.effective_diffusivity(corner, axis=0, discretisation="q1")) > 0  # its voxels touch
    assert float(physics.effective_diffusivity(np.zeros((4, 4), np.float32), axis=0, discretisation="q1")) == 0.0


@pytest.mark.parametrize("ends", ["fixed", "periodic"])
def test_media_connected_through_periodic_faces_equal_a_direct_solve(ends, float64: None):
    """Near the percolation threshold many media connect only through periodic sides; reference: assembled voxel by
    voxel and solved directly."""
    rng, conducting, through_the_wrap = np.random.default_rng(0), 0, 0
    for _ in range(40):
        kappa = (rng.random((8, 8, 8)) < 0.36).astype(float)
        expected = reference.finite_volume_diffusivity(kappa, 0, periodic_ends=ends == "periodic", periodic_sides=True)
        found = float(physics.effective_diffusivity(kappa, axis=0, ends=ends, sides="periodic", config=TIGHT))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-10) and (found == 0) == (expected < 1e-10)
        conducting += found > 0
        through_the_wrap += found > 0 and not descriptors.percolation(kappa, 0)
    assert conducting > 10 and through_the_wrap > 3


def test_a_channel_that_closes_after_two_periods_conducts_by_its_length(float64: None):
    # a slope of 1 along y drops 2 * 16 over the 48 unit conductances of the thread, one along x 16: the current is 2/3
    # or 1/3, and covers 32 steps of y and 16 of x
    thread = two_periods().astype(float)
    expected = np.outer([32, 16], [32, 16]) / (48 * thread.size)
    np.testing.assert_allclose(physics.effective_tensor(thread, config=TIGHT), expected, rtol=1e-6)
    for axis in range(2):
        found = physics.effective_diffusivity(thread, axis=axis, ends="periodic", sides="periodic", config=TIGHT)
        assert float(found) == pytest.approx(expected[axis, axis], rel=1e-6)


@pytest.mark.parametrize(("scheme", "shape"), PERIODIC, ids=SCHEMES)
def test_a_direction_that_does_not_conduct_has_zeros_in_the_tensor_and_does_not_change_the_others(
    scheme, shape, float64: None
):
    kappa = level_cut(shape, fraction=0.7, sigma=1.0)
    kappa[3] = 0  # a wall normal to the first axis, which blocks it
    tensor = np.asarray(physics.effective_tensor(kappa, discretisation=scheme, config=TIGHT))
    assert np.all(tensor[0] == 0) and np.all(tensor[:, 0] == 0) and np.all(np.diag(tensor)[1:] > 0.01)
    leaky = np.asarray(physics.effective_tensor(kappa + 1e-9, discretisation=scheme, config=TIGHT))
    np.testing.assert_allclose(tensor, leaky, atol=1e-7)  # finite: the blocked voxels of the other conduct 1e-9
    nothing = physics.effective_tensor(np.zeros_like(kappa), discretisation=scheme, config=TIGHT)
    np.testing.assert_array_equal(nothing, np.zeros((len(shape),) * 2))


def test_channels_apart_conduct_their_share_each_along_its_axis(float64: None):
    apart = np.zeros((8, 8, 8))
    apart[2, 2], apart[:, 5, 5] = 1, 1  # along x and along z
    threads = np.asarray(physics.effective_tensor(apart, config=TIGHT))
    np.testing.assert_allclose(threads, np.diag([1, 0, 1]) / 64, atol=1e-9)
    assert np.all(threads[1] == 0) and np.all(threads[:, 1] == 0)


@pytest.mark.parametrize(("scheme", "shape"), PERIODIC, ids=SCHEMES)
def test_a_solve_with_periodic_ends_gives_the_diagonal_of_the_tensor_and_its_derivative(scheme, shape, float64: None):
    kappa, last = np.where(level_cut(shape, fraction=0.5) > 0, 1.0, 0.1), len(shape) - 1
    tensor = np.asarray(physics.effective_tensor(kappa, discretisation=scheme, config=TIGHT))

    def along(kappa, axis):
        return physics.solve(kappa, axis=axis, discretisation=scheme, ends="periodic", sides="periodic", config=TIGHT)

    for axis in range(len(shape)):
        solution = along(kappa, axis)
        assert solution.converged and abs(solution.flux_balance) < 1e-5
        assert float(solution.d_eff) == pytest.approx(tensor[axis, axis], rel=1e-9)
    flux = physics.flux_field(
        kappa, solution.concentration, axis=last, discretisation=scheme, ends="periodic", sides="periodic"
    )
    np.testing.assert_allclose(8 * flux.mean(axis=tuple(range(len(shape)))), tensor[last], atol=1e-6)
    again = physics.solve(
        kappa,
        axis=last,
        discretisation=scheme,
        ends="periodic",
        sides="periodic",
        config=TIGHT,
        guess=solution.concentration,
    )
    assert again.iterations <= 6 and float(again.d_eff) == pytest.approx(tensor[last, last], rel=1e-9)
    step, h = kappa * np.random.default_rng(0).normal(size=kappa.shape), 1e-4
    slope = float(along(kappa + h * step, last).d_eff - along(kappa - h * step, last).d_eff) / (2 * h)
    assert np.sum(jax.grad(lambda k: along(k, last).d_eff)(kappa) * step) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("bad", [([0.5, 0.1], [1.0, 3.0]), ([1.5, -0.5], [1.0, 3.0]), ([0.5, 0.5], [1.0, -1.0])])
def test_bounds_of_impossible_media_are_refused(bad: tuple[list[float], list[float]]):
    fractions, diffusivities = map(np.array, bad)
    with pytest.raises(UserError, match="expected"):
        physics.wiener_bounds(fractions, diffusivities)
    with pytest.raises(UserError, match="expected"):
        physics.hashin_shtrikman_bounds(fractions, diffusivities, dimensions=3)


def test_invalid_arguments_of_the_tortuosity_factor_are_refused():
    assert np.isnan(physics.tortuosity_factor(jnp.float32(-0.25), 0.5))
    for fraction, diffusivity in ((2.0, 1.0), (-0.5, 1.0), (0.5, 0.0)):
        with pytest.raises(UserError, match="not"):
            physics.tortuosity_factor(jnp.float32(0.25), fraction, diffusivity)
