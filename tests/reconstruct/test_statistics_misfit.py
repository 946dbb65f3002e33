"""Lineal path from segments of 2^k voxels; steps of a prediction towards a lineal path, interface area and S2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from media import level_cut

from jaxmicro.descriptors import lineal_path
from jaxmicro.phases import one_hot, to_labels
from jaxmicro.reconstruct import dyadic_lags, dyadic_lineal_path, match_lineal_path, plane_covariance


def two_phases(shape=(16, 16, 16), *, fraction: float = 0.4, sigma: float = 1.5, seed: int = 0) -> jax.Array:
    return one_hot(level_cut(shape, fraction=fraction, sigma=sigma, seed=seed).astype(np.uint8), 2)


def undecided(fractions: jax.Array, *, seed: int = 1) -> jax.Array:
    """A blurred and noisy prediction of these fractions."""
    blurred = sum(jnp.roll(fractions, shift, axis) for axis in range(3) for shift in (-1, 0, 1)) / 9
    noise = jax.random.normal(jax.random.key(seed), fractions.shape)
    return 2 * jax.nn.softmax(2 * blurred + 0.3 * noise, axis=-1) - 1


@pytest.mark.parametrize("periodic", [True, False])
def test_shares_of_segments_are_the_lineal_path_averaged_over_the_axes(periodic: bool):
    fractions = two_phases((16, 18, 20))
    lags = dyadic_lags(8)
    found = dyadic_lineal_path(fractions, lags=len(lags), periodic=periodic)
    for phase in range(2):
        curves = [lineal_path(fractions[..., phase], axis=a, r_max=8, periodic=periodic) for a in range(3)]
        # the same count, in another order of float32 sums
        np.testing.assert_allclose(found[phase], np.mean(curves, axis=0)[lags], rtol=1e-5, atol=1e-7)


def test_the_lineal_path_of_soft_phases_is_that_of_products_along_segments():
    fractions = jax.nn.softmax(jax.random.normal(jax.random.key(0), (8, 8, 8, 3)), axis=-1)
    curves = [lineal_path(fractions[..., 1], axis=a, r_max=3, periodic=True) for a in range(3)]
    found = dyadic_lineal_path(fractions, lags=3)[1]
    np.testing.assert_allclose(found, np.mean(curves, axis=0)[[0, 1, 3]], rtol=1e-5)


def misfit(x0_hat: jax.Array, path: np.ndarray) -> float:
    found = dyadic_lineal_path(one_hot(to_labels(x0_hat), 2), lags=path.shape[1])
    return float(np.sum((np.asarray(found) - path)[:, 1:] ** 2))


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_a_prediction_approaches_the_lineal_path_of_coarser_and_of_finer_media(sigma: float, periodic: bool):
    """From a medium of width 1.5 to finer and to coarser ones of the same volume fraction."""
    target_path = np.asarray(dyadic_lineal_path(two_phases((24, 24, 24), sigma=sigma, seed=3), lags=4))
    prediction = undecided(two_phases((24, 24, 24), seed=2))
    moved = prediction
    for _ in range(12):  # as many as in six time steps of a sampling
        moved = match_lineal_path(moved, jnp.asarray(target_path), periodic=periodic)
    assert misfit(moved, target_path) < 0.5 * misfit(prediction, target_path)
    assert float(jnp.abs(moved.sum(axis=-1)).max()) < 1e-5  # fractions still sum to one: 2 p - 1 over two phases to 0


def test_a_prediction_with_the_target_path_does_not_change():
    fractions = two_phases()
    prediction = 2 * jax.nn.softmax(8 * fractions, axis=-1) - 1  # its most probable phases are these fractions
    path = dyadic_lineal_path(fractions, lags=4)
    np.testing.assert_allclose(match_lineal_path(prediction, path), prediction, atol=1e-5)


def test_a_phase_with_an_unknown_path_is_unconstrained_and_one_with_a_known_path_is_not():
    prediction = undecided(two_phases())
    path = np.asarray(dyadic_lineal_path(two_phases(sigma=3.0, seed=5), lags=4))
    free = match_lineal_path(prediction, jnp.full((2, 4), jnp.nan), covariance=jnp.full((2, 9), 0.1))
    np.testing.assert_allclose(free, prediction, atol=1e-5)
    half = match_lineal_path(prediction, jnp.asarray(np.where([[True], [False]], path, np.nan)))
    assert float(jnp.abs(half - prediction).max()) > 0.01
    assert bool(jnp.isfinite(half).all())


def test_volumes_too_small_for_a_segment_of_two_voxels_do_not_change():
    prediction = undecided(two_phases((1, 16, 16)))
    path = jnp.full((2, 4), 0.1)
    assert match_lineal_path(prediction, path) is prediction


def test_a_prediction_approaches_the_two_point_correlation_too():
    shape = (24, 24, 24)
    target = two_phases(shape, sigma=2.0, seed=3)
    covariance = plane_covariance(target, r_max=12)
    prediction = undecided(two_phases(shape, sigma=1.5, seed=2))
    own = dyadic_lineal_path(one_hot(to_labels(prediction), 2), lags=4)  # its own lineal path

    def deviation(x0_hat: jax.Array) -> float:
        return float(jnp.sum((plane_covariance(one_hot(to_labels(x0_hat), 2), r_max=12) - covariance)[:, 1:] ** 2))

    both, alone = prediction, prediction
    for _ in range(12):
        both = match_lineal_path(both, own, covariance=covariance)
        alone = match_lineal_path(alone, own)
    assert deviation(both) < 0.7 * deviation(alone)


def test_the_interface_area_is_a_term_of_the_misfit_only_with_interface():
    prediction = undecided(two_phases())
    path = np.array(dyadic_lineal_path(one_hot(to_labels(prediction), 2), lags=2))
    path[:, 1] *= 0.95
    change = [match_lineal_path(prediction, jnp.asarray(path), interface=yes) - prediction for yes in (False, True)]
    assert float(jnp.abs(change[1]).max()) > 0 and float(jnp.abs(change[0] - change[1]).max()) > 0


def test_the_gradient_of_the_periodic_lineal_path_matches_central_differences():
    """Central differences along a random direction, in double precision."""
    rng = np.random.default_rng(0)
    soft, way, weights = (rng.random(shape) for shape in ((5, 6, 7, 2), (5, 6, 7, 2), (2, 3)))
    with jax.enable_x64(True):

        def share(x) -> jax.Array:
            return jnp.sum(weights * dyadic_lineal_path(jnp.asarray(x), lags=3))

        slope = jnp.sum(jax.grad(share)(jnp.asarray(soft)) * way)
        difference = (share(soft + 1e-5 * way) - share(soft - 1e-5 * way)) / 2e-5
        assert float(slope) == pytest.approx(float(difference), rel=1e-7)
