"""How well one micrograph knows the material: the standard error of its volume fractions and curves, and the image size
that a given accuracy would need."""

import numpy as np
from jaxtyping import Float, Integer

from jaxmicro.evaluate.metrics import error_rate, normalised_two_point
from jaxmicro.evaluate.statistics import block_curves, image_statistics

_ACCURACIES = (0.01, 0.05)  # relative errors for which the necessary image is given
_BLOCKS = 2  # the image is cut in 2 x 2 quarters


def representativity(labels: Integer[np.ndarray, "h w"], phases: int, *, r_max: int = 32) -> list[dict]:
    """What a micrograph of this size can say about its own material, per phase.

    The standard error of phi measured on an area A is sigma = sqrt(phi (1 - phi) A_2 / A) with the integral range A_2
    (see `integral_range`); the relative error is 2 sigma / phi (about 95 % confidence), and it falls with the edge of
    the image.

    Args:
        labels: labels of the micrograph.
        phases: number of phases.
        r_max: largest distance of the curves in pixels.
    Returns:
        per phase {"volume_fraction", "standard_error", "relative_error_percent", "integral_range" (pixels),
        "edge_for_1_percent", "edge_for_5_percent" (pixels), "two_point_quarters", "lineal_path_quarters" (largest error
        rate in percent of a quarter of the image against the whole)}.
    Source: Kanit et al., Int. J. Solids Struct. 40 (2003) 3647; Lantuejoul, J. Microsc. 161 (1991) 387.
    """
    reach = max(r_max, min(labels.shape) // 2 - 1)
    s2 = np.asarray(image_statistics(labels, phases=phases, r_max=reach).two_point[0])
    quarters = quarter_error_rates(labels, phases, min(r_max, min(labels.shape) // _BLOCKS - 1))
    return [_of_phase(s2[p], labels.size, quarters[p]) for p in range(phases)]


def integral_range(s2: Float[np.ndarray, " r"]) -> float:
    """Integral range A_2 in pixels: the area of the image that counts as one independent observation of the phase.

    A_2 = sum over lags of the normalised S2, here 1 + sum_r 2 pi r S2n(r) up to its first zero: beyond it stand the
    noise of the estimate and, for media with a preferred distance, oscillations that would only lower it (so it errs on
    the safe side). Where S2n has no zero within the curve, A_2 is a lower bound.

    >>> integral_range(np.array([0.5, 0.25, 0.25]))  # neighbours are independent: every pixel is an observation
    1.0
    """
    shape = normalised_two_point(s2)
    below = np.flatnonzero(shape <= 0)
    r = np.arange(below[0] if below.size else shape.size)
    return float(1 + np.sum(2 * np.pi * r * shape[: r.size])) if r.size else 1.0


def standard_error(phi: float, integral_range: float, area: float) -> float:
    """Standard error sqrt(phi (1 - phi) A_2 / A) of a volume fraction measured on an area A (same unit as A_2)."""
    return float(np.sqrt(phi * (1 - phi) * integral_range / area))


def quarter_error_rates(labels: Integer[np.ndarray, "h w"], phases: int, r_max: int) -> list[dict[str, float]]:
    """Largest error rate of the S2 and lineal path of a quarter of the image against the whole, per phase, in
    percent."""
    h, w = (n // _BLOCKS for n in labels.shape)
    blocks = np.stack(
        [labels[i * h : (i + 1) * h, j * w : (j + 1) * w] for i in range(_BLOCKS) for j in range(_BLOCKS)]
    )
    whole = image_statistics(labels, phases=phases, r_max=r_max)
    s2, path = (np.asarray(c) for c in block_curves(blocks, phases=phases, r_max=r_max))
    return [
        {
            "two_point": max(error_rate(quarter, np.asarray(whole.two_point[0, p])) for quarter in s2[:, p]),
            "lineal_path": max(error_rate(quarter, np.asarray(whole.lineal_path[0, p])) for quarter in path[:, p]),
        }
        for p in range(phases)
    ]


def _of_phase(s2: np.ndarray, area: int, quarters: dict[str, float]) -> dict:
    phi, a2 = float(s2[0]), integral_range(s2)
    sigma = standard_error(phi, a2, area)
    edges = {
        f"edge_for_{round(100 * accuracy)}_percent": int(np.ceil(2 * np.sqrt(phi * (1 - phi) * a2) / (accuracy * phi)))
        for accuracy in _ACCURACIES
    }
    return {
        "volume_fraction": round(phi, 6),
        "standard_error": round(sigma, 6),
        "relative_error_percent": round(200 * sigma / phi, 3),
        "integral_range": round(a2, 2),
        **edges,
        "two_point_quarters": round(quarters["two_point"], 3),
        "lineal_path_quarters": round(quarters["lineal_path"], 3),
    }
