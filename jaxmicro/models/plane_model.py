"""A trained prior of planes as multi-plane denoising uses it: evidence of a batch of planes, and how it is combined."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.diffusion import PlaneModel, x0_from_eps, x0_from_velocity
from jaxmicro.models.prior import PriorConfig, likelihood_logits, network, network_params, spread


def plane_model(config: PriorConfig, params) -> PlaneModel:
    """The trained prior as the `PlaneModel` that multi-plane denoising uses."""
    unet = network_params(config, params)

    def evidence(x_t: Float[Array, "n h w p"], log_snr: Float[Array, " n"]) -> Float[Array, "n h w p"]:
        output = network(config, unet, x_t, log_snr)
        if config.prediction == "categorical":
            return jax.nn.log_softmax(output, axis=-1)
        x_0 = x0_from_eps if config.prediction == "epsilon" else x0_from_velocity
        return x_0(x_t, spread(log_snr, x_t.ndim), output)

    return PlaneModel(evidence, product_of_experts if config.prediction == "categorical" else weighted_mean)


def product_of_experts(
    evidence: Float[Array, "a *grid p"],
    weights: Float[Array, " a"],
    x_t: Float[Array, "*grid p"],
    log_snr: Float[Array, ""],
) -> Float[Array, "*grid p"]:
    """Mean of x_0 if the planes through a voxel are independent evidence, each raised to the power of its weight.

    p(phase | x_t) is proportional to p(phase) prod_a [p(phase | plane a) / p(phase)]^w_a times the likelihood of the
    noisy value of the voxel; p(phase) is the mean of p(phase | plane a) over the grid. With weights (1, 0, 0) it is the
    posterior of one plane. Planes share neighbours of the voxel, so that with all weights 1 some count twice.
    """
    marginal = jnp.log(jnp.mean(jnp.exp(evidence), axis=tuple(range(1, evidence.ndim - 1)), keepdims=True) + 1e-9)
    prior = jnp.tensordot(weights / weights.sum(), marginal, axes=1)
    total = jnp.tensordot(weights, evidence - marginal, axes=1) + prior
    return 2 * jax.nn.softmax(total + likelihood_logits(x_t, log_snr), axis=-1) - 1


def weighted_mean(
    evidence: Float[Array, "a *grid c"],
    weights: Float[Array, " a"],
    x_t: Float[Array, "*grid c"],
    log_snr: Float[Array, ""],
) -> Float[Array, "*grid c"]:
    """Weighted mean of the planes' predictions of x_0."""
    return jnp.tensordot(weights / weights.sum(), evidence, axes=1)
