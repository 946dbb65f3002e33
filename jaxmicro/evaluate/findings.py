"""The findings of a comparison in plain sentences: what was compared, how close it is, what to be wary of."""

from collections.abc import Sequence

import numpy as np

from jaxmicro.evaluate.overview import asked, doubts, evidence, limits
from jaxmicro.evaluate.representativity import differences, representativity
from jaxmicro.evaluate.rounding import plain
from jaxmicro.types import Microstructure

_UNEQUAL = {"two_point": 0.03, "lineal_path": 10.0}  # differences between directions, as "directions_99"
_STRANGERS = 1.15  # ratio: steps from slice to slice along an axis that are further off, either way, are pointed out
_SLICES = 32  # where there are as many slices at least
_UNSURE = 5.0  # percent: a volume fraction known worse than this is called uncertain
_TITLES = {"two_point": "two-point correlation", "lineal_path": "lineal path"}


def summarise(report: dict) -> list[str]:
    """The result of `compare` in a few sentences for a reader who knows the material, not the software."""
    lines = [_what(report), *evidence(report), _how_close(report)]
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
    absent = [p["phase"] for p in report["phases"] if p["volume_fraction"]["mean"] == 0]
    if absent:
        found.append(
            f"The micrograph has {len(report['phases'])} phases; phase{'s' * (len(absent) > 1)} "
            f"{' and '.join(map(str, absent))} {'is' if len(absent) == 1 else 'are'} absent in all volumes, which may "
            "be of another material."
        )
    found += doubts(report)
    for p in range(len(report["phases"])):
        found += _phase_warnings(report, p)
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
    area = f" The amount of interface per phase is off by at most {plain(max(areas))} %." if areas else ""
    return (
        f"Averaged over the volumes, the two-point correlations are {s2} off and the lineal paths {path} "
        f"(area between the curves over the area under the reference), distances up to {report['r_max']} voxels. "
        f"Volume fractions agree within {plain(fractions)}.{area}"
    )


def _yardstick(report: dict) -> str:
    parts = []
    for p, part in enumerate(report["representativity"]):
        known = part["error_90"]
        parts.append(
            f"phase {p}: {plain(known['two_point'])} % (two-point correlation), {plain(known['lineal_path'])} % "
            f"(lineal path), {plain(known['surface_area'])} % (interface), {plain(known['volume_fraction'])} "
            "(volume fraction)"
        )
    return (
        "How well the micrograph knows its material: of ten micrographs of this size, nine differ from the material by "
        f"no more than this: {'; '.join(parts)}. Smaller errors of the volumes say nothing about the material."
    )


def _connected(report: dict) -> str:
    shares = [f"phase {p['phase']} {plain(100 * p['percolating_fraction']['mean'], 3)} %" for p in report["phases"]]
    return f"Share of each phase that connects opposite faces (mean of three directions): {', '.join(shares)}."


def _copies(memory: dict) -> str:
    verdict = (
        f"{memory['copied']} of {len(memory['generated'])} planes are nearly copies of the micrograph"
        if memory["flagged"]
        else "no copies of the micrograph were found"
    )
    return (
        f"Memorisation: {verdict} (nearest crop at distance {memory['nearest']:z.2f}; separate parts of the micrograph "
        f"come as close as {memory['yardstick']:z.2f}; 0 is a copy, 1 no likeness)."
    )


def _against_truth(truth: dict) -> str:
    phases = truth["phases"]
    s2, path = (_span([p[name]["error_rate"] for p in phases]) for name in _TITLES)
    line = f"Against the true volume, in 3D, the two-point correlations are {s2} off and the lineal paths {path}."
    if phases[0]["yardstick"]:
        own = [max(max(p["yardstick"][name]["error_rate_volumes"]) for p in phases) for name in _TITLES]
        line += f" Its own parts of the same size differ from it by up to {plain(own[0])} % and {plain(own[1])} %."
    return line


