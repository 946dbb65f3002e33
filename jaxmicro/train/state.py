"""State and configuration of training, and one update.

`step` is the number of updates done. Update k (k = 1, 2, ...) takes step from k - 1 to k and draws its noise from
fold_in(key(seed), k - 1), so that a restarted run draws the same noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from optax.contrib import MuonDimensionNumbers, muon

from jaxmicro.errors import UserError

Params = Any  # a tree of float arrays
Batch = Any  # a tree of arrays "n ..."
MAX_STEPS = 10**8  # the counter has 32 bits
MAX_BATCH = 2**16  # crops; more do not fit into memory
Metrics = dict[str, Any]  # scalars
Loss = Callable[[Params, Batch, jax.Array], tuple[Any, Metrics]]  # (params, batch, key) -> (scalar, metrics)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Length of a training, its optimiser, and the intervals of its records."""

    steps: int = 20_000  # updates in all
    batch: int = 32  # samples per update, over all devices
    seed: int = 0  # of the noise drawn in the loss
    optimiser: str = "adam"  # or "muon": orthogonalised momentum for matrices and kernels, Adam for the rest
    learning_rate: float = 2e-4  # peak; a share of each matrix's scale for Muon (0.01 to 0.03), far less for Adam
    vector_learning_rate: float = 1e-3  # peak for biases, scales and other vectors, with optimiser="muon"
    warmup: int = 200  # updates over which the learning rate increases linearly
    decay: str = "cosine"  # of the learning rate after the warm-up, to `final_fraction` at the last step; or "constant"
    final_fraction: float = 0.01  # last learning rate / peak, for decay="cosine"
    clip: float = 1.0  # largest global norm of the gradient; longer ones are scaled down
    ema_decay: float = 0.999  # of the averaged parameters; less in the first steps, see `ema_decay_at`
    log_every: int = 50  # updates between log records
    save_every: int = 1000  # updates between checkpoints
    evaluate_every: int = 1000  # updates between validations
    sample_every: int = 0  # updates between sample figures; 0: only at the end
    minutes: float | None = None  # wall-clock limit of this run; None: no limit

    def __post_init__(self):
        if self.decay not in ("cosine", "constant"):
            raise UserError(f"decay is {self.decay!r}, expected 'cosine' or 'constant'")
        if self.optimiser not in ("adam", "muon"):
            raise UserError(f"optimiser is {self.optimiser!r}, expected 'adam' or 'muon'")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay is {self.ema_decay}, expected 0 <= ema_decay < 1")
        positive = ("steps", "batch", "learning_rate", "vector_learning_rate", "clip")
        for name in (*positive, "log_every", "save_every", "evaluate_every"):
            if not 0 < getattr(self, name) < math.inf:  # False for NaN
                raise UserError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name in ("warmup", "sample_every", "seed", "final_fraction"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}, expected zero or more")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"minutes is {self.minutes}, expected a positive number or None")
        for name, most in {"steps": MAX_STEPS, "batch": MAX_BATCH}.items():
            if getattr(self, name) > most:
                raise UserError(f"{name} is {getattr(self, name)}, expected at most {most}")


class TrainState(NamedTuple):
    """All that an update changes; a checkpoint holds it and the position in the data."""

    step: Int[Array, ""]  # updates done
    params: Params
    opt_state: Any
    ema: Params  # exponential moving average of params, to be used for sampling
    first_bad: Int[Array, ""]  # update whose loss or gradient was first not finite; -1: none


def learning_rate(config: TrainConfig, peak: float | None = None) -> Callable[[Any], Any]:
    """Learning rate of the update that follows `step` updates: linear warm-up, then cosine decay or constant.

    Its maximum is `peak`, or `config.learning_rate` if that is None.
    """
    peak = config.learning_rate if peak is None else peak

    def rate(step):
        warm = jnp.minimum(1.0, (step + 1) / max(config.warmup, 1))
        if config.decay == "constant":
            return peak * warm
        progress = jnp.clip((step - config.warmup) / max(config.steps - config.warmup, 1), 0.0, 1.0)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return peak * warm * (config.final_fraction + (1 - config.final_fraction) * cosine)

    return rate


def make_optimiser(config: TrainConfig) -> optax.GradientTransformation:
    """Adam, or Muon (Jordan et al. 2024), on the clipped gradient."""
    if config.optimiser == "adam":
        descend = optax.adam(learning_rate(config))
    else:
        descend = muon(
            learning_rate(config),
            adam_learning_rate=learning_rate(config, config.vector_learning_rate),
            muon_weight_dimension_numbers=_as_matrices,
        )
    return optax.chain(optax.clip_by_global_norm(config.clip), descend)


def _as_matrices(params: Params) -> Any:
    """Dimensions of each kernel "*window c d" as a matrix from all inputs to outputs d; None for vectors."""
    return jax.tree.map(
        lambda p: MuonDimensionNumbers(tuple(range(p.ndim - 1)), (p.ndim - 1,)) if p.ndim >= 2 else None, params
    )


def ema_decay_at(step: Int[Array, ""], decay: float) -> Float[Array, ""]:
    """min(decay, (1 + step) / (10 + step)): smaller at first, so that the initial parameters lose their weight."""
    return jnp.minimum(decay, (1 + step) / (10 + step))


def init_state(params: Params, config: TrainConfig) -> TrainState:
    """The state before the first update, with copies of `params`, because updates may donate their buffers."""
    return TrainState(
        step=jnp.asarray(0, jnp.int32),
        params=jax.tree.map(lambda p: jnp.array(p, copy=True), params),
        opt_state=make_optimiser(config).init(params),
        ema=jax.tree.map(lambda p: jnp.array(p, copy=True), params),
        first_bad=jnp.asarray(-1, jnp.int32),
    )


def make_update(loss: Loss, config: TrainConfig) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Pure function (state, batch) -> (state, metrics) of one update; metrics of the loss, "loss", "gradient_norm"."""
    optimiser = make_optimiser(config)

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = optax.incremental_update(params, state.ema, 1 - ema_decay_at(state.step, config.ema_decay))
        bad = (state.first_bad < 0) & ~(jnp.isfinite(value) & jnp.isfinite(norm))
        first_bad = jnp.where(bad, state.step + 1, state.first_bad)
        return TrainState(state.step + 1, params, opt_state, ema, first_bad), metrics | {
            "loss": value,
            "gradient_norm": norm,
        }

    return update
