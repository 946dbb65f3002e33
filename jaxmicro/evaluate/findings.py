"""The findings of a comparison in plain sentences: what was compared, how close it is, what to be wary of."""

from collections.abc import Sequence

from jaxmicro.evaluate.metrics import error_rate

_FAR = {"two_point": 5.0, "lineal_path": 10.0}  # percent: error rates above these are called large
_FAR_AREA = 10.0  # percent: surface areas further off than this are called rough or smooth
_STRANGERS = 2.0  # ratio: steps from slice to slice along an axis that are further off, either way, are pointed out,
_SLICES = 32  # where there are as many slices at least
_UNSURE = 5.0  # percent: a volume fraction known worse than this is called uncertain
_UNEQUAL = 10.0  # percent: error rate between directions above which a medium is called anisotropic
_TITLES = {"two_point": "two-point correlation", "lineal_path": "lineal path"}


def summarise(report: dict) -> list[str]:
    """The result of `compare` in a few sentences for a reader who knows the material, not the software."""
    lines = [_what(report), _how_close(report)]
    if report["representativity"]:
        lines.append(_yardstick(report))
    lines.append(_connected(report))
    if report["memorisation"]:
        lines.append(_copies(report["memorisation"]))
    if report["true_volume"]:
        lines.append(_against_truth(report["true_volume"]))
    return lines


def warnings(report: dict) -> list[str]:
    """What a reader should know before using the volumes, most serious first; empty when nothing stands out."""
    found = []
    if report["memorisation"] and report["memorisation"]["flagged"]:
        memory = report["memorisation"]
        found.append(
            f"Memorisation: {memory['copied']} of {len(memory['generated'])} planes examined are nearly copies of a "
            "part of "
            "the micrograph. The volumes show less variety than the material; train for fewer steps or on a larger "
            "image."
        )
    for phase in report["phases"]:
        found += _phase_warnings(phase)
    found += _strange_slices(report)
    found += _anisotropy(report)
    found += _uncertain(report)
    if report["volumes"] == 1:
        found.append(
            "One volume only: nothing can be said about the spread between volumes; reconstruct at least four."
        )
    return found


def _what(report: dict) -> str:
    shapes = {tuple(s) for s in report["shapes"]}
    size = " x ".join(map(str, report["shapes"][0])) if len(shapes) == 1 else "various sizes"
    size += (
        f" voxels of {report['voxel_size']:g} {report['unit'] or ''}".rstrip() if report["voxel_size"] else " voxels"
    )
    count = "One volume" if report["volumes"] == 1 else f"{report['volumes']} volumes"
    shape = report["reference"]["shape"]
    kind = "the micrograph" if len(shape) == 2 else "the planes of the volume"
    name = f" {report['reference']['source']}" if report["reference"]["source"] else ""
    was = "was" if report["volumes"] == 1 else "were"
    pairs = " Periodic volumes are measured over all their pairs of voxels." if any(report["periodic"]) else ""
    return f"{count} of {size} {was} compared with {kind}{name} ({' x '.join(map(str, shape))} pixels).{pairs}"


def _how_close(report: dict) -> str:
    phases = report["phases"]
    s2, path = (_span([p[name]["error_rate"] for p in phases]) for name in _TITLES)
    fractions = max(abs(p["volume_fraction"]["mean"] - p["volume_fraction"]["reference"]) for p in phases)
    areas = [p["surface_area"]["error_percent"] for p in phases if p["surface_area"]["error_percent"] is not None]
    area = f" The amount of interface per phase is off by at most {max(areas):.2g} %." if areas else ""
    return (
        f"Averaged over the volumes, the two-point correlations are {s2} off and the lineal paths {path} "
        f"(area between the curves over the area under the reference), distances up to {report['r_max']} voxels. "
        f"Volume fractions agree within {fractions:.2g}.{area}"
    )


def _yardstick(report: dict) -> str:
    parts = report["representativity"]
    s2, path = (max(p[f"{name}_quarters"] for p in parts) for name in _TITLES)
    return (
        f"For scale: a quarter of the micrograph differs from the whole by up to {s2:.2g} % (two-point correlation) "
        "and "
        f"{path:.2g} % (lineal path). Errors below this are within what the micrograph itself can tell."
    )


def _connected(report: dict) -> str:
    shares = [f"phase {p['phase']} {100 * p['percolating_fraction']['mean']:.3g} %" for p in report["phases"]]
    return f"Share of each phase that connects opposite faces (mean of three directions): {', '.join(shares)}."


