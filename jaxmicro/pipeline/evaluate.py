"""Evaluate: agreement of volumes with their micrograph, and with a true volume."""

from collections.abc import Sequence
from typing import Any

from jaxmicro.evaluate import compare
from jaxmicro.pipeline.estimators import evaluation_head
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.transport import diffusivities
from jaxmicro.types import Microstructure, in_phases_of


def evaluate(
    volumes: Sequence[Microstructure],
    reference: Microstructure,
    *,
    true_volume: Microstructure | None = None,
    r_max: int = 32,
    seed: int = 0,
    targets: Sequence[str] = (),
    held: Sequence[str] | None = None,
    diffusivity: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Agreement of volumes with their micrograph, and with a true volume if there is one: the report of
    `evaluate.compare`, with schema, estimators, units and lags.

    Args:
        targets: names of the targets, if the volumes are designed.
        held: names of the statistics to which the volumes are constrained (`constrained_statistics`); None: not known.
        diffusivity: also the effective diffusivity and tortuosity factor of each phase along each axis: the entry
            "transport", see `diffusivities`. Seconds for 64 x 64 x 64 voxels, minutes for 256 x 256 x 256.
        progress: called after each of its solves.
    """
    report = compare(volumes, reference, true_volume=true_volume, r_max=r_max, seed=seed, targets=targets, held=held)
    if diffusivity:
        truth = true_volume if true_volume is not None or reference.labels.ndim == 2 else reference
        report["transport"] = diffusivities(
            [in_phases_of(reference, v) for v in volumes],
            truth=None if truth is None else in_phases_of(reference, truth),
            held=held,
            progress=progress,
        )
    return {"overview": report["overview"], **evaluation_head(report), **report}
