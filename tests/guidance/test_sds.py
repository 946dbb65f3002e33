"""Score distillation against a prior that is known: a normal distribution of mean M and variance V at each pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.diffusion import PlaneModel, alpha, pixel_codec, sigma
from jaxmicro.guidance import DistillationConfig, Target, distill, score_loss, soft_values, total_loss
from jaxmicro.phases import one_hot
from tests.media import level_cut

MEAN, VARIANCE = 0.4, 0.25
LEVEL = jnp.float32(0.3)


def gaussian_prior() -> PlaneModel:
    """E[x_0 | x_t] of independent normal pixels."""

    def evidence(x_t, log_snr):
        a, s = alpha(log_snr).reshape(-1, 1, 1, 1), sigma(log_snr).reshape(-1, 1, 1, 1)
        return MEAN + a * VARIANCE / (a**2 * VARIANCE + s**2) * (x_t - a * MEAN)

    return PlaneModel(evidence, lambda evidence, weights, x_t, log_snr: evidence[0])


def x(value: float, shape=(64, 8, 8, 2)):
    return jnp.full(shape, value)


@pytest.mark.parametrize("jacobian", [False, True])
@pytest.mark.parametrize("start", [-0.8, 1.5])
def test_descent_is_towards_the_mode(jacobian: bool, start: float):
    gradient = jax.grad(lambda v: score_loss(gaussian_prior(), v, LEVEL, jax.random.key(0), jacobian=jacobian))
    step = -gradient(x(start)).mean()
    assert np.sign(step) == np.sign(MEAN - start)


def test_the_expected_gradient_is_that_of_the_log_density_of_the_noised_planes():
    """E[eps_theta - eps] = -sigma d log p_t / dx_t at the mean of x_t, and p_t is normal."""
    gradient = jax.grad(lambda v: score_loss(gaussian_prior(), v, LEVEL, jax.random.key(0)))(x(1.0))
    a, s = float(alpha(LEVEL)), float(sigma(LEVEL))
    expected = 2 * a * s * a * (1.0 - MEAN) / (a**2 * VARIANCE + s**2) / gradient.size
    assert float(gradient.mean()) == pytest.approx(expected, rel=0.05)  # of 8192 draws


def test_leaving_out_the_jacobian_changes_the_gradient_and_not_the_value():
    key = jax.random.key(1)
    values = [score_loss(gaussian_prior(), x(1.0), LEVEL, key, jacobian=j) for j in (False, True)]
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-5)
    gradient = jax.grad(lambda v: score_loss(gaussian_prior(), v, LEVEL, key, jacobian=True))
    h, direction = 1e-2, jax.random.normal(key, x(0.0).shape)

    def along(t):
        return score_loss(gaussian_prior(), x(1.0) + t * direction, LEVEL, key, jacobian=True)

    expected = float(along(h) - along(-h)) / (2 * h)
    assert float(jnp.sum(gradient(x(1.0)) * direction)) == pytest.approx(expected, rel=2e-2, abs=1e-4)


def test_one_gradient_is_the_sum_of_those_of_score_and_misfits():
    labels = jnp.asarray(level_cut((8, 8, 8), fraction=0.4, sigma=1.2, seed=0).astype(np.uint8))
    planes, targets, setpoints = 2 * one_hot(labels, 2) - 1, [Target("volume_fraction", 1, 1.0)], jnp.array([0.6])

    def loss(weight, setpoints):
        config = DistillationConfig(weight=weight)
        return jax.grad(
            lambda v: total_loss(
                gaussian_prior(), pixel_codec(2), v, 0, targets, setpoints, LEVEL, jax.random.key(2), config=config
            )
        )(0.9 * planes)

    both, score, alone = loss(3.0, setpoints), loss(3.0, jnp.array([0.4])), loss(0.0, setpoints)
    met = loss(0.0, jnp.array([0.4]))
    np.testing.assert_allclose(both, score + alone - met, atol=1e-6)


def test_distilled_volumes_reach_a_volume_fraction():
    """From undecided fractions, so that a small change alters the most probable phase of some voxels."""
    share = jax.random.uniform(jax.random.key(3), (12, 12, 12, 1), minval=0.2, maxval=0.8)
    target = Target("volume_fraction", 1, 1.0)
    config = DistillationConfig(steps=60, turn=5, learning_rate=0.01, weight=1e-3)
    distilled = distill(
        gaussian_prior(),
        pixel_codec(2),
        jnp.concatenate([1 - share, share], axis=-1),
        [target],
        jnp.array([0.62]),
        config=config,
        key=jax.random.key(0),
    )
    achieved = float(soft_values(one_hot(jnp.argmax(distilled, -1), 2), [target])[0])
    assert achieved == pytest.approx(0.62, abs=0.03)
    np.testing.assert_allclose(distilled.sum(axis=-1), 1.0, atol=1e-5)
