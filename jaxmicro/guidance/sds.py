"""Score distillation: descent of slices on the score loss of the prior plus the misfits of targets (P-MicroLad 3.4)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxmicro.diffusion import Codec, PlaneModel, alpha, diffuse, put_planes, sigma, take_planes
from jaxmicro.guidance.misfit import misfit
from jaxmicro.guidance.targets import Target
from jaxmicro.phases import hardened

Misfit = Callable[[Float[Array, "z y x p"]], Float[Array, ""]]
MAX_STEPS = 10**6  # of one distillation
SOFTNESS = 0.02  # weight of uniform fractions before encoding: fractions of exactly 0 and 1 have no derivative


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Settings of a distillation.

    Attributes:
        steps: number of gradient steps, rounded up to whole turns; each changes all planes normal to one axis.
        turn: largest number of steps for one axis before the next axis; Adam's moments are kept within a turn only.
        learning_rate: of Adam, in units of the space of the diffusion.
        weight: of the score loss relative to the misfits, which are squares of relative deviations.
        log_snr_range: noise levels of the score loss.
        jacobian: differentiate through the network, too (eq. 39 as written); False: as is usual in score distillation.
    """

    steps: int = 90
    turn: int = 10
    learning_rate: float = 0.1
    weight: float = 1.0
    log_snr_range: tuple[float, float] = (-2.0, 1.0)
    jacobian: bool = False

    def __post_init__(self):
        for name, number in (("steps", self.steps), ("turn", self.turn)):
            if number < 1:
                raise ValueError(f"{name} of the distillation is {number}; expected at least 1")
        if max(self.steps, self.turn) > MAX_STEPS:
            raise ValueError(f"steps of the distillation are {self.steps}; expected at most {MAX_STEPS}")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.weight < math.inf:
            raise ValueError(
                f"learning_rate is {self.learning_rate} and weight {self.weight}; expected above 0 and at least 0"
            )


def score_loss(
    model: PlaneModel, x: Float[Array, "n h w c"], log_snr: Float[Array, ""], key: jax.Array, *, jacobian: bool = False
) -> Float[Array, ""]:
    """Mean |eps - eps_theta(x_t)|^2 over planes noised to a log SNR (P-MicroLad eqs. 38 and 39).

    Without the Jacobian its value is the same and its gradient is 2 (eps_theta - eps) dx_t/dx: descent moves x towards
    the prediction of the prior from its noised planes.
    """
    eps = jax.random.normal(key, x.shape)
    x_t = diffuse(x, log_snr, eps)
    network_input = x_t if jacobian else jax.lax.stop_gradient(x_t)
    evidence = model.evidence(network_input, jnp.broadcast_to(log_snr, x.shape[:1]))
    x0_hat = model.combine(evidence[None], jnp.ones(1), network_input, log_snr)
    eps_hat = (network_input - alpha(log_snr) * x0_hat) / sigma(log_snr)
    value = jnp.mean((eps_hat - eps) ** 2)
    if jacobian:
        return value
    surrogate = 2 * jnp.mean(jax.lax.stop_gradient(eps_hat - eps) * x_t)
    return jax.lax.stop_gradient(value - surrogate) + surrogate


def total_loss(
    model: PlaneModel,
    codec: Codec,
    x: Float[Array, "n h w c"],
    axis: int,
    targets: Sequence[Target],
    setpoints: Float[Array, " m"],
    log_snr: Float[Array, ""],
    key: jax.Array,
    *,
    config: DistillationConfig,
    extra_misfit: Misfit | None = None,
) -> Float[Array, ""]:
    """w SDS(x) + sum of misfits of the decoded volume: the loss of a step of the distillation."""
    volume = hardened(put_planes(_fractions(codec, x), axis))
    misfits = misfit(volume, targets, setpoints) + (0.0 if extra_misfit is None else extra_misfit(volume))
    return config.weight * score_loss(model, x, log_snr, key, jacobian=config.jacobian) + misfits


def distill(
    model: PlaneModel,
    codec: Codec,
    fractions: Float[Array, "z y x p"],
    targets: Sequence[Target],
    setpoints: Float[Array, " m"],
    *,
    config: DistillationConfig,
    key: jax.Array,
    extra_misfit: Misfit | None = None,
) -> Float[Array, "z y x p"]:
    """A volume after descent of `total_loss` by Adam on its encoded planes, axis after axis (P-MicroLad eqs. 37 to 45).

    All planes normal to an axis are encoded, changed by a turn of steps, decoded and written back. One compiled loop.

    Args:
        model, codec: the 2D prior and the codec of its space.
        fractions: the volume to start from.
        setpoints: one for each target.
        extra_misfit: a further misfit of phase fractions, added to those of the targets.
    """
    optimiser = optax.adam(config.learning_rate)
    length = min(config.turn, config.steps)
    low, high = config.log_snr_range

    def turn(number, volume):
        def along(axis: int, volume):
            def step(carry, i):
                x, state = carry
                level_key, noise_key = jax.random.split(jax.random.fold_in(key, number * length + i))
                log_snr = jax.random.uniform(level_key, (), minval=low, maxval=high)
                gradient = jax.grad(total_loss, argnums=2)(
                    model,
                    codec,
                    x,
                    axis,
                    targets,
                    setpoints,
                    log_snr,
                    noise_key,
                    config=config,
                    extra_misfit=extra_misfit,
                )
                change, state = optimiser.update(gradient, state)
                return (optax.apply_updates(x, change), state), None

            planes = take_planes(volume, axis)
            x = codec.encode(planes + SOFTNESS * (1 / planes.shape[-1] - planes))
            (x, _), _ = jax.lax.scan(step, (x, optimiser.init(x)), jnp.arange(length))
            return put_planes(_fractions(codec, x), axis)

        return jax.lax.switch(number % 3, [lambda v, a=axis: along(a, v) for axis in range(3)], volume)

    return jax.lax.fori_loop(0, -(-config.steps // length), turn, fractions)


def _fractions(codec: Codec, x) -> Float[Array, "n h2 w2 p"]:
    """Decoded planes as phase fractions: clipped to at least 1e-4 and normalised, for codecs that do not do so."""
    decoded = jnp.clip(codec.decode(x), 1e-4, 1.0)
    return decoded / jnp.sum(decoded, axis=-1, keepdims=True)
