"""Errors of a reproduced image: MAE, PSNR and SSIM (P-MicroLad Table A.1), as scikit-image defines them.

Written here, because they are mapped over batches and compiled by JAX, which cannot trace scikit-image, and because
scikit-image is only an optional dependency. Tests compare the two: PSNR agrees within 1e-5 relative, SSIM within
2e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

Array = jax.Array | np.ndarray

WINDOW = 7  # edge of the uniform window of SSIM, pixels


def grey(fractions: Float[Array, "*grid p"]) -> Float[jax.Array, "*grid"]:
    """Phases as evenly spaced grey levels from 0 to 1, on which the paper evaluates these measures.

    >>> grey(jnp.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])).tolist()
    [0.5, 0.5]
    """
    return jnp.tensordot(fractions, jnp.linspace(0.0, 1.0, fractions.shape[-1]), axes=1)


def mean_absolute_error(image: Float[Array, "*grid"], reference: Float[Array, "*grid"]) -> Float[jax.Array, ""]:
    """Mean of |image - reference|.

    >>> float(mean_absolute_error(jnp.array([0.0, 1.0]), jnp.array([0.0, 0.5])))
    0.25
    """
    return jnp.mean(jnp.abs(image - reference))


def peak_signal_to_noise(
    image: Float[Array, "*grid"], reference: Float[Array, "*grid"], *, data_range: float = 1.0
) -> Float[jax.Array, ""]:
    """10 log10(data_range^2 / mean square error), in dB; infinite for equal images.

    >>> round(float(peak_signal_to_noise(jnp.zeros(4), jnp.full(4, 0.1))), 3)
    20.0
    """
    return 10 * jnp.log10(data_range**2 / jnp.mean((image - reference) ** 2))


def structural_similarity(
    image: Float[Array, "h w"], reference: Float[Array, "h w"], *, data_range: float = 1.0
) -> Float[jax.Array, ""]:
    """Mean of the SSIM index over all windows of 7 x 7 pixels that lie inside the image; 1 for equal images.

    Source: Wang et al., IEEE Trans. Image Process. 13, 600 (2004), with uniform windows and sample covariances.
    """
    count = WINDOW**2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def window_mean(x: Float[Array, "h w"]) -> Float[jax.Array, "a b"]:
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (WINDOW, WINDOW), (1, 1), "VALID") / count

    x, y = window_mean(image), window_mean(reference)
    unbiased = count / (count - 1)
    xx = unbiased * (window_mean(image**2) - x**2)
    yy = unbiased * (window_mean(reference**2) - y**2)
    xy = unbiased * (window_mean(image * reference) - x * y)
    return jnp.mean((2 * x * y + c1) * (2 * xy + c2) / ((x**2 + y**2 + c1) * (xx + yy + c2)))
