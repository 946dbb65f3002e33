"""Numbers of a report: rounded to six digits, by axis, as mean and standard deviation."""

from collections.abc import Sequence

import numpy as np

from jaxmicro.types import AXES


def number(value) -> float:
    """The value rounded to six significant digits.

    >>> number(0.123456789)
    0.123457
    """
    return float(f"{float(value):.6g}")


def plain(value: float | int, digits: int = 2) -> str:
    """A number with so many significant digits as text without an exponent.

    >>> plain(318.2), plain(0.0318), plain(12), plain(3.14e-6), plain(float("inf"))
    ('320', '0.032', '12', '0.0000031', 'inf')
    """
    return np.format_float_positional(float(f"{float(value):.{digits}g}"), trim="-")


def numbers(values) -> list[float]:
    """The values rounded to six significant digits."""
    return [number(v) for v in values]


def by_axis(values) -> dict:
    """Rounded numbers or curves by the letter of their axis.

    >>> by_axis([1, 2, 3])
    {'z': 1.0, 'y': 2.0, 'x': 3.0}
    """
    return {axis: numbers(v) if np.ndim(v) else number(v) for axis, v in zip(AXES, values, strict=True)}


def mean_and_spread(values: Sequence | np.ndarray) -> dict:
    """{"mean", "std", "volumes"} of the values of several volumes; "std" is NaN without a finite mean."""
    mean = np.mean(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 and np.isfinite(mean) else 0.0 * float(mean)
    return {"mean": number(mean), "std": number(spread), "volumes": numbers(values)}
