"""Feature predictor: a sample -> its features, as numbers or as a distribution.

With one number for each feature and the squared error it is the predictor of P-CondLDM (section 4.2.2). A structure
does not determine the process that made it, however: a short time at a high interaction parameter and a long time at a
low one give the same domains. The predictor therefore gives a mixture of Gaussians with full covariances, which holds
such ridges (Bishop 1994), and is trained by its likelihood.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmicro.models.layers import ResidualBlock, conv, space_to_depth


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Architecture of a predictor; stored with its weights."""

    features: tuple[str, ...]  # names of what is predicted, standardised
    components: int = 8  # Gaussians of the mixture; 0: one number for each feature, trained by the squared error
    dims: int = 3  # spatial dimensions of the samples
    fold: int = 4  # edge of the blocks of cells rearranged into channels at the input; 1: none
    widths: tuple[int, ...] = (64, 128)  # channels at each resolution, finest first
    hidden: int = 256  # width of the layers between the pooled channels and the output
    periodic: tuple[bool, ...] = ()  # for each axis, whether samples continue at their opposite face; (): along none
    dropout: float = 0.1  # share of the pooled channels set to zero in training

    def __post_init__(self):
        if not self.features or len(set(self.features)) < len(self.features):
            raise ValueError(f"features are {self.features}, expected at least one, and different names")
        if not 0 <= self.components <= 1024:
            raise ValueError(f"components is {self.components}, expected 0 (numbers) to 1024")
        if self.dims not in (2, 3):
            raise ValueError(f"dims is {self.dims}, expected 2 or 3")
        if len(self.periodic) not in (0, self.dims):
            raise ValueError(f"periodic is {self.periodic}, expected one entry for each of {self.dims} axes, or none")
        if not 1 <= len(self.widths) <= 8 or not all(1 <= n <= 8192 for n in (*self.widths, self.hidden, self.fold)):
            raise ValueError(f"widths {self.widths}, hidden {self.hidden} and fold {self.fold} must be 1 to 8192")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 to below 1")


class Mixture(NamedTuple):
    """Mixture of Gaussians over the features, one for each sample; one component without spread: a number."""

    log_weights: Float[Array, "n k"]  # of the components; their exponentials sum to 1
    means: Float[Array, "n k f"]
    scales: Float[Array, "n k f f"]  # lower triangular L of the covariance L L^T


class Predictor(nn.Module):
    """Residual network with the mean and the deviation of its last channels over the sample as features."""

    config: PredictorConfig

    @nn.compact
    def __call__(self, x: Float[Array, "n *grid c"], *, training: bool = False) -> Float[Array, "n o"]:
        cfg = self.config
        h = conv(cfg.widths[0], cfg.dims, periodic=cfg.periodic)(space_to_depth(x, cfg.fold))
        for level, width in enumerate(cfg.widths):
            if level:
                h = conv(width, cfg.dims, stride=2, periodic=cfg.periodic)(h)
            h = ResidualBlock(width, cfg.dims, cfg.periodic)(h)
        h = nn.RMSNorm()(h)
        space = tuple(range(1, 1 + cfg.dims))
        pooled = jnp.concatenate([h.mean(space), jnp.sqrt(h.var(space) + 1e-6)], axis=-1)
        pooled = nn.Dropout(cfg.dropout, deterministic=not training)(pooled)
        h = nn.swish(nn.Dense(cfg.hidden)(pooled))
        h = nn.swish(nn.Dense(cfg.hidden)(h))
        return nn.Dense(_outputs(cfg))(h)


def _outputs(config: PredictorConfig) -> int:
    f = len(config.features)
    return config.components * (1 + f + f * (f + 1) // 2) or f


def init_predictor(config: PredictorConfig, channels: int, key: jax.Array) -> dict[str, Any]:
    """Initial parameters of a predictor of samples with this many channels."""
    edge = config.fold * 2 ** (len(config.widths) - 1)
    x = jnp.zeros((1, *(edge,) * config.dims, channels))
    return dict(Predictor(config).init(key, x)["params"])


def predict(
    config: PredictorConfig, params, x: Float[Array, "n *grid c"], *, dropout_key: jax.Array | None = None
) -> Mixture:
    """The distribution of the standardised features of samples in the space of the diffusion.

    Args:
        dropout_key: in training, the key of the dropout.
    """
    rngs = None if dropout_key is None else {"dropout": dropout_key}
    output: Any = Predictor(config).apply({"params": params}, x, training=dropout_key is not None, rngs=rngs)
    output = cast(Array, output)
    n, f, k = len(output), len(config.features), config.components
    if k == 0:
        return Mixture(jnp.zeros((n, 1)), output[:, None], jnp.zeros((n, 1, f, f)))
    logits, means, entries = jnp.split(output, [k, k + k * f], axis=-1)
    rows, columns = jnp.tril_indices(f)
    entries = entries.reshape(n, k, -1)
    # a softplus keeps the diagonal positive; the least deviation, 1 % of the collection's, keeps the likelihood bounded
    entries = jnp.where(rows == columns, jax.nn.softplus(entries) + 0.01, entries)
    scales = jnp.zeros((n, k, f, f)).at[..., rows, columns].set(entries)
    return Mixture(jax.nn.log_softmax(logits), means.reshape(n, k, f), scales)


def predictor_loss(
    config: PredictorConfig, params, x: Float[Array, "n *grid c"], features: Float[Array, "n f"], key: jax.Array | None
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Negative log likelihood of the standardised features (nats per sample), or their mean squared error.

    Args:
        key: of the dropout; None: without, to validate.
    """
    mixture = predict(config, params, x, dropout_key=key)
    if config.components == 0:
        value = jnp.mean((mixture.means[:, 0] - features) ** 2)
        return value, {"squared_error": value}
    value = -jnp.mean(log_density(mixture, features))
    return value, {"nats": value}


def log_density(mixture: Mixture, features: Float[Array, "n f"]) -> Float[Array, " n"]:
    """Log density of the features of each sample under its mixture."""
    residual = (features[:, None, :] - mixture.means)[..., None]
    whitened = jax.scipy.linalg.solve_triangular(mixture.scales, residual, lower=True)[..., 0]
    log_det = jnp.sum(jnp.log(jnp.diagonal(mixture.scales, axis1=-2, axis2=-1)), axis=-1)
    constant = 0.5 * features.shape[-1] * math.log(2 * math.pi)
    of_each = mixture.log_weights - 0.5 * jnp.sum(whitened**2, axis=-1) - log_det - constant
    return jax.scipy.special.logsumexp(of_each, axis=-1)


def mean_of(mixture: Mixture) -> Float[Array, "n f"]:
    """Mean of the features of each sample."""
    return jnp.einsum("nk,nkf->nf", jnp.exp(mixture.log_weights), mixture.means)


def sample_features(mixture: Mixture, count: int, *, key: jax.Array) -> Float[Array, "n s f"]:
    """`count` draws from the mixture of each sample."""
    n, k, f = mixture.means.shape
    component_key, normal_key = jax.random.split(key)
    chosen = jax.random.categorical(component_key, mixture.log_weights[:, None, :], shape=(n, count))
    normal = jax.random.normal(normal_key, (n, count, f))
    means = jnp.take_along_axis(mixture.means, chosen[..., None], axis=1)
    scales = jnp.take_along_axis(mixture.scales, chosen[..., None, None], axis=1)
    return means + jnp.einsum("nsfg,nsg->nsf", scales, normal)
