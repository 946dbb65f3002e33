"""The distribution of the process parameters that would make given samples, by the predictor of a prior."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from jaxmicro import models
from jaxmicro.collection import Collection
from jaxmicro.devices import jit_network
from jaxmicro.models import Mixture, PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline.generation import VOXELS_TOGETHER
from jaxmicro.pipeline.prior import Prior

SCORED = 256  # held-out samples that the predictor of the process is scored on
DRAWS = 2000  # of the process parameters of a sample, if there are not many
MOST_DRAWS = 2_000_000  # of all samples together


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
        places = [min(first + k, len(labels) - 1) for k in range(size)]  # filled as in `generation.generate_labels`
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
