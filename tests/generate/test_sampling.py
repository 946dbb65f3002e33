"""The reverse process of whole samples, with exact denoisers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.diffusion import alpha, sigma
from jaxmicro.generate import GenerationConfig, Renoised, generate

MEAN, DEVIATION = 0.7, 0.4


def gaussian(x_t, log_snr):
    """E[x_0 | x_t] where x_0 is normal with MEAN and DEVIATION."""
    a, s = alpha(log_snr), sigma(log_snr)
    gain = a * DEVIATION**2 / (a**2 * DEVIATION**2 + s**2)
    return MEAN + gain * (x_t - a * MEAN)


@pytest.mark.parametrize("options", [{}, {"sampler": "dpm"}, {"sampler": "dpm", "eta": 0.0}, {"eta": 0.0}])
def test_the_exact_denoiser_of_a_gaussian_gives_its_mean_and_deviation(options):
    steps = 60 if options.get("sampler") == "dpm" else 400  # DDIM is of first order: 60 steps lose 8 % of the deviation
    config = GenerationConfig(steps=steps, log_snr_range=(-11.0, 9.0), **options)
    keys = jax.random.split(jax.random.key(0), 8)
    x = np.asarray(jax.jit(lambda k: generate(gaussian, (2000, 1), config=config, keys=k))(keys))
    # 16000 numbers: standard errors of 0.003; the error of the steps is below 0.01
    assert x.mean() == pytest.approx(MEAN, abs=0.02)
    assert x.std() == pytest.approx(DEVIATION, abs=0.02)


def test_few_second_order_steps_are_closer_than_few_first_order_steps():
    keys = jax.random.split(jax.random.key(0), 4)

    def made(sampler: str, steps: int):
        config = GenerationConfig(steps=steps, sampler=sampler, eta=0.0, log_snr_range=(-11.0, 9.0))
        return generate(gaussian, (50, 1), config=config, keys=keys)

    exact = made("dpm", 2000)
    errors = {sampler: float(jnp.abs(made(sampler, 16) - exact).mean()) for sampler in ("ddim", "dpm")}
    assert errors["dpm"] < 0.5 * errors["ddim"]


@pytest.mark.parametrize("log_snr", [-2.0, 2.0])
def test_renoised_samples_keep_their_distribution_and_forget_as_theory_says(log_snr: float):
    """Of a normal x_0 and a draw from the posterior of its noisy version, the correlation is that version's
    reliability."""
    config, keys = GenerationConfig(steps=60, log_snr_range=(-11.0, 9.0)), jax.random.split(jax.random.key(1), 8)
    before = MEAN + DEVIATION * jax.random.normal(jax.random.key(2), (8, 2000, 1))
    start = Renoised(before, jnp.float32(log_snr))
    after = jax.jit(lambda s: generate(gaussian, (2000, 1), config=config, keys=keys, start=s))(start)
    signal, noise = (alpha(start.log_snr) * DEVIATION) ** 2, sigma(start.log_snr) ** 2
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] == pytest.approx(float(signal / (signal + noise)), abs=0.03)
    assert float(after.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(after.std()) == pytest.approx(DEVIATION, abs=0.02)


def test_a_sample_depends_on_its_own_key_only():
    keys, config = jax.random.split(jax.random.key(3), 3), GenerationConfig(steps=3)
    together = generate(gaussian, (4, 4, 1), config=config, keys=keys)
    alone = generate(gaussian, (4, 4, 1), config=config, keys=keys[1:2])
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)
    assert float(jnp.abs(together[0] - together[1]).max()) > 0.1


def test_invalid_settings_are_refused():
    wrong = {"steps": 0, "sampler": "euler", "eta": 2.0, "guidance": -1.0, "candidates": 0, "steering_steps": -1}
    for options in ({name: value} for name, value in wrong.items()):
        with pytest.raises(ValueError, match="expected"):
            GenerationConfig(**options)
