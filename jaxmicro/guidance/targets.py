"""Targets of a design: their notation, and the numbers they stand for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxmicro.errors import UserError, perhaps_meant
from jaxmicro.guidance.quantities import QUANTITIES

Relation = Literal["=", ">=", "<="]
AXES = "zyx"
CURVES = ("two_point", "lineal_path")  # functions of distance, whose only target is that of the micrograph
SHARES = ("volume_fraction", "relative_surface_area")  # shares of a whole, which may be given in percent
PER_LENGTH = ("surface_area",)  # unit: 1 / length
_FORM = "QUANTITY.PHASE[.AXIS]=VALUE, with >= or <= instead of = for a bound"
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE = re.compile(
    rf"(?P<change>[+-]{_NUMBER})%|(?P<percent>{_NUMBER})%|(?P<signed>[+-]{_NUMBER})(?:/\S+)?"
    rf"|((?P<factor>{_NUMBER})\*)?(?P<word>max|min|micrograph)|(?P<number>{_NUMBER})(?:(?:\s+1)?/(?P<per>[^\d\s/]+))?"
)


@dataclass(frozen=True)
class Target:
    """A target for one number or curve of a volume.

    Attributes:
        quantity: name in `QUANTITIES`, or in `CURVES` for a curve of the micrograph.
        phase: label, 0..P-1.
        axis: 0, 1, 2 for z, y, x; None where the quantity has no direction, or for the mean over all.
        relation: "=" for equality, ">=" or "<=" if the value is a bound.
        value: target number, lengths in voxels; NaN for a curve.
        tolerance: largest relative deviation at which the target is met; of a curve, its error rate.
        weight: of its misfit relative to those of other targets.
        each: whether the target applies to each section, not only to their mean.
        periodic: for a diffusivity or tortuosity factor, whether it is that of the medium repeated periodically instead
            of that of the volume between two opposite faces. `pipeline.design` sets it for periodic volumes.
    """

    quantity: str
    phase: int
    value: float
    axis: int | None = None
    relation: Relation = "="
    tolerance: float = 0.02
    weight: float = 1.0
    each: bool = False
    periodic: bool = False

    @property
    def name(self) -> str:
        """The name in the notation of targets: quantity.phase.axis."""
        return self.name_with(())

    def name_with(self, names: Sequence[str]) -> str:
        """The name with the name of the phase, if phases have names."""
        phase = names[self.phase] if names else self.phase
        return f"{self.quantity}.{phase}" + ("" if self.axis is None else f".{AXES[self.axis]}")

    def deviation(self, achieved: float) -> float:
        """Relative deviation of a number from the target; 0 where a bound is satisfied.

        >>> Target("diffusivity", phase=0, value=0.1, relation=">=").deviation(0.2)
        0.0
        """
        relative = (achieved - self.value) / abs(self.value)
        return (
            max(relative, 0.0) if self.relation == "<=" else min(relative, 0.0) if self.relation == ">=" else relative
        )


@dataclass(frozen=True)
class TargetSpec:
    """A target as written: its value may be relative to a number that is not known yet.

    Attributes:
        kind: "number"; "change": value is a factor on the number of the reconstruction, or for quantities of sections
            of the micrograph; "max", "min" or "micrograph": value is a factor on the largest, smallest or mean number
            over crops of the micrograph.
        per: unit of length in the unit 1 / length of a number, as written ("nm", "voxel"); None: that of the material,
            if it has one.
    """

    quantity: str
    phase: int
    axis: int | None
    relation: Relation
    kind: Literal["number", "change", "max", "min", "micrograph"]
    value: float
    per: str | None = None

    @property
    def name(self) -> str:
        """The name, as `Target.name`."""
        return self._target.name

    @property
    def _target(self) -> Target:
        return Target(self.quantity, self.phase, self.value, self.axis)

    def __str__(self) -> str:
        return self.text()

    def text(self, names: Sequence[str] = ()) -> str:
        """The target in the notation that `parse_target` reads, with the names of the phases if they have any."""
        value = {
            "number": f"{self.value:.4g}" + (f"/{self.per}" if self.per else ""),
            "change": f"{100 * (self.value - 1):+.4g}%",
        }.get(self.kind, (f"{self.value:g}*" if self.value != 1 else "") + self.kind)
        return f"{self._target.name_with(names)}{self.relation}{value}"


@dataclass(frozen=True)
class LengthUnit:
    """Unit of length of the numbers of a material: that of its voxel size, or the voxel where that is unknown.

    Attributes:
        voxel_size: edge of a voxel in `unit`.
    """

    voxel_size: float | None = None
    unit: str | None = None

    def unit_of(self, quantity: str) -> str:
        """Unit of a quantity: "1/nm", "1/voxel"; empty for numbers without one, "% off" for curves."""
        if quantity in CURVES:
            return "% off"
        return f"1/{self.unit if self._known else 'voxel'}" if quantity in PER_LENGTH else ""

    def factor(self, quantity: str) -> float:
        """Factor from a number in voxels to one in this unit."""
        return 1 / self.voxel_size if quantity in PER_LENGTH and self._known and self.voxel_size else 1.0

    def formatted(self, quantity: str, number: float) -> str:
        """A number given in voxels as text in this unit, with that in voxels if they differ: 0.002/nm (0.13/voxel).

        >>> LengthUnit(65.0, "nm").formatted("surface_area", 0.13)
        '0.002/nm (0.13/voxel)'
        """
        if quantity not in PER_LENGTH:
            return f"{number:.4g}"
        voxels = f"{number:.4g}/voxel"
        return f"{number * self.factor(quantity):.4g}/{self.unit} ({voxels})" if self._known else voxels

    def text(self, target: Target, names: Sequence[str] = ()) -> str:
        """A target as text in this unit, with the names of the phases if they have any."""
        value = "micrograph" if target.quantity in CURVES else self.formatted(target.quantity, target.value)
        return f"{target.name_with(names)}{target.relation}{value}"

    @property
    def _known(self) -> bool:
        return self.voxel_size is not None and self.unit is not None


def parse_target(text: str, *, phases: int, names: Sequence[str] = ()) -> TargetSpec:
    """Read a target: QUANTITY.PHASE[.AXIS]=VALUE, or with >= or <=.

    VALUE is one of: a number, for an area per volume also with its unit, "0.002/nm" or "0.13/voxel", and for a share
    also in percent, "40%" for 0.4; a relative change, "+20%" or "-10%"; "max" or "min", the largest or smallest over
    crops of the micrograph; "micrograph", the number of the micrograph; a multiple of these, "2*max".

    Args:
        phases: number of phases of the material.
        names: of the phases, by label, if they have any.
    Raises:
        UserError: when the text cannot be read, or its quantity, phase or axis does not exist.

    >>> parse_target("diffusivity.pore.z>=0.05", phases=2, names=["pore", "solid"])
    TargetSpec(quantity='diffusivity', phase=0, axis=0, relation='>=', kind='number', value=0.05, per=None)
    """
    match = re.fullmatch(r"\s*([^=<>]+?)\s*(>=|<=|=)\s*([^=<>]+)", text)
    if not match:
        of_number = text.split(".")[0].strip() in QUANTITIES and not re.search(r"[=<>\s]", text.strip())
        bound = f', in quotes, "{text.strip()}>=VALUE", as the shell takes a bare > away' if of_number else ""
        raise UserError(f"target {text!r} cannot be read; expected {_FORM}{bound}")
    left, relation, right = match.groups()
    quantity, *rest = left.split(".")
    known = [*QUANTITIES, *CURVES]
    if quantity not in known:
        suggestion = perhaps_meant(quantity, known)
        raise UserError(f"target {text!r}: no quantity {quantity!r}{suggestion}; there are {', '.join(known)}")
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
    kind, value, per = _value(text, quantity, re.sub(r"\s*([%/*])\s*", r"\1", right.strip()))
    if quantity in CURVES and (kind, relation, value) != ("micrograph", "=", 1.0):
        raise UserError(
            f"target {text!r}: {quantity} can only be that of the micrograph: {quantity}.{rest[0]}=micrograph"
        )
    if kind in ("max", "min", "micrograph") and quantity in QUANTITIES and QUANTITIES[quantity].of_plane is None:
        raise UserError(f"target {text!r}: a micrograph has no {quantity} in 3D; give a number, or a change as +20%")
    return TargetSpec(quantity, phase, axis, relation, kind, value, per)  # pyright: ignore[reportArgumentType]


def _phase(text: str, word: str, phases: int, names: Sequence[str]) -> int:
    """The label of a phase given by name or number."""
    if word in names:
        return list(names).index(word)
    if word.isdecimal() and int(word) < phases:
        return int(word)
    choices = ", ".join([*map(str, range(phases)), *names])
    raise UserError(f"target {text!r}: no phase {word!r}; there are {choices}")


def _value(text: str, quantity: str, word: str) -> tuple[str, float, str | None]:
    """Kind, value and unit from the text right of the relation."""
    match = _VALUE.fullmatch(word)
    kind, value, per = "number", float("nan"), None
    if match and match["change"]:
        kind, value = "change", 1 + float(match["change"]) / 100
    elif match and match["percent"]:
        value = float(match["percent"]) / 100
        if quantity not in SHARES:
            raise UserError(
                f"target {text!r}: {word} without a sign could be a number or a change; give +{word} for a change of "
                f"what there is, or {value:g} for the number"
            )
        if value > 1:
            raise UserError(f"target {text!r}: a share is at most 100%; with a sign, +{word}, it is a change")
    elif match and match["signed"]:
        raise UserError(
            f"target {text!r}: {word!r} is no value, for a number has no sign and a change is in percent; give "
            f"{word[1:]} for the number, or a change of what there is such as {word[0]}5%"
        )
    elif match and match["word"]:
        kind, value = match["word"], float(match["factor"] or 1)
    elif match and match["number"]:
        value, per = float(match["number"]), match["per"]
    if not 0 < value < float("inf"):
        raise UserError(
            f"target {text!r}: {word!r} is no value; give a number above 0, a change as +20%, or max, min, micrograph"
        )
    if per is not None and quantity not in PER_LENGTH:
        raise UserError(f"target {text!r}: {quantity} is a number without a unit; leave out /{per}")
    return kind, value, per
