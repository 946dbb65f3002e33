"""Sampling of whole samples from a prior of a collection, each to a row of features.

The network is conditioned on what is asked, and on features of a training sample where nothing is. On each prediction
of a clean sample, also the last, volume fractions are imposed; then it takes Gauss-Newton steps towards the asked
features by their slopes (`guidance.soft_features`: diffusion is solved in every step). As blocked phases conduct a
little there, a few per cent of a deviation may be left.

Of several candidates the one is kept whose measured features are nearest to what is asked. It is mixed with noise and
drawn again from there, several times, and again the nearest is kept: approximate Bayesian computation with the network
as proposal.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from jaxmicro import models
from jaxmicro.collection import Collection
from jaxmicro.devices import jit_network
from jaxmicro.generate import GenerationConfig, Renoised, generate, noise_levels
from jaxmicro.guidance import feature_deviations, soft_features
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot, to_labels
from jaxmicro.pipeline.batches import labels_in_batches
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sample_properties import Film, measurable_features
from jaxmicro.pipeline.sample_targets import imposed_fractions, steering_targets, with_unasked_features
from jaxmicro.reconstruct import calibrate_fractions, steer_prediction

VOXELS_TOGETHER = 2**19  # of the samples in the network at once, unless told otherwise: bounds the memory
# Log SNR to which the nearest candidate is brought for each further round. Films of 32^3 voxels, 8 candidates: levels
# from -2 on bring little, because what conducts is decided by then
REDRAWN = (-4.5, -3.5, -2.5)
# Log SNR from which on predictions are steered: later, what connects is decided; earlier, predictions are too blurred
STEERED_FROM = -6.0
LAST_STEERING = 5  # times as many steps of the last prediction, which no evaluation of the network corrects
REDRAWN_STEPS = 16  # evaluations of the network in such a round, if there are 32 from noise


def default_generation(config: PriorConfig) -> GenerationConfig:
    """Sampling settings of a prior: noise levels as in its training; codes of a latent space are not steered."""
    steps = GenerationConfig.steering_steps if config.space == "pixel" else 0
    return GenerationConfig(log_snr_range=config.log_snr_range, steering_steps=steps)


def samples_together(grid: tuple[int, ...]) -> int:
    """Number of samples in the network at once, unless told otherwise."""
    return max(1, VOXELS_TOGETHER // math.prod(grid))


def generate_labels(
    prior: Prior,
    rows: Float[np.ndarray, "n f"],
    *,
    seed: int = 0,
    config: GenerationConfig | None = None,
    together: int | None = None,
    calibrate: bool = True,
    film: Film | None = None,
    known: Mapping[int, UInt8[np.ndarray, "*grid"]] | None = None,
    on_sample: Callable[[int, UInt8[np.ndarray, "*grid"]], None] | None = None,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, " n *grid"]:
    """Labels of samples that should have the features of `rows`.

    Args:
        rows: one row of features for each sample, in the order of the prior's conditions; NaN where none is asked.
        seed: sample i depends on (seed, i) and its row; other numbers of rows, or of samples `together`, are other
            programs, whose rounding may change single voxels.
        config: with more than one candidate the nearest is kept, by the root mean square deviation of its measured
            features in standard deviations of the training samples; where nothing that is asked can be measured, one
            is drawn.
        together: samples in the network at once, candidates included.
        calibrate: impose volume fractions on each prediction (pixel space only): those that are asked, and with them
            those of a training sample (`with_unasked_features`).
        film: labels of the phases, so that GraSPI's descriptors are measured of candidates.
        known, on_sample: as `labels_in_batches`.
    Raises:
        UserError: the features of a candidate cannot be measured: a solve does not converge.
    """
    assert prior.conditions is not None
    config, grid, total = config or default_generation(prior.config), prior.config.sample_shape, len(rows)
    measurable = _measurable(prior, rows, film)
    if not measurable:
        config = dataclasses.replace(config, candidates=1)
    most = together or samples_together(grid)
    whole, pixels = with_unasked_features(prior.conditions, rows, seed=seed), prior.config.space == "pixel"
    fractions = imposed_fractions(prior, whole) if calibrate and pixels else None
    towards = (), np.zeros((total, 0))
    if config.steering_steps and pixels:
        towards = steering_targets(prior, rows, measurable, imposed=fractions is not None)
    condition = prior.conditions.standardised(whole)
    draw = functools.partial(_drawn, prior, condition, fractions, towards, seed, most)

    def make(places: np.ndarray) -> np.ndarray:
        if config.candidates == 1:
            return draw(places, config)
        return _nearest(prior, rows, places, draw, config, measurable, film)

    size = min(max(1, most // config.candidates), total)
    return labels_in_batches(
        make, grid, total=total, size=size, stage="generating", known=known, on_sample=on_sample, progress=progress
    )


def _drawn(
    prior: Prior,
    condition: np.ndarray,
    fractions: np.ndarray | None,
    towards: tuple[tuple[str, ...], np.ndarray],
    seed: int,
    most: int,
    places: np.ndarray,
    config: GenerationConfig,
    candidate: np.ndarray | None = None,
    start: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:
    """One draw for each place.

    Args:
        condition: rows of features as the network takes them.
        towards: names and rows of the features to which predictions are steered.
        most: samples in the network at once.
        candidate: number of the candidate of each place; None: the only one.
        start: labels near which to draw, and the log SNR to which they are brought.
    """
    keys = [jax.random.fold_in(jax.random.key(seed), place) for place in places]
    if candidate is not None:
        # the first candidate is the sample that is drawn without others
        keys = [jax.random.fold_in(key, n) if n else key for key, n in zip(keys, candidate, strict=True)]
    parts, (names, asked) = [], towards
    size = min(most, len(places))
    for first in range(0, len(places), size):
        some = np.minimum(np.arange(first, first + size), len(places) - 1)
        imposed = None if fractions is None else jnp.asarray(fractions[places[some]])
        near = None if start is None else (jnp.asarray(start[0][some]), jnp.asarray(start[1], jnp.float32))
        made = _generate(
            prior.params, jnp.asarray(condition[places[some]]), imposed, jnp.asarray(asked[places[some]], jnp.float32),
            jnp.stack([keys[i] for i in some]), near, prior=prior.config, config=config, names=names,
            voxel_size=(prior.material and prior.material.voxel_size) or 1.0,
        )  # fmt: skip
        parts.append(np.asarray(made)[: len(places) - first])
    return np.concatenate(parts)


def _nearest(
    prior: Prior,
    rows: np.ndarray,
    places: np.ndarray,
    draw: Callable[..., np.ndarray],
    config: GenerationConfig,
    measurable: tuple[str, ...],
    film: Film | None,
) -> np.ndarray:
    """Of all candidates of each place, over all rounds, the labels of the nearest."""
    lanes = np.repeat(np.arange(len(places)), config.candidates)
    numbers = np.tile(np.arange(config.candidates), len(places))
    best, labels = np.full(len(places), np.inf), np.empty((len(places), *prior.config.sample_shape), np.uint8)
    redrawn = dataclasses.replace(config, steps=max(1, config.steps * REDRAWN_STEPS // 32))
    for number, level in enumerate((None, *REDRAWN)):
        of_round = numbers + number * config.candidates
        made = (
            draw(places[lanes], config, of_round)
            if level is None
            else draw(places[lanes], redrawn, of_round, (labels[lanes], level))
        )
        misfit = _misfit(prior, made, rows[places[lanes]], measurable, film).reshape(len(places), -1)
        nearest = misfit.argmin(axis=1)
        found = made.reshape(*misfit.shape, *labels.shape[1:])[np.arange(len(places)), nearest]
        better = misfit.min(axis=1) < best
        labels[better], best[better] = found[better], misfit.min(axis=1)[better]
    return labels


def _misfit(
    prior: Prior, labels: np.ndarray, rows: np.ndarray, names: tuple[str, ...], film: Film | None
) -> np.ndarray:
    """Sum of squares over the asked features of each sample, in standard deviations of the training samples."""
    assert prior.conditions is not None
    measured = np.full_like(rows, np.nan)
    columns = [prior.conditions.names.index(name) for name in names]
    measured[:, columns] = measured_table(in_memory(prior, labels), names, film=film)
    deviation = prior.conditions.standardised(measured) - prior.conditions.standardised(rows)
    return np.nansum(deviation.astype(float) ** 2, axis=1)


def _measurable(prior: Prior, rows: np.ndarray, film: Film | None) -> tuple[str, ...]:
    """Features that are asked of some sample and can be measured of generated ones."""
    assert prior.conditions is not None
    asked = {name for n, name in enumerate(prior.conditions.names) if not np.isnan(rows[:, n]).all()}
    empty = in_memory(prior, np.zeros((1, *prior.config.sample_shape), np.uint8))
    return tuple(name for name in measured_names(prior, empty, film) if name in asked)


def _steered(
    x0_hat: Float[Array, "*grid p"],
    asked: Float[Array, " m"],
    *,
    names: tuple[str, ...],
    periodic: tuple[bool, ...],
    voxel_size: float,
    steps: int | Int[Array, ""],
) -> Float[Array, "*grid p"]:
    """A prediction, moved towards the features that are asked of it."""

    def deviations(shares: Float[Array, "*grid p"]) -> Float[Array, " m"]:
        values = soft_features(shares, names, periodic=periodic, voxel_size=voxel_size)
        return feature_deviations(names, values, asked)

    return steer_prediction(x0_hat, deviations, periodic=periodic or (False,) * (x0_hat.ndim - 1), steps=steps)


@functools.partial(jit_network, static_argnames=("prior", "config", "names", "voxel_size"))
def _generate(
    params, condition, fractions, asked, keys, start,
    *, prior: PriorConfig, config: GenerationConfig, names: tuple[str, ...], voxel_size: float,
):  # fmt: skip
    denoise = models.denoiser(prior, params, condition, guidance=config.guidance)
    codec = models.codec(prior, params)
    cells = tuple(edge // prior.cell for edge in prior.sample_shape)
    near = None if start is None else Renoised(codec.encode(one_hot(start[0], prior.phases)), start[1])
    levels = noise_levels(config, near)
    last = 1.5 * levels[-2] - 0.5 * levels[-1]  # beyond it is the last evaluation
    steered = functools.partial(_steered, names=names, periodic=prior.unet.periodic, voxel_size=voxel_size)

    def imposed(x0_hat, fractions):
        return jnp.where(jnp.isnan(fractions).any(), x0_hat, calibrate_fractions(x0_hat, fractions))

    def calibrated(x_t, log_snr):
        x0_hat = denoise(x_t, log_snr)
        if fractions is not None:
            x0_hat = jax.vmap(imposed)(x0_hat, fractions)
        if not names:
            return x0_hat
        steps = config.steering_steps * jnp.where(log_snr >= last, LAST_STEERING, 1)
        towards = jax.vmap(functools.partial(steered, steps=steps))
        return jax.lax.cond(log_snr >= STEERED_FROM, towards, lambda x, _: x, x0_hat, asked)

    sampled = generate(calibrated, (*cells, prior.channels), config=config, keys=keys, start=near)
    return to_labels(codec.decode(sampled))


def in_memory(prior: Prior, labels: np.ndarray) -> Collection:
    """Generated labels "n *grid" as a collection without features, with the calibration of the prior."""
    assert prior.material is not None
    n, material = len(labels), prior.material
    return Collection(
        labels, (), np.zeros((n, 0)), np.arange(n), material.values, material.voxel_size, material.unit,
        tuple(prior.config.unet.periodic) or (False,) * (labels.ndim - 1), "generated",
    )  # fmt: skip


def measured_names(prior: Prior, samples: Collection, film: Film | None = None) -> list[str]:
    """The features of a prior that can be measured here, in the same unit; GraSPI's with `film` only."""
    assert prior.conditions is not None
    units = {feature.name: feature.unit for feature in measurable_features(samples, film)}
    return [entry.name for entry in prior.conditions.entries if units.get(entry.name) == entry.unit]
