"""Restoration of segmented images by a diffusion prior that was never trained on a corruption.

What is observed is a likelihood of each phase at each pixel. At every noise level it adds to the evidence of the noisy
sample, in logits: where all pixels are known about as well, both together are what the network would see at a higher
signal-to-noise ratio, and are shown to it as that; what some pixels are known better than others is added to its
output. The first evaluation, from noise alone, is already an estimate of the posterior probabilities.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxmicro import models
from jaxmicro.devices import jit_network
from jaxmicro.diffusion import alpha, sigma
from jaxmicro.errors import UserError
from jaxmicro.generate import GenerationConfig, generate
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline.prior import Prior

_WEAKEST = 0.1  # quantile of the evidence of pixels that counts as what all have


@dataclass(frozen=True)
class Restored:
    """The probability of each phase, "n h w p"."""

    probabilities: Float[np.ndarray, "n h w p"]

    @property
    def labels(self) -> UInt8[np.ndarray, "n h w"]:
        """The most probable phases."""
        return self.probabilities.argmax(axis=-1).astype(np.uint8)


def restore(
    prior: Prior, log_likelihood: Float[Array | np.ndarray, "n h w p"], *, steps: int = 1, draws: int = 1, seed: int = 0
) -> Restored:
    """Phases of images given log P(observed | phase) of each pixel (`data.Corruption.log_likelihood`).

    Args:
        prior: of one micrograph, in pixel space.
        steps: evaluations of the network for each draw; 1 is enough where all pixels are observed about as well.
        draws: samples of the posterior whose probabilities are averaged; with one step they are the same.
    Raises:
        UserError: the prior is of a collection, in latent space or for another number of phases.
    """
    network = prior.config
    if prior.conditions is not None or network.space != "pixel" or network.unet.dims != 2:
        raise UserError("the prior is none of a micrograph in pixel space; restore with one that is")
    if log_likelihood.shape[-1] != network.phases:
        raise UserError(f"the image has {log_likelihood.shape[-1]} phases, the prior {network.phases}; use another")
    config = GenerationConfig(steps=steps, log_snr_range=network.log_snr_range, steering_steps=0)
    n, height, width, _ = log_likelihood.shape
    evidence = jnp.asarray(log_likelihood, jnp.float32)
    evidence = evidence - evidence.mean(axis=-1, keepdims=True)
    of_all, snr = _evidence_of_all(evidence)
    pad = [(0, 0), *((0, -edge % network.unet.factor) for edge in (height, width)), (0, 0)]
    beside = jnp.pad(evidence - of_all, pad)  # nothing is known beyond the image
    of_all = jnp.pad(of_all, pad)
    keys = jax.random.split(jax.random.key(seed), (draws, n))
    total = jnp.zeros((n, height, width, network.phases))
    for each in keys:
        made = _restored(prior.params, of_all, snr, beside, each, prior=network, config=config)
        total += made[:, :height, :width]
    return Restored(np.asarray(total / draws))


@functools.partial(jit_network, static_argnames=("prior", "config"))
def _restored(
    params, of_all: Float[Array, "n h w p"], snr: Float[Array, ""], beside: Float[Array, "n h w p"], keys,
    *, prior: PriorConfig, config: GenerationConfig,
) -> Float[Array, "n h w p"]:  # fmt: skip
    """Probabilities of the phases in the last prediction of one draw, given the evidence that all pixels have, its
    signal-to-noise ratio, and what some have beside it."""
    denoise = models.denoiser(prior, params)
    middle = 2 / prior.phases - 1  # mean of a clean pixel over the phases

    def posterior(x_t, log_snr):
        seen = jnp.minimum(jnp.log(jnp.exp(log_snr) + snr), config.log_snr_range[1])
        logits = 2 * alpha(log_snr) / sigma(log_snr) ** 2 * x_t + of_all
        logits = logits - logits.mean(axis=-1, keepdims=True)
        x0_hat = denoise(logits * sigma(seen) ** 2 / (2 * alpha(seen)) + alpha(seen) * middle, seen)
        log_p = jnp.log(jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0))
        return 2 * jax.nn.softmax(log_p + beside, axis=-1) - 1

    return (generate(posterior, of_all.shape[1:], config=config, keys=keys) + 1) / 2


def _evidence_of_all(evidence: Float[Array, "n h w p"]) -> tuple[Float[Array, "n h w p"], Float[Array, ""]]:
    """The part of centred log likelihoods that is as strong as nearly all pixels have it, and the signal-to-noise ratio
    at which a noisy pixel tells as much: 4 SNR is the mean lead of the true phase's logit over the others'."""
    phases = evidence.shape[-1]
    lead = phases / (phases - 1) * jnp.sum(jax.nn.softmax(evidence, axis=-1) * evidence, axis=-1, keepdims=True)
    weakest = jnp.quantile(lead, _WEAKEST)
    return evidence * jnp.minimum(1.0, weakest / jnp.maximum(lead, 1e-9)), weakest / 4
