"""Sentences on a comparison: what was compared, the differences, and warnings."""

from collections.abc import Sequence

import numpy as np

from jaxmicro.evaluate.overview import doubts, evidence, is_design_target, limits
from jaxmicro.evaluate.representativity import differences, representativity
from jaxmicro.evaluate.rounding import plain
from jaxmicro.types import Microstructure

_MIN_ANISOTROPY = {"two_point": 0.03, "lineal_path": 10.0}  # differences between directions, as "directions_99"
_MIN_STEP_RATIO = 1.15  # "slice_steps" between this and its inverse give no warning
_MIN_SLICES = 32  # nor do those of volumes with fewer slices
_MAX_FRACTION_ERROR = 5.0  # percent: a volume fraction with a larger relative error gives a warning
_TITLES = {"two_point": "two-point correlation", "lineal_path": "lineal path"}


def summarise(report: dict) -> list[str]:
    """Sentences on the result of `compare`, for a reader who knows the material but not the software."""
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
    """Warnings of a comparison, most serious first: copies of the micrograph, absent phases, differences beyond their
    tolerances, anisotropy, and a micrograph or number of volumes that is too small."""
    lines = []
    if report["memorisation"] and report["memorisation"]["flagged"]:
        memory = report["memorisation"]
        lines.append(
            f"Memorisation: {memory['copied']} of {len(memory['generated'])} planes examined are nearly copies of a "
            "part of "
            "the micrograph. The volumes show less variety than the material; train for fewer steps or on a larger "
            "image."
        )
    absent = [p["phase"] for p in report["phases"] if p["volume_fraction"]["mean"] == 0]
    if absent:
        lines.append(
            f"The micrograph has {len(report['phases'])} phases; phase{'s' * (len(absent) > 1)} "
            f"{' and '.join(map(str, absent))} {'is' if len(absent) == 1 else 'are'} absent in all volumes, which may "
            "be of another material."
        )
    lines += doubts(report)
    for p in range(len(report["phases"])):
        lines += _phase_warnings(report, p)
    lines += _slice_warnings(report)
    lines += _anisotropy(report)
    lines += _uncertain(report)
    if report["volumes"] == 1:
        lines.append(
            "One volume only: nothing can be said about the spread between volumes; reconstruct at least four."
        )
    return lines


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
    lines, phase = [], report["phases"][p]
    allowed = limits(report, p)
    fraction, ratio = phase["volume_fraction"], phase["surface_area"]["ratio"]
    error, limit = abs(fraction["mean"] - fraction["reference"]), allowed["volume_fraction"]
    if error > limit and not is_design_target(report, "volume_fraction"):
        lines.append(
            f"Phase {p}: volume fraction {plain(fraction['mean'], 3)} instead of {plain(fraction['reference'], 3)}; "
            f"{_beyond(report, plain(limit))}"
        )
    error, limit = phase["two_point"]["shape_error"], allowed["two_point_shape"]
    if error > limit:
        lines.append(
            f"Phase {p}: the shape of the two-point correlation, (S2 - phi^2) / (phi - phi^2), is {plain(error)} off "
            f"on average over the distances (1 would be all of it); {_beyond(report, plain(limit))}"
        )
    error, limit = phase["lineal_path"]["error_rate"], allowed["lineal_path"]
    if error > limit:
        lines.append(f"Phase {p}: the lineal path is {plain(error)} % off; {_beyond(report, f'{plain(limit)} %')}")
    limit = allowed["surface_area"]
    if ratio is not None and abs(ratio - 1) * 100 > limit and not is_design_target(report, "surface_area", p):
        word = "rougher or finer" if ratio > 1 else "smoother or coarser"
        lines.append(
            f"Phase {p}: {ratio:.2f} times the interface of the micrograph; the volumes are {word}; "
            f"{_beyond(report, f'{plain(limit)} %')}"
        )
    if min(phase["volume_fraction"]["volumes"]) == 0 < fraction["mean"]:  # absent in all volumes: see `warnings`
        lines.append(f"Phase {p} is missing from at least one volume.")
    return lines


def _beyond(report: dict, limit: str) -> str:
    if not report["representativity"]:
        return f"the limit is {limit}."
    return f"99 of 100 true pieces of the material of this size would be within {limit}."


