"""Differences between two correlation functions: the error measures of the two papers and a normalised shape error."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

Curve = Float[np.ndarray, " r"] | Float[jax.Array, " r"] | Sequence[float]
"""A correlation function at r = 0, 1, ..., r_max voxels."""


def error_rate(curve: Curve, reference: Curve) -> float:
    """Error rate A_dis / A_ori x 100: area between two curves over the area under the reference.

    Args:
        curve: correlation function of the generated structure, dimensionless.
        reference: the same function of the original, at the same distances.
    Returns:
        Error in percent, 0 for equal curves. Areas are by the trapezoidal rule on |curve - reference| at the sampled
        distances, without the zero where the curves cross between two of them.
    Raises:
        ValueError: when the lengths differ.
    Source: P-Micro3Diff eq. 24.

    >>> round(error_rate([0.5, 0.3, 0.3], [0.5, 0.25, 0.25]), 6)
    12.0
    """
    a, b = _pair(curve, reference)
    return float(100 * np.trapezoid(np.abs(a - b)) / np.trapezoid(b))


def relative_area_error(curve: Curve, reference: Curve) -> float:
    """Relative error of the areas |1 - A_gen / A_ori| x 100; never above `error_rate`, since differences may cancel.

    Args:
        curve: correlation function of the generated structure, dimensionless.
        reference: the same function of the original, at the same distances.
    Returns:
        Error in percent.
    Raises:
        ValueError: when the lengths differ.
    Source: P-MicroLad section 3.7.

    >>> round(relative_area_error([0.5, 0.2, 0.3], [0.5, 0.25, 0.2]), 6)
    0.0
    """
    a, b = _pair(curve, reference)
    return float(100 * abs(1 - np.trapezoid(a) / np.trapezoid(b)))


def normalised_two_point(s2: Curve) -> Float[np.ndarray, " r"]:
    """Normalised S2: (S2(r) - phi^2) / (phi - phi^2) with phi = S2(0). For any volume fraction it is 1 at r = 0 and 0
    where the two ends are independent; 0 everywhere for phi = 0 or 1.

    >>> normalised_two_point([0.5, 0.375, 0.25]).tolist()
    [1.0, 0.5, 0.0]
    """
    values = np.asarray(s2, float)
    phi = values[0]
    variance = phi - phi**2
    return (values - phi**2) / variance if variance > 0 else np.zeros_like(values)


def shape_error(s2: Curve, reference: Curve) -> float:
    """Shape error: mean |difference| of the normalised S2 over the distances, an error of the morphology and not of the
    volume fraction.

    Args:
        s2: two-point correlation of the generated structure.
        reference: the same function of the original, at the same distances.
    Returns:
        Dimensionless, 0 for equal shapes; 0.01 is close, 0.1 is visibly different.
    Raises:
        ValueError: when the lengths differ.

    >>> shape_error([0.5, 0.375, 0.25], [0.5, 0.25, 0.25]) == 0.5 / 3
    True
    """
    a, b = _pair(s2, reference)
    return float(np.mean(np.abs(normalised_two_point(a) - normalised_two_point(b))))


def _pair(curve: Curve, reference: Curve) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(curve, float), np.asarray(reference, float)
    if a.shape != b.shape:
        raise ValueError(
            f"a curve of {a.size} distances cannot be compared with one of {b.size}; measure both to one r_max"
        )
    return a, b
