"""Features of a sample as a network takes them: their embedding, and how some are dropped in training."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class ConditionEmbedding(nn.Module):
    """Embedding of standardised features, of which any may be absent.

    Each feature enters as its presence, and where present as its value and sines and cosines of it (1 to 4 waves over
    8 standard deviations, because a linear map of the value resolves only its sign well).
    """

    width: int

    @nn.compact
    def __call__(self, condition: Float[Array, "n f"]) -> Float[Array, "n e"]:
        """Embedding of `condition`, in which NaN stands for a feature that is not given."""
        given = jnp.isfinite(condition)
        value = jnp.where(given, condition, 0.0)
        angle = 2 * math.pi / 8 * jnp.stack([value, 2 * value, 4 * value], axis=-1)
        waves = jnp.where(given[..., None], jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1), 0.0)
        features = jnp.concatenate([value[..., None], given[..., None].astype(value.dtype), waves], axis=-1)
        h = nn.Dense(self.width)(features.reshape(len(condition), -1))
        return nn.Dense(self.width)(nn.swish(h))


def drop_features(features: Float[Array, "n f"], key: jax.Array) -> Float[Array, "n f"]:
    """Features with some replaced by NaN: all in one of ten samples, none in half of them, in the others each with a
    probability that is uniform over the samples, so that every number of given features is equally frequent.
    """
    kind_key, share_key, each_key = jax.random.split(key, 3)
    kind = jax.random.uniform(kind_key, (len(features), 1))
    keep = jax.random.uniform(each_key, features.shape) < jax.random.uniform(share_key, (len(features), 1))
    keep = jnp.where(kind < 0.1, False, jnp.where(kind < 0.6, True, keep))
    return jnp.where(keep, features, jnp.nan)
