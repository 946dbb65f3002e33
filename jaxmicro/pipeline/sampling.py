"""Sampling of a trained prior: volumes by multi-plane denoising, images of its own plane."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxmicro import models
from jaxmicro.devices import jit_network
from jaxmicro.errors import UserError
from jaxmicro.models import PriorConfig
from jaxmicro.phases import to_labels
from jaxmicro.pipeline.prior import Prior, check_of_planes, without_tuning
from jaxmicro.pipeline.progress import Progress, stage_progress
from jaxmicro.pipeline.state import Resumable, identity_of
from jaxmicro.pipeline.target_statistics import target_statistics
from jaxmicro.reconstruct import (
    MisfitWeights,
    SamplingConfig,
    SamplingState,
    TargetStatistics,
    advance,
    calibrate_fractions,
    decode_volume,
    init_state,
    labels_of,
    labels_of_fractions,
    optimise_interfaces,
    sample_planes,
)
from jaxmicro.types import Microstructure

# Decoded volumes are first optimised for S2 alone: these steps have a quarter of the cost, and the steps with the full
# misfit that follow end at a tenth of the S2 error that they have without them.
S2_ONLY = MisfitWeights(path=None, interface=None, slices=1e-5)
MARGIN = 8  # voxels beyond each face of a volume that is not periodic
SAVE_SECONDS = 60.0  # between two savings of the state of a volume


def volume_keys(seed: int, numbers: Sequence[int]) -> jax.Array:
    """The random key of each volume: that of volume i depends on (seed, i) only."""
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.asarray(numbers))


def default_sampling(prior: PriorConfig) -> SamplingConfig:
    """The sampling that measured best in the space of a prior (experiments/sampling, experiments/latent)."""
    if prior.vae is None:
        return SamplingConfig()
    edge = prior.patch // prior.cell
    tile, overlap = (edge, edge // 4) if prior.unet.attention else (128, 32)  # attention knows the training size only
    sampling = SamplingConfig(log_snr_range=prior.log_snr_range, tile=tile, overlap=overlap)
    if prior.levels == "ddpm":  # P-MicroLad eqs. 23 to 27
        return dataclasses.replace(sampling, times="ddpm", steps=1000, harmonise=0, couple=0.0)
    return sampling


def sampling_config(prior: Prior, *, shape: Sequence[int], sampling: SamplingConfig | None = None) -> SamplingConfig:
    """The sampling of volumes of `shape`; a volume that is not periodic is cut from the middle of a larger box, because
    the network sees less of the surroundings near the faces of the box.

    The shape of the result is that of the grid that diffuses: of a latent prior the cells of the code.

    Raises:
        UserError: when `shape` is not three positive numbers, when a periodic volume would need other edges, or when
            the volume is too large.
    """
    check_of_planes(prior)
    sampling = sampling or default_sampling(prior.config)
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"the size is {' x '.join(map(str, shape))}; expected three positive edges z y x, in voxels")
    factor, cell = prior.config.factor, prior.config.cell
    margin = 0 if sampling.periodic else MARGIN
    padded = tuple(-(-(edge + 2 * margin) // factor) * factor for edge in shape)
    if sampling.periodic and padded != tuple(shape):
        raise UserError(
            f"a periodic volume needs edges that are multiples of {factor}, found {' x '.join(map(str, shape))}; "
            f"use {' '.join(map(str, padded))}, or --no-periodic"
        )
    if math.prod(padded) * prior.config.phases >= 2**31:  # beyond the index type of the compiler, and most memories
        raise UserError(f"a volume of {' x '.join(map(str, shape))} voxels is too large to sample; ask for less")
    grid = tuple(edge // cell for edge in padded)
    return dataclasses.replace(sampling, shape=grid, kept=tuple(shape) if cell == 1 and not sampling.periodic else None)


def sample_volumes(
    prior: Prior,
    config: SamplingConfig,
    *,
    shape: Sequence[int],
    fractions: Sequence[tuple[float, ...] | None],
    seed: int,
    numbers: Sequence[int],
    together: int = 1,
    on_volume: Callable[[int, Microstructure], None] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> list[Microstructure]:
    """The volumes with some numbers, under the constraints that the prior knows (`target_statistics`).

    Args:
        config: as `sampling_config` resolves it for `shape`.
        fractions: target volume fractions of every volume, those left out included; None: free.
        numbers: of the volumes to sample.
        together, on_volume, checkpoint: as in `reconstruct`.
    """
    sampled = []
    for first in range(0, len(numbers), together):
        group = numbers[first : first + together]
        rounds = f", {config.steps} steps of {config.harmonise + 1} rounds" if config.harmonise else ""
        report = stage_progress(progress, f"sampling volume {group[0] + 1} of {len(fractions)}{rounds}")
        of_group = [fractions[number] for number in group]
        sampled_labels = _sample(prior, config, shape, of_group, seed, group, checkpoint, report)
        for number, labels in zip(group, sampled_labels, strict=True):
            volume = as_microstructure(labels[_middle(labels.shape, shape)], prior, periodic=config.periodic)
            sampled.append(volume)
            if on_volume is not None:
                on_volume(number, volume)
        if checkpoint is not None:  # after all volumes in it have been handed over
            checkpoint.unlink(missing_ok=True)
    return sampled


def as_microstructure(labels: np.ndarray, prior: Prior, *, periodic: bool) -> Microstructure:
    """Labels with the values and voxel size of the prior's micrograph."""
    known = prior.material
    values = tuple(map(float, range(prior.config.phases))) if known is None else known.values
    size, unit = (None, None) if known is None else (known.voxel_size, known.unit)
    return Microstructure(labels, values, size, unit, periodic=periodic)


