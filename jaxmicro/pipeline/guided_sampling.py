"""Multi-plane sampling of one volume that is guided towards setpoints of its targets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import models
from jaxmicro.devices import jit_network
from jaxmicro.guidance import Target, misfit
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.setpoints import without_values
from jaxmicro.reconstruct import (
    SamplingConfig,
    SamplingState,
    TargetStatistics,
    advance,
    init_state,
    labels_of,
    polyak_step,
    sampling_times,
)

# range of guidance: before, predictions are not informative; after, structures are decided
GUIDED_LOG_SNRS = (-4.0, 0.7)
POLYAK_STEPS = 2  # at each evaluation


def sample_unguided(
    prior: Prior,
    config: SamplingConfig,
    key: jax.Array,
    constraints: TargetStatistics,
    *,
    report: Callable[[int, int], None],
) -> tuple[SamplingState, np.ndarray]:
    """A volume without targets: its state at the first evaluation that guidance would change, and its labels "z y x".

    Args:
        report: called with the evaluations done and their number.
    """
    noise = _noise(key, sampling=config, channels=prior.config.channels)
    first = _first_guided(config)
    run = functools.partial(_run, prior, config, key, constraints, (), jnp.zeros(0), report=report)
    start = run(noise, 0, first)
    end = run(start, first, config.evaluations)
    return start, np.asarray(labels_of(end))[config.middle]


def sample_guided(
    prior: Prior,
    config: SamplingConfig,
    key: jax.Array,
    start: SamplingState,
    constraints: TargetStatistics,
    targets: Sequence[Target],
    setpoints: np.ndarray,
    *,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """Labels "z y x" of the volume with targets, from the state that `sample_unguided` gave with the same key.

    Args:
        targets: for quantities; their values are not used.
        setpoints: a number for each target, towards which predictions are guided.
        report: called with the evaluations done and their number.
    """
    values = jnp.asarray(setpoints, jnp.float32)
    end = _run(
        prior, config, key, constraints, without_values(targets), values,
        start, _first_guided(config), config.evaluations, report=report,
    )  # fmt: skip
    return np.asarray(labels_of(end))[config.middle]


def _first_guided(config: SamplingConfig) -> int:
    """The first evaluation that is guided."""
    times = np.asarray(sampling_times(config))
    return min(int(np.searchsorted(times, GUIDED_LOG_SNRS[0])), config.steps - 1) * (config.harmonise + 1)


def _run(
    prior: Prior,
    config: SamplingConfig,
    key: jax.Array,
    constraints: TargetStatistics,
    targets: tuple[Target, ...],
    setpoints: jax.Array,
    state: SamplingState,
    start: int,
    stop: int,
    *,
    report: Callable[[int, int], None],
) -> SamplingState:
    """Evaluations start..stop-1, a few at a time with progress in between."""
    at_once = (config.harmonise + 1) * 4
    while start < stop:
        report(start, config.evaluations)
        end = min(start + at_once, stop)
        state = jax.block_until_ready(
            _sampled(
                prior.params, state, key, constraints, setpoints, start, end,
                prior=prior.config, sampling=config, targets=targets,
            )
        )  # fmt: skip
        start = end
    report(stop, config.evaluations)
    return state


@functools.partial(jit_network, static_argnames=("prior", "sampling", "targets"))
def _sampled(
    params,
    state,
    key,
    constraints: TargetStatistics,
    setpoints,
    start,
    stop,
    *,
    prior: PriorConfig,
    sampling: SamplingConfig,
    targets: Any,
):
    """A stretch of guided sampling in one program: network, descriptors and solver."""

    def guided(x0_hat):
        def loss(fractions):
            return misfit(fractions, targets, setpoints)

        return x0_hat.at[sampling.middle].set(polyak_step(loss, x0_hat[sampling.middle], steps=POLYAK_STEPS))

    def guide(x0_hat, log_snr):
        within = (log_snr > GUIDED_LOG_SNRS[0]) & (log_snr < GUIDED_LOG_SNRS[1])
        return jax.lax.cond(within, guided, lambda x: x, x0_hat)

    model, guide_or_none = models.plane_model(prior, params), guide if targets else None
    return advance(model, state, start, stop, config=sampling, key=key, constraints=constraints, guide=guide_or_none)


@functools.partial(jax.jit, static_argnames=("sampling", "channels"))
def _noise(key, *, sampling: SamplingConfig, channels: int) -> SamplingState:
    return init_state(sampling, channels, key=key)
