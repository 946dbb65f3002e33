"""What was held while volumes were made beside what nothing held: the first lines of a report."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxmicro.evaluate.rounding import AXES, plain

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
# What is off by more is pointed out, if also a true piece of the material would hardly be as far off ("volumes_99").
_FAR = {"volume_fraction": 0.005, "two_point": 5.0, "two_point_shape": 0.02, "lineal_path": 5.0, "surface_area": 5.0}
_DENSITIES = ("euler_density", "clusters", "specks", "triple_points", "contacts")
OTHER_FRACTION = 0.02  # relative difference of a volume fraction from the micrograph's that is not rounding or scatter
_AREA = 1e4  # pixels for which densities are given


class Cell(NamedTuple):
    """One number of a table, and whether it differs by more than chance explains."""

    text: str
    outside: bool = False


class Table(NamedTuple):
    """A title, and rows of a name and one cell for each phase, or one for all."""

    title: str
    rows: list[tuple[str, list[Cell]]]


def overview(report: dict) -> dict:
    """What was held and what nothing held, by phase, as they stand side by side in the report.

    Args:
        report: of `compare`.
    Returns:
        {"phases": [{"phase", "held": {name: [volumes, micrograph] or an error rate in percent or a ratio},
        "independent": {name: {"mean", "expected", "difference", "chance", "outside"}}}], "compared", "outside"};
        "held" is what can be held where it is not known what was.
    """
    phases = []
    for phase, free in zip(report["phases"], report["independent"]["phases"], strict=True):
        known = {name: _value(name, phase) for name in HELD if phase[name] is not None}
        marked = {name for name in known if phase[name]["held"] is not False}
        chosen = {
            name: {key: part[key] for key in ("mean", "expected", "difference", "chance", "outside")
                   if key in part and not isinstance(part[key], list)}
            for name, part in free.items()
            if isinstance(part, dict) and part["held"] != "implied"
        }  # fmt: skip
        phases.append(
            {
                "phase": phase["phase"],
                "held": {name: value for name, value in known.items() if name in marked},
                "independent": {name: value for name, value in known.items() if name not in marked} | chosen,
            }
        )
    return {
        "held_is_known": report["held"] is not None,
        "phases": phases,
        "compared": report["independent"]["compared"],
        "outside": report["independent"]["outside"],
    }


def limits(report: dict, p: int) -> dict[str, float]:
    """Errors of a phase that a true piece of the material would hardly have, and which matter.

    Args:
        report: of `compare`.
        p: the phase.
    Returns:
        of "volume_fraction" the absolute difference, of "two_point", "lineal_path" and "surface_area" percent, of
        "two_point_shape" the shape error.
    """
    expected = report["representativity"][p]["volumes_99"] if report["representativity"] else {}
    return {name: max(far, expected.get(name, 0.0)) for name, far in _FAR.items()}


def asked(report: dict, quantity: str, phase: int | None = None) -> bool:
    """Whether the volumes were designed to differ from the micrograph in this, of one phase or of any; two phases share
    their interface."""
    wanted = [target.split(".") for target in report["targets"]]
    phases = [int(words[1]) for words in wanted if words[0].removeprefix("relative_") == quantity]
    return bool(phases) and (phase is None or len(report["phases"]) == 2 or phase in phases)


def held_table(report: dict) -> Table:
    """What was held; where that is not known, what can be."""
    held = report["held"]
    if held is None:
        title = "Can be held while sampling (here it is not known what was)"
    else:
        title = f"Held while the volumes were made: {'agreement is no evidence' if held else 'nothing'}"
    return Table(title, _held_rows(report, held=True))


def independent_table(report: dict) -> Table:
    """What nothing holds; ± is what the scatter of the micrograph explains."""
    found, per = report["independent"], f"per {_AREA:,.0f} pixels"
    phases = found["phases"]
    rows = _held_rows(report, held=False)
    for name, title in (("euler_density", "Euler density"), ("clusters", "clusters"), ("specks", "specks")):
        rows.append((f"{title}, {per}", [_density(phase[name]) for phase in phases]))
    if phases[0]["mean_chord_length"]["held"] != "implied":
        rows.append(("mean chord, pixels", [_compared(phase["mean_chord_length"], 1) for phase in phases]))
    chords = [_distance(phase["chord_length_distribution"], "px") for phase in phases]
    part = " (in part: lineal path)" if phases[0]["chord_length_distribution"]["held"] == "partly" else ""
    rows.append((f"chord lengths, distance{part}", chords))
    if found["triple_points"]:
        rows.append((f"triple points, {per}", [_density(found["triple_points"])]))
    for name, title in (("cross_correlation", "cross-correlation"), ("contacts", f"contact, {per}")):
        for each in found[name]:
            if each["held"] != "implied":
                cell = _distance(each, "%") if name == "cross_correlation" else _density(each)
                rows.append((f"{title}, phases {each['phases'][0]} and {each['phases'][1]}", [cell]))
    return Table("Held by nothing: evidence", rows + _rows_3d(report))


def _rows_3d(report: dict) -> list[tuple[str, list[Cell]]]:
    """In 3D, of which the micrograph says nothing."""
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
    """What was held and what that leaves as evidence, in sentences."""
    found, held = report["independent"], report["held"]
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
    if found["crops"] < 2:
        lines.append(
            f"The micrograph holds only one crop of {found['window']} x {found['window']} pixels: its scatter cannot "
            "be told, nor what differences in what nothing holds mean."
        )
        return lines
    count, size = len(found["outside"]), f"{found['window']} x {found['window']}"
    known = "is known to hold" if held is None else "holds"
    kinds = "Euler density, clusters, specks, chords" + ", triple points" * (found["triple_points"] is not None)
    within = "all are within" if count == 0 else f"{count} {'is' if count == 1 else 'are'} outside of"
    lines.append(
        f"Of {found['compared']} numbers that nothing {known} ({kinds}), {within} what the scatter of "
        f"{found['crops']} crops of {size} pixels of the micrograph explains."
    )
    return lines


def _at_other_fractions(report: dict) -> list[str]:
    """A sentence where volumes are held to other volume fractions than the micrograph's: their correlation and lineal
    path then cannot be its own."""
    fractions = [phase["volume_fraction"] for phase in report["phases"]]
    moved = [
        p for p, of in enumerate(fractions) if abs(of["mean"] - of["reference"]) > OTHER_FRACTION * of["reference"]
    ]
    others = [_HELD_IN_WORDS[name] for name in ("two_point", "lineal_path", "surface_area") if name in report["held"]]
    if not moved or not others or "volume_fraction" not in report["held"]:
        return []
    pairs = [(p, fractions[p]["reference"], fractions[p]["mean"]) for p in moved]
    changes = ", ".join(f"phase {p} {plain(before, 3)} -> {plain(after, 3)}" for p, before, after in pairs)
    names = " and ".join([", ".join(others[:-1])] * (len(others) > 1) + others[-1:])
    return [
        f"The volumes have other volume fractions than the micrograph ({changes}): what is held of {names} is scaled "
        "to these fractions, and errors relative to the micrograph's own curves contain that difference."
    ]


def doubts(report: dict) -> list[str]:
    """A warning where numbers that nothing holds differ."""
    found = report["independent"]
    if not found["outside"]:
        return []
    return [
        "Numbers that nothing holds differ from the micrograph by more than its scatter explains: "
        + "; ".join(_difference(found, name) for name in found["outside"])
        + ". The volumes are not quite the material, whatever is held."
    ]


def _difference(found: dict, name: str) -> str:
    kind, *phases = name.split(".")
    if kind == "triple_points":
        part, of = found[kind], ""
    elif len(phases) == 1:
        part, of = found["phases"][int(phases[0])][kind], f" of phase {phases[0]}"
    else:
        part = next(each for each in found[kind] if each["phases"] == [int(p) for p in phases])
        of = f" of phases {phases[0]} and {phases[1]}"
    if "expected" in part:
        scale, unit = (_AREA, f"per {_AREA:,.0f} pixels") if kind in _DENSITIES else (1.0, "pixels")
        volumes, expected, chance = (scale * part[key] for key in ("mean", "expected", "chance"))
        return f"{_IN_WORDS[kind]}{of} {plain(volumes, 3)} instead of {plain(expected, 3)} ± {plain(chance)} {unit}"
    unit = "%" if kind == "cross_correlation" else "pixels"
    return f"{_IN_WORDS[kind]}{of} {plain(part['difference'])} {unit} off, {plain(part['chance'])} are explained"


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
        # what is neither held nor can tell one material from another by chance, as slices, stands in its own table
        if not known or (known[0]["held"] is not False) != held or (name == "slice_steps" and not known[0]["held"]):
            continue
        rows.append((title, [_held_cell(report, p, name) for p in range(len(parts))]))
    return rows


def _held_cell(report: dict, p: int, name: str) -> Cell:
    """A number that can be held; where it was not, beside what a true piece of the material may differ by."""
    part = report["phases"][p][name]
    if part is None:
        return Cell("-")
    limit = None if part["held"] or asked(report, name, p) else limits(report, p).get(name)
    if name == "volume_fraction":
        within = "" if limit is None else f" ± {plain(limit)}"
        off = abs(part["mean"] - part["reference"])
        return Cell(f"{part['mean']:.4f} ({part['reference']:.4f}{within})", limit is not None and off > limit)
    if "error_rate" in part:
        within = "" if limit is None else f" (up to {plain(limit)})"
        return Cell(f"{part['error_rate']:.2f} %{within}", limit is not None and part["error_rate"] > limit)
    ratio = part.get("ratio", part["mean"])
    if ratio is None:
        return Cell("-")
    within = "" if limit is None else f" (1 ± {plain(limit / 100)})"
    return Cell(f"{ratio:.3f}{within}", limit is not None and 100 * abs(ratio - 1) > limit)


def yardstick(report: dict) -> str:
    """What the brackets beside numbers that can be held, but are not known to have been, mean; "" without any."""
    if all(phase[name]["held"] for phase in report["phases"] for name in _FAR if name in phase):
        return ""
    true = "what 99 of 100 true pieces of the material of this size would be within (at least "
    far = f"{100 * _FAR['volume_fraction']:g} percentage points, {_FAR['lineal_path']:g} %"
    within = f"{true}{far})" if report["representativity"] else f"limits of {far}"
    return f"of fraction, S2, lineal path and interface {within}"


def truth_table(report: dict) -> Table | None:
    """The volumes against the true volume in 3D, beside the range of its parts of the same size; None without one."""
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
            found = [each["axes"][axis]["diffusivity"] for each in report["transport"]["phases"]]
            rows.append((f"D_eff / D_0 along {axis}", [_beside(each, each["parts"], 3) for each in found]))
    count = truth["sub_volumes"]
    brackets = f"in brackets: its number; range of {count} parts of it, of the size of the volumes; * is beyond"
    return Table(f"In 3D, against the true volume ({brackets if count else 'in brackets: its number'})", rows)


def _of_truth(phase: dict, name: str, digits: int, scale: float | int = 1) -> Cell:
    return _beside(phase[name], phase["yardstick"] and phase["yardstick"][name]["volumes"], digits, scale)


def _area_of_truth(phase: dict) -> Cell:
    """Interface over that of the true volume (range of its parts)."""
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
    """Volumes (micrograph at their fractions ± what scatter explains)."""
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
