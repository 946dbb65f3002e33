"""Score distillation: slices moved to where the prior finds them likely and the targets are met (P-MicroLad 3.4)."""

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
SOFTNESS = 0.02  # of the fractions that are encoded: what is wholly decided has no derivative


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How volumes are distilled.

    Attributes:
        steps: gradient steps, in whole turns; the planes normal to z, y, x take turns, all of an axis in each step.
        turn: at most so many steps for one axis before the next has its turn; Adam's moments persist within a turn.
        learning_rate: of Adam, in units of the space that diffuses.
        weight: of the score loss against the misfits, which are relative deviations squared.
        log_snr_range: noise levels of the score loss.
        jacobian: differentiate through the network too (eq. 39 as written); without, as score distillation is done.
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
    what the prior makes of its noised self.
    """
    eps = jax.random.normal(key, x.shape)
    x_t = diffuse(x, log_snr, eps)
    seen = x_t if jacobian else jax.lax.stop_gradient(x_t)
    evidence = model.evidence(seen, jnp.broadcast_to(log_snr, x.shape[:1]))
    x0_hat = model.combine(evidence[None], jnp.ones(1), seen, log_snr)
    eps_hat = (seen - alpha(log_snr) * x0_hat) / sigma(log_snr)
    value = jnp.mean((eps_hat - eps) ** 2)
    if jacobian:
        return value
    pull = 2 * jnp.mean(jax.lax.stop_gradient(eps_hat - eps) * x_t)
    return jax.lax.stop_gradient(value - pull) + pull


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
    """w SDS(x) + sum of misfits of the decoded volume: what a step of the distillation differentiates, once."""
    volume = hardened(put_planes(_fractions(codec, x), axis))
    off = misfit(volume, targets, setpoints) + (0.0 if extra_misfit is None else extra_misfit(volume))
    return config.weight * score_loss(model, x, log_snr, key, jacobian=config.jacobian) + off


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
    """A volume moved towards its setpoints by Adam on its encoded planes, axis after axis (P-MicroLad eqs. 37 to 45).

    All planes of an axis are encoded, moved for a turn of steps, decoded and written back. One compiled loop.

    Args:
        model, codec: the 2D prior and its space.
        fractions: the volume to start from.
        setpoints: a number for each target.
        extra_misfit: another misfit of phase fractions, added to those of the targets.
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
    """Decoded, and where the codec does not see to it made fractions: at least nearly zero, with sum 1."""
    found = jnp.clip(codec.decode(x), 1e-4, 1.0)
    return found / jnp.sum(found, axis=-1, keepdims=True)
