import dataclasses
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import models
from jaxmicro.models import PriorConfig, UNetConfig
from jaxmicro.models.layers import SelfAttention, conv, depth_to_space, space_to_depth, upsample
from jaxmicro.models.prior import likelihood_logits, posterior_logits

TINY = PriorConfig(phases=3, patch=16, unet=UNetConfig(widths=(8, 12), embedding=16))


initial = jax.jit(models.init, static_argnums=0)  # one compilation, not one for each operation
logits_of = jax.jit(posterior_logits, static_argnums=0)


def random_params(config: PriorConfig, key: int = 0):
    """Parameters of an untrained network whose output is not zero."""
    params = initial(config, jax.random.key(0))
    rng = np.random.default_rng(key)
    return jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape).astype(np.float32), params)


@pytest.mark.parametrize("spatial", [(16, 24), (8, 8, 16)])
def test_depth_to_space_inverts_space_to_depth(spatial):
    x = jax.random.normal(jax.random.key(0), (2, *spatial, 3))
    folded = space_to_depth(x, 4)
    assert folded.shape == (2, *(edge // 4 for edge in spatial), 4 ** len(spatial) * 3)
    np.testing.assert_array_equal(depth_to_space(folded, 4), x)


def test_space_to_depth_keeps_blocks_together():
    x = jnp.arange(64.0).reshape(1, 8, 8, 1)
    np.testing.assert_array_equal(space_to_depth(x, 4)[0, 1, 0], x[0, 4:8, 0:4, 0].reshape(-1))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_output_has_the_size_of_the_input(dims):
    config = PriorConfig(phases=2, patch=16, unet=UNetConfig(widths=(8, 12), embedding=16, dims=dims))
    x = jnp.zeros((2, *(8, 12, 16)[:dims], 2))
    params = jax.eval_shape(lambda: models.init(config, jax.random.key(0)))
    found = jax.eval_shape(lambda params: posterior_logits(config, params, x, jnp.zeros(2)), params)
    assert found.shape == x.shape


def test_without_attention_pixels_do_not_depend_on_a_distant_edge():
    params = random_params(TINY)
    x = jax.random.normal(jax.random.key(1), (1, 128, 128, 3))
    logits = logits_of(TINY, params, x, jnp.zeros(1))
    part = logits_of(TINY, params, x[:, :96], jnp.zeros(1))
    np.testing.assert_allclose(part[:, :32], logits[:, :32], atol=1e-4)  # 64 pixels and more from the cut


def test_with_attention_pixels_depend_on_distant_ones():
    config = dataclasses.replace(TINY, unet=UNetConfig(widths=(8, 8), embedding=16, attention=(False, True)))
    params = random_params(config)
    x = jax.random.normal(jax.random.key(1), (1, 16, 16, 3))
    change = jax.jit(jax.grad(lambda x: posterior_logits(config, params, x, jnp.zeros(1))[0, 0, 0, 0]))(x)
    assert jnp.abs(change[0, 15, 15]).max() > 0


def test_an_untrained_network_gives_the_exact_posterior_of_independent_pixels():
    # zero-initialised output: no context. Bayes by hand with equal prior shares
    params = initial(TINY, jax.random.key(0))
    log_snr = jnp.array([-1.0])
    x_t = jax.random.normal(jax.random.key(2), (1, 4, 4, 3))
    alpha, sigma = float(jax.nn.sigmoid(-1.0) ** 0.5), float(jax.nn.sigmoid(1.0) ** 0.5)
    signs = (2 * jnp.eye(3) - 1)[None, None, None]
    log_likelihood = -jnp.sum((x_t[..., None, :] - alpha * signs) ** 2, axis=-1) / (2 * sigma**2)
    model = models.plane_model(TINY, params)
    evidence = model.evidence(x_t, log_snr)
    x0_hat = model.combine(evidence[None], jnp.ones(1), x_t, log_snr[0])
    np.testing.assert_allclose((x0_hat + 1) / 2, jax.nn.softmax(log_likelihood, axis=-1), atol=1e-6)


def test_evidence_of_independent_planes_multiplies():
    # three planes report p(phase | plane a) that are independent given the phase: Bayes with a known joint distribution
    rng = np.random.default_rng(0)
    prior = np.array([0.5, 0.3, 0.2])
    channel = rng.dirichlet(np.ones(4), size=(3, 3))  # [axis, phase, report]: what plane a reports of each phase
    reports = np.array(list(itertools.product(range(4), repeat=3)))
    joint = prior * np.stack([np.prod([channel[a, :, r[a]] for a in range(3)], axis=0) for r in reports])
    share = joint.sum(axis=1)
    posterior = joint / share[:, None]
    single = np.stack([prior * channel[a, :, reports[:, a]] for a in range(3)])
    single /= single.sum(axis=-1, keepdims=True)
    # the grid: reports in their true proportions, so that the mean over the grid is the prior
    counts = np.round(share * 200_000).astype(int)
    grid = np.repeat(np.arange(len(reports)), counts)
    evidence = jnp.log(jnp.asarray(single[:, grid]))
    x0_hat = models.product_of_experts(evidence, jnp.ones(3), jnp.zeros((len(grid), 3)), jnp.array(-20.0))
    np.testing.assert_allclose((x0_hat + 1) / 2, posterior[grid], atol=2e-3)  # rounding of the proportions


@pytest.mark.parametrize("prediction", ["categorical", "epsilon"])
def test_one_plane_alone_is_a_weight_of_one_among_three(prediction):
    config = dataclasses.replace(TINY, prediction=prediction)
    model = models.plane_model(config, random_params(config))
    x_t = jax.random.normal(jax.random.key(3), (2, 16, 16, 3))
    evidence = model.evidence(x_t, jnp.zeros(2))
    alone = model.combine(evidence[None], jnp.ones(1), x_t, jnp.array(0.0))
    three = jnp.stack([evidence, jax.random.normal(jax.random.key(4), evidence.shape), jnp.zeros_like(evidence)])
    np.testing.assert_allclose(model.combine(three, jnp.array([1.0, 0, 0]), x_t, jnp.array(0.0)), alone, atol=1e-4)


@pytest.mark.parametrize("log_snr", [-6.0, 0.0, 3.0])
def test_the_likelihood_is_unbiased_evidence(log_snr):
    # E[exp(logit_b - logit_a)] over x_t of phase a is 1: the mean of a likelihood ratio
    noise = jax.random.normal(jax.random.key(0), (400_000, 2))
    lam = jnp.array(min(log_snr, -1.0))  # at higher SNR the mean rests on events too rare to sample
    x_t = jnp.sqrt(jax.nn.sigmoid(lam)) * jnp.array([[1.0, -1.0]]) + jnp.sqrt(jax.nn.sigmoid(-lam)) * noise
    logits = likelihood_logits(x_t, lam)
    assert float(jnp.mean(jnp.exp(logits[:, 1] - logits[:, 0]))) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("prediction", ["categorical", "epsilon"])
def test_the_loss_has_finite_gradients_and_falls(prediction):
    config = dataclasses.replace(TINY, phases=2, prediction=prediction)
    labels = jnp.asarray(np.indices((8, 16, 16))[2] // 8, jnp.uint8)  # two halves
    params = initial(config, jax.random.key(0))

    @jax.jit
    def descend(params, key):
        (value, _), gradient = jax.value_and_grad(lambda p: models.loss(config, p, labels, key), has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.02 * g / (1e-3 + jnp.abs(g).max()), params, gradient), value

    values = []
    for i in range(60):
        params, value = descend(params, jax.random.key(i))
        values.append(float(value))
    assert np.isfinite(values).all()
    assert np.mean(values[-10:]) < 0.8 * np.mean(values[:5])


def test_permuting_the_phases_does_not_change_the_untrained_loss():
    params = initial(TINY, jax.random.key(0))
    labels = jax.random.randint(jax.random.key(0), (64, 16, 16), 0, 3).astype(jnp.uint8)
    values = [float(models.loss(TINY, params, named, jax.random.key(1))[0]) for named in (labels, (labels + 1) % 3)]
    assert values[0] == pytest.approx(values[1], rel=0.02)  # each phase has other noise: Monte-Carlo error


def test_a_config_survives_its_dictionary():
    config = dataclasses.replace(TINY, unet=UNetConfig(widths=(8, 8), attention=(False, True)))
    assert PriorConfig.from_dict(config.to_dict()) == config
    with pytest.raises(TypeError, match="colour"):
        PriorConfig.from_dict({**config.to_dict(), "colour": 1})


def test_invalid_configs_are_refused():
    with pytest.raises(ValueError, match="multiple of the network's factor 8"):
        PriorConfig(phases=2, patch=20)
    with pytest.raises(ValueError, match="at least 2 phases"):
        PriorConfig(phases=1)
    with pytest.raises(ValueError, match="give one each"):
        UNetConfig(attention=(True,))


def same_values_and_gradients(ours, theirs, params, x):
    def values_and_gradients(f):
        return jax.jit(lambda p, x: (f(p, x), jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), argnums=(0, 1))(p, x)))

    a, b = (values_and_gradients(f)(params, x) for f in (ours, theirs))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4), a, b)


