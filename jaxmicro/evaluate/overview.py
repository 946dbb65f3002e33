"""Constrained and independent statistics side by side: the first tables and sentences of a report.

One file, because tables and sentences share tolerances, names and units of the statistics.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxmicro.evaluate.rounding import plain
from jaxmicro.types import AXES

HELD = {
    "volume_fraction": "volume fraction",
    "two_point": "S2 error rate",
    "lineal_path": "lineal path error rate",
    "surface_area": "interface, ratio",
    "slice_steps": "slice to slice, ratio",
}
_HELD_IN_WORDS = {
    "volume_fraction": "volume fractions",
    "two_point": "two-point correlation",
    "lineal_path": "lineal path",
    "surface_area": "interface",
    "slice_steps": "steps from slice to slice",
}
_IN_WORDS = {
    "euler_density": "Euler density",
    "clusters": "number of clusters",
    "specks": "number of specks",
    "mean_chord_length": "mean chord length",
    "chord_length_distribution": "chord length distribution",
    "triple_points": "number of triple points",
    "cross_correlation": "cross-correlation",
    "contacts": "contact",
}
# Errors that are reported as warnings are larger than these, and than those of 99 of 100 samples of the same material
# and size ("volumes_99").
_MIN_LIMITS = {
    "volume_fraction": 0.005,
    "two_point": 5.0,
    "two_point_shape": 0.02,
    "lineal_path": 5.0,
    "surface_area": 5.0,
}
_DENSITIES = ("euler_density", "clusters", "specks", "triple_points", "contacts")
OTHER_FRACTION = 0.02  # relative difference from the volume fraction of the micrograph, above rounding and scatter
_AREA = 1e4  # pixels (or voxels) to which densities refer


class Cell(NamedTuple):
    """One number of a table as text, and whether its difference exceeds the tolerance."""

    text: str
    outside: bool = False


class Table(NamedTuple):
    """A title and rows, each of a name and one cell per phase, or a single cell for all phases."""

    title: str
    rows: list[tuple[str, list[Cell]]]


def overview(report: dict) -> dict:
    """Constrained and independent statistics of each phase, as the report shows them side by side.

    Args:
        report: of `compare`.
    Returns:
        {"phases": [{"phase", "held": {name: [volumes, micrograph] or an error rate in percent or a ratio},
        "independent": {name: {"mean", "expected", "difference", "chance", "outside"}}}], "compared", "outside"};
        where the constraints are not known, "held" has all statistics that can be constrained.
    """
    phases = []
    for phase, free in zip(report["phases"], report["independent"]["phases"], strict=True):
        values = {name: _value(name, phase) for name in HELD if phase[name] is not None}
        constrained = {name for name in values if phase[name]["held"] is not False}
        free_values = {
            name: {key: part[key] for key in ("mean", "expected", "difference", "chance", "outside")
                   if key in part and not isinstance(part[key], list)}
            for name, part in free.items()
            if isinstance(part, dict) and part["held"] != "implied"
        }  # fmt: skip
        phases.append(
            {
                "phase": phase["phase"],
                "held": {name: value for name, value in values.items() if name in constrained},
                "independent": {name: value for name, value in values.items() if name not in constrained} | free_values,
            }
        )
    return {
        "held_is_known": report["held"] is not None,
        "phases": phases,
        "compared": report["independent"]["compared"],
        "outside": report["independent"]["outside"],
    }


def limits(report: dict, p: int) -> dict[str, float]:
    """Tolerances of the errors of a phase: the 99 % quantile for samples of the same material, at least _MIN_LIMITS.

    Args:
        report: of `compare`.
        p: the phase.
    Returns:
        absolute difference of "volume_fraction", percent for "two_point", "lineal_path" and "surface_area", shape error
        for "two_point_shape".
    """
    expected = report["representativity"][p]["volumes_99"] if report["representativity"] else {}
    return {name: max(least, expected.get(name, 0.0)) for name, least in _MIN_LIMITS.items()}


def is_design_target(report: dict, quantity: str, phase: int | None = None) -> bool:
    """Whether the volumes were designed for a target of this quantity, of one phase or (None) of any; two phases share
    their interface."""
    targets = [target.split(".") for target in report["targets"]]
    phases = [int(words[1]) for words in targets if words[0].removeprefix("relative_") == quantity]
    return bool(phases) and (phase is None or len(report["phases"]) == 2 or phase in phases)


def held_table(report: dict) -> Table:
    """Table of the constrained statistics; where the constraints are not known, of all that can be constrained."""
    held = report["held"]
    if held is None:
        title = "Can be held while sampling (here it is not known what was)"
    else:
        title = f"Held while the volumes were made: {'agreement is no evidence' if held else 'nothing'}"
    return Table(title, _held_rows(report, held=True))


def independent_table(report: dict) -> Table:
    """Table of the independent statistics; ± is the tolerance from the scatter of the micrograph."""
    statistics, per = report["independent"], f"per {_AREA:,.0f} pixels"
    phases = statistics["phases"]
    rows = _held_rows(report, held=False)
    for name, title in (("euler_density", "Euler density"), ("clusters", "clusters"), ("specks", "specks")):
        rows.append((f"{title}, {per}", [_density(phase[name]) for phase in phases]))
    if phases[0]["mean_chord_length"]["held"] != "implied":
        rows.append(("mean chord, pixels", [_compared(phase["mean_chord_length"], 1) for phase in phases]))
    chords = [_distance(phase["chord_length_distribution"], "px") for phase in phases]
    part = " (in part: lineal path)" if phases[0]["chord_length_distribution"]["held"] == "partly" else ""
    rows.append((f"chord lengths, distance{part}", chords))
    if statistics["triple_points"]:
        rows.append((f"triple points, {per}", [_density(statistics["triple_points"])]))
    for name, title in (("cross_correlation", "cross-correlation"), ("contacts", f"contact, {per}")):
        for each in statistics[name]:
            if each["held"] != "implied":
                cell = _distance(each, "%") if name == "cross_correlation" else _density(each)
                rows.append((f"{title}, phases {each['phases'][0]} and {each['phases'][1]}", [cell]))
    return Table("Held by nothing: evidence", rows + _rows_3d(report))


def _rows_3d(report: dict) -> list[tuple[str, list[Cell]]]:
    """Rows of statistics in 3D, for which the micrograph has no value."""
    euler = [plain(_AREA * phase["euler_density"]["mean"], 3) for phase in report["independent"]["in_3d"]]
    percolating = [phase["percolating_fraction"]["axes"] for phase in report["phases"]]
    rows = [
        (f"in 3D: Euler density, per {_AREA:,.0f} voxels", [Cell(text) for text in euler]),
        ("in 3D: percolating along z, y, x, %", [Cell(_along(p, lambda v: f"{100 * v:.0f}")) for p in percolating]),
    ]
    if report["transport"]:
        axes = [phase["axes"] for phase in report["transport"]["phases"]]
        periodic = "_periodic" if axes[0]["z"]["diffusivity_periodic"] else ""
        for name, title, digits in (("diffusivity", "D_eff / D_0", 3), ("tortuosity_factor", "tortuosity factor", 2)):
            cells = [Cell(_along(each, lambda v, n=name, d=digits: _mean(v[n + periodic], d))) for each in axes]
            rows.append((f"in 3D: {title} along z, y, x{', periodic' * bool(periodic)}", cells))
    return rows


def evidence(report: dict) -> list[str]:
    """Sentences on the constraints, and on the agreement of the independent statistics."""
    statistics, held = report["independent"], report["held"]
    lines = []
    if held is None:
        lines.append(
            "It is not known what was held when these volumes were made: nothing is marked as held, and agreement in "
            "volume fractions, two-point correlation, lineal path and interface may have been brought about."
        )
    elif held:
        names = ", ".join(_HELD_IN_WORDS.get(name, f"{name} (a target)") for name in held)
        lines.append(
            f"Held while the volumes were made, so that agreement is no evidence that they are the material: {names}."
        )
        lines += _at_other_fractions(report)
    if statistics["crops"] < 2:
        lines.append(
            f"The micrograph holds only one crop of {statistics['window']} x {statistics['window']} pixels: its "
            "scatter cannot be told, nor whether differences in independent statistics are larger than it."
        )
        return lines
    count, size = len(statistics["outside"]), f"{statistics['window']} x {statistics['window']}"
    known = "is known to hold" if held is None else "holds"
    kinds = "Euler density, clusters, specks, chords" + ", triple points" * (statistics["triple_points"] is not None)
    within = "all are within" if count == 0 else f"{count} {'is' if count == 1 else 'are'} outside of"
    lines.append(
        f"Of {statistics['compared']} numbers that nothing {known} ({kinds}), {within} what the scatter of "
        f"{statistics['crops']} crops of {size} pixels of the micrograph explains."
    )
    return lines


def _at_other_fractions(report: dict) -> list[str]:
    """A sentence for volumes constrained to other volume fractions than the micrograph's, whose S2 and lineal path are
    then scaled to these fractions."""
    fractions = [phase["volume_fraction"] for phase in report["phases"]]
    changed = [
        p for p, of in enumerate(fractions) if abs(of["mean"] - of["reference"]) > OTHER_FRACTION * of["reference"]
    ]
    others = [_HELD_IN_WORDS[name] for name in ("two_point", "lineal_path", "surface_area") if name in report["held"]]
    if not changed or not others or "volume_fraction" not in report["held"]:
        return []
    pairs = [(p, fractions[p]["reference"], fractions[p]["mean"]) for p in changed]
    changes = ", ".join(f"phase {p} {plain(before, 3)} -> {plain(after, 3)}" for p, before, after in pairs)
    names = " and ".join([", ".join(others[:-1])] * (len(others) > 1) + others[-1:])
    return [
        f"The volumes have other volume fractions than the micrograph ({changes}): what is held of {names} is scaled "
        "to these fractions, and errors relative to the micrograph's own curves contain that difference."
    ]


def doubts(report: dict) -> list[str]:
    """A warning that lists the independent statistics outside of their tolerances; empty where there are none."""
    statistics = report["independent"]
    if not statistics["outside"]:
        return []
    return [
        "Statistics that were not constrained differ from the micrograph by more than its scatter explains: "
        + "; ".join(_difference(statistics, name) for name in statistics["outside"])
        + ". The volumes differ from the material, even where the constraints are met."
    ]


def _difference(statistics: dict, name: str) -> str:
    kind, *phases = name.split(".")
    if kind == "triple_points":
        part, of = statistics[kind], ""
    elif len(phases) == 1:
        part, of = statistics["phases"][int(phases[0])][kind], f" of phase {phases[0]}"
    else:
        part = next(each for each in statistics[kind] if each["phases"] == [int(p) for p in phases])
        of = f" of phases {phases[0]} and {phases[1]}"
    if "expected" in part:
        scale, unit = (_AREA, f"per {_AREA:,.0f} pixels") if kind in _DENSITIES else (1.0, "pixels")
        volumes, expected, chance = (scale * part[key] for key in ("mean", "expected", "chance"))
        return f"{_IN_WORDS[kind]}{of} {plain(volumes, 3)} instead of {plain(expected, 3)} ± {plain(chance)} {unit}"
    unit = "%" if kind == "cross_correlation" else "pixels"
    return f"{_IN_WORDS[kind]}{of} differs by {plain(part['difference'])} {unit} (tolerance {plain(part['chance'])})"


def _value(name: str, phase: dict):
    part = phase[name]
    if name == "volume_fraction":
        return [part["mean"], part["reference"]]
    return part.get("error_rate", part.get("ratio", part["mean"]))


def _held_rows(report: dict, *, held: bool) -> list[tuple[str, list[Cell]]]:
    rows = []
    for name, title in HELD.items():
        parts = [phase[name] for phase in report["phases"]]
        known = [part for part in parts if part is not None]
        # slice steps have no value in the micrograph to compare with: they are shown only where they are constrained
        if not known or (known[0]["held"] is not False) != held or (name == "slice_steps" and not known[0]["held"]):
            continue
        rows.append((title, [_held_cell(report, p, name) for p in range(len(parts))]))
    return rows


def _held_cell(report: dict, p: int, name: str) -> Cell:
    """A statistic that can be constrained; where it was not, with its tolerance (`limits`)."""
    part = report["phases"][p][name]
    if part is None:
        return Cell("-")
    limit = None if part["held"] or is_design_target(report, name, p) else limits(report, p).get(name)
    if name == "volume_fraction":
        within = "" if limit is None else f" ± {plain(limit)}"
        error = abs(part["mean"] - part["reference"])
        return Cell(f"{part['mean']:.4f} ({part['reference']:.4f}{within})", limit is not None and error > limit)
    if "error_rate" in part:
        within = "" if limit is None else f" (up to {plain(limit)})"
        return Cell(f"{part['error_rate']:.2f} %{within}", limit is not None and part["error_rate"] > limit)
    ratio = part.get("ratio", part["mean"])
    if ratio is None:
        return Cell("-")
    within = "" if limit is None else f" (1 ± {plain(limit / 100)})"
    return Cell(f"{ratio:.3f}{within}", limit is not None and 100 * abs(ratio - 1) > limit)


def yardstick(report: dict) -> str:
    """Meaning of the tolerances in brackets beside statistics that are not known to be constrained; "" without any."""
    if all(phase[name]["held"] for phase in report["phases"] for name in _MIN_LIMITS if name in phase):
        return ""
    quantile = "what 99 of 100 true pieces of the material of this size would be within (at least "
    least = f"{100 * _MIN_LIMITS['volume_fraction']:g} percentage points, {_MIN_LIMITS['lineal_path']:g} %"
    within = f"{quantile}{least})" if report["representativity"] else f"limits of {least}"
    return f"of fraction, S2, lineal path and interface {within}"


def truth_table(report: dict) -> Table | None:
    """Table of the volumes against the true volume in 3D, with the range of its parts of the same size; None without a
    true volume."""
    truth = report["true_volume"]
    if truth is None:
        return None
    phases = truth["phases"]
    rows = [("volume fraction", [_of_truth(each, "volume_fraction", 4) for each in phases])]
    for name in ("two_point", "lineal_path"):
        rows.append((HELD[name], [_rate_of_truth(each, name) for each in phases]))
    rows.append((HELD["surface_area"], [_area_of_truth(each) for each in phases]))
    rows.append(("percolating, %", [_of_truth(each, "percolating_fraction", 1, 100) for each in phases]))
    rows.append((f"Euler density, per {_AREA:,.0f} voxels", [_of_truth(e, "euler_density", 1, _AREA) for e in phases]))
    if report["transport"]:
        for axis in AXES:
            along = [each["axes"][axis]["diffusivity"] for each in report["transport"]["phases"]]
            rows.append((f"D_eff / D_0 along {axis}", [_beside(each, each["parts"], 3) for each in along]))
    count = truth["sub_volumes"]
    brackets = f"in brackets: its number; range of {count} parts of it, of the size of the volumes; * is beyond"
    return Table(f"In 3D, against the true volume ({brackets if count else 'in brackets: its number'})", rows)


def _of_truth(phase: dict, name: str, digits: int, scale: float | int = 1) -> Cell:
    return _beside(phase[name], phase["yardstick"] and phase["yardstick"][name]["volumes"], digits, scale)


def _area_of_truth(phase: dict) -> Cell:
    """Interface area over that of the true volume (range of its parts)."""
    area, parts = phase["surface_area"], phase["yardstick"]
    if area["ratio"] is None or not parts:
        return Cell("-" if area["ratio"] is None else f"{area['ratio']:.3f}")
    low, high = (bound(parts["surface_area"]["volumes"]) / area["reference"] for bound in (min, max))
    return Cell(f"{area['ratio']:.3f} ({low:.3f} to {high:.3f})", not low <= area["ratio"] <= high)


def _beside(part: dict, parts: Sequence[float] | None, digits: int, scale: float | int = 1) -> Cell:
    """Mean of the volumes (true volume; range of its parts)."""
    mean, true = (f"{scale * part[key]:z.{digits}f}" for key in ("mean", "reference"))
    if not parts:
        return Cell(f"{mean} ({true})")
    low, high = min(parts), max(parts)
    text = f"{mean} ({true}; {scale * low:z.{digits}f} to {scale * high:z.{digits}f})"
    return Cell(text, not low <= part["mean"] <= high)


def _rate_of_truth(phase: dict, name: str) -> Cell:
    """Error rate against the true volume (largest of its parts)."""
    rate = phase[name]["error_rate"]
    if not phase["yardstick"]:
        return Cell(f"{rate:.2f} %")
    largest = max(phase["yardstick"][name]["error_rate_volumes"])
    return Cell(f"{rate:.2f} % (up to {plain(largest)})", rate > largest)


def _density(part: dict) -> Cell:
    return _compared(part, _AREA)


def _compared(part: dict, scale: float | int) -> Cell:
    """Volumes (micrograph at the fractions of the volumes ± tolerance)."""
    chance = "" if part["chance"] is None else f" ± {plain(scale * part['chance'])}"
    return Cell(f"{plain(scale * part['mean'], 3)} ({plain(scale * part['expected'], 3)}{chance})", part["outside"])


def _distance(part: dict, unit: str) -> Cell:
    chance = "" if part["chance"] is None else f" (up to {plain(part['chance'])})"
    return Cell(f"{plain(part['difference'])} {unit}{chance}", part["outside"])


def _along(axes: dict, text: Callable[[Any], str]) -> str:
    return " ".join(text(axes[axis]) for axis in AXES)


def _mean(part: dict, digits: int) -> str:
    mean = part["mean"]
    return "inf" if mean is None or mean == float("inf") else f"{mean:.{digits}f}"