def _slice_warnings(report: dict) -> list[str]:
    """Warnings of axes along which neighbouring slices differ by more, or by less, than in an isotropic volume."""
    phases = [phase["slice_steps"] for phase in report["phases"] if phase["slice_steps"]]
    if not phases or min(min(shape) for shape in report["shapes"]) < _MIN_SLICES:
        return []
    more, less = {}, {}
    for axis in phases[0]["axes"]:
        # the phases furthest above the upper and below the lower bound of isotropic volumes
        most = max(phases, key=lambda steps: steps["axes"][axis] / steps["expected_99"][axis][1])
        least = min(phases, key=lambda steps: steps["axes"][axis] / steps["expected_99"][axis][0])
        if most["axes"][axis] > max(_MIN_STEP_RATIO, most["expected_99"][axis][1]):
            more[axis] = most
        elif least["axes"][axis] < min(1 / _MIN_STEP_RATIO, least["expected_99"][axis][0]):
            less[axis] = least
    own_volumes = report["held"] is not None  # volumes of this program have no shuffled or repeated slices
    lines = []
    if more:
        cause = (
            "its planes fit together less well than those of the material"
            if own_volumes
            else "they may be shuffled, badly aligned, or lack slices in between"
        )
        lines.append(f"{_of_slices(more, 'up to')}: {cause}.")
    if less:
        cause = (
            "structures are longer along it than in the planes"
            if own_volumes
            else "the volume may be stretched along it, or repeat its slices"
        )
        lines.append(f"{_of_slices(less, 'only')}: {cause}.")
    return lines


def _of_slices(axes: dict[str, dict], word: str) -> str:
    """A clause on the "slice_steps" along some axes and their range in isotropic volumes."""
    each = [f"along {axis} differ {word} {plain(steps['axes'][axis])} times" for axis, steps in axes.items()]
    ranges = [steps["expected_99"][axis] for axis, steps in axes.items()]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (
        f"Neighbouring slices {', '.join(each)} as much in a volume fraction as expected of an isotropic medium with "
        f"their S2 ({low:.2f} to {high:.2f} in 99 of 100 volumes of this size)"
    )


def micrograph_directions(parts: Sequence[dict]) -> tuple[str, bool]:
    """Largest difference between the two directions of a micrograph, compared with its scatter.

    Args:
        parts: the result of `representativity` for the micrograph.
    Returns:
        a sentence, and whether the micrograph is anisotropic.
    """
    cases = [(p, name) for p in range(len(parts)) for name in _TITLES]
    ratios = [parts[p]["directions"][name] / _limit(name, parts[p]["directions_99"]) for p, name in cases]
    (p, name), anisotropic = cases[int(np.argmax(ratios))], max(ratios) > 1
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
    """Largest difference between the directions of a micrograph as a sentence, and whether it exceeds the scatter.

    Of a volume, the middle planes normal to each axis are compared; the result is that of the first anisotropic one.
    """
    labels, images = micrograph.labels, [("", micrograph.labels)]
    if labels.ndim == 3:
        planes = zip("zyx", (np.take(labels, n // 2, axis) for axis, n in enumerate(labels.shape)), strict=True)
        images = [(f"In the middle plane normal to {axis}: ", plane) for axis, plane in planes if min(plane.shape) > 3]
    results = []
    for where, image in images:
        parts = representativity(image, micrograph.phases, r_max=min(r_max, min(image.shape) // 2))
        line, anisotropic = micrograph_directions(parts)
        results.append((where + line, anisotropic))
    return max(results, key=lambda each: each[1])


def _limit(name: str, expected: dict) -> float:
    """Difference between directions beyond which a medium is called anisotropic: that of the scatter, and at least
    _MIN_ANISOTROPY."""
    return max(_MIN_ANISOTROPY[name], expected[name])


def _anisotropy(report: dict) -> list[str]:
    """Warning of anisotropy of the micrograph or, unless they were designed for single axes, of the volumes."""
    designed, known = any(target.count(".") == 2 for target in report["targets"]), report["representativity"]
    if known:
        line, anisotropic = micrograph_directions(known)
        if anisotropic:
            return [line]
    for p, phase in enumerate(report["phases"]):
        for name in _TITLES:
            difference = differences(name, list(phase[name]["directions"].values()))
            expected = known[p]["volume_directions_99"] if known else {name: 2 * _MIN_ANISOTROPY[name]}
            if difference > _limit(name, expected) and not designed:
                return [
                    f"The volumes are anisotropic: between directions {_difference(name, p, difference, expected)}."
                ]
    return []


def _difference(name: str, p: int, difference: float, expected: dict) -> str:
    unit = " %" if name == "lineal_path" else " of its range"
    return (
        f"the {_TITLES[name]} of phase {p} differs by {plain(difference)}{unit} (of 100 isotropic ones of this size 99 "
        f"differ by less than {plain(expected[name])}{unit})"
    )


def _uncertain(report: dict) -> list[str]:
    largest = max(report["representativity"] or [], key=lambda part: part["relative_error_percent"], default=None)
    if largest is None or largest["relative_error_percent"] <= _MAX_FRACTION_ERROR:
        return []
    p = report["representativity"].index(largest)
    edge = largest["edge_for_5_percent"]
    return [
        f"The micrograph is small for this material: it fixes the volume fraction of phase {p} only to within "
        f"{plain(largest['relative_error_percent'])} % of its value; 5 % would need about {edge} x {edge} pixels."
    ]


def _span(values: Sequence[float]) -> str:
    low, high = plain(min(values)), plain(max(values))
    return f"{low} %" if low == high else f"{low} to {high} %"
