"""Labels of many samples, made a batch at a time by one compiled program."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from jaxmicro.pipeline.progress import Progress


def labels_in_batches(
    make: Callable[[np.ndarray], np.ndarray],
    grid: tuple[int, ...],
    *,
    total: int,
    size: int,
    stage: str,
    known: Mapping[int, UInt8[np.ndarray, "*grid"]] | None,
    on_sample: Callable[[int, UInt8[np.ndarray, "*grid"]], None] | None,
    progress: Progress | None,
) -> UInt8[np.ndarray, " n *grid"]:
    """Labels of `total` samples.

    Args:
        make: numbers of `size` samples -> their labels. The last batch is filled with the last sample, so that all have
            one shape and are compiled once.
        stage: name of the progress.
        known: samples that are there already, by number. The others are made in the batches in which they would be
            without, so that they are equal to the bit; batches that are known are left out.
        on_sample: called with the number of each sample that is made and its labels as soon as it is ready.
    """
    known = known or {}
    labels = np.empty((total, *grid), np.uint8)
    for number, sample in known.items():
        labels[number] = sample
    for first in range(0, total, size):
        if progress is not None:
            progress(stage, first, total, "")
        left = [number for number in range(first, min(first + size, total)) if number not in known]
        if not left:
            continue
        made = make(np.minimum(np.arange(first, first + size), total - 1))
        for number in left:
            labels[number] = made[number - first]
            if on_sample is not None:
                on_sample(number, labels[number])
    if progress is not None:
        progress(stage, total, total, "")
    return labels
