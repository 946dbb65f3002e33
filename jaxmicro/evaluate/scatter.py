"""Covariance of the volume fractions of windows of a material, from the covariance of its phases in one micrograph."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmicro.descriptors import radial_two_point
from jaxmicro.phases import one_hot


def phase_covariance(images: Sequence[np.ndarray], phases: int, *, r_max: int = 32) -> Float[np.ndarray, "p p r"]:
    """Radial covariance C_pq(r) = <(I_p(x) - phi_p)(I_q(x + r) - phi_q)> of the phases of one material.

    About the mean of the same images, C is too small by the variance of that mean at every lag; this variance follows
    from C and is added.

    Args:
        images: labels of images "h w", or of stacks of independent images "n h w", of the same material.
        phases: number of phases.
        r_max: largest distance in pixels, lowered for small images: a disc of this radius has at most half of their
            area.
    Returns:
        C at r = 0, 1, ... pixels; its sum over q is zero, because the indicators sum to 1.
    Raises:
        ValueError: when a label is not below the number of phases.
    """
    stacks = [np.asarray(image).reshape(-1, *image.shape[-2:]) for image in images]
    highest = max(int(stack.max()) for stack in stacks)
    if highest >= phases:
        raise ValueError(f"an image has the label {highest}, expected 0 to {phases - 1}")
    area = sum(stack.size for stack in stacks)
    mean = np.sum([np.bincount(stack.reshape(-1), minlength=phases) for stack in stacks], axis=0) / area
    r_max = min(r_max, int(np.sqrt(area / (2 * np.pi))), max(min(stack.shape[1:]) for stack in stacks) - 1)
    total, weight = np.zeros((phases, phases, r_max + 1)), np.zeros(r_max + 1)
    for stack in stacks:  # each up to its own largest distance
        reach = min(r_max, min(stack.shape[1:]) - 1)
        total[..., : reach + 1] += stack.size * np.asarray(
            _covariance(stack, jnp.asarray(mean, jnp.float32), r_max=reach), float
        )
        weight[: reach + 1] += stack.size
    covariance = total / weight
    pixels_at = 2 * np.pi * np.arange(r_max + 1.0)  # at each distance from a pixel
    pixels_at[0] = 1
    return covariance + (covariance @ pixels_at / (area - pixels_at.sum()))[..., None]


@partial(jax.jit, static_argnames="r_max")
def _covariance(
    planes: Integer[np.ndarray, "n h w"] | Integer[Array, "n h w"], mean: Float[Array, " p"], *, r_max: int
) -> Float[Array, "p p r"]:
    radial = jax.vmap(partial(radial_two_point, r_max=r_max))

    def of_plane(plane: Array) -> Array:
        centred = jnp.moveaxis(one_hot(plane, len(mean)), -1, 0) - mean[:, None, None]
        alone = radial(centred)
        # cov(p, q) from the variances of p, q and p + q
        together = jax.vmap(lambda phase: radial(centred + phase[None]))(centred)
        return (together - alone[:, None] - alone[None, :]) / 2

    return jnp.mean(jax.lax.map(of_plane, jnp.asarray(planes)), axis=0)


def fraction_covariance(covariance: Float[np.ndarray, "p p r"], shape: Sequence[int]) -> Float[np.ndarray, "p p"]:
    """Covariance of the volume fractions of windows of a shape, cut from an isotropic material.

    cov(phi_p, phi_q) = 1/V sum_d prod_i (1 - |d_i| / n_i) C_pq(|d|) over the lags d of the window, with C = 0 beyond
    its last distance.

    Args:
        covariance: of the phases, C at r = 0, 1, ... voxels.
        shape: edges n_i of the windows in voxels, in two or three dimensions.
    Returns:
        Covariance matrix: symmetric and positive semidefinite (negative eigenvalues, due to noise, are set to zero).
    Source: Lantuejoul, J. Microsc. 161 (1991) 387.
    """
    reach = covariance.shape[-1] - 1
    lags = np.meshgrid(*[np.arange(-min(reach, n - 1), min(reach, n - 1) + 1) for n in shape], indexing="ij")
    weight = np.prod([1 - np.abs(d) / n for d, n in zip(lags, shape, strict=True)], axis=0) / np.prod(shape)
    distance = np.sqrt(sum(d.astype(float) ** 2 for d in lags))
    within = distance <= reach
    r = np.arange(reach + 1)
    at_lags = np.stack([np.interp(distance[within], r, curve) for curve in covariance.reshape(-1, reach + 1)])
    total = (at_lags @ weight[within]).reshape(covariance.shape[:2])
    values, vectors = np.linalg.eigh((total + total.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
