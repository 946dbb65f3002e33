"""Steps towards lower loss need no size, and no voxel is moved too far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.reconstruct.polyak import polyak_step

X0_HAT = jnp.stack([jnp.linspace(-0.1, 0.1, 64), jnp.linspace(0.1, -0.1, 64)], axis=-1)  # all undecided


def logits(x0_hat) -> np.ndarray:
    found = np.log((1 + np.asarray(x0_hat)) / 2)
    return found - found.mean(-1, keepdims=True)


@pytest.mark.parametrize("each", [False, True])
def test_the_loss_falls_and_no_logit_moves_farther_than_it_may(each: bool):
    share = lambda p: (jnp.mean(p[..., 0]) - 0.75) ** 2  # noqa: E731
    moved = polyak_step(share, X0_HAT, steps=3, max_change=0.5, clip_each=each)
    assert share((1 + moved) / 2) < share((1 + X0_HAT) / 2) / 2
    once = polyak_step(share, X0_HAT, max_change=0.1, clip_each=each)
    assert np.abs(logits(once) - logits(X0_HAT)).max() <= 0.1 + 1e-5


def test_voxels_with_little_of_the_gradient_move_too_where_each_is_cut_for_itself():
    weights = jnp.ones(64).at[0].set(100.0)

    def throat(p):
        return (jnp.mean(weights * p[..., 0]) - 30.0) ** 2

    shortened, cut = (
        np.abs(logits(polyak_step(throat, X0_HAT, clip_each=each)) - logits(X0_HAT)) for each in (False, True)
    )
    assert cut[1:].min() > 5 * shortened[1:].max()
    assert jax.tree.all(jax.tree.map(np.allclose, cut[0], shortened[0]))