def _copies(memory: dict) -> str:
    verdict = (
        f"{memory['copied']} of {len(memory['generated'])} planes are nearly copies of the micrograph"
        if memory["flagged"]
        else "no copies of the micrograph were found"
    )
    return (
        f"Memorisation: {verdict} (nearest crop at distance {memory['nearest']:.2f}; separate parts of the micrograph "
        f"come as close as {memory['yardstick']:.2f}; 0 is a copy, 1 no likeness)."
    )


def _against_truth(truth: dict) -> str:
    phases = truth["phases"]
    s2, path = (_span([p[name]["error_rate"] for p in phases]) for name in _TITLES)
    line = f"Against the true volume, in 3D, the two-point correlations are {s2} off and the lineal paths {path}."
    if phases[0]["yardstick"]:
        own = [max(max(p["yardstick"][name]["error_rate_volumes"]) for p in phases) for name in _TITLES]
        line += f" Its own parts of the same size differ from it by up to {own[0]:.2g} % and {own[1]:.2g} %."
    return line


def _phase_warnings(phase: dict) -> list[str]:
    found, p = [], phase["phase"]
    for name, limit in _FAR.items():
        if phase[name]["error_rate"] > limit:
            found.append(
                f"Phase {p}: the {_TITLES[name]} is {phase[name]['error_rate']:.2g} % off, more than {limit:g} %."
            )
    ratio = phase["surface_area"]["ratio"]
    if ratio is not None and abs(ratio - 1) * 100 > _FAR_AREA:
        word = "rougher or finer" if ratio > 1 else "smoother or coarser"
        found.append(f"Phase {p}: {ratio:.2f} times the interface of the micrograph; the volumes are {word}.")
    if min(phase["volume_fraction"]["volumes"]) == 0:
        found.append(f"Phase {p} is missing from at least one volume.")
    return found


def _strange_slices(report: dict) -> list[str]:
    if min(min(shape) for shape in report["shapes"]) < _SLICES:
        return []
    found, steps = [], [phase["slice_steps"]["axes"] for phase in report["phases"] if phase["slice_steps"]]
    for axis in steps[0] if steps else ():
        along = [ratios[axis] for ratios in steps]
        more, less = max(along), min(along)
        if more > _STRANGERS:
            found.append(
                f"Neighbouring slices along {axis} differ up to {more:.2g} times as much in a volume fraction as their "
                "S2 foretells: they may be shuffled, badly aligned, or lack slices in between."
            )
        elif less < 1 / _STRANGERS:
            found.append(
                f"Neighbouring slices along {axis} differ only {less:.2g} times as much in a volume fraction as their "
                "S2 foretells: the volume may be stretched along it, or repeat its slices."
            )
    return found


def _anisotropy(report: dict) -> list[str]:
    for phase in report["phases"]:
        for name, title in _TITLES.items():
            original = list(phase[name]["reference_directions"].values())
            unequal = _unequal(original)
            if len(report["reference"]["shape"]) == 2 and unequal > _UNEQUAL:
                return [
                    f"The micrograph is anisotropic: the {title} of phase {phase['phase']} differs by {unequal:.2g} "
                    "% between "
                    "its two directions. A volume made from one image assumes that all three planes look alike."
                ]
            made = _unequal(list(phase[name]["directions"].values()))
            if made > 2 * _UNEQUAL:
                return [
                    f"The volumes are anisotropic: the {title} of phase {phase['phase']} differs by up to {made:.2g} "
                    "% between "
                    "directions."
                ]
    return []


def _uncertain(report: dict) -> list[str]:
    worst = max(report["representativity"] or [], key=lambda part: part["relative_error_percent"], default=None)
    if worst is None or worst["relative_error_percent"] <= _UNSURE:
        return []
    p = report["representativity"].index(worst)
    edge = worst["edge_for_5_percent"]
    return [
        f"The micrograph is small for this material: it fixes the volume fraction of phase {p} only to within "
        f"{worst['relative_error_percent']:.2g} % of its value; 5 % would need about {edge} x {edge} pixels."
    ]


def _unequal(curves: Sequence[Sequence[float]]) -> float:
    """Largest error rate between curves of different directions, percent."""
    return max((error_rate(a, b) for i, a in enumerate(curves) for b in curves[:i] if sum(b) > 0), default=0.0)


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return f"{low} %" if low == high else f"{low} to {high} %"
