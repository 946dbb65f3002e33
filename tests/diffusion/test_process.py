import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import diffusion
from jaxmicro.diffusion import StepInput, ddim_step, dpm_solver_step

LOG_SNR = jnp.linspace(-8.0, 8.0, 33)


def test_signal_and_noise_power_sum_to_one():
    power = diffusion.alpha(LOG_SNR) ** 2 + diffusion.sigma(LOG_SNR) ** 2
    np.testing.assert_allclose(power, 1.0, rtol=1e-6)


def test_linear_beta_starts_nearly_clean_ends_nearly_noise_and_falls():
    log_snr = diffusion.linear_beta(1000)
    assert (jnp.diff(log_snr) < 0).all()
    assert diffusion.sigma(log_snr[0]) == pytest.approx(1e-2, rel=1e-3)  # sigma_1^2 = beta_1 = 1e-4
    # log of the product of (1 - beta) is about -sum(beta) = -10.05, and less by the sum of beta^2 / 2 = 0.07
    assert float(log_snr[-1]) == pytest.approx(-10.12, abs=0.02)


@pytest.mark.parametrize("steps", [1, 7, 60])
def test_times_run_from_noise_to_data(steps):
    for times in (diffusion.ddpm_times(steps), diffusion.log_snr_times(steps, log_snr_min=-5.0, log_snr_max=2.0)):
        assert times.shape == (steps + 1,)
        assert (jnp.diff(times) > 0).all()


def test_predictions_of_noise_and_of_data_are_equivalent():
    x_t, x_0 = jax.random.normal(jax.random.key(0), (2, 100))
    t = jnp.array(0.7)
    eps = diffusion.eps_from_x0(x_t, t, x_0)
    np.testing.assert_allclose(diffusion.x0_from_eps(x_t, t, eps), x_0, atol=1e-5)
    np.testing.assert_allclose(diffusion.diffuse(x_0, t, eps), x_t, atol=1e-5)


def test_renoising_gives_the_forward_marginal():
    s, t = jnp.array(1.0), jnp.array(-1.0)
    x_0 = jnp.full(200_000, 0.6)
    eps, noise = jax.random.normal(jax.random.key(1), (2, 200_000))
    x_t = diffusion.renoise(diffusion.diffuse(x_0, s, eps), s, t, noise)
    # standard errors 1 / sqrt(200,000) of the mean, sqrt(2) times that of the variance; four of them
    assert float(x_t.mean()) == pytest.approx(float(diffusion.alpha(t) * 0.6), abs=0.009)
    assert float(x_t.std() ** 2) == pytest.approx(float(diffusion.sigma(t) ** 2), abs=0.013)


def sample_gaussian(step, *, eta: float, steps: int, mean: float = 0.5, std: float = 0.3, count: int = 100_000):
    """Samples of N(mean, std^2) by the reverse process with its exact denoiser."""
    times = diffusion.log_snr_times(steps, log_snr_min=-9.0, log_snr_max=9.0)

    def one(carry, now):
        x_t, x0_before, before = carry
        t, s, key = now
        a, b = diffusion.alpha(t), diffusion.sigma(t)
        x0_hat = mean + std**2 * a / (a**2 * std**2 + b**2) * (x_t - a * mean)
        x0_before = jnp.where(before == t, x0_hat, x0_before)
        x_s = step(StepInput(x_t, x0_hat, x0_before, jax.random.normal(key, x_t.shape), before, t, s), eta=eta)
        return (x_s, x0_hat, t), None

    x = jax.random.normal(jax.random.key(0), (count,))
    keys = jax.random.split(jax.random.key(1), steps)
    (x, _, _), _ = jax.lax.scan(one, (x, x, times[0]), (times[:-1], times[1:], keys))
    return float(x.mean()), float(x.std())


@pytest.mark.parametrize("step", [ddim_step, dpm_solver_step])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_exact_denoiser_of_a_gaussian_returns_its_mean_and_spread(step, eta):
    mean, std = sample_gaussian(step, eta=eta, steps=400)
    assert mean == pytest.approx(0.5, abs=0.006)  # four standard errors and the step-size error
    assert std == pytest.approx(0.3, abs=0.006)


def test_the_solver_converges_at_second_order_and_ddim_at_first():
    def error(step, steps):
        return abs(sample_gaussian(step, eta=0.0, steps=steps, count=2000)[1] - exact)

    exact = sample_gaussian(dpm_solver_step, eta=0.0, steps=2000, count=2000)[1]
    assert np.log2(error(ddim_step, 40) / error(ddim_step, 80)) == pytest.approx(1.0, abs=0.3)
    assert np.log2(error(dpm_solver_step, 40) / error(dpm_solver_step, 80)) == pytest.approx(2.0, abs=0.5)


def test_the_ancestral_step_has_the_moments_of_the_exact_posterior():
    t, s = jnp.array(-0.5), jnp.array(0.4)
    x_t, x_0 = jnp.full(200_000, 0.8), jnp.full(200_000, -0.2)
    noise = jax.random.normal(jax.random.key(0), x_t.shape)
    x_s = ddim_step(StepInput(x_t, x_0, x_0, noise, t, t, s), eta=1.0)
    # q(x_s | x_t, x_0) by Bayes: the precisions of q(x_s | x_0) and of q(x_t | x_s) seen as a function of x_s add
    ratio = diffusion.alpha(t) / diffusion.alpha(s)
    forward_variance = diffusion.sigma(t) ** 2 - (ratio * diffusion.sigma(s)) ** 2
    precision = 1 / diffusion.sigma(s) ** 2 + ratio**2 / forward_variance
    mean = (diffusion.alpha(s) * -0.2 / diffusion.sigma(s) ** 2 + ratio * 0.8 / forward_variance) / precision
    assert float(x_s.mean()) == pytest.approx(float(mean), abs=0.01)
    assert float(x_s.std() ** 2) == pytest.approx(float(1 / precision), rel=0.02)
