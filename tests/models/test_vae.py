import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import models
from jaxmicro.diffusion import noise
from jaxmicro.models import PriorConfig, UNetConfig, VAEConfig, latent_paper, latent_small
from jaxmicro.models.vae import kl_divergence, paper, small, vae_codec
from tests.models.test_prior import initial, random_params

TINY = VAEConfig(phases=3, patch=16, channels=2, encoder=(8, 8), decoder=(8, 8))
LATENT = PriorConfig(
    phases=3, patch=16, prediction="velocity", unet=UNetConfig(patch=1, widths=(8, 8), embedding=16), vae=TINY
)


@pytest.mark.parametrize(("config", "size"), [(make(3, size), size) for make in (small, paper) for size in (4, 8, 16)])
def test_the_code_of_a_crop_has_the_configured_size_and_decodes_to_logits_of_the_phases(config: VAEConfig, size: int):
    params = jax.eval_shape(lambda: models.init_vae(config, jax.random.key(0)))
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    mean, log_var = jax.eval_shape(lambda p, x: models.encode(config, p, x), params, x)
    assert mean.shape == log_var.shape == (2, size, size, 4)
    assert config.factor == 64 // size
    assert jax.eval_shape(lambda p, z: models.decode(config, p, z), params, mean).shape == x.shape


def test_the_networks_of_the_paper_have_about_its_numbers_of_parameters():
    """10.8 and 9.6 million in its code; its tables leave open where exactly the residual blocks stand."""
    params = jax.eval_shape(lambda: models.init(latent_paper(3), jax.random.key(0)))
    assert models.parameter_count(params["vae"]) == pytest.approx(10.8e6, rel=0.15)
    assert models.parameter_count(params["unet"]) == pytest.approx(9.6e6, rel=0.15)


def test_kl_is_that_of_two_gaussians():
    """Against numerical integration of q log(q / p), and zero for the standard normal."""
    mean, log_var = 0.7, -0.4
    x = jnp.linspace(-12.0, 12.0, 200_001)
    log_q = -((x - mean) ** 2) / (2 * jnp.exp(log_var)) - (jnp.log(2 * jnp.pi) + log_var) / 2
    log_p = -(x**2) / 2 - jnp.log(2 * jnp.pi) / 2
    integral = jnp.trapezoid(jnp.exp(log_q) * (log_q - log_p), x)
    assert float(kl_divergence(jnp.array(mean), jnp.array(log_var))) == pytest.approx(float(integral), abs=1e-4)
    assert float(kl_divergence(jnp.array(0.0), jnp.array(0.0))) == 0


@pytest.mark.parametrize("reconstruction", ["cross_entropy", "l1"])
def test_the_loss_is_the_mean_over_pixels_whatever_the_size_and_the_number_of_crops(reconstruction: str):
    """Without information in the code, of equal logits: log 3 nats; |1/3 - 1| + 2 |1/3 - 0| over 2 = 2/3."""
    config = dataclasses.replace(TINY, reconstruction=reconstruction, kl_weight=0.0)
    params = jax.eval_shape(lambda: models.init_vae(config, jax.random.key(0)))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
    for shape in ((2, 16, 16), (3, 32, 8)):
        labels = jax.random.randint(jax.random.key(1), shape, 0, 3)
        value, parts = jax.jit(models.vae_loss, static_argnums=0)(config, params, labels, jax.random.key(2))
        assert float(value) == pytest.approx(np.log(3) if reconstruction == "cross_entropy" else 2 / 3, rel=1e-5)
        assert float(parts["kl_per_pixel"]) == 0  # zero mean, zero log variance


def test_the_code_is_normalised_and_the_codec_knows_only_the_normalised_one():
    params = jax.jit(models.init_vae, static_argnums=0)(TINY, jax.random.key(0))
    x = jax.nn.one_hot(jax.random.randint(jax.random.key(1), (8, 16, 16), 0, 3), 3)
    statistics = models.latent_statistics([models.encode(TINY, params, x)[0]])
    codec = vae_codec(TINY, params, statistics)
    z = codec.encode(x)
    np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(axis=(0, 1, 2)), 1, rtol=1e-4)
    plain = jax.nn.softmax(models.decode(TINY, params, models.encode(TINY, params, x)[0]), axis=-1)
    np.testing.assert_allclose(codec.decode(z), plain, atol=1e-5)
    np.testing.assert_allclose(codec.decode(z).sum(axis=-1), 1, rtol=1e-5)


