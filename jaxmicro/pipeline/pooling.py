"""Numbers of several images of one material together."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def pooled(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `measure` found in several images, as of one image that they are parts of; an entry for each phase.

    Volume fraction, boundary, S2 and lineal path are means weighted by the area (volume) of the images, the mean chord
    is all of the length in the phase over all of its chords. `volume_fraction_error` is the standard error of the
    pooled fraction, from the scatter between the images; NaN of a single one.

    Args:
        measured: of images with the same phases and voxel size.
    """
    sizes = np.array([float(np.prod(numbers["shape"])) for numbers in measured])
    weights = sizes / sizes.sum()
    r_max = min(numbers["r_max"] for numbers in measured)
    count = len(measured)

    def one(label: int) -> dict[str, Any]:
        phases = [numbers["phases"][label] for numbers in measured]
        fractions = np.array([phase["volume_fraction"] for phase in phases])
        mean = float(weights @ fractions)
        scatter = float(np.sqrt(weights**2 @ (fractions - mean) ** 2 * count / max(count - 1, 1)))
        return {
            "label": label,
            "value": phases[0]["value"],
            "volume_fraction": mean,
            "volume_fraction_error": scatter if count > 1 else float("nan"),
            "specific_surface_area": float(weights @ [phase["specific_surface_area"] for phase in phases]),
            "mean_chord_length": {
                axis: _mean_chord(weights * fractions, [phase["mean_chord_length"][axis] for phase in phases])
                for axis in phases[0]["mean_chord_length"]
            },
            "two_point": (weights @ [phase["two_point"][: r_max + 1] for phase in phases]).tolist(),
            "lineal_path": {
                axis: (weights @ [phase["lineal_path"][axis][: r_max + 1] for phase in phases]).tolist()
                for axis in phases[0]["lineal_path"]
            },
        }

    return [one(label) for label in range(len(measured[0]["phases"]))]


def _mean_chord(lengths: np.ndarray, chords: Sequence[float]) -> float:
    """All of the length over the number of chords, which is the length in each image over its mean chord."""
    found = np.array(chords, float)
    there = (lengths > 0) & (found > 0)
    return float(lengths[there].sum() / (lengths[there] / found[there]).sum()) if there.any() else 0.0
