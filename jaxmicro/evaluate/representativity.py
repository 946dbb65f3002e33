"""How well one micrograph knows the material: the standard error of its volume fractions and curves, and the image size
that a given accuracy would need."""

import numpy as np
from jaxtyping import Float, Integer

from jaxmicro.evaluate.metrics import error_rate
from jaxmicro.evaluate.statistics import block_curves, image_covariance

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
    covariance = np.asarray(image_covariance(labels, phases=phases, r_max=reach), float)
    quarters = quarter_error_rates(labels, phases, min(r_max, min(labels.shape) // _BLOCKS - 1))
    return [_of_phase(float(np.mean(labels == p)), covariance[p], labels.size, quarters[p]) for p in range(phases)]


def integral_range(covariance: Float[np.ndarray, " r"], area: float | int = np.inf) -> float:
    """Integral range A_2 in pixels: the area of the image that counts as one independent observation of the phase.

    A_2 = sum over all lags of the covariance over its value at 0, here 1 + sum_r 2 pi r C(r) / C(0) up to the first
    zero of C. Beyond it stand the noise of the estimate and, for media with a preferred distance, oscillations that
    would only lower A_2, so it errs on the safe side. Where C has no zero within the curve, A_2 is a lower bound.

    Args:
        covariance: C at r = 0, 1, ... pixels, measured about the volume fraction of the same image.
        area: of that image in pixels. Measured about its own mean, C is too small by the variance C(0) A_2 / area of
            that mean at every one of the n lags of the sum, which division by 1 - n / area makes up for.

    >>> integral_range(np.array([0.25, 0.0, 0.0]))  # neighbours are independent: every pixel is an observation
    1.0
    """
    below = np.flatnonzero(covariance <= 0)
    r = np.arange(1, below[0] if below.size else covariance.size)
    lags = 1 + np.sum(2 * np.pi * r)
    if covariance[0] <= 0:
        return 1.0
    total = 1 + np.sum(2 * np.pi * r * covariance[r]) / covariance[0]
    return float(total / (1 - lags / area)) if lags < area else float(area)


def standard_error(phi: float, integral_range: float, area: float | int) -> float:
    """Standard error sqrt(phi (1 - phi) A_2 / A) of a volume fraction measured on an area A (same unit as A_2)."""
    return float(np.sqrt(phi * (1 - phi) * integral_range / area))


def quarter_error_rates(labels: Integer[np.ndarray, "h w"], phases: int, r_max: int) -> list[dict[str, float]]:
    """Largest error rate of the S2 and lineal path of a quarter of the image against the whole, per phase, in
    percent."""
    h, w = (n // _BLOCKS for n in labels.shape)
    blocks = np.stack(
        [labels[i * h : (i + 1) * h, j * w : (j + 1) * w] for i in range(_BLOCKS) for j in range(_BLOCKS)]
    )
    whole_s2, whole_path = (np.asarray(c)[0] for c in block_curves(labels[None], phases=phases, r_max=r_max))
    s2, path = (np.asarray(c) for c in block_curves(blocks, phases=phases, r_max=r_max))
    return [
        {
            "two_point": max(error_rate(quarter, whole_s2[p]) for quarter in s2[:, p]),
            "lineal_path": max(error_rate(quarter, whole_path[p]) for quarter in path[:, p]),
        }
        for p in range(phases)
    ]


def _of_phase(phi: float, covariance: np.ndarray, area: int, quarters: dict[str, float]) -> dict:
    a2 = integral_range(covariance, area)
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
