"""Sampling of whole samples from a prior of a collection, each to a row of features."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from jaxmicro import models
from jaxmicro.collection import Collection
from jaxmicro.devices import jit_network
from jaxmicro.generate import GenerationConfig, generate
from jaxmicro.models import Mixture, PriorConfig
from jaxmicro.phases import one_hot, to_labels
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.reconstruct import calibrate_fractions

VOXELS_TOGETHER = 2**19  # of the samples in the network at once, unless told otherwise: bounds the memory
SCORED = 256  # held-out samples that the predictor of the process is scored on
DRAWS = 2000  # of the process parameters of a sample, if there are not many
MOST_DRAWS = 2_000_000  # of all samples together


def default_generation(config: PriorConfig) -> GenerationConfig:
    """Sampling settings of a prior: noise levels as in its training."""
    return GenerationConfig(log_snr_range=config.log_snr_range)


def generate_labels(
    prior: Prior,
    rows: Float[np.ndarray, "n f"],
    *,
    seed: int = 0,
    config: GenerationConfig | None = None,
    together: int | None = None,
    calibrate: bool = True,
    known: Mapping[int, UInt8[np.ndarray, "*grid"]] | None = None,
    on_sample: Callable[[int, UInt8[np.ndarray, "*grid"]], None] | None = None,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, " n *grid"]:
    """Labels of samples that should have the features of `rows`.

    Args:
        rows: one row of features for each sample, in the order of the prior's conditions; NaN where none is asked.
        seed: sample i depends on (seed, i) and its row; other numbers of rows, or of samples `together`, are other
            programs, whose rounding may change single voxels.
        together: samples in the network at once.
        calibrate: impose the volume fractions of a row that has all of them on each prediction (pixel space only).
        known: samples that are there already, by number. The others are generated in the batches in which they would
            be without, so that they are equal to the bit.
        on_sample: called with the number of each sample and its labels as soon as it is ready.
    """
    assert prior.conditions is not None
    config = config or default_generation(prior.config)
    known, total = known or {}, len(rows)
    size = min(together or max(1, VOXELS_TOGETHER // math.prod(prior.config.sample_shape)), total)
    condition = prior.conditions.standardised(rows)
    fractions = _fractions(prior, rows) if calibrate and prior.config.space == "pixel" else None
    labels = np.empty((total, *prior.config.sample_shape), np.uint8)
    for number, sample in known.items():
        labels[number] = sample
    for first in range(0, total, size):
        if progress is not None:
            progress("generating", first, total, "")
        left = [number for number in range(first, min(first + size, total)) if number not in known]
        if not left:
            continue
        # the last batch is filled with its last sample, so that all have one shape and are compiled once
        places = [min(first + k, total - 1) for k in range(size)]
        keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), place) for place in places])
        imposed = None if fractions is None else jnp.asarray(fractions[places])
        made = np.asarray(
            _generate(prior.params, jnp.asarray(condition[places]), imposed, keys, prior=prior.config, config=config)
        )
        for number in left:
            labels[number] = made[number - first]
            if on_sample is not None:
                on_sample(number, labels[number])
    if progress is not None:
        progress("generating", total, total, "")
    return labels


@functools.partial(jit_network, static_argnames=("prior", "config"))
def _generate(params, condition, fractions, keys, *, prior: PriorConfig, config: GenerationConfig):
    denoise = models.denoiser(prior, params, condition, guidance=config.guidance)

    def calibrated(x_t, log_snr):
        x0_hat = denoise(x_t, log_snr)
        return x0_hat if fractions is None else jax.vmap(calibrate_fractions)(x0_hat, fractions)

    cells = tuple(edge // prior.cell for edge in prior.sample_shape)
    sampled = generate(calibrated, (*cells, prior.channels), config=config, keys=keys)
    return to_labels(models.codec(prior, params).decode(sampled))


def _fractions(prior: Prior, rows: Float[np.ndarray, "n f"]) -> np.ndarray | None:
    """The volume fractions "n p" of rows that all have them; None otherwise."""
    assert prior.conditions is not None
    names = [f"volume_fraction.{phase}" for phase in range(prior.config.phases)]
    if not set(names) <= set(prior.conditions.names):
        return None
    fractions = rows[:, [prior.conditions.names.index(name) for name in names]]
    return None if np.isnan(fractions).any() else fractions.astype(np.float32)


def process_of(prior: Prior, labels: UInt8[np.ndarray, " n *grid"], *, seed: int = 0) -> np.ndarray:
    """Draws "n s q" from the distribution of the process parameters that would make each sample.

    In natural units, in the order of `prior.conditions.process`.
    """
    assert prior.predictor is not None and prior.conditions is not None
    draws = int(np.clip(MOST_DRAWS // len(labels), 20, DRAWS))
    drawn = np.asarray(models.sample_features(predicted_process(prior, labels), draws, key=jax.random.key(seed)))
    entries = [entry for entry in prior.conditions.entries if entry.role == "process"]
    return np.stack([entry.natural(drawn[..., number]) for number, entry in enumerate(entries)], axis=-1)


def predicted_process(prior: Prior, labels: UInt8[np.ndarray, " n *grid"]) -> Mixture:
    """The distribution of the standardised process parameters of each sample."""
    assert prior.predictor is not None
    size = min(max(1, VOXELS_TOGETHER // math.prod(labels.shape[1:])), len(labels))
    weights, predictor = prior.predictor.params, prior.predictor.config
    parts = []
    for first in range(0, len(labels), size):
        places = [min(first + k, len(labels) - 1) for k in range(size)]  # filled as in `generate_labels`
        part = _predict(weights, prior.params, jnp.asarray(labels[places]), prior=prior.config, predictor=predictor)
        parts.append([np.asarray(column)[: len(labels) - first] for column in part])
    return Mixture(*(jnp.concatenate(column) for column in zip(*parts, strict=True)))


@functools.partial(jit_network, static_argnames=("prior", "predictor"))
def _predict(weights, params, labels, *, prior: PriorConfig, predictor):
    x = models.codec(prior, params).encode(one_hot(labels, prior.phases))
    return models.predict(predictor, weights, x)


def process_scores(prior: Prior, held_out: Collection) -> dict[str, Any]:
    """R^2 of the mean of each predicted process parameter on held-out samples (standardised: of times of the
    logarithm), and the share of them inside the central 90 % interval; None where the samples have one value."""
    assert prior.conditions is not None
    some = np.unique(np.linspace(0, len(held_out) - 1, SCORED).astype(int))
    mixture = predicted_process(prior, held_out.samples(some))
    names = prior.conditions.names
    columns = [names.index(name) for name in prior.conditions.process]
    truth = prior.conditions.standardised(held_out.table[some])[:, columns]
    draws = np.asarray(models.sample_features(mixture, DRAWS, key=jax.random.key(0)))
    low, high = np.quantile(draws, [0.05, 0.95], axis=1)
    truth = truth.astype(float)
    error, spread = ((np.asarray(models.mean_of(mixture)) - truth) ** 2).mean(axis=0), truth.var(axis=0)
    inside = ((low <= truth) & (truth <= high)).mean(axis=0)
    scores = {
        name: float(1 - e / s) if s > 1e-6 else None
        for name, e, s in zip(prior.conditions.process, error, spread, strict=True)
    }
    return {"process_r2": scores, "process_coverage_90": dict(zip(scores, inside.tolist(), strict=True))}
