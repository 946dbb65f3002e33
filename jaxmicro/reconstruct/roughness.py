"""Roughness of interfaces at each noise level, in images and in a volume that is sampled.

An imperfect network leaves interfaces rougher than those of the data, and coupling the planes of the three axes smooths
them. So the weight of the coupling is controlled: at each noise level the planes of the volume, denoised alone, should
have as many phase changes between neighbouring voxels as planes of the micrograph that are noised to that level and
denoised by the same network.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxmicro.diffusion import PlaneModel, diffuse


def boundary_density(x0_hat: Float[Array, "*grid p"]) -> Float[Array, " d"]:
    """Share of neighbouring pairs along each axis of the grid whose most probable phases differ.

    >>> boundary_density(jnp.eye(2)[jnp.array([[0, 0], [1, 1]])]).tolist()
    [1.0, 0.0]
    """
    labels = jnp.argmax(x0_hat, axis=-1)
    return jnp.stack([jnp.mean((jnp.diff(labels, axis=axis) != 0).astype(jnp.float32)) for axis in range(labels.ndim)])


def expected_boundary_density(
    model: PlaneModel, labels: Shaped[Array, "n h w"], phases: int, log_snr: Float[Array, " t"], *, key: jax.Array
) -> Float[Array, " t"]:
    """Mean boundary density of crops of a micrograph that are noised to each log SNR and denoised."""
    x_0 = 2 * jax.nn.one_hot(labels, phases) - 1
    eps = jax.random.normal(key, x_0.shape)

    def at_level(level):
        x_t = diffuse(x_0, level, eps)
        evidence = model.evidence(x_t, jnp.broadcast_to(level, labels.shape[:1]))
        x0_hat = model.combine(evidence[None], jnp.ones(1), x_t, level)
        return boundary_density(x0_hat)[1:].mean()

    return jax.lax.map(at_level, log_snr)
