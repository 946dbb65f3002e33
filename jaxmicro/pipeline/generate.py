"""Generate: from features that are asked for to samples that have them, and to the process that would make them."""

from collections.abc import Callable, Mapping

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.generate import GenerationConfig
from jaxmicro.pipeline.generated import Generated, measured
from jaxmicro.pipeline.generation import generate_labels
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress


def generate(
    prior: Prior,
    targets: Mapping[str, float],
    *,
    count: int = 1,
    seed: int = 0,
    config: GenerationConfig | None = None,
    extrapolate: bool = False,
    together: int | None = None,
    known: Mapping[int, np.ndarray] | None = None,
    on_sample: Callable[[int, np.ndarray], None] | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Samples of a collection's prior that have given features.

    Args:
        targets: value of each feature that is asked, by its name; {}: none, samples like those of the collection.
        count: number of samples; sample i depends on (seed, i) and the targets (and in single voxels on the rounding of
            other programs, for other numbers of samples).
        extrapolate: allow targets that the prior was not trained on.
        together: samples in the network at once.
        known: labels of samples that are there already, by number; they are not generated again.
        on_sample: called with the number and the labels of each sample as soon as it is ready.
    Raises:
        UserError: the prior is none of a collection, or targets are unknown, outside of what it was trained on, or
            contradict each other.
    """
    if prior.conditions is None:
        raise UserError("the model is the prior of one micrograph; generate takes one that was trained on a collection")
    targets = prior.conditions.checked(targets, extrapolate=extrapolate)
    labels = generate_labels(
        prior,
        np.tile(prior.conditions.row(targets), (count, 1)),
        seed=seed,
        config=config,
        together=together,
        known=known,
        on_sample=on_sample,
        progress=progress,
    )
    return measured(prior, labels, targets, seed=seed, progress=progress)
