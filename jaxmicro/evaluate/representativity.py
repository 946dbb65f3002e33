"""Representativity of one micrograph: errors of its volume fractions and curves against those of the material,
expected differences of volumes of the same material, and the image size for a given accuracy."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from jaxmicro.evaluate.metrics import normalised_two_point
from jaxmicro.evaluate.scatter import fraction_covariance
from jaxmicro.evaluate.statistics import PlaneStatistics, image_covariance, image_statistics
from jaxmicro.evaluate.uncertainty import Contrasts, contrasts, student_weights
from jaxmicro.types import ArrayLike

KNOWN, ODD = 0.90, 0.99  # levels of the quantiles of errors of the micrograph, and of differences without a warning
_ACCURACIES = (0.01, 0.05)  # relative errors for which the necessary size of an image is given
_DRAWS = 4000  # samples of the errors: they determine the 99th percentile within 3 %
_REACH = 64  # pixels: largest lag of the covariance that contributes to the variance of volumes
_TINY = 1e-12  # lower bound of denominators, where a phase is absent or fills the image


def representativity(
    labels: Integer[np.ndarray, "h w"], phases: int, *, r_max: int = 32, shapes: Sequence[Sequence[int]] = ()
) -> list[dict]:
    """Errors of the statistics of a micrograph against those of its material, for each phase.

    "error_90" has the 90 % quantiles of these errors (see `uncertainty`; `experiments/coverage` measures their
    coverage): "volume_fraction" (absolute), "two_point" and "lineal_path" (error rates, percent), "two_point_shape"
    (shape error, dimensionless), "surface_area" (percent). "directions" has the differences of S2 (shape error) and
    lineal path (error rate, percent) between the two directions of the micrograph, "directions_99" the 99 % quantiles
    of these differences in an isotropic material. "correlation_length" is the integral of the normalised covariance
    along y and x up to its first zero, in pixels.

    With the shapes of volumes, "volumes_99" has the 99 % quantiles of the errors against the micrograph of the mean
    over windows of these shapes of the material, "volume_directions_99" those of the largest difference between the
    three directions of that mean. The ratio of the variance between volumes to that of the micrograph is assumed to be
    the same for statistics of planes as for the volume fraction.

    The standard error of phi measured on an area A is sigma = sqrt(phi (1 - phi) A_2 / A) with the integral range A_2
    (see `integral_range`). The relative error is 2 sigma / phi (about 95 % confidence), inversely proportional to the
    edge of the image.

    Args:
        labels: labels of the micrograph.
        phases: number of phases.
        r_max: largest distance of the curves in pixels, below the shortest edge.
        shapes: z y x of each of the volumes that are compared with the micrograph.
    Returns:
        for each phase {"volume_fraction", "standard_error", "relative_error_percent", "integral_range" (pixels),
        "edge_for_1_percent", "edge_for_5_percent" (pixels), "error_90", "directions", "directions_99",
        "correlation_length", "volumes_99", "volume_directions_99"}, the last two None without shapes.
    Source: Kanit et al., Int. J. Solids Struct. 40 (2003) 3647; Lantuejoul, J. Microsc. 161 (1991) 387.
    """
    reach = max(r_max, min(labels.shape) // 2 - 1)
    covariance = np.asarray(image_covariance(labels, phases=phases, r_max=reach), float)
    curves = _on_host(image_statistics(labels, phases=phases, r_max=r_max))
    contrast = _on_host(contrasts(labels, phases=phases, r_max=r_max))
    weights = student_weights(4, _DRAWS)
    return [
        {
            **_of_fraction(float(curves.volume_fraction[p]), covariance[p], labels.size),
            **_of_curves(p, weights, contrast, curves, _scatter_ratio(covariance[p], labels.shape, shapes)),
        }
        for p in range(phases)
    ]


def differences(name: str, curves: Sequence[Sequence[float]] | ArrayLike) -> float:
    """Largest difference between the curves of any two directions: shape error of S2 ("two_point") or error rate of the
    lineal path in percent."""
    along = np.asarray(curves, float)
    pairs = along[:, None] - along[None]
    return float(np.max(_size(name, pairs, along.mean(axis=0)), initial=0.0))


def integral_range(covariance: Float[np.ndarray, " r"], area: float | int = np.inf) -> float:
    """Integral range A_2 in pixels: the area of the image that is worth one independent observation of the phase.

    A_2 is the sum of the covariance over all lags divided by its value at 0, here 1 + sum_r 2 pi r C(r) / C(0) up to
    the first zero of C. Beyond it the estimate is noise and, for media with a preferred distance, has oscillations that
    would only lower A_2, so it errs on the safe side. Where C has no zero within the curve, A_2 is a lower bound.

    Args:
        covariance: C at r = 0, 1, ... pixels, about the volume fraction of the same image.
        area: of that image in pixels. About the mean of the image, C is too small by the variance C(0) A_2 / area of
            that mean at each of the n lags of the sum; division by 1 - n / area corrects for it.

    >>> integral_range(np.array([0.25, 0.0, 0.0]))  # uncorrelated neighbours: each pixel is an observation
    1.0
    """
    r = np.arange(1, _first_zero(covariance))
    lags = 1 + np.sum(2 * np.pi * r)
    if covariance[0] <= 0:
        return 1.0
    total = 1 + np.sum(2 * np.pi * r * covariance[r]) / covariance[0]
    return float(total / (1 - lags / area)) if lags < area else float(area)


def standard_error(phi: float, integral_range: float, area: float | int) -> float:
    """Standard error sqrt(phi (1 - phi) A_2 / A) of a volume fraction measured on an area A, in the unit of A_2.

    >>> standard_error(0.5, 25.0, 100 * 100)
    0.025
    """
    return float(np.sqrt(phi * (1 - phi) * integral_range / area))


def _first_zero(covariance: np.ndarray) -> int:
    below = np.flatnonzero(covariance <= 0)
    return int(below[0]) if below.size else covariance.size


def _on_host(statistics):
    return type(statistics)(*(np.asarray(field, float) for field in statistics))


def _of_fraction(phi: float, covariance: np.ndarray, area: int) -> dict:
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
    }


def _of_curves(
    p: int, weights: Float[np.ndarray, "4 n b"], contrast: Contrasts, curves: PlaneStatistics, ratio: float | None
) -> dict:
    """Quantiles of errors and of differences between directions; `ratio`: variance of the mean of the volumes over that
    of the micrograph, None without volumes."""
    errors = _errors(p, weights[0], contrast, curves)
    image, volume = {}, {}
    for name, of, curve in (
        ("two_point", contrast.two_point_difference[:, p], curves.two_point[0, p]),
        ("lineal_path", contrast.lineal_path_difference[:, p], curves.lineal_path[0, p]),
    ):
        image[name] = _size(name, weights[0] @ of, curve)
        # three directions, whose differences have the variance of those of the image
        along = weights[1:] @ of / np.sqrt(2)
        volume[name] = np.max([_size(name, along[i] - along[i - 1], curve) for i in range(3)], axis=0)
    both = {"two_point": curves.two_point_along[:, p], "lineal_path": curves.lineal_path_along[:, p]}
    return {
        "error_90": _percentiles(errors, KNOWN),
        "directions": _rounded({name: differences(name, along) for name, along in both.items()}),
        "correlation_length": _rounded(
            {axis: _length(curve) for axis, curve in zip("yx", both["two_point"], strict=True)}
        ),
        "directions_99": _percentiles(image, ODD),
        "volumes_99": None if ratio is None else _percentiles(errors, ODD, scale=np.sqrt(1 + ratio)),
        "volume_directions_99": None if ratio is None else _percentiles(volume, ODD, scale=np.sqrt(ratio)),
    }


def _errors(
    p: int, weights: Float[np.ndarray, "n b"], contrast: Contrasts, curves: PlaneStatistics
) -> dict[str, Float[np.ndarray, " n"]]:
    """Samples of the error of each statistic of the micrograph against the material."""
    fraction, s2 = weights @ contrast.volume_fraction[:, p], weights @ contrast.two_point[:, p]
    phi, curve, edges = curves.volume_fraction[p], curves.two_point[0, p], curves.boundary_length[0, p]
    # The normalised S2 (S2 - phi^2) / (phi - phi^2) of each sample is not linearised: the covariance of an image about
    # its own fraction is too small by the variance of that fraction, which is of second order but always of one sign.
    shifted = (phi + fraction)[:, None]
    variance = np.maximum(shifted - shifted**2, max(phi - phi**2, _TINY) / 2)  # bounded for samples far in the tail
    shape = (curve + s2 - shifted**2) / variance - normalised_two_point(curve)
    return {
        "volume_fraction": np.abs(fraction),
        "two_point": 100 * np.trapezoid(np.abs(s2)) / max(np.trapezoid(curve), _TINY),
        "two_point_shape": np.mean(np.abs(shape), axis=-1),
        "lineal_path": _size("lineal_path", weights @ contrast.lineal_path[:, p], curves.lineal_path[0, p]),
        "surface_area": 100 * np.abs(weights @ contrast.boundary_length[:, p]) / max(edges, _TINY),
    }


def _size(name: str, difference: Float[np.ndarray, "*n r"], curve: ArrayLike) -> np.ndarray:
    """Norm of a difference of curves: the shape error of S2, or the error rate of the lineal path in percent."""
    if name == "two_point":
        return np.mean(np.abs(difference), axis=-1) / max(curve[0] - curve[0] ** 2, _TINY)
    return 100 * np.trapezoid(np.abs(difference)) / max(np.trapezoid(np.asarray(curve)), _TINY)


def _percentiles(sizes: dict[str, np.ndarray], level: float, *, scale: float = 1.0) -> dict[str, float]:
    return _rounded({name: scale * np.quantile(each, level) for name, each in sizes.items()})


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def _length(s2: ArrayLike) -> float:
    """Correlation length in pixels: integral of the normalised covariance of a direction up to its first zero."""
    covariance = normalised_two_point(np.asarray(s2))
    return float(np.trapezoid(np.append(covariance[: _first_zero(covariance)], 0.0)))


def _scatter_ratio(covariance: np.ndarray, area: Sequence[int], shapes: Sequence[Sequence[int]]) -> float | None:
    """Variance of the mean volume fraction of windows of these shapes over that of the image; None without shapes."""
    if not shapes:
        return None
    known = covariance[: min(_first_zero(covariance), _REACH + 1)][None, None]

    def variance(shape: Sequence[int]) -> float:
        return float(fraction_covariance(known, shape)[0, 0])

    of_volumes = np.mean([variance(shape) for shape in shapes]) / len(shapes)
    return float(of_volumes / max(variance(area), _TINY))