def sample_images(prior: Prior, *, count: int = 8, steps: int = 40, seed: int = 0) -> np.ndarray:
    """Labels "n h w" of images sampled from a 2D prior, of the size of its training crops: what it has learned."""
    keys = jax.random.split(jax.random.key(seed), steps + 1)
    edge = prior.config.patch // prior.config.cell
    shape = (count, edge, edge, prior.config.channels)
    return np.asarray(_sample_images(prior.params, keys, shape=shape, prior=prior.config))


def match_target_statistics(labels: UInt8[Array, "z y x"], constraints: TargetStatistics) -> UInt8[Array, "z y x"]:
    """A periodic volume with its interfaces optimised for target statistics, first for S2 alone."""
    assert (
        constraints.fractions is not None and constraints.lineal_path is not None and constraints.covariance is not None
    )
    known = constraints.fractions, constraints.lineal_path, constraints.covariance
    return optimise_interfaces(optimise_interfaces(labels, *known, weights=S2_ONLY), *known)


def _middle(box: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    starts = [(edge - kept) // 2 for edge, kept in zip(box, shape, strict=True)]
    return tuple(slice(start, start + kept) for start, kept in zip(starts, shape, strict=True))


class _Sampled(NamedTuple):
    """Volumes in the middle of their sampling."""

    done: int  # evaluations
    states: SamplingState  # with a leading axis over the volumes


def _sample(
    prior: Prior,
    config: SamplingConfig,
    shape: Sequence[int],
    fractions: Sequence[tuple[float, ...] | None],
    seed: int,
    group: Sequence[int],
    checkpoint: Path | None,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """Labels "v z y x" of the volumes numbered `group`; the state is saved every minute and on interruption."""
    keys = volume_keys(seed, group)
    if prior.config.space == "pixel":
        constraints = while_sampling = target_statistics(prior, config, fractions)
    else:  # a latent volume has no phases before it is decoded: its constraints apply only then
        constraints, while_sampling = target_statistics(without_tuning(prior), config, fractions), TargetStatistics()
    settings = dataclasses.asdict(config), fractions, seed, list(group), prior.config.to_dict()
    state = Resumable(checkpoint, identity_of(*settings, arrays=[prior.params, constraints]))
    known = state.load()
    if known is None:
        now = _Sampled(0, _pure_noise(keys, sampling=config, channels=prior.config.channels))
    else:
        now = _Sampled(int(known.pop("done")), SamplingState(**jax.tree.map(jnp.asarray, known)))
    saved = time.monotonic()
    try:
        while now.done < config.evaluations:
            report(now.done, config.evaluations)
            stop = min(now.done + config.harmonise + 1, config.evaluations)
            states = _advance(
                prior.params, now.states, keys, while_sampling, now.done, stop, prior=prior.config, sampling=config
            )
            now = _Sampled(stop, jax.block_until_ready(states))
            if time.monotonic() - saved > SAVE_SECONDS:
                state.save(done=now.done, **now.states._asdict())
                saved = time.monotonic()
    except KeyboardInterrupt:
        state.save(done=now.done, **now.states._asdict())
        raise
    report(config.evaluations, config.evaluations)
    if prior.config.space == "pixel":
        return np.asarray(jax.vmap(labels_of)(now.states))
    decode = functools.partial(_decode, prior=prior.config, sampling=config, shape=tuple(shape))
    volumes = [
        jax.tree.map(lambda leaf, i=i: leaf[i], (now.states.x0_hat, keys, constraints)) for i in range(len(keys))
    ]
    return np.stack([np.asarray(decode(prior.params, *volume)) for volume in volumes])


@functools.partial(jit_network, static_argnames=("prior", "sampling"))
def _advance(
    params, states, keys, constraints: TargetStatistics, start, stop, *, prior: PriorConfig, sampling: SamplingConfig
):
    """`reconstruct.advance` of several volumes at once. At module level, so that equal calls share one compilation.

    The states are not donated: when an interruption falls into a call, those before it can still be saved.
    """
    model = models.plane_model(prior, params)

    def one(state, key, constraints):
        return advance(model, state, start, stop, config=sampling, key=key, constraints=constraints)

    volumes = (states, keys, constraints)
    if len(keys) > 1:
        return jax.vmap(one)(*volumes)
    one_state = one(*jax.tree.map(lambda leaf: leaf[0], volumes))  # no batching rules for the usual case
    return jax.tree.map(lambda leaf: leaf[None], one_state)


@functools.partial(jax.jit, static_argnames=("sampling", "channels"))
def _pure_noise(keys, *, sampling: SamplingConfig, channels: int) -> SamplingState:
    return jax.vmap(lambda key: init_state(sampling, channels, key=key))(keys)


@functools.partial(jit_network, static_argnames=("prior", "sampling", "shape"))
def _decode(
    params,
    latent,
    key,
    constraints: TargetStatistics,
    *,
    prior: PriorConfig,
    sampling: SamplingConfig,
    shape: tuple[int, ...],
):
    """Labels of one latent volume: decoded along three axes, refined with its fractions constrained, and if it is
    periodic with its interfaces optimised for the target statistics."""
    codec, key = models.codec(prior, params), jax.random.fold_in(key, 1 + sampling.evaluations)
    decode = functools.partial(
        decode_volume, codec, latent, rounds=sampling.refine, periodic=sampling.periodic, batch=sampling.batch, key=key
    )
    phi = constraints.fractions
    if phi is None:
        return labels_of_fractions(decode(), None)
    middle = _middle([edge * codec.factor for edge in latent.shape[:3]], shape)

    def hold(fractions):
        return (1 + calibrate_fractions(2 * fractions - 1, phi, within=middle, iterations=8)) / 2

    labels = labels_of_fractions(decode(hold=hold), phi, middle)
    if constraints.lineal_path is None or constraints.covariance is None or not sampling.periodic:
        return labels
    return match_target_statistics(labels, constraints)


@functools.partial(jit_network, static_argnames=("shape", "prior"))
def _sample_images(params, keys, *, shape: tuple[int, ...], prior: PriorConfig):
    low, high = prior.log_snr_range
    sampled = sample_planes(models.plane_model(prior, params), shape, log_snr_min=low, log_snr_max=high, keys=keys)
    return to_labels(models.codec(prior, params).decode(sampled))
