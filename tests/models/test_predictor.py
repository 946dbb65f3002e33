"""Predictor of features: a mixture density, checked against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jaxmicro import models
from jaxmicro.models import Mixture, PredictorConfig

CONFIG = PredictorConfig(features=("phi", "chi"), components=3, fold=2, widths=(8,), hidden=16)


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    params = models.init_predictor(CONFIG, 2, jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    return models.predict(CONFIG, params, jax.random.normal(jax.random.key(1), (4, 8, 8, 8, 2)))


def test_the_density_is_that_of_a_mixture_of_gaussians(mixture: Mixture):
    at = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    expected = []
    for weights, means, scales, point in zip(*map(np.asarray, mixture), at, strict=True):
        gaussians = [multivariate_normal(m, s @ s.T) for m, s in zip(means, scales, strict=True)]
        expected.append(np.log(sum(np.exp(w) * g.pdf(point) for w, g in zip(weights, gaussians, strict=True))))
    np.testing.assert_allclose(models.log_density(mixture, jnp.asarray(at)), expected, rtol=1e-4)


def test_draws_have_the_mean_and_the_covariance_of_the_mixture(mixture: Mixture):
    draws = np.asarray(models.sample_features(mixture, 40_000, key=jax.random.key(2)))
    np.testing.assert_allclose(draws.mean(axis=1), models.mean_of(mixture), atol=0.03)
    weights, means, scales = np.exp(mixture.log_weights), np.asarray(mixture.means), np.asarray(mixture.scales)
    second = np.einsum(
        "nk,nkfg->nfg", weights, scales @ scales.swapaxes(-1, -2) + means[..., None] * means[..., None, :]
    )
    mean = np.einsum("nk,nkf->nf", weights, means)
    expected = second - mean[..., None] * mean[:, None, :]
    found = np.stack([np.cov(each.T) for each in draws])
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_a_ridge_is_learned_as_a_ridge():
    """Features that samples do not determine, but whose sum is always zero: draws keep the sum at zero."""
    config = PredictorConfig(features=("a", "b"), components=4, dims=2, fold=2, widths=(8,), hidden=16, dropout=0.0)
    params = models.init_predictor(config, 2, jax.random.key(0))
    x = jnp.zeros((64, 4, 4, 2))

    @jax.jit
    def step(params, key):
        first = jax.random.uniform(key, (64, 1), minval=-1.5, maxval=1.5)
        features = jnp.concatenate([first, -first], axis=-1)
        grad = jax.grad(lambda p: models.predictor_loss(config, p, x, features, key)[0])(params)
        return jax.tree.map(lambda p, g: p - 0.02 * jnp.clip(g, -1, 1), params, grad)

    for number in range(400):
        params = step(params, jax.random.key(number))
    draws = models.sample_features(models.predict(config, params, x[:1]), 4000, key=jax.random.key(1))[0]
    assert float(jnp.std(draws[:, 0])) == pytest.approx(3 / np.sqrt(12), rel=0.15)
    assert float(jnp.std(draws.sum(axis=1))) < 0.25  # 1.22 if the features were independent


def test_without_components_it_is_a_number_and_the_loss_its_squared_error():
    config = PredictorConfig(features=("phi",), components=0, dims=2, fold=2, widths=(8,), hidden=16, dropout=0.0)
    params = models.init_predictor(config, 2, jax.random.key(0))
    x, features = jax.random.normal(jax.random.key(1), (3, 4, 4, 2)), jnp.array([[0.0], [1.0], [2.0]])
    value, metrics = models.predictor_loss(config, params, x, features, jax.random.key(0))
    expected = jnp.mean((models.mean_of(models.predict(config, params, x)) - features) ** 2)
    assert float(value) == pytest.approx(float(expected))
    assert set(metrics) == {"squared_error"}


def test_invalid_configs_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        PredictorConfig(features=())
    with pytest.raises(ValueError, match="0 to below 1"):
        PredictorConfig(features=("a",), dropout=1.0)
