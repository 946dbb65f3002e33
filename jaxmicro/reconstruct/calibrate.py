"""Constraint on the volume fractions of a predicted clean volume."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def calibrate_fractions(
    x0_hat: Float[Array, "*grid p"],
    fractions: Float[Array, " p"],
    *,
    iterations: int = 4,
    within: tuple[slice, ...] = (),
) -> Float[Array, "*grid p"]:
    """The prediction in [-1, 1]^p with its logits shifted, the same shift everywhere, so that its mean is `fractions`.

    A uniform shift of the logits multiplies the odds of every voxel by the same factor: the phases of decided voxels
    stay, those of undecided ones (interfaces) change. The shift b solves mean softmax(log p + b) = fractions, the
    stationary point of a concave function, by Newton's method with bounded steps. Fractions beyond those that the
    undecided voxels allow are approached.

    Args:
        x0_hat: 2 p - 1 with p the posterior probability of each phase; values outside [-1, 1] are clipped.
        fractions: target mean of p, sums to 1.
        within: part of the grid over which the mean is taken; default: all of it.

    >>> x0_hat = calibrate_fractions(jnp.zeros((4, 2)), jnp.array([0.3, 0.7]))
    >>> [round(float(p), 3) for p in jnp.mean((1 + x0_hat) / 2, axis=0)]
    [0.3, 0.7]
    """
    p = jnp.clip((x0_hat + 1) / 2, 1e-6, 1.0)
    cells = p[within].reshape(-1, p.shape[-1])

    def shifted(p, b):
        scaled = p * jnp.exp(b).reshape((1,) * (p.ndim - 1) + b.shape)
        return scaled / jnp.sum(scaled, axis=-1, keepdims=True)

    def newton(_, b):
        q = shifted(cells, b)
        # d mean / d b = diag(mean q_i) - mean q_i q_j. Its rows sum to zero: computed from the off-diagonal entries it
        # has no cancellation, and is small but not noisy when few voxels are undecided. 1 / p fills its null space, the
        # constant shifts; the ridge is for phases without an undecided voxel.
        # As a mean, not a product of matrices, which uses one core of a CPU and loses digits.
        pairs = jnp.mean(q[:, :, None] * q[:, None, :], axis=0) * (1 - jnp.eye(len(b)))
        jacobian = jnp.diag(pairs.sum(axis=1)) - pairs
        size = jnp.trace(jacobian)  # above zero: no probability is below 1e-6
        change = jnp.linalg.solve(
            jacobian / size + 1e-5 * jnp.eye(len(b)) + 1.0 / len(b), (fractions - q.mean(axis=0)) / size
        )
        change = change - change.mean()
        return b + change * jnp.minimum(1.0, 2.0 / (jnp.abs(change).max() + 1e-9))

    b = jax.lax.fori_loop(0, iterations, newton, jnp.zeros_like(fractions))
    return 2 * shifted(p, b) - 1
