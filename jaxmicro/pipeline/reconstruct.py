"""Reconstruct: from a prior to volumes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from jaxmicro.errors import UserError
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sampling import sample_volumes, sampling_config
from jaxmicro.pipeline.target_statistics import scattered_fractions, target_fractions
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure


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

    Volume i depends on (seed, i) only, for the same number sampled `together`, which changes rounding.

    Args:
        shape: voxels along z, y, x.
        fractions: volume fractions as constraints of the sampling: the micrograph's, given ones, or None for free ones.
        scatter: draw the fractions of each volume as those of pieces of the material of that size; volumes 2k and
            2k + 1 deviate in opposite directions, so that the mean of an even number of volumes is `fractions`.
        sampling: all other settings of the sampling, `default_sampling` by default; its shape is replaced by `shape`.
        together: volumes sampled at once; more is faster on an accelerator and takes more memory.
        skip: numbers of volumes that exist already.
        on_volume: called with the number and the volume as soon as each is ready.
        checkpoint: file for the state of unfinished volumes; an interrupted sampling is resumed from it.
    Returns:
        The sampled volumes, in order, with the voxel size and unit of the micrograph.
    Raises:
        UserError: when the shape, the fractions or another option is invalid.
    """
    config = sampling_config(prior, shape=shape, sampling=sampling)
    target = target_fractions(prior, fractions)
    if volumes < 1 or together < 1:
        raise UserError(f"volumes is {volumes} and together is {together}; both must be at least 1")
    targets = [target] * volumes
    if scatter:
        targets = scattered_fractions(prior, target, shape=shape, volumes=volumes, seed=seed)
    return sample_volumes(
        prior,
        config,
        shape=shape,
        fractions=targets,
        seed=seed,
        numbers=[number for number in range(volumes) if number not in set(skip)],
        together=together,
        on_volume=on_volume,
        checkpoint=checkpoint,
        progress=progress,
    )
