"""Targets of a design: what is asked for, in words, and what that is as a number."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxmicro.errors import UserError
from jaxmicro.guidance.quantities import QUANTITIES

Relation = Literal["=", ">=", "<="]
AXES = "zyx"
CURVES = ("two_point", "lineal_path")  # functions of the distance, which can be those of the micrograph
_FORM = "QUANTITY.PHASE[.AXIS]=VALUE, with >= or <= instead of = for a bound"
_VALUE = re.compile(
    r"(?P<sign>[+-])(?P<percent>\d+(\.\d+)?)%|((?P<factor>\d+(\.\d+)?)\*)?(?P<word>max|min|micrograph)|(?P<number>.+)"
)


@dataclass(frozen=True)
class Target:
    """One number that a volume should have.

    Attributes:
        quantity: name in `QUANTITIES`, or in `CURVES`: that of the micrograph.
        phase: label, 0..P-1.
        axis: 0, 1, 2 for z, y, x; None where the quantity has no direction, or for the mean over all.
        relation: "=" to hit the value, ">=" or "<=" to be on one side of it.
        value: wanted number; NaN for a curve.
        tolerance: relative deviation from the value that counts as met; of a curve its error rate.
        weight: of its misfit among those of other targets.
        each: whether each section should have the number, not only their mean.
    """

    quantity: str
    phase: int
    value: float
    axis: int | None = None
    relation: Relation = "="
    tolerance: float = 0.02
    weight: float = 1.0
    each: bool = False

    @property
    def name(self) -> str:
        """As it is written: quantity.phase.axis."""
        return self.called(())

    def called(self, names: Sequence[str]) -> str:
        """Its name with that of the phase, if phases have names."""
        phase = names[self.phase] if names else self.phase
        return f"{self.quantity}.{phase}" + ("" if self.axis is None else f".{AXES[self.axis]}")

    def deviation(self, achieved: float) -> float:
        """Relative deviation of a number from the target; 0 on the right side of a bound."""
        off = (achieved - self.value) / abs(self.value)
        return max(off, 0.0) if self.relation == "<=" else min(off, 0.0) if self.relation == ">=" else off


@dataclass(frozen=True)
class Wish:
    """A target as it was asked for: its value may be relative to what is not known yet.

    Attributes:
        kind: "number"; "change", value is a factor on the unguided number; "max", "min" or "micrograph", value is a
            factor on the largest, smallest or mean number over crops of the micrograph.
    """

    quantity: str
    phase: int
    axis: int | None
    relation: Relation
    kind: Literal["number", "change", "max", "min", "micrograph"]
    value: float


def parse_target(text: str, *, phases: int, names: Sequence[str] = ()) -> Wish:
    """Read a target: QUANTITY.PHASE[.AXIS]=VALUE, or with >= or <=.

    VALUE is a number; a change as "+20%" or "-10%"; "max" or "min", the largest or smallest over crops of the
    micrograph; "micrograph", what the micrograph has; or a multiple of these, "2*max".

    Args:
        phases: number of phases of the material.
        names: of the phases, by label, if they have any.
    Raises:
        UserError: it cannot be read, or names no quantity, phase or axis that there is.

    >>> parse_target("diffusivity.pore.z>=0.05", phases=2, names=["pore", "solid"])
    Wish(quantity='diffusivity', phase=0, axis=0, relation='>=', kind='number', value=0.05)
    """
    found = re.fullmatch(r"\s*([^=<>]+?)\s*(>=|<=|=)\s*(\S+)\s*", text)
    if not found:
        raise UserError(f"target {text!r} cannot be read; expected {_FORM}")
    left, relation, right = found.groups()
    quantity, *rest = left.split(".")
    known = [*QUANTITIES, *CURVES]
    if quantity not in known:
        raise UserError(f"target {text!r}: no quantity {quantity!r}; there are {', '.join(known)}")
    if not rest:
        raise UserError(f"target {text!r} names no phase; expected {_FORM}")
    phase = _phase(text, rest[0], phases, names)
    axis = None
    if len(rest) > 1:
        if quantity not in QUANTITIES or not QUANTITIES[quantity].directional:
            raise UserError(f"target {text!r}: {quantity} has no direction; leave out .{'.'.join(rest[1:])}")
        if len(rest) > 2 or rest[1] not in AXES or len(rest[1]) != 1:
            raise UserError(f"target {text!r}: no axis {'.'.join(rest[1:])!r}; there are z, y, x")
        axis = AXES.index(rest[1])
    kind, value = _value(text, right)
    if quantity in CURVES and (kind, relation, value) != ("micrograph", "=", 1.0):
        raise UserError(
            f"target {text!r}: {quantity} can only be that of the micrograph: {quantity}.{rest[0]}=micrograph"
        )
    if kind in ("max", "min", "micrograph") and quantity in QUANTITIES and QUANTITIES[quantity].of_plane is None:
        raise UserError(f"target {text!r}: a micrograph has no {quantity} in 3D; give a number, or a change as +20%")
    return Wish(quantity, phase, axis, relation, kind, value)  # pyright: ignore[reportArgumentType]


def _phase(text: str, word: str, phases: int, names: Sequence[str]) -> int:
    if word in names:
        return list(names).index(word)
    if word.isdecimal() and int(word) < phases:
        return int(word)
    there = ", ".join([*map(str, range(phases)), *names])
    raise UserError(f"target {text!r}: no phase {word!r}; there are {there}")


def _value(text: str, word: str) -> tuple[str, float]:
    found = _VALUE.fullmatch(word)
    assert found  # its last alternative takes anything
    kind, value = "number", float("nan")
    if found["percent"]:
        kind, value = "change", 1 + float(found["sign"] + found["percent"]) / 100
    elif found["word"]:
        kind, value = found["word"], float(found["factor"] or 1)
    else:
        with contextlib.suppress(ValueError):
            value = float(found["number"])
    if not 0 < value < float("inf"):
        raise UserError(
            f"target {text!r}: {word!r} is no value; give a number above 0, a change as +20%, or max, min, micrograph"
        )
    return kind, value
