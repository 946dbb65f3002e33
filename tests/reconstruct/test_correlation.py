"""The constraint on the covariance of a noised volume."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.descriptors import radial_two_point
from jaxmicro.diffusion import alpha, sigma
from jaxmicro.phases import one_hot
from jaxmicro.reconstruct import match_covariance, plane_covariance
from tests.media import level_cut

SHAPE = (32, 24, 40)
REACH = 11


def medium(width: float, seed: int = 0, shape=SHAPE):
    return one_hot(jnp.asarray(level_cut(shape, fraction=0.4, sigma=width, seed=seed).astype(np.uint8)), 2)


def noised(fractions, log_snr, seed=1):
    noise = jax.random.normal(jax.random.key(seed), fractions.shape)
    return alpha(log_snr) * (2 * fractions - 1) + sigma(log_snr) * noise


def signal_covariance(x_t, log_snr):
    """Covariance of the indicators, estimated from the noised volume."""
    found = plane_covariance(x_t, r_max=REACH)
    return np.asarray(found.at[:, 0].add(-(sigma(log_snr) ** 2)) / (4 * alpha(log_snr) ** 2))


def test_the_covariance_in_planes_is_the_mean_over_the_planes():
    fractions = medium(2.0)
    phase = fractions[..., 0] - fractions[..., 0].mean()
    of_planes = jax.vmap(lambda plane: radial_two_point(plane, r_max=REACH, periodic=True))
    curves = [of_planes(jnp.moveaxis(phase, axis, 0)).mean(axis=0) for axis in range(3)]
    found = plane_covariance(fractions, r_max=REACH)
    np.testing.assert_allclose(found[0], np.mean(curves, axis=0), atol=2e-6)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)  # two phases have the same


def test_a_volume_with_the_target_covariance_hardly_changes():
    log_snr, fractions = jnp.float32(0.0), medium(2.0)
    x_t = noised(fractions, log_snr)
    matched = match_covariance(x_t, plane_covariance(fractions, r_max=REACH), log_snr)
    change = jnp.sqrt(jnp.mean((matched - x_t) ** 2) / jnp.mean(x_t**2))
    assert float(change) < 0.05  # the covariance of this noise deviates from its expectation


@pytest.mark.parametrize("width", [1.6, 2.6])
def test_the_covariance_of_a_coarser_or_finer_volume_approaches_the_target(width: float):
    log_snr, target = jnp.float32(-1.0), plane_covariance(medium(2.0), r_max=REACH)
    x_t = noised(medium(width, seed=3), log_snr)
    before = np.abs(signal_covariance(x_t, log_snr) - target)[:, 1:].mean()
    for _ in range(4):
        x_t = match_covariance(x_t, target, log_snr)
    after = np.abs(signal_covariance(x_t, log_snr) - target)[:, 1:].mean()
    assert after < 0.25 * before


def test_the_filter_keeps_means_and_commutes_with_shifts():
    log_snr, target = jnp.float32(-1.0), plane_covariance(medium(2.0), r_max=REACH)
    x_t = noised(medium(2.6, seed=3), log_snr)
    matched = match_covariance(x_t, target, log_snr)
    np.testing.assert_allclose(matched.mean(axis=(0, 1, 2)), x_t.mean(axis=(0, 1, 2)), atol=1e-5)
    shifted = match_covariance(jnp.roll(x_t, (3, 5, 7), axis=(0, 1, 2)), target, log_snr)
    np.testing.assert_allclose(shifted, jnp.roll(matched, (3, 5, 7), axis=(0, 1, 2)), atol=1e-4)


def test_without_periodicity_pairs_across_the_faces_are_excluded():
    """Pieces of a larger medium have its covariance, although the Fourier transform treats them as periodic."""
    log_snr, large = jnp.float32(1.0), medium(2.0, shape=(64, 64, 64))
    target = plane_covariance(large, r_max=REACH)
    octants = [large[z : z + 32, y : y + 32, x : x + 32] for z in (0, 32) for y in (0, 32) for x in (0, 32)]

    def variance(x_t):
        return float(jnp.mean(x_t[..., 0] ** 2))

    def mean_change(**options):
        pieces = [noised(octant, log_snr, seed) for seed, octant in enumerate(octants)]
        matched = [match_covariance(piece, target, log_snr, **options) for piece in pieces]
        return np.mean([variance(after) / variance(piece) - 1 for after, piece in zip(matched, pieces, strict=True)])

    assert abs(mean_change(periodic=False)) < 0.5 * abs(mean_change(periodic=True))