@pytest.mark.parametrize(("dims", "size"), [(2, 3), (2, 1), (3, 3)])
def test_a_convolution_is_that_of_flax(dims: int, size: int):
    """Our convolution defines the gradient of its input explicitly, for speed inside loops."""
    x = jax.random.normal(jax.random.key(0), (2, *(6,) * dims, 4))
    ours, theirs = conv(5, dims, size=size), nn.Conv(5, (size,) * dims)
    same_values_and_gradients(ours.apply, theirs.apply, ours.init(jax.random.key(1), x), x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_convolution_of_an_interpolation_is_the_two_after_each_other(dims: int):
    x = jax.random.normal(jax.random.key(0), (2, *(4, 5, 3)[:dims], 4))
    ours, theirs = conv(5, dims, upsampled=True), nn.Conv(5, (3,) * dims)
    params = ours.init(jax.random.key(1), x)
    same_values_and_gradients(ours.apply, lambda p, x: theirs.apply(p, upsample(x)), params, x)


def test_layers_refuse_unsupported_arguments():
    with pytest.raises(ValueError, match="6 channels cannot be shared by 4 heads"):
        SelfAttention(heads=4).init(jax.random.key(0), jnp.zeros((1, 2, 2, 6)))
    with pytest.raises(ValueError, match="expected 3 and 1"):
        conv(5, 2, size=1, upsampled=True)


def test_attention_is_that_of_flax():
    """Our attention normalises at the end; scores whose exponential would overflow are included."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 8))
    params = SelfAttention(heads=2).init(jax.random.key(1), x)["params"]
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(2), leaf.shape), params)

    def ours(p, x) -> Any:
        return SelfAttention(heads=2).apply({"params": p}, x)

    def theirs(p, x) -> Any:
        tokens: Any = nn.RMSNorm().apply({"params": p["RMSNorm_0"]}, x)
        kernels = jnp.moveaxis(p["Dense_0"]["kernel"].reshape(8, 3, 2, 4), 1, 0)
        joint = zip(("query", "key", "value"), kernels, p["Dense_0"]["bias"].reshape(3, 2, 4), strict=True)
        parts = {name: {"kernel": kernel, "bias": bias} for name, kernel, bias in joint}
        parts["out"] = {"kernel": p["Dense_1"]["kernel"].reshape(2, 4, 8), "bias": p["Dense_1"]["bias"]}
        out: Any = nn.MultiHeadAttention(num_heads=2).apply({"params": parts}, tokens.reshape(2, 15, 8))
        return x + out.reshape(x.shape)

    same_values_and_gradients(ours, theirs, params, x)
    params["Dense_0"]["kernel"] *= 30.0  # scores of hundreds
    np.testing.assert_allclose(ours(params, x), theirs(params, x), rtol=1e-3, atol=1e-3)
