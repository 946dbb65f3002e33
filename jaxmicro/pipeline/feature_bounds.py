"""Bounds that hold for the features of every sample, and so for what may be asked of any.

Of a phase with volume fraction phi, along one axis: D_eff / D_0 <= phi (layers, Wiener), tortuosity factor = phi /
(D_eff / D_0) >= 1, and both say alike whether it percolates. The interface of two phases is one; of more phases the
area of none is larger than that of all others together.
"""

import math
from collections.abc import Mapping

from jaxmicro.errors import UserError

_SLACK = 0.06  # relative: numbers that a person writes have two digits
_SHARES = ("volume_fraction", "percolating_fraction", "diffusivity")


def check_possible(targets: Mapping[str, float], phases: int) -> None:
    """Refuses targets that no sample can have, alone or together.

    Args:
        targets: value of each feature by its name; of unknown names nothing is checked.
        phases: number of phases of the samples.
    Raises:
        UserError: a target violates a bound, or targets exclude each other; the message names these.

    >>> check_possible({"volume_fraction.0": 0.4, "diffusivity.0.z": 0.5}, 2)
    Traceback (most recent call last):
    ...
    jaxmicro.errors.UserError: diffusivity.0.z=0.5 is above the bound of Wiener, volume_fraction.0=0.4 (layers along \
the axis): ask for less, or for more of the phase
    """
    for name, value in targets.items():
        quantity = name.split(".")[0]
        if quantity in _SHARES and not 0 <= value <= 1:
            raise UserError(f"{name}={value:g} is none of its values, which are 0 to 1; ask for one of these")
        if quantity == "tortuosity" and value < 1 - 1e-6:
            raise UserError(f"{name}={value:g}: tortuosity factors are at least 1; ask for more")
        if quantity == "surface_area" and value < 0:
            raise UserError(f"{name}={value:g}: areas are at least 0; ask for more")
    for p in range(phases):
        for axis in sorted({name[-1] for name in targets if name.startswith(("diffusivity.", "tortuosity."))}):
            _check_transport(targets, p, axis)
    _check_areas(targets, phases)


def _check_transport(targets: Mapping[str, float], p: int, axis: str) -> None:
    """Volume fraction, diffusivity, tortuosity factor and percolating fraction of one phase along one axis."""
    names = [f"volume_fraction.{p}", *(f"{of}.{p}.{axis}" for of in ("diffusivity", "tortuosity"))]
    phi, d_eff, tau = (targets.get(name) for name in names)
    percolating = targets.get(f"percolating_fraction.{p}.{axis}")
    text = {name: f"{name}={targets[name]:.4g}" for name in names if name in targets}
    if d_eff is not None and phi is not None and d_eff > phi * (1 + _SLACK):
        raise UserError(
            f"{text[names[1]]} is above the bound of Wiener, {text[names[0]]} (layers along the axis): ask for less, "
            "or for more of the phase"
        )
    if d_eff is not None and tau is not None:
        blocked = (d_eff == 0, math.isinf(tau))
        if blocked[0] != blocked[1] or (not blocked[0] and d_eff * tau > 1 + _SLACK):
            raise UserError(
                f"{text[names[1]]} and {text[names[2]]} contradict each other: their product is the volume fraction; "
                "leave one out"
            )
        if phi is not None and not blocked[0] and abs(d_eff * tau - phi) > _SLACK * phi:
            raise UserError(
                f"{text[names[1]]} and {text[names[2]]} contradict {text[names[0]]}, which is their product "
                f"({d_eff * tau:.4g}); leave one out"
            )
    conducts = [value > 0 for value in (d_eff, None if tau is None else 1 / tau) if value is not None]
    if percolating is not None and any(yes != (percolating > 0) for yes in conducts):
        raise UserError(
            f"percolating_fraction.{p}.{axis}={percolating:g} contradicts "
            f"{' and '.join(t for n, t in text.items() if n != names[0])}: a phase conducts where it percolates; "
            "leave one out"
        )


def _check_areas(targets: Mapping[str, float], phases: int) -> None:
    """The areas of all phases: each interface belongs to two of them."""
    areas = {name: targets[name] for p in range(phases) if (name := f"surface_area.{p}") in targets}
    if len(areas) < phases:
        return
    largest = max(areas, key=lambda name: areas[name])
    others = math.fsum(areas.values()) - areas[largest]
    if areas[largest] > others * (1 + _SLACK):
        listed = " ".join(f"{name}={value:.4g}" for name, value in areas.items())
        law = "two phases have one interface" if phases == 2 else "each interface belongs to two phases"
        raise UserError(f"{listed} contradict each other: {law}; leave one out")
