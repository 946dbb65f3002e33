"""Pooled numbers of several images, and evidence against their being of one material."""

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
"""How each number is pooled over several images."""

_UNLIKE = (
    4.0  # standard errors between the volume fraction of an image and that of the others, above which it is remarked
)


def pooled(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbers of several images as those of one image of which they are parts; one entry for each phase.

    Volume fraction, surface area, S2 and lineal path are means weighted by the area (volume) of the images; the mean
    chord length is the total length in the phase over its total number of chords. `volume_fraction_error` is the
    standard error of the pooled fraction, from the scatter between the images; NaN for a single image.

    Args:
        measured: reports of `measure` on images with the same phases and voxel size.
    """
    sizes = _sizes(measured)
    weights = sizes / sizes.sum()
    r_max = min(numbers["r_max"] for numbers in measured)
    count = len(measured)

    def one(label: int) -> dict[str, Any]:
        phases = [numbers["phases"][label] for numbers in measured]
        fractions = np.array([phase["volume_fraction"] for phase in phases])
        mean = float(weights @ fractions)
        error = float(np.sqrt(weights**2 @ (fractions - mean) ** 2 * count / max(count - 1, 1)))
        return {
            "label": label,
            "value": phases[0]["value"],
            "volume_fraction": mean,
            "volume_fraction_error": error if count > 1 else float("nan"),
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
    """Numbers of each image and, as "pooled", of all of them, with their units, estimators and lags.

    Args:
        measured: reports of `measure` on images with the same phases and voxel size.
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
    """Remarks on evidence against one material: phases that are absent in some images, and the volume fraction that
    deviates most, if it does by more than images of their size scatter.

    The fraction of an image is compared with that of all others together, in standard errors from the integral range of
    its own S2 up to r_max (2D only). Up to four standard errors are not remarked, because the integral ranges of small
    images are themselves uncertain.

    Args:
        measured: as in `pooled`.
    """
    remarks, largest = [], (_UNLIKE, "")
    sizes = _sizes(measured)
    for label, phase in enumerate(measured[0]["phases"]):
        name = f"phase {label} (value {phase['value']:g})"
        phases = [numbers["phases"][label] for numbers in measured]
        fractions = np.array([phase["volume_fraction"] for phase in phases])
        lacking = [numbers["file"] for numbers, share in zip(measured, fractions, strict=True) if share == 0]
        if lacking and fractions.max() > RARE:  # a few stray pixels are no phase
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            absent = f"phase {label} is absent in {', '.join(map(str, lacking[:3]))}{more}"
            remarks.append(f"{absent}, and up to {100 * fractions.max():.3g} % of others (value {phase['value']:g})")
        elif not lacking and len(measured[0]["shape"]) == 2 and len(measured) > 1:
            excess, others = _excess(phases, fractions, sizes)
            i = int(np.argmax(excess))
            if excess[i] > largest[0]:
                largest = (
                    excess[i],
                    f"{name} is {100 * fractions[i]:.3g} % of {measured[i]['file']} and {100 * others[i]:.3g} % "
                    f"of the rest, {excess[i]:.2g} times the standard error of that difference in one material",
                )
    return [*remarks, largest[1]] if largest[1] else remarks


def _sizes(measured: Sequence[dict[str, Any]]) -> Float[np.ndarray, " n"]:
    """Pixels (voxels) of each image."""
    return np.array([float(np.prod(numbers["shape"])) for numbers in measured])


def _excess(
    phases: Sequence[dict[str, Any]], fractions: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Difference of each image's volume fraction from that of the others in standard errors, and that of the others."""
    errors = np.array([_error(one, size) for one, size in zip(phases, sizes, strict=True)])
    rest = sizes.sum() - sizes
    others = (sizes @ fractions - sizes * fractions) / rest
    error_of_others = np.array([np.linalg.norm(np.delete(sizes * errors, i)) for i in range(len(sizes))]) / rest
    return np.abs(fractions - others) / np.maximum(np.hypot(errors, error_of_others), 1e-12), others


def _error(phase: dict[str, Any], area: float) -> float:
    """Standard error of the volume fraction of an image."""
    phi = phase["volume_fraction"]
    return standard_error(phi, integral_range(np.array(phase["two_point"]) - phi**2, area), area)


def _mean_chord(lengths: np.ndarray, chords: Sequence[float]) -> float:
    """Total length over the number of chords, which in each image is its length over its mean chord length; infinite
    where no chord ends."""
    means = np.array(chords, float)
    present = (lengths > 0) & (means > 0)
    if not present.any():
        return 0.0
    number = (lengths[present] / means[present]).sum()
    return float(lengths[present].sum() / number) if number else float("inf")