def _phase_warnings(report: dict, p: int) -> list[str]:
    found, phase = [], report["phases"][p]
    allowed = limits(report, p)
    fraction, ratio = phase["volume_fraction"], phase["surface_area"]["ratio"]
    off, limit = abs(fraction["mean"] - fraction["reference"]), allowed["volume_fraction"]
    if off > limit and not asked(report, "volume_fraction"):
        found.append(
            f"Phase {p}: volume fraction {plain(fraction['mean'], 3)} instead of {plain(fraction['reference'], 3)}; "
            f"{_beyond(report, plain(limit))}"
        )
    off, limit = phase["two_point"]["shape_error"], allowed["two_point_shape"]
    if off > limit:
        found.append(
            f"Phase {p}: the shape of the two-point correlation, (S2 - phi^2) / (phi - phi^2), is {plain(off)} off on "
            f"average over the distances (1 would be all of it); {_beyond(report, plain(limit))}"
        )
    off, limit = phase["lineal_path"]["error_rate"], allowed["lineal_path"]
    if off > limit:
        found.append(f"Phase {p}: the lineal path is {plain(off)} % off; {_beyond(report, f'{plain(limit)} %')}")
    limit = allowed["surface_area"]
    if ratio is not None and abs(ratio - 1) * 100 > limit and not asked(report, "surface_area", p):
        word = "rougher or finer" if ratio > 1 else "smoother or coarser"
        found.append(
            f"Phase {p}: {ratio:.2f} times the interface of the micrograph; the volumes are {word}; "
            f"{_beyond(report, f'{plain(limit)} %')}"
        )
    if min(phase["volume_fraction"]["volumes"]) == 0 < fraction["mean"]:  # in all of them: `warnings` says so first
        found.append(f"Phase {p} is missing from at least one volume.")
    return found


def _beyond(report: dict, limit: str) -> str:
    if not report["representativity"]:
        return f"the limit is {limit}."
    return f"99 of 100 true pieces of the material of this size would be within {limit}."


def _strange_slices(report: dict) -> list[str]:
    """Axes along which neighbouring slices differ by more or less than in an isotropic volume: a line for each kind."""
    phases = [phase["slice_steps"] for phase in report["phases"] if phase["slice_steps"]]
    if not phases or min(min(shape) for shape in report["shapes"]) < _SLICES:
        return []
    more, less = {}, {}
    for axis in phases[0]["axes"]:
        # how far beyond the range of isotropic volumes, either way
        most = max(phases, key=lambda steps: steps["axes"][axis] / steps["expected_99"][axis][1])
        least = min(phases, key=lambda steps: steps["axes"][axis] / steps["expected_99"][axis][0])
        if most["axes"][axis] > max(_STRANGERS, most["expected_99"][axis][1]):
            more[axis] = most
        elif least["axes"][axis] < min(1 / _STRANGERS, least["expected_99"][axis][0]):
            less[axis] = least
    made_here = report["held"] is not None  # by a run of this program, which shuffles and repeats nothing
    found = []
    if more:
        cause = (
            "its planes fit together less well than those of the material"
            if made_here
            else "they may be shuffled, badly aligned, or lack slices in between"
        )
        found.append(f"{_of_slices(more, 'up to')}: {cause}.")
    if less:
        cause = (
            "structures are longer along it than in the planes"
            if made_here
            else "the volume may be stretched along it, or repeat its slices"
        )
        found.append(f"{_of_slices(less, 'only')}: {cause}.")
    return found


def _of_slices(axes: dict[str, dict], word: str) -> str:
    """By how much slices along some axes differ, in words."""
    each = [f"along {axis} differ {word} {plain(steps['axes'][axis])} times" for axis, steps in axes.items()]
    ranges = [steps["expected_99"][axis] for axis, steps in axes.items()]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (
        f"Neighbouring slices {', '.join(each)} as much in a volume fraction as expected of an isotropic medium with "
        f"their S2 ({low:.2f} to {high:.2f} in 99 of 100 volumes of this size)"
    )


