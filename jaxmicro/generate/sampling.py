"""Sampling of whole images and volumes: the reverse process from noise to samples that have given features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion import StepInput, ddim_step, diffuse, dpm_solver_step, log_snr_times

Denoiser = Callable[[Float[Array, "n *grid c"], Float[Array, ""]], Float[Array, "n *grid c"]]
"""(x_t, log SNR) -> mean of the clean samples given x_t and their features."""


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Settings of the reverse process. experiments/process compares them."""

    steps: int = 32  # evaluations of the network
    sampler: str = "dpm"  # second order, or "ddim"
    eta: float = 1.0  # 1: stochastic (ancestral), 0: deterministic
    # first and last noise level; at the first, not even the volume fraction of a sample is visible
    log_snr_range: tuple[float, float] = (-11.0, 3.0)
    guidance: float = 1.0  # weight of the features; above 1 they are exaggerated, at twice the cost
    # steps of each prediction towards the features, by their slopes (which takes solves for diffusivities); 0: none
    steering_steps: int = 3
    candidates: int = 1  # drawn of each sample, of which the one whose measured features are nearest is kept

    def __post_init__(self):
        if self.sampler not in ("ddim", "dpm"):
            raise ValueError(f"sampler is {self.sampler!r}, expected 'ddim' or 'dpm'")
        if not 1 <= self.steps <= 10**6:
            raise ValueError(f"steps is {self.steps}, expected 1 to a million")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}, expected 0 (deterministic) to 1 (ancestral)")
        if not 1 <= self.candidates <= 1000:
            raise ValueError(f"candidates is {self.candidates}, expected 1 to 1000")
        if not 0 <= self.steering_steps <= 100:
            raise ValueError(f"steering_steps is {self.steering_steps}, expected 0 to 100 steps of each prediction")
        if not 0 <= self.guidance <= 100:
            raise ValueError(f"guidance is {self.guidance}, expected 0 to 100; 1 is the plain condition")


class Renoised(NamedTuple):
    """Clean samples to begin with: noise is added to them, and removed again in another way."""

    samples: Float[Array, "n *grid c"]
    log_snr: Float[Array, ""]  # after the noise is added; the smaller, the less of the samples is left


def noise_levels(config: GenerationConfig, start: Renoised | None = None) -> Float[Array, " t"]:
    """log SNR at which the network is evaluated, and the one that the sampling ends with."""
    low, high = config.log_snr_range
    return log_snr_times(config.steps, log_snr_min=low if start is None else start.log_snr, log_snr_max=high)


def generate(
    denoise: Denoiser,
    shape: tuple[int, ...],
    *,
    config: GenerationConfig,
    keys: jax.Array,
    start: Renoised | None = None,
) -> Float[Array, "n *grid c"]:
    """Samples in the space of the diffusion, the last prediction of each; sample i depends on keys[i] only.

    Args:
        shape: of one sample with its channels, "*grid c".
        keys: one for each sample.
        start: samples near which to draw others; None: from noise.
    """
    times = noise_levels(config, start)
    reverse_step = ddim_step if config.sampler == "ddim" else dpm_solver_step

    def noise(step):
        return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, step), shape))(keys)

    def advance(carry, now):
        x_t, x0_before = carry
        step, before, t, s = now
        x0_hat = denoise(x_t, t)
        x0_before = jnp.where(step == 1, x0_hat, x0_before)
        x_s = reverse_step(StepInput(x_t, x0_hat, x0_before, noise(step), before, t, s), eta=config.eta)
        return (x_s, x0_hat), None

    x_T = noise(0) if start is None else diffuse(start.samples, start.log_snr, noise(0))
    before = jnp.concatenate([times[:1], times[:-2]])
    steps = jnp.arange(1, config.steps + 1)
    (_, x0_hat), _ = jax.lax.scan(advance, (x_T, jnp.zeros_like(x_T)), (steps, before, times[:-1], times[1:]))
    return x0_hat
