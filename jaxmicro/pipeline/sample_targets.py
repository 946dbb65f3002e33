"""What a generated sample is to have: the features that are asked, and with them those that are not."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxmicro.guidance import is_guidable
from jaxmicro.pipeline.conditions import ROUNDING, Conditions
from jaxmicro.pipeline.prior import Prior

NEIGHBOURS = 20  # training samples from which the features that are not asked are taken
SHARE = 0.05  # of all training samples: the most of them that count as neighbours
FARTHEST = 1.0  # standard deviations of the asked features, from a sample to a neighbour
AROUND = 5  # times as many samples tell the slopes of these features
_CONDUCTS = 2e-3  # relative diffusivity that a phase must have to be steered: blocked ones conduct a thousandth


def with_unasked_features(
    conditions: Conditions, rows: Float[np.ndarray, "n f"], *, seed: int = 0
) -> Float[np.ndarray, "n f"]:
    """Rows of features in which those that are not asked (NaN) are those of a training sample that has about what is
    asked, so that they scatter as in the collection, which a network by itself imitates worst.

    The sample is drawn from the nearest ones of different origins (of all, where there are few origins). What it has is
    moved to what is asked along the local slope of each feature: the regression adjustment of approximate Bayesian
    computation. A row that no sample is near stays as it is. Volume fractions are completed to 1. Row i depends on
    (seed, i) and itself.

    Source: Beaumont, Zhang, Balding, Genetics 162, 2025 (2002).
    """
    asked, found = conditions.standardised(rows), rows.copy()
    reciprocal = np.array([entry.scale == "reciprocal" for entry in conditions.entries])
    for place, row in enumerate(asked):
        given = ~np.isnan(row)
        offset = conditions.samples[:, given] - row[given]
        distance = np.sqrt(np.sum(offset**2, axis=1))
        near = _neighbours(distance, conditions.origin) if given.any() else np.arange(len(distance))
        if given.all() or not len(near):
            continue
        other = np.random.default_rng([seed, place]).choice(near)
        sample = conditions.samples[other].astype(float)
        found[place, ~given] = conditions.natural(sample[None])[0, ~given]
        blocked = ~given & reciprocal & (found[place] > 1 / ROUNDING)
        found[place, blocked] = np.inf
        if given.any():
            around = _neighbours(distance, conditions.origin, times=AROUND)
            change = -offset[other] @ _slopes(offset[around], conditions.samples[around])
            moved = np.clip(sample + change, conditions.samples.min(axis=0), conditions.samples.max(axis=0))
            follows = ~given & ~blocked  # what does not percolate goes on not to
            found[place, follows] = conditions.natural(moved[None])[0, follows]
        _complete_fractions(conditions, found[place], given)
    return found


def _neighbours(distance: Float[np.ndarray, " m"], origin: np.ndarray, *, times: int = 1) -> np.ndarray:
    """The nearest samples, of each origin one: those of one run have the same process parameters; `times` as many."""
    most, share = NEIGHBOURS * times, SHARE * times
    order = np.argsort(distance, kind="stable")
    first = np.sort(np.unique(origin[order], return_index=True)[1])
    order = order[first] if len(first) >= NEIGHBOURS else order
    near = order[: max(1, min(most, round(share * len(distance))))]
    return near[distance[near] <= FARTHEST]


def _slopes(offset: Float[np.ndarray, "n m"], values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "m k"]:
    """Slopes of values against offsets by least squares, weighted by nearness (Epanechnikov), with the ridge of slopes
    that are about 1 standard deviation a priori: few samples that scatter much tell little."""
    squared = np.sum(offset**2, axis=1)
    weight = np.maximum(1 - squared / (squared.max() + 1e-12), 1e-3)
    weight /= weight.sum()
    x, y = (each - weight @ each for each in (offset, values))
    gram, effect, one = x.T @ (weight[:, None] * x), x.T @ (weight[:, None] * y), np.eye(x.shape[1])
    scatter = weight @ (y - x @ np.linalg.solve(gram + 1e-3 * one, effect)) ** 2
    ridge = (scatter / len(x) + 1e-6)[:, None, None] * one
    return np.linalg.solve(gram + ridge, effect.T[..., None])[..., 0].T


def _complete_fractions(conditions: Conditions, row: Float[np.ndarray, " f"], given: np.ndarray) -> None:
    """Scale the volume fractions that were not given, so that all together are 1."""
    fraction = np.array([name.startswith("volume_fraction.") for name in conditions.names])
    others, left = fraction & ~given, 1 - row[fraction & given].sum()
    if fraction.sum() == conditions.phases and others.any() and row[others].sum() > 0:
        row[others] *= max(left, 0.0) / row[others].sum()


def steering_targets(
    prior: Prior, rows: Float[np.ndarray, "n f"], measurable: Sequence[str], *, imposed: bool
) -> tuple[tuple[str, ...], Float[np.ndarray, "n m"]]:
    """Names and values of the asked features towards which predictions are moved: those with a gradient, of a phase
    that conducts; NaN where none is asked. No surface areas: predictions would get them by specks.

    Args:
        measurable: features that are measured here, in the unit of the prior.
        imposed: whether volume fractions are imposed, so that no steps are taken towards them alone.
    """
    assert prior.conditions is not None
    names, ndim = prior.conditions.names, len(prior.config.sample_shape)
    chosen = [
        number for number, name in enumerate(names)
        if name in measurable and is_guidable(name, phases=prior.config.phases, ndim=ndim)
        and not np.isnan(rows[:, number]).all() and not name.startswith("surface_area")
    ]  # fmt: skip
    if imposed and all(names[number].startswith("volume_fraction") for number in chosen):
        chosen = []
    values = rows[:, chosen].copy()
    for column, number in zip(values.T, chosen, strict=True):
        if names[number].startswith("tortuosity"):
            column[column > 1 / _CONDUCTS] = np.nan
        elif names[number].startswith("diffusivity"):
            column[column < _CONDUCTS] = np.nan
    return tuple(names[number] for number in chosen), values


def imposed_fractions(prior: Prior, rows: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n p"] | None:
    """The volume fractions of rows, NaN where some of a row are not known; None where the prior has not all of them."""
    assert prior.conditions is not None
    names = [f"volume_fraction.{phase}" for phase in range(prior.config.phases)]
    if not set(names) <= set(prior.conditions.names):
        return None
    fractions = rows[:, [prior.conditions.names.index(name) for name in names]].astype(np.float32)
    fractions[np.isnan(fractions).any(axis=1)] = np.nan
    return fractions
