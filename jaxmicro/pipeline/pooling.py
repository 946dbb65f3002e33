"""Numbers of several images of one material together, and whether they can be of one material."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxmicro.evaluate.representativity import integral_range, standard_error
from jaxmicro.io.levels import RARE

_BY_SIZE = "mean over the images, weighted by their size"
POOLING = {
    **dict.fromkeys(("volume_fraction", "specific_surface_area", "two_point", "lineal_path"), _BY_SIZE),
    "volume_fraction_error": "standard error of that mean, from the scatter between the images",
    "mean_chord_length": "length in the phase in all images over the number of its chords in all of them",
}
"""How the numbers of several images become one."""

_UNLIKE = 4.0  # standard errors between the volume fraction of an image and that of the others


def pooled(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `measure` found in several images, as of one image that they are parts of; an entry for each phase.

    Volume fraction, boundary, S2 and lineal path are means weighted by the area (volume) of the images, the mean chord
    is all of the length in the phase over all of its chords. `volume_fraction_error` is the standard error of the
    pooled fraction, from the scatter between the images; NaN of a single one.

    Args:
        measured: of images with the same phases and voxel size.
    """
    sizes = _sizes(measured)
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


def pooled_numbers(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `measure` found in each image and, as "pooled", in all of them, with what these numbers are.

    Args:
        measured: of images with the same phases and voxel size.
    Returns:
        {"units" and "estimators" (of each image), "pooling" (how each number is pooled), "lags" (of pooled curves),
        "remarks" (see `unlike`), "images", "pooled"}.
    """
    sizes = _sizes(measured)
    r_max = min(numbers["r_max"] for numbers in measured)
    shells = np.array([numbers["lags"]["two_point"][: r_max + 1] for numbers in measured])
    lags = {"two_point": (sizes @ shells / sizes.sum()).round(6).tolist(), "lineal_path": list(range(r_max + 1))}
    return {
        **{key: measured[0][key] for key in ("units", "estimators")},
        "pooling": POOLING,
        "lags": {"unit": "voxel", **lags},
        "remarks": unlike(measured),
        "images": list(measured),
        "pooled": pooled(measured),
    }


def unlike(measured: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences on what speaks against one material: phases that some images lack, and the volume fraction that differs
    most if that is by more than images of their size scatter.

    An image is compared with all others together, in standard errors from the integral range of its own S2 up to r_max
    (2D only). Up to four of them pass, for integral ranges of small images are themselves uncertain.

    Args:
        measured: as of `pooled`.
    """
    found, worst = [], (_UNLIKE, "")
    sizes = _sizes(measured)
    for label, phase in enumerate(measured[0]["phases"]):
        name = f"phase {label} (value {phase['value']:g})"
        phases = [numbers["phases"][label] for numbers in measured]
        fractions = np.array([phase["volume_fraction"] for phase in phases])
        lacking = [numbers["file"] for numbers, share in zip(measured, fractions, strict=True) if share == 0]
        if lacking and fractions.max() > RARE:  # a stray pixel is no phase
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            absent = f"phase {label} is absent in {', '.join(map(str, lacking[:3]))}{more}"
            found.append(f"{absent}, and up to {100 * fractions.max():.3g} % of others (value {phase['value']:g})")
        elif not lacking and len(measured[0]["shape"]) == 2 and len(measured) > 1:
            excess, others = _excess(phases, fractions, sizes)
            far = int(np.argmax(excess))
            if excess[far] > worst[0]:
                worst = (
                    excess[far],
                    f"{name} is {100 * fractions[far]:.3g} % of {measured[far]['file']} and {100 * others[far]:.3g} % "
                    f"of the rest, {excess[far]:.2g} times the standard error of that difference in one material",
                )
    return [*found, worst[1]] if worst[1] else found


def _sizes(measured: Sequence[dict[str, Any]]) -> Float[np.ndarray, " n"]:
    """Pixels (voxels) of each image."""
    return np.array([float(np.prod(numbers["shape"])) for numbers in measured])


def _excess(
    phases: Sequence[dict[str, Any]], fractions: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """By how many standard errors the fraction of each image differs from that of the others, and the latter."""
    errors = np.array([_error(one, size) for one, size in zip(phases, sizes, strict=True)])
    rest = sizes.sum() - sizes
    others = (sizes @ fractions - sizes * fractions) / rest
    together = np.array([np.linalg.norm(np.delete(sizes * errors, i)) for i in range(len(sizes))]) / rest
    return np.abs(fractions - others) / np.maximum(np.hypot(errors, together), 1e-12), others


def _error(phase: dict[str, Any], area: float) -> float:
    """Standard error of the volume fraction of an image."""
    phi = phase["volume_fraction"]
    return standard_error(phi, integral_range(np.array(phase["two_point"]) - phi**2, area), area)


def _mean_chord(lengths: np.ndarray, chords: Sequence[float]) -> float:
    """All of the length over the number of chords, which is the length in each image over its mean chord; infinite
    where no chord ends."""
    found = np.array(chords, float)
    there = (lengths > 0) & (found > 0)
    if not there.any():
        return 0.0
    number = (lengths[there] / found[there]).sum()
    return float(lengths[there].sum() / number) if number else float("inf")
