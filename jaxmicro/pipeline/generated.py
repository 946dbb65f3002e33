"""Generated samples: measured as collections are, with the process that would make them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.pipeline.generation import in_memory, measured_names
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.process_distribution import process_of
from jaxmicro.pipeline.progress import Progress
from jaxmicro.types import Microstructure

_DIGITS = 3  # of example targets


@dataclass(frozen=True)
class Generated:
    """Samples generated to targets.

    Attributes:
        volumes: the samples.
        targets: what was asked, with the volume fraction that follows from others.
        measured: of each sample, the features of the model that can be measured (in the unit of the model), by name.
        process: draws "n s" of each process parameter, by name, from the distribution of those that would make each
            sample; empty if the model knows none.
        exact: what was changed to meet targets exactly; None if nothing was asked to be.
    """

    volumes: list[Microstructure]
    targets: dict[str, float]
    measured: list[dict[str, float]]
    process: dict[str, np.ndarray]
    exact: "Exact | None" = None


@dataclass(frozen=True)
class Exact:
    """What was changed in generated samples to meet their targets exactly.

    Attributes:
        names: targets that were met in this way, or missed.
        left: targets that were left as sampled.
        sampled: labels "n *grid" before.
        before: of each sample, the values of these targets before, by name.
        met: by name of the target, for each sample.
    """

    names: tuple[str, ...]
    left: tuple[str, ...]
    sampled: np.ndarray
    before: list[dict[str, float]]
    met: dict[str, list[bool]]


def measured(
    prior: Prior,
    labels: np.ndarray,
    targets: dict[str, float],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Generated:
    """Labels as `Generated`: measured by the code that measures collections, with the process that would make them."""
    assert prior.conditions is not None and prior.material is not None
    samples = in_memory(prior, labels)
    table = measured_features(samples, measured_names(prior, samples), progress)
    process = {}
    if prior.predictor is not None:
        draws = process_of(prior, labels, seed=seed)
        process = {name: draws[..., number] for number, name in enumerate(prior.conditions.process)}
    return Generated([samples.microstructure(i) for i in range(len(labels))], targets, table, process)


def measured_features(
    samples: Collection, names: Sequence[str], progress: Progress | None = None
) -> list[dict[str, float]]:
    """The named properties of each sample."""
    return [dict(zip(names, row, strict=True)) for row in measured_table(samples, names, progress).tolist()]


def example_targets(prior: Prior) -> str:
    """Two features of a typical training sample, as targets in the notation of the command line: with three digits, or
    as many as it takes to remain within what the model was trained on."""
    assert prior.conditions is not None
    conditions = prior.conditions
    typical = conditions.samples[np.argmin(np.sum(conditions.samples**2, axis=1))]
    values = dict(zip(conditions.names, conditions.natural(typical[None])[0].tolist(), strict=True))
    properties = [name for name in values if name not in conditions.process and np.isfinite(values[name])]
    kinds = {name.split(".")[0]: name for name in reversed(properties)}
    preferred = [kinds[kind] for kind in ("volume_fraction", "tortuosity") if kind in kinds]
    names = preferred or list(kinds.values())[:2] or conditions.names[:1]
    for digits in range(_DIGITS, 17):
        targets = {name: float(f"{values[name]:.{digits}g}") for name in names}
        with contextlib.suppress(UserError):
            conditions.checked(targets)
            break
    return " ".join(f"{name}={value:.{digits}g}" for name, value in targets.items())
