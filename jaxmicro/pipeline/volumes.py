"""From a prior to volumes."""

import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from jaxmicro import evaluate, models
from jaxmicro.devices import jit_network
from jaxmicro.errors import UserError
from jaxmicro.io.files import load_arrays, save_arrays
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline.prior import Prior, Progress, fingerprint, roughness_levels, untuned
from jaxmicro.reconstruct import (
    Held,
    SamplingConfig,
    SamplingState,
    Weights,
    advance,
    calibrate_fractions,
    decode_volume,
    init_state,
    labels_of,
    labels_of_fractions,
    polish,
    sampling_times,
)
from jaxmicro.types import Microstructure

# Of decoded volumes S2 comes first: steps that cost a quarter, after which it ends ten times nearer than without them.
COARSE = Weights(path=None, interface=None, slices=1e-5)
MARGIN = 8  # voxels beyond each face of a volume that is not periodic
NEAR = 0.2  # relative change of a fraction up to which the lineal path of its phase is known


def reconstruct(
    prior: Prior,
    *,
    shape: Sequence[int] = (64, 64, 64),
    volumes: int = 1,
    seed: int = 0,
    fractions: Sequence[float] | Literal["micrograph"] | None = "micrograph",
    scatter: bool = False,
    sampling: SamplingConfig | None = None,
    together: int = 1,
    skip: Sequence[int] = (),
    on_volume: Callable[[int, Microstructure], None] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> list[Microstructure]:
    """Volumes whose sections look like the micrograph the prior was trained on.

    Volume i depends on (seed, i) only, for an equal number sampled `together`; that changes rounding.

    Args:
        shape: voxels along z, y, x.
        fractions: volume fractions to hold while sampling: the micrograph's, given ones, or None to leave them free.
        scatter: let the volumes differ in their fractions as pieces of the material of that size do; volumes 2k and
            2k + 1 differ in opposite directions, so that an even number of them has `fractions` together.
        sampling: everything else about the sampling, `default_sampling` by default; its shape is replaced by `shape`.
        together: volumes sampled at once; more is faster on an accelerator and takes more memory.
        skip: numbers of volumes not to make, because they exist already.
        on_volume: called with the number and the volume as soon as each is ready.
        checkpoint: file that keeps the unfinished volumes when sampling is interrupted, and from which it goes on.
    Returns:
        The volumes made, in order, with the voxel size and unit of the micrograph.
    Raises:
        UserError: a shape, number of fractions or other option that cannot be.
    """
    config = sampling_config(prior, shape=shape, sampling=sampling)
    held = held_fractions(prior, fractions)
    if volumes < 1 or together < 1:
        raise UserError(f"volumes is {volumes} and together is {together}; both must be at least 1")
    targets = [held] * volumes
    if scatter:
        targets = scattered_fractions(prior, held, shape=shape, volumes=volumes, seed=seed)
    numbers = [number for number in range(volumes) if number not in set(skip)]
    made = []
    for first in range(0, len(numbers), together):
        group = numbers[first : first + together]
        rounds = f", {config.steps} steps of {config.harmonise + 1} rounds" if config.harmonise else ""
        report = stage_report(progress, f"sampling volume {group[0] + 1} of {volumes}{rounds}")
        group_targets = [targets[number] for number in group]
        found = _sample(prior, config, shape, group_targets, seed, group, checkpoint, report)
        for number, labels in zip(group, found, strict=True):
            volume = as_microstructure(labels[_middle(labels.shape, shape)], prior, periodic=config.periodic)
            made.append(volume)
            if on_volume is not None:
                on_volume(number, volume)
        if checkpoint is not None:  # only now is everything it held kept elsewhere
            checkpoint.unlink(missing_ok=True)
    return made


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
    """The sampling of volumes of `shape`; without periodicity in a larger box, from whose middle they are cut.

    The network sees less of what surrounds a voxel near the faces of the box, hence the margin.
    Its shape is that of the grid that diffuses: in latent space the cells of the code.

    Raises:
        UserError: edges that are not three positive numbers, or a periodic volume whose edges need rounding.
    """
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


def held_fractions(prior: Prior, fractions: Sequence[float] | Literal["micrograph"] | None) -> tuple[float, ...] | None:
    """The volume fractions to hold, checked; None for free ones."""
    if fractions is None or (fractions == "micrograph" and prior.material is None):
        return None
    if isinstance(fractions, str):
        return prior.material.volume_fractions if prior.material else None
    if len(fractions) != prior.config.phases:
        raise UserError(
            f"{len(fractions)} volume fractions given, but the prior has {prior.config.phases} phases; "
            "give one for each"
        )
    total = math.fsum(fractions)
    given = " ".join(map(str, fractions))
    if not all(fraction > 0 for fraction in fractions):  # nor is NaN
        raise UserError(f"volume fractions must be above zero, found {given}: the prior always makes all its phases")
    if abs(total - 1) > 0.01:
        raise UserError(f"volume fractions must sum to 1; {given} sum to {total:g}")
    return tuple(fraction / total for fraction in fractions)


def scattered_fractions(
    prior: Prior, fractions: tuple[float, ...] | None, *, shape: Sequence[int], volumes: int, seed: int
) -> list[tuple[float, ...]]:
    """Volume fractions of each of several volumes: those of random pieces of the material of that size.

    Drawn from the normal distribution whose covariance the micrograph gives (`evaluate.fraction_covariance`; for a
    material that looks alike in all directions), evenly spread by a scrambled Sobol sequence, in pairs of opposite
    deviations. Number i is the same however many there are.

    Args:
        fractions: their mean. Far from the micrograph's the covariance is still that of the micrograph, and a deviation
            that would leave less than a tenth of a phase is shortened.
        shape: edges of the volumes in voxels.
    Returns:
        The fractions of each volume; each sums to 1.
    Raises:
        UserError: the prior does not know the covariance of its micrograph, or the fractions are free.
    """
    if prior.material is None or not prior.material.covariance:
        raise UserError("this prior does not know how its micrograph scatters; train it again on the micrograph")
    if fractions is None:
        raise UserError("fractions that are free cannot be scattered; hold them, or leave out the scatter")
    from scipy.stats import norm, qmc  # takes long to import, and only this needs it

    covariance = evaluate.fraction_covariance(np.asarray(prior.material.covariance), shape)
    variances, directions = np.linalg.eigh(covariance)
    scales = np.sqrt(np.maximum(variances[:0:-1], 0))  # largest first; the smallest, of the sum, is zero
    pairs = (volumes + 1) // 2
    points = qmc.Sobol(len(scales), rng=np.random.default_rng(seed)).random_base2(math.ceil(math.log2(pairs)))
    points[:, 0] = (1 + points[:, 0]) / 2  # one half of the distribution: its mirror image belongs to the odd volumes
    deviations = norm.ppf(points) * scales @ directions[:, :0:-1].T
    base = np.asarray(fractions)
    found = []
    for number in range(volumes):
        deviation = deviations[number // 2] * (-1) ** number
        room = np.min(base / np.abs(deviation).clip(1e-9))  # no phase vanishes, in either volume of the pair
        found.append(tuple((base + deviation * min(1.0, 0.9 * room)).tolist()))
    return found


def _middle(box: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    starts = [(edge - kept) // 2 for edge, kept in zip(box, shape, strict=True)]
    return tuple(slice(start, start + kept) for start, kept in zip(starts, shape, strict=True))


def as_microstructure(labels: np.ndarray, prior: Prior, *, periodic: bool) -> Microstructure:
    """Labels with the values and voxel size of the prior's micrograph."""
    known = prior.material
    values = tuple(map(float, range(prior.config.phases))) if known is None else known.values
    size, unit = (None, None) if known is None else (known.voxel_size, known.unit)
    return Microstructure(labels, values, size, unit, periodic=periodic)


def stage_report(progress: Progress | None, stage: str) -> Callable[[int, int], None]:
    """Reports how much of one stage is done."""
    if progress is None:
        return lambda done, total: None
    return lambda done, total: progress(stage, done, total, "")


@functools.partial(jit_network, static_argnames=("prior", "sampling"))
def _advance(params, states, keys, held: Held, start, stop, *, prior: PriorConfig, sampling: SamplingConfig):
    """`reconstruct.advance` of several volumes at once. Module-level, so that equal calls share one compilation.

    The states are not donated: when an interruption falls into a call, those before it are still there to be saved.
    """
    model = models.plane_model(prior, params)

    def one(state, key, held):
        return advance(model, state, start, stop, config=sampling, key=key, held=held)

    volumes = (states, keys, held)
    if len(keys) > 1:
        return jax.vmap(one)(*volumes)
    one_state = one(*jax.tree.map(lambda leaf: leaf[0], volumes))  # no batching rules for the usual case
    return jax.tree.map(lambda leaf: leaf[None], one_state)


@functools.partial(jax.jit, static_argnames=("sampling", "channels"))
def _pure_noise(keys, *, sampling: SamplingConfig, channels: int) -> SamplingState:
    return jax.vmap(lambda key: init_state(sampling, channels, key=key))(keys)


class _Unfinished(NamedTuple):
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
    """Labels "v z y x" of the volumes numbered `group`."""
    keys = volume_keys(seed, group)
    if prior.config.space == "pixel":
        held = while_sampling = statistics_to_hold(prior, config, fractions)
    else:  # a latent volume has no phases before it is decoded: only then is anything held
        held, while_sampling = statistics_to_hold(untuned(prior), config, fractions), Held()
    identity = json.dumps(
        [
            dataclasses.asdict(config), fractions, seed, list(group), prior.config.to_dict(),
            fingerprint([prior.params, held]),
        ]
    )  # fmt: skip
    known = load_arrays(checkpoint, identity)
    if known is None:
        now = _Unfinished(0, _pure_noise(keys, sampling=config, channels=prior.config.channels))
    else:
        now = _Unfinished(int(known.pop("done")), SamplingState(**jax.tree.map(jnp.asarray, known)))
    saved = time.monotonic()
    try:
        while now.done < config.evaluations:
            report(now.done, config.evaluations)
            stop = min(now.done + config.harmonise + 1, config.evaluations)
            states = _advance(
                prior.params, now.states, keys, while_sampling, now.done, stop, prior=prior.config, sampling=config
            )
            now = _Unfinished(stop, jax.block_until_ready(states))
            if checkpoint is not None and time.monotonic() - saved > 60:
                save_arrays(checkpoint, identity, done=now.done, **now.states._asdict())
                saved = time.monotonic()
    except KeyboardInterrupt:
        if checkpoint is not None:
            save_arrays(checkpoint, identity, done=now.done, **now.states._asdict())
        raise
    report(config.evaluations, config.evaluations)
    if prior.config.space == "pixel":
        return np.asarray(jax.vmap(labels_of)(now.states))
    decode = functools.partial(_decode, prior=prior.config, sampling=config, shape=tuple(shape))
    volumes = [jax.tree.map(lambda leaf, i=i: leaf[i], (now.states.x0_hat, keys, held)) for i in range(len(keys))]
    return np.stack([np.asarray(decode(prior.params, *volume)) for volume in volumes])


@functools.partial(jit_network, static_argnames=("prior", "sampling", "shape"))
def _decode(params, latent, key, held: Held, *, prior: PriorConfig, sampling: SamplingConfig, shape: tuple[int, ...]):
    """Labels of one latent volume: decoded along three axes, refined with its fractions held, polished if periodic."""
    codec, key = models.codec(prior, params), jax.random.fold_in(key, 1 + sampling.evaluations)
    decode = functools.partial(
        decode_volume, codec, latent, rounds=sampling.refine, periodic=sampling.periodic, batch=sampling.batch, key=key
    )
    wanted = held.fractions
    if wanted is None:
        return labels_of_fractions(decode(), None)
    middle = _middle([edge * codec.factor for edge in latent.shape[:3]], shape)

    def hold(fractions):
        return (1 + calibrate_fractions(2 * fractions - 1, wanted, within=middle, iterations=8)) / 2

    labels = labels_of_fractions(decode(hold=hold), wanted, middle)
    if held.lineal_path is None or held.covariance is None or not sampling.periodic:
        return labels
    return corrected(labels, held)


def corrected(labels: UInt8[Array, "z y x"], held: Held) -> UInt8[Array, "z y x"]:
    """A periodic volume with its interfaces moved to what is held, S2 first."""
    assert held.fractions is not None and held.lineal_path is not None and held.covariance is not None
    known = held.fractions, held.lineal_path, held.covariance
    return polish(polish(labels, *known, weights=COARSE), *known)


def volume_keys(seed: int, numbers: Sequence[int]) -> jax.Array:
    """The random keys of volumes: that of volume i depends on (seed, i) only."""
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.asarray(numbers))


def statistics_to_hold(prior: Prior, config: SamplingConfig, fractions: Sequence[tuple[float, ...] | None]) -> Held:
    """What several volumes are held to while they are sampled, or latent ones when they are decoded; with a leading
    axis over the volumes.

    Roughness, covariance and lineal path are those of the micrograph. At other fractions the roughness changes as the
    chance that two independent voxels differ, the covariance of a phase as its variance: right for fine media, and the
    only guess for others. The lineal path changes with the fraction; that of phases with quite another fraction is not
    held, nor that of free ones, which it would draw to the micrograph's.
    """
    target = None if None in fractions else jnp.asarray(fractions, jnp.float32)
    material = prior.material
    if material is None:
        return Held(target)
    own = np.asarray(material.volume_fractions)
    each = np.array([own if found is None else found for found in fractions])
    roughness = covariance = None
    if material.roughness and config.steer_gain:
        known = jnp.interp(sampling_times(config), roughness_levels(prior.config), jnp.asarray(material.roughness))
        differ = (1 - np.sum(each**2, axis=1)) / (1 - np.sum(own**2))
        roughness = jnp.outer(jnp.asarray(differ, known.dtype), known)
    if material.held_covariance:
        ratio = each * (1 - each) / (own * (1 - own))
        covariance = jnp.asarray(ratio[..., None] * np.asarray(material.held_covariance), jnp.float32)
    path = None
    if material.held_lineal_path:
        share = (each / own)[..., None]
        near = (np.abs(share - 1) < NEAR) & np.array([found is not None for found in fractions])[:, None, None]
        path = jnp.asarray(np.where(near, share * np.asarray(material.held_lineal_path), np.nan), jnp.float32)
    return Held(target, roughness, covariance, path)


def held_statistics(
    prior: Prior, sampling: SamplingConfig, fractions: Sequence[float] | Literal["micrograph"] | None = "micrograph"
) -> tuple[str, ...]:
    """What volumes of `reconstruct` are held to: names of `evaluate.HOLDABLE`. Agreement in these is no evidence.

    Args:
        sampling: as `sampling_config` resolves it.
        fractions: as in `reconstruct`.
    """
    latent = prior.config.space != "pixel"
    held = statistics_to_hold(untuned(prior) if latent else prior, sampling, [held_fractions(prior, fractions)])
    names = ["volume_fraction"] * (held.fractions is not None)
    if latent and not (sampling.periodic and held.lineal_path is not None and held.covariance is not None):
        return tuple(names)
    names += ["two_point"] * (held.covariance is not None)
    if held.lineal_path is not None and bool(jnp.isfinite(held.lineal_path).any()):
        names += ["lineal_path", "surface_area"]
    return (*names, *["slice_steps"] * latent)
