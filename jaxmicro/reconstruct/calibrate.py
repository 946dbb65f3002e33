"""Hold the volume fractions of a predicted clean volume at given values."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def calibrate_fractions(
    x0_hat: Float[Array, "*grid p"], fractions: Float[Array, " p"], *, iterations: int = 4, axis_name: str | None = None
) -> Float[Array, "*grid p"]:
    """The prediction in [-1, 1]^p with its logits shifted, the same shift everywhere, so that its mean is `fractions`.

    A uniform shift of the logits multiplies the odds of every voxel alike: voxels that are certain stay, undecided
    ones (interfaces) move. The shift is found by iterative proportional fitting: w <- w * fractions / mean(p w / Z).

    Args:
        x0_hat: 2 p - 1 with p the posterior of each phase; values outside [-1, 1] are clipped.
        fractions: wanted mean of p, sums to 1.
        axis_name: a mapped axis (of `jax.vmap`) over which the mean is taken as well: several volumes that have
            these fractions together and keep their natural scatter.
    """
    p = jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0)
    cells = p.reshape(-1, p.shape[-1])

    def weighted(w):
        scaled = cells * w[None]
        return scaled / jnp.sum(scaled, axis=-1, keepdims=True)

    def update(_, w):
        mean = jnp.mean(weighted(w), axis=0)
        if axis_name is not None:
            mean = jax.lax.pmean(mean, axis_name)
        w = w * (fractions + 1e-6) / (mean + 1e-6)
        return w / jnp.sum(w)

    w = jax.lax.fori_loop(0, iterations, update, jnp.full_like(fractions, 1 / p.shape[-1]))
    return 2 * weighted(w).reshape(p.shape) - 1