def micrograph_directions(parts: Sequence[dict]) -> tuple[str, bool]:
    """By how much a micrograph differs between its two axes, beside its scatter, and what follows if that is more.

    Args:
        parts: what `representativity` returns of it.
    Returns:
        a sentence, and whether the micrograph is anisotropic.
    """
    cases = [(p, name) for p in range(len(parts)) for name in _TITLES]
    # relative to what is called unequal
    excess = [parts[p]["directions"][name] / _limit(name, parts[p]["directions_99"]) for p, name in cases]
    (p, name), anisotropic = cases[int(np.argmax(excess))], max(excess) > 1
    difference = _difference(name, p, parts[p]["directions"][name], parts[p]["directions_99"])
    if not anisotropic:
        return f"The two directions of the micrograph agree: {difference}.", False
    along = parts[p]["correlation_length"]
    return (
        f"The micrograph is anisotropic: between its two directions {difference}; its correlation length is "
        f"{plain(along['y'])} pixels along y and {plain(along['x'])} along x. A volume made from one image looks alike "
        "along all three axes: it is not of this material."
    ), True


def directions(micrograph: Microstructure, *, r_max: int = 32) -> tuple[str, bool]:
    """By how much a micrograph differs between its axes, beside its scatter, in words, and whether that is more.

    Of a volume the middle planes normal to each axis are looked at, and the first that is anisotropic is told of.
    """
    labels, images = micrograph.labels, [("", micrograph.labels)]
    if labels.ndim == 3:
        planes = zip("zyx", (np.take(labels, n // 2, axis) for axis, n in enumerate(labels.shape)), strict=True)
        images = [(f"In the middle plane normal to {axis}: ", plane) for axis, plane in planes if min(plane.shape) > 3]
    found = []
    for where, image in images:
        parts = representativity(image, micrograph.phases, r_max=min(r_max, min(image.shape) // 2))
        line, anisotropic = micrograph_directions(parts)
        found.append((where + line, anisotropic))
    return max(found, key=lambda each: each[1])


def _limit(name: str, expected: dict) -> float:
    """Difference between directions that is called anisotropy: beyond the scatter, and large enough to matter."""
    return max(_UNEQUAL[name], expected[name])


def _anisotropy(report: dict) -> list[str]:
    """Of the micrograph, or of the volumes unless they were designed for an axis: the first that is found."""
    designed, known = any(target.count(".") == 2 for target in report["targets"]), report["representativity"]
    if known:
        line, anisotropic = micrograph_directions(known)
        if anisotropic:
            return [line]
    for p, phase in enumerate(report["phases"]):
        for name in _TITLES:
            made = differences(name, list(phase[name]["directions"].values()))
            expected = known[p]["volume_directions_99"] if known else {name: 2 * _UNEQUAL[name]}
            if made > _limit(name, expected) and not designed:
                return [f"The volumes are anisotropic: between directions {_difference(name, p, made, expected)}."]
    return []


def _difference(name: str, p: int, found: float, expected: dict) -> str:
    unit = " %" if name == "lineal_path" else " of its range"
    return (
        f"the {_TITLES[name]} of phase {p} differs by {plain(found)}{unit} (of 100 isotropic ones of this size 99 "
        f"differ by less than {plain(expected[name])}{unit})"
    )


def _uncertain(report: dict) -> list[str]:
    worst = max(report["representativity"] or [], key=lambda part: part["relative_error_percent"], default=None)
    if worst is None or worst["relative_error_percent"] <= _UNSURE:
        return []
    p = report["representativity"].index(worst)
    edge = worst["edge_for_5_percent"]
    return [
        f"The micrograph is small for this material: it fixes the volume fraction of phase {p} only to within "
        f"{plain(worst['relative_error_percent'])} % of its value; 5 % would need about {edge} x {edge} pixels."
    ]


def _span(values: Sequence[float]) -> str:
    low, high = plain(min(values)), plain(max(values))
    return f"{low} %" if low == high else f"{low} to {high} %"