def test_the_pixel_codec_is_invertible():
    codec = models.codec(PriorConfig(phases=3), {})
    x = jax.nn.one_hot(jax.random.randint(jax.random.key(1), (2, 8, 8), 0, 3), 3)
    np.testing.assert_array_equal(codec.decode(codec.encode(x)), x)
    assert (codec.factor, codec.channels) == (1, 3)


def test_an_autoencoder_learns_stripes():
    config = dataclasses.replace(TINY, phases=2, kl_weight=1e-3)
    params = jax.jit(models.init_vae, static_argnums=0)(config, jax.random.key(0))
    offsets = jnp.arange(8)
    labels = ((jnp.arange(16)[None, None, :] + offsets[:, None, None]) // 4 % 2) * jnp.ones((8, 16, 16), int)

    @jax.jit
    def descend(params, key):
        (value, _), gradient = jax.value_and_grad(models.vae_loss, argnums=1, has_aux=True)(config, params, labels, key)
        return jax.tree.map(lambda p, g: p - 0.02 * g / (1e-3 + jnp.abs(g).max()), params, gradient), value

    values = []
    for i in range(60):
        params, value = descend(params, jax.random.key(i))
        values.append(float(value))
    assert np.isfinite(values).all()
    assert np.mean(values[-5:]) < 0.6 * values[0]


@pytest.mark.parametrize("prediction", ["epsilon", "velocity"])
def test_a_perfect_network_predicts_the_clean_code(prediction: str):
    """x_0 from the target of the loss, at every noise level."""
    z, eps = jax.random.normal(jax.random.key(0), (2, 4, 4, 4, 2))
    for log_snr in (-6.0, 0.0, 5.0):
        z_t = noise.diffuse(z, jnp.array(log_snr), eps)
        target = eps if prediction == "epsilon" else noise.velocity(z, jnp.array(log_snr), eps)
        x_0 = noise.x0_from_eps if prediction == "epsilon" else noise.x0_from_velocity
        np.testing.assert_allclose(x_0(z_t, jnp.array(log_snr), target), z, atol=2e-4)


@pytest.mark.parametrize("levels", ["uniform", "ddpm"])
def test_the_loss_of_an_untrained_latent_network_is_the_power_of_its_target(levels: str):
    """Zero output against a velocity of unit variance; Monte-Carlo error of 64 x 4 x 4 x 2 squares."""
    config = dataclasses.replace(LATENT, levels=levels)
    params = initial(LATENT, jax.random.key(0))  # the same for both
    z = jax.random.normal(jax.random.key(1), (64, 4, 4, 2))
    value, _ = jax.jit(models.loss, static_argnums=0)(config, params["unet"], z, jax.random.key(2))
    assert float(value) == pytest.approx(1.0, abs=0.1)


def test_one_plane_alone_is_a_weight_of_one_among_three_in_latent_space_too():
    model = models.plane_model(LATENT, random_params(LATENT))
    z_t = jax.random.normal(jax.random.key(3), (2, 8, 8, 2))
    evidence = jax.jit(model.evidence)(z_t, jnp.zeros(2))
    three = jnp.stack([evidence, jnp.ones_like(evidence), jnp.zeros_like(evidence)])
    np.testing.assert_allclose(model.combine(three, jnp.array([1.0, 0, 0]), z_t, jnp.array(0.0)), evidence, atol=1e-6)


def test_a_latent_config_survives_json():
    for config in (LATENT, latent_small(2, 8), latent_paper(3)):
        assert PriorConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert (LATENT.space, LATENT.cell, LATENT.channels, LATENT.factor) == ("latent", 4, 2, 8)


def test_invalid_configs_are_refused():
    with pytest.raises(ValueError, match="must be 10 times a power of two"):
        small(2, 5)
    with pytest.raises(ValueError, match="as many widths"):
        dataclasses.replace(TINY, encoder=(8,))
    with pytest.raises(ValueError, match="multiple of the autoencoder's factor 4"):
        dataclasses.replace(TINY, patch=18)
    with pytest.raises(ValueError, match="make them equal"):
        dataclasses.replace(LATENT, phases=2)
    with pytest.raises(ValueError, match="latent space"):
        dataclasses.replace(LATENT, prediction="categorical")
