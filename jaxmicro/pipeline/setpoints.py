"""Setpoints: the numbers that an optimisation is given so that the exactly measured values meet the targets.

An optimisation with soft phases does not reach its setpoints exactly. So setpoints are kept apart from the targets, and
corrected from round to round by the residuals.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxmicro.guidance import Target

MAX_SETPOINT_RATIO = 4.0  # between a setpoint and its nominal value
SLOPES = (0.3, 1.5)  # bounds of the slope of log value against log setpoint that is estimated from two rounds
_SIDES = {"=": 0.0, ">=": 0.5, "<=": -0.5}  # tolerances between the setpoint of an inequality and its bound


def nominal_setpoints(targets: Sequence[Target]) -> np.ndarray:
    """The values of the targets; for an inequality half a tolerance beyond its bound, so that it is satisfied."""
    return np.array([target.value * (1 + _SIDES[target.relation] * target.tolerance) for target in targets])


def next_setpoints(targets: Sequence[Target], history: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Setpoints after rounds of sampling: a secant step on the logarithms, each target by itself.

    Args:
        history: log of the setpoints and log of the values of each round; of a single one the slope is taken to be 1.
    Returns:
        Setpoints within a factor of MAX_SETPOINT_RATIO of the nominal ones; that of an inequality stays on its side.
    """
    setpoints, values = history[-1]
    nominal = nominal_setpoints(targets)
    slope = np.ones_like(setpoints)
    if len(history) > 1:
        change = setpoints - history[-2][0]
        moved = np.abs(change) > 1e-3
        slope[moved] = np.clip((values - history[-2][1])[moved] / change[moved], *SLOPES)
    return nominal * np.clip(
        np.exp(setpoints + (np.log(nominal) - values) / slope) / nominal, *setpoint_bounds(targets, MAX_SETPOINT_RATIO)
    )


def setpoint_bounds(targets: Sequence[Target], max_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of the ratio of a setpoint to its nominal value; that of an inequality stays on its
    side."""
    low = np.array([1.0 if target.relation == ">=" else 1 / max_ratio for target in targets])
    return low, np.array([1.0 if target.relation == "<=" else max_ratio for target in targets])


def without_values(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Targets without their values and tolerances, which are passed as setpoints: one program for all values."""
    return tuple(dataclasses.replace(target, value=1.0, tolerance=1.0) for target in targets)


def values_of(some: Sequence[Target], targets: Sequence[Target], values: Sequence[float]) -> np.ndarray:
    """The values that belong to some of the targets."""
    return np.array([value for target, value in zip(targets, values, strict=True) if target in some])
