"""Generate: from features that are asked for to samples that have them, and to the process that would make them."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.generate import GenerationConfig
from jaxmicro.pipeline.exact_features import is_met, meet_features
from jaxmicro.pipeline.generated import Exact, Generated, exact_targets, measured, measured_features
from jaxmicro.pipeline.generation import generate_labels, in_memory
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sample_properties import Film, check_film


def generate(
    prior: Prior,
    targets: Mapping[str, float],
    *,
    count: int = 1,
    seed: int = 0,
    config: GenerationConfig | None = None,
    extrapolate: bool = False,
    film: Film | None = None,
    together: int | None = None,
    known: Mapping[int, np.ndarray] | None = None,
    on_sample: Callable[[int, np.ndarray], None] | None = None,
    exact: bool = False,
    known_sampled: Mapping[int, np.ndarray] | None = None,
    on_sampled: Callable[[int, np.ndarray], None] | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Samples of a collection's prior that have given features.

    Args:
        targets: value of each feature that is asked, by its name; {}: none, samples like those of the collection.
        count: number of samples; sample i depends on (seed, i) and the targets (and in single voxels on the rounding of
            other programs, for other numbers of samples).
        extrapolate: allow targets that the prior was not trained on.
        film: which labels are the phases of an organic solar cell; without, GraSPI's descriptors are not measured.
        together: samples in the network at once.
        known: labels of samples that are there already, by number; they are not generated again.
        on_sample: called with the number and the labels of each sample as soon as it is ready.
        exact: change the phase of voxels along interfaces until volume fractions, surface areas, diffusivities and
            (finite) tortuosity factors are those that are asked; other targets are left as sampled.
        known_sampled, on_sampled: as `known` and `on_sample`, of the samples before that change.
    Raises:
        UserError: the prior is none of a collection, or targets are unknown, outside of what it was trained on, or
            contradict each other; the labels of `film` are not those of the prior.
    """
    if prior.conditions is None:
        raise UserError("the model is the prior of one micrograph; generate takes one that was trained on a collection")
    check_film(film, prior.config.phases)
    targets = prior.conditions.checked(targets, extrapolate=extrapolate)
    labels = generate_labels(
        prior,
        np.tile(prior.conditions.row(targets), (count, 1)),
        seed=seed,
        config=config,
        film=film,
        together=together,
        known=known_sampled if exact else known,
        on_sample=on_sampled if exact else on_sample,
        progress=progress,
    )
    if not exact:
        return measured(prior, labels, targets, seed=seed, film=film, progress=progress)
    return _exact(prior, labels, targets, seed, film, known, on_sample, progress)


def _exact(
    prior: Prior,
    sampled: np.ndarray,
    targets: dict[str, float],
    seed: int,
    film: Film | None,
    known: Mapping[int, np.ndarray] | None,
    on_sample: Callable[[int, np.ndarray], None] | None,
    progress: Progress | None,
) -> Generated:
    """Sampled labels brought to their targets, and measured before and after."""
    samples = in_memory(prior, sampled)
    chosen = exact_targets(prior, targets)
    asked = np.tile([targets[name] for name in chosen], (len(sampled), 1))
    labels = meet_features(samples, chosen, asked, known=known, on_sample=on_sample, progress=progress)
    before = measured_features(samples, chosen)
    found = measured(prior, labels, targets, seed=seed, film=film, progress=progress)
    met = {}
    for name in chosen:
        values = np.array([[sample[name]] for sample in found.measured])
        met[name] = is_met([name], values, np.full_like(values, targets[name]), sampled[0].size)[:, 0].tolist()
    left = tuple(name for name in targets if name not in chosen)
    return dataclasses.replace(found, exact=Exact(chosen, left, sampled, before, met))
