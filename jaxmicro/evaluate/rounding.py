"""Numbers of a report: six digits, by axis, as mean and spread."""

from collections.abc import Sequence

import numpy as np

AXES = ("z", "y", "x")


def number(value) -> float:
    """Six significant digits."""
    return float(f"{float(value):.6g}")


def plain(value: float | int, digits: int = 2) -> str:
    """Significant digits as a person writes them: without an exponent.

    >>> plain(318.2), plain(0.0318), plain(12), plain(3.14e-6), plain(float("inf"))
    ('320', '0.032', '12', '0.0000031', 'inf')
    """
    return np.format_float_positional(float(f"{float(value):.{digits}g}"), trim="-")


def numbers(values) -> list[float]:
    """The same of each."""
    return [number(v) for v in values]


def by_axis(values) -> dict:
    """Numbers, or curves, by the letter of their axis."""
    return {axis: numbers(v) if np.ndim(v) else number(v) for axis, v in zip(AXES, values, strict=True)}


def mean_and_spread(values: Sequence | np.ndarray) -> dict:
    """{"mean", "std", "volumes"} of the values of several volumes; without a finite mean the spread is NaN."""
    mean = np.mean(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 and np.isfinite(mean) else 0.0 * float(mean)
    return {"mean": number(mean), "std": number(spread), "volumes": numbers(values)}
