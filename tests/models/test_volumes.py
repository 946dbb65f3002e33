"""Networks of samples with features: conditions, periodic axes, three dimensions."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxmicro import models
from jaxmicro.models import PriorConfig, UNetConfig, VAEConfig, layers, winograd
from jaxmicro.models.conditions import drop_features
from jaxmicro.models.prior import network
from tests.models.test_prior import random_params

PERIODIC = (False, True, True)
UNET = UNetConfig(dims=3, patch=2, widths=(8, 12), attention=(False, True), embedding=16, periodic=PERIODIC)
CONFIG = PriorConfig(phases=2, shape=(8, 8, 8), conditions=("phi", "chi"), log_snr_range=(-9.0, 3.0), unet=UNET)
output = jax.jit(network, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    return random_params(CONFIG)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (2, 8, 8, 8, 2))


def test_features_that_are_not_given_have_no_value(params, x):
    none = output(CONFIG, params, x, jnp.zeros(2), jnp.full((2, 2), jnp.nan))
    np.testing.assert_array_equal(none, output(CONFIG, params, x, jnp.zeros(2)))
    zero = output(CONFIG, params, x, jnp.zeros(2), jnp.zeros((2, 2)))
    assert float(jnp.abs(zero - none).max()) > 1e-3  # the mean value is not the same as no value


def test_each_sample_has_its_own_condition(params, x):
    condition = jnp.array([[0.5, jnp.nan], [jnp.nan, -1.0]])
    both = output(CONFIG, params, x, jnp.zeros(2), condition)
    turned = output(CONFIG, params, x[::-1], jnp.zeros(2), condition[::-1])
    np.testing.assert_allclose(both, turned[::-1], atol=1e-5)


def test_details_correct_nothing_at_first_and_then_what_they_learn(x):
    """And where samples are periodic, they shift with them."""
    detailed = dataclasses.replace(CONFIG, unet=dataclasses.replace(UNET, detail=8))
    fresh, learned = models.init(detailed, jax.random.key(0)), random_params(detailed)
    with_details, without = (output(config, fresh, x, jnp.zeros(2)) for config in (detailed, CONFIG))
    np.testing.assert_array_equal(with_details, without)
    found = output(detailed, learned, x, jnp.zeros(2))
    assert float(jnp.abs(found - output(CONFIG, learned, x, jnp.zeros(2))).max()) > 1e-3
    shifted = output(detailed, learned, jnp.roll(x, 4, 2), jnp.zeros(2))
    np.testing.assert_allclose(shifted, jnp.roll(found, 4, 2), atol=2e-5)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_shift_along_a_periodic_axis_shifts_the_output(params, x, axis):
    shift = 4  # the coarsest cell of this network has four voxels
    condition = jnp.array([[0.5, 1.0], [jnp.nan, -1.0]])
    expected = jnp.roll(output(CONFIG, params, x, jnp.zeros(2), condition), shift, axis)
    found = output(CONFIG, params, jnp.roll(x, shift, axis), jnp.zeros(2), condition)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_shift_along_a_film_normal_changes_the_output(params, x):
    shifted = output(CONFIG, params, jnp.roll(x, 4, 1), jnp.zeros(2))
    assert float(jnp.abs(shifted - jnp.roll(output(CONFIG, params, x, jnp.zeros(2)), 4, 1)).max()) > 1e-3


def test_guidance_exaggerates_the_difference_that_features_make(params, x):
    condition, level = jnp.array([[0.5, 1.0], [1.0, -1.0]]), jnp.array(-1.0)

    @partial(jax.jit, static_argnames="guidance")
    def logits(condition, guidance):
        p = (models.denoiser(CONFIG, params, condition, guidance=guidance)(x, level) + 1) / 2
        return jnp.log(p)[..., 1] - jnp.log(p)[..., 0]

    free, given, twice = logits(jnp.full_like(condition, jnp.nan), 1.0), logits(condition, 1.0), logits(condition, 2.0)
    np.testing.assert_allclose(twice - free, 2 * (given - free), atol=1e-3)


def test_dropped_features_leave_every_number_of_them_in_use():
    kept = np.isfinite(drop_features(jnp.zeros((20_000, 3)), jax.random.key(0))).sum(axis=1)
    shares = np.bincount(kept, minlength=4) / 20_000
    # one in ten has none, half have all, and the rest any number with equal probability
    np.testing.assert_allclose(shares, [0.1 + 0.1, 0.1, 0.1, 0.5 + 0.1], atol=0.02)


def test_the_loss_falls_when_the_features_tell_the_phase(params):
    """Samples of one phase that a feature names: its gradient reduces the loss of a wholly noisy input."""
    labels = jnp.stack([jnp.zeros((8, 8, 8), jnp.uint8), jnp.ones((8, 8, 8), jnp.uint8)] * 4)
    features = jnp.tile(jnp.array([[-1.0, 0.0], [1.0, 0.0]]), (4, 1))
    config = PriorConfig(**{**vars(CONFIG), "log_snr_range": (-12.0, -11.0)})
    optimiser = optax.adam(0.01)

    @jax.jit
    def step(p, state, key):
        value, gradient = jax.value_and_grad(lambda p: models.loss(config, p, labels, key, features)[0])(p)
        updates, state = optimiser.update(gradient, state, p)
        return optax.apply_updates(p, updates), state, value

    p, state, values = params, optimiser.init(params), []
    for number in range(40):
        p, state, value = step(p, state, jax.random.key(number))
        values.append(float(value))
    # without the features no network is better than log 2 = 0.69; with one in ten dropped, 0.07 is the least
    assert np.mean(values[-5:]) < 0.5


@pytest.mark.parametrize("shape", [(8, 8, 12), (8, 8)])
def test_periodic_convolutions_are_those_of_the_input_repeated(shape):
    dims = len(shape)
    x = jax.random.normal(jax.random.key(0), (1, *shape, 3))
    for options in ({}, {"stride": 2}, {"upsampled": True}):
        layer = layers.conv(4, dims, periodic=(True,) * dims, **options)
        weights = layer.init(jax.random.key(1), x)
        repeated = jnp.tile(x, (1, *(3,) * dims, 1))
        whole, once = layer.apply(weights, repeated), layer.apply(weights, x)
        middle = tuple(slice(n, 2 * n) for n in once.shape[1:-1])
        np.testing.assert_allclose(once[0], whole[0][middle], atol=1e-5)


def test_winograd_gradients_of_kernels_are_those_of_the_plain_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8, 32))
    kernel = 0.05 * jax.random.normal(jax.random.key(1), (3, 3, 3, 32, 32))
    padding = ((1, 1, False), (1, 1, True), (1, 1, True))
    assert winograd.suits(x, kernel) == (jax.default_backend() == "cpu")

    def gradients(convolution):
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(convolution(x, k, padding))), argnums=(0, 1))(x, kernel)

    for found, expected in zip(gradients(layers._convolved), gradients(layers._direct), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_product_over_few_voxels_is_the_plain_convolution(size: int, monkeypatch: pytest.MonkeyPatch):
    """Zero beyond one axis, periodic along the others."""
    x = jax.random.normal(jax.random.key(0), (2, 4, 3, 2, 32))
    kernel = 0.05 * jax.random.normal(jax.random.key(1), (size,) * 3 + (32, 48))
    low, high = (size - 1) // 2, size // 2
    padding = ((low, high, False), (low, high, True), (low, high, True))
    expected = layers._direct(x, kernel, padding)
    np.testing.assert_allclose(layers._by_product(x, kernel, padding), expected, atol=1e-5)
    if jax.default_backend() == "cpu":  # where it is used
        monkeypatch.setattr(layers, "_direct", None)
        np.testing.assert_allclose(layers._plain(x, kernel, padding), expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "code", "channels"), [((128, 128, 64), (8, 8, 4), 4), ((64, 64, 64), (8, 8, 8), 1)])
def test_networks_of_the_papers_size_have_the_papers_codes(shape, code, channels):
    """P-CondLDM, section 4.2.1: 128 x 128 x 64 becomes 4 x 8 x 8 x 4, and 64^3 becomes 1 x 8 x 8 x 8."""
    config = models.latent_collection(3, shape, ("phi",), paper=True)
    params = jax.eval_shape(lambda: models.init(config, jax.random.key(0)))
    fractions = jax.ShapeDtypeStruct((1, *shape, 3), jnp.float32)
    encoded = jax.eval_shape(lambda p, x: models.codec(config, p).encode(x), params, fractions)
    assert encoded.shape == (1, *code, channels)
    decoded = jax.eval_shape(lambda p, z: models.codec(config, p).decode(z), params, encoded)
    assert decoded.shape == fractions.shape


def test_invalid_networks_are_refused():
    with pytest.raises(ValueError, match="one entry for each of 3 axes"):
        UNetConfig(dims=3, periodic=(True,))
    with pytest.raises(ValueError, match="no multiple of the network's factor 4"):
        PriorConfig(phases=2, shape=(8, 8, 6), unet=UNET)
    with pytest.raises(ValueError, match="different names"):
        PriorConfig(phases=2, shape=(8, 8, 8), conditions=("phi", "phi"), unet=UNET)
    with pytest.raises(ValueError, match="the network 3 dimensions"):
        PriorConfig(phases=2, shape=(8, 8), unet=UNET)
    with pytest.raises(ValueError, match="in 2D"):
        vae = VAEConfig(phases=2, patch=8, fold=1, encoder=(8,), decoder=(8,))
        PriorConfig(phases=2, shape=(8, 8, 8), prediction="velocity", unet=UNET, vae=vae)
