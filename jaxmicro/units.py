"""Units of length: one spelling for each, and comparison of lengths across units (0.05 um is 50 nm)."""

import re
from collections.abc import Sequence

from jaxmicro.errors import UserError

_METRES = {"pm": 1e-12, "angstrom": 1e-10, "nm": 1e-9, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "inch": 0.0254, "m": 1.0}
_NAMES = {
    "pm": "picometer picometre",
    "angstrom": "a å å ångström angström angstroms angstrom",
    "nm": "nanometer nanometre nanometers nanometres nanometer(s)",
    "um": "micron microns micrometer micrometre micrometers micrometres µm μm \\u00b5m um µ μ micrometer(s)",
    "mm": "millimeter millimetre millimeters millimetres",
    "cm": "centimeter centimetre centimeters centimetres",
    "inch": 'in inches "',
    "m": "meter metre meters metres",
}
_SPELLINGS = {name: unit for unit, names in _NAMES.items() for name in (unit, *names.split())}
_NO_UNIT = ("", "pixel", "pixels", "voxel", "voxels", "px", "none", "arbitrary", "reference frame", "referenceframe")
_TOLERANCE = 1e-3  # relative; calibrations are often stored as fractions of small integers
_ROUNDING = 1e-6  # relative; smaller differences come from the rounding of units and file formats


def plain_unit(unit: str | None) -> str | None:
    """Unit in its ASCII spelling, such as um for all spellings of the micrometre; None for pixels.

    Raises:
        UserError: the unit has characters that image formats cannot store.

    >>> plain_unit("Micron"), plain_unit("µm"), plain_unit("pixel"), plain_unit("furlong")
    ('um', 'um', None, 'furlong')
    """
    unit = (unit or "").strip()
    if unit.lower() in _NO_UNIT:
        return None
    # case is ignored: some programs write MM for mm, and megametres (Mm) do not occur
    unit = _SPELLINGS.get(unit.lower(), unit)
    if not (unit.isascii() and unit.isprintable()):
        raise UserError(
            f"unit {unit!r} has characters that image formats cannot store; use plain letters, like um or nm"
        )
    return unit


def with_unit(name: str, unit: str) -> str:
    """Name of a number with its unit, if it has one.

    >>> with_unit("surface_area.0", "1/nm"), with_unit("chi", "")
    ('surface_area.0 (1/nm)', 'chi')
    """
    return f"{name} ({unit})" if unit else name


def is_length(unit: str) -> bool:
    """Whether this is a known unit of length in any of its spellings, or pixels.

    >>> is_length("Microns"), is_length("pixel"), is_length("furlong")
    (True, True, False)
    """
    return plain_unit(unit) in (None, *_METRES)


def ratio(unit: str | None, other: str | None) -> float | None:
    """Number of units `other` in one `unit`; None if unknown.

    >>> ratio("um", "nm"), ratio(None, None), ratio("nm", None)
    (1000.0, 1.0, None)
    """
    unit, other = plain_unit(unit), plain_unit(other)
    if unit == other:
        return 1.0
    if unit not in _METRES or other not in _METRES:
        return None
    return float(f"{_METRES[unit] / _METRES[other]:.12g}")  # 1000, not 999.9999999999999


def same_length(length: float, unit: str | None, other: float, other_unit: str | None) -> bool:
    """Whether two lengths are equal to 0.1 %, each in its own unit.

    >>> same_length(0.05, "um", 50.0, "nm"), same_length(50.0, "um", 50.0, "nm")
    (True, False)
    """
    factor = ratio(unit, other_unit)
    return factor is not None and abs(length * factor / other - 1) <= _TOLERANCE


def in_one_unit(lengths: Sequence[float], units: Sequence[str | None]) -> tuple[tuple[float, ...], str | None]:
    """Lengths along the axes, in the unit of the last; lengths that differ only by rounding become equal.

    Raises:
        UserError: a unit is unknown, so that it cannot be converted.

    >>> in_one_unit((0.0165, 16.5, 16.5), ("um", "nm", "nm"))
    ((16.5, 16.5, 16.5), 'nm')
    """
    unit = plain_unit(units[-1])
    factors = [ratio(other, unit) for other in units]
    if None in factors:
        names = ", ".join(dict.fromkeys(str(plain_unit(other)) for other in units))
        raise UserError(
            f"the voxel edges have the units {names}, which cannot be compared, so the voxel size is unknown; "
            "give it with --voxel-size and --unit"
        )
    last = lengths[-1]
    edges = (length * factor for length, factor in zip(lengths, factors, strict=True) if factor is not None)
    return tuple(last if abs(edge - last) <= _ROUNDING * abs(last) else edge for edge in edges), unit


def cubic(spacing: Sequence[float]) -> bool:
    """Whether the edges of a voxel are equal to 0.1 %."""
    return max(spacing) - min(spacing) <= _TOLERANCE * min(spacing)


def readable(metres: float) -> tuple[float, str]:
    """A length in metres as (value, unit), in the unit in which the value is 1 to 1000, rounded to twelve digits.

    >>> readable(2.5e-7), readable(3.52777777777e-4)
    ((250.0, 'nm'), (352.777777777, 'um'))
    """
    unit = next((u for u in ("mm", "um", "nm") if metres >= _METRES[u]), "pm")
    return float(f"{metres / _METRES[unit]:.12g}"), unit


def quantity(text: str) -> tuple[float, str | None]:
    """A positive length and its unit, None if the text has no unit.

    Raises:
        UserError: the text is neither a positive number nor one followed by a unit.

    >>> quantity("100nm"), quantity("0.1 µm"), quantity("2")
    ((100.0, 'nm'), (0.1, 'um'), (2.0, None))
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([^\d\s.]\S*)?\s*", text)
    try:
        length = float(match[1]) if match else 0.0
    except ValueError:
        length = 0.0
    if not match or not 0 < length < float("inf"):
        raise UserError(f"{text!r} is not a length; give a positive number, or one with its unit, such as 100nm")
    return length, plain_unit(match[2])
