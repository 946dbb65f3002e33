"""Polyak steps reduce the loss without a step size to choose, and the change of each logit is bounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.reconstruct.polyak import polyak_step

X0_HAT = jnp.stack([jnp.linspace(-0.1, 0.1, 64), jnp.linspace(0.1, -0.1, 64)], axis=-1)  # all undecided


def logits(x0_hat) -> np.ndarray:
    centred = np.log((1 + np.asarray(x0_hat)) / 2)
    return centred - centred.mean(-1, keepdims=True)


@pytest.mark.parametrize("each", [False, True])
def test_the_loss_falls_and_the_change_of_each_logit_is_bounded(each: bool):
    share = lambda p: (jnp.mean(p[..., 0]) - 0.75) ** 2  # noqa: E731
    moved = polyak_step(share, X0_HAT, steps=3, max_change=0.5, clip_each=each)
    assert share((1 + moved) / 2) < share((1 + X0_HAT) / 2) / 2
    once = polyak_step(share, X0_HAT, max_change=0.1, clip_each=each)
    assert np.abs(logits(once) - logits(X0_HAT)).max() <= 0.1 + 1e-5


def test_voxels_with_a_small_gradient_change_too_where_each_is_clipped_by_itself():
    weights = jnp.ones(64).at[0].set(100.0)

    def throat(p):
        return (jnp.mean(weights * p[..., 0]) - 30.0) ** 2

    shortened, clipped = (
        np.abs(logits(polyak_step(throat, X0_HAT, clip_each=each)) - logits(X0_HAT)) for each in (False, True)
    )
    assert clipped[1:].min() > 5 * shortened[1:].max()
    assert jax.tree.all(jax.tree.map(np.allclose, clipped[0], shortened[0]))
