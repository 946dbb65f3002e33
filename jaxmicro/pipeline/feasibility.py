"""Feasibility of targets: bounds of media, targets that exclude each other, targets that contradict a constraint.

One file, because all checks work on the same intervals of volume fractions and of the numbers that targets name.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxmicro.descriptors import radial_lags
from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, LengthUnit, Target, TargetSpec
from jaxmicro.pipeline.prior import Prior

Method = Literal["guided", "sds"]
RELEASABLE = ("two_point",)  # constraints that can be released; a target for volume fractions replaces theirs
# Largest relative difference of an interface area from that given by the slope of S2 at 0, at which a target for it is
# compatible with the constraint of S2. Without a target volumes differ by 3 % (64^3) to 7 % (32^3); with one they
# differ by more only as far as their S2 deviates, too.
AREA_TOLERANCE = 0.1
AREA_QUANTITIES = ("surface_area", "relative_surface_area")  # determined by the slopes of S2 and lineal path at 0


class Interval(NamedTuple):
    """Values of a number that targets allow."""

    low: float
    high: float

    def met(self, low: float, high: float) -> bool:
        """Whether it contains a value between these bounds."""
        return bool(self.low <= high and low <= self.high)


def check_feasible(
    targets: Sequence[Target | TargetSpec],
    fractions: Sequence[float] | None,
    *,
    phases: int | None = None,
    unit: LengthUnit = LengthUnit(),  # noqa: B008  # frozen
) -> None:
    """Refuses targets that no medium can meet, alone or together.

    Args:
        fractions: volume fractions to which volumes are constrained where no target changes them; None: free.
        phases: number of phases of the medium, if it is known.
        unit: unit of lengths in messages.
    Raises:
        UserError: when a target violates a bound, or targets exclude each other; the message names these.
    """
    numbers = [t for t in targets if isinstance(t, Target)]
    # an unknown number of phases is taken to be one more than the targets name
    count = phases or (len(fractions) if fractions is not None else 2 + max((t.phase for t in numbers), default=0))
    phi_ranges = _fraction_ranges(numbers, fractions, count, unit)
    _check_same_number(numbers, phi_ranges, unit)
    for target in numbers:
        _check_bounds(target, phi_ranges[target.phase], unit)
    _check_mean_over_axes(numbers, phi_ranges, unit)
    _check_interface_areas(numbers, count, unit)


def _fraction_ranges(
    targets: Sequence[Target], fractions: Sequence[float] | None, phases: int, unit: LengthUnit
) -> list[Interval]:
    """Interval of each volume fraction: its constraint, or where fractions are free what the targets allow."""
    if fractions is not None:
        constrained = fractions_for_targets(targets, fractions, unit=unit)
        assert constrained is not None
        return [Interval(phi, phi) for phi in constrained]
    low, high = _fraction_bounds(targets, phases, unit)
    return [
        Interval(max(low[p], 1 - (high.sum() - high[p])), min(high[p], 1 - (low.sum() - low[p]))) for p in range(phases)
    ]


def _check_same_number(targets: Sequence[Target], phi_ranges: Sequence[Interval], unit: LengthUnit) -> None:
    """Refuses targets for the same number that exclude each other; tortuosity factors as diffusivities, phi / tau."""
    for i, a in enumerate(targets):
        for b in targets[i + 1 :]:
            x, y = (_interval([t], phi_ranges[t.phase], slack=a.quantity != b.quantity) for t in (a, b))
            if _number(a) == _number(b) and not x.met(*y):
                law = "" if a.quantity == b.quantity else (
                    f", for tortuosity factor times diffusivity is the volume fraction ({_span(phi_ranges[a.phase])})"
                )  # fmt: skip
                raise UserError(f"targets {unit.text(a)} and {unit.text(b)} contradict each other{law}; leave one out")


def _check_bounds(target: Target, phi_range: Interval, unit: LengthUnit) -> None:
    """Refuses a target beyond the bound of Wiener, or of Hashin and Shtrikman, at the largest volume fraction."""
    phi = phi_range.high
    if target.quantity == "tortuosity" and target.relation != ">=":
        # as in `_largest_diffusivity`: layers along one direction, the isotropic optimum for the mean of all
        lowest, name = (1.0, "Wiener") if target.axis is not None else ((3 - phi) / 2, "Hashin-Shtrikman")
        if target.value < lowest:
            raise UserError(
                f"target {unit.text(target)} is below the {name} bound {lowest:.4g} of tortuosity factors; ask for more"
            )
    if target.relation == "<=" or math.isnan(target.value):
        return
    if target.quantity == "relative_surface_area" and target.value > 0.5:
        raise UserError(f"target {unit.text(target)}: the share of one phase in the interface is at most 0.5")
    if "diffusivity" in target.quantity:
        bound, name = _largest_diffusivity(target, phi)
        if target.value > bound:
            raise UserError(
                f"target {unit.text(target)} is above the {name} bound {bound:.4g} of a phase that fills {phi:.4g} "
                f"of the volume; ask for less, or for more of the phase: volume_fraction.{target.phase}=..."
            )


def _largest_diffusivity(target: Target, phi: float) -> tuple[float, str]:
    """Upper bound of D_eff / D_0 and its name."""
    # Along one direction layers attain Wiener's bound, also in slices, whose fractions may differ; the mean over the
    # directions of a volume is at most the isotropic optimum of Hashin and Shtrikman.
    if target.axis is None and target.quantity in ("diffusivity", "tortuosity"):
        return 2 * phi / (3 - phi), "Hashin-Shtrikman"
    return phi, "Wiener"


def _check_mean_over_axes(targets: Sequence[Target], phi_ranges: Sequence[Interval], unit: LengthUnit) -> None:
    """Refuses a target for the mean diffusivity that the targets along single axes exclude."""
    for phase in {t.phase for t in targets if t.quantity in ("diffusivity", "tortuosity")}:
        of_phase = [t for t in targets if t.phase == phase and t.quantity in ("diffusivity", "tortuosity")]
        mean = [t for t in of_phase if t.axis is None]
        along = [[t for t in of_phase if t.axis == axis] for axis in range(3)]
        if not mean or not any(along):
            continue
        each = [_interval(t, phi_ranges[phase], slack=True) for t in along]
        low = sum(bounds.low for bounds in each) / 3
        high = sum(min(bounds.high, phi_ranges[phase].high) for bounds in each) / 3  # without a target: Wiener's bound
        if not _interval(mean, phi_ranges[phase], slack=True).met(low, high):
            raise UserError(
                f"targets {_listed([*mean, *(t for some in along for t in some)], unit)} contradict each other: those "
                f"along axes make a mean diffusivity of {_span(Interval(low, high))}; leave one out"
            )


def _check_interface_areas(targets: Sequence[Target], phases: int, unit: LengthUnit) -> None:
    """Refuses interface areas that exclude each other.

    Each interface belongs to two phases: no phase has more than all others together, and the shares sum to 1.
    """
    areas = {q: [t for t in targets if t.quantity == q] for q in AREA_QUANTITIES}
    area = [_number_interval([t for t in areas["surface_area"] if t.phase == p]) for p in range(phases)]
    for p in range(phases):
        others = sum(area[q].high for q in range(phases) if q != p)
        if area[p].low > others:
            raise UserError(
                f"targets {_listed(areas['surface_area'], unit)} contradict each other: each interface of phase {p} "
                "is one of another phase, too, so that it cannot have more than the others together; leave one out"
            )
    share = [_number_interval([t for t in areas["relative_surface_area"] if t.phase == p]) for p in range(phases)]
    if sum(s.low for s in share) > 1 or sum(min(s.high, 0.5) for s in share) < 1:
        raise UserError(
            f"targets {_listed(areas['relative_surface_area'], unit)} contradict each other: the shares of all phases "
            "in the interface sum to 1; leave one out"
        )


def check_against_constraints(
    specs: Sequence[Target | TargetSpec],
    prior: Prior,
    fractions: Sequence[float] | None,
    *,
    method: Method,
    release: Sequence[str] = (),
    unit: LengthUnit = LengthUnit(),  # noqa: B008  # frozen
    periodic: bool = True,
) -> None:
    """Refuses targets for interface areas that contradict the S2 or lineal path to which a design is constrained.

    Args:
        specs: targets; a change in percent refers to a reconstruction, whose S2 is that of the micrograph.
        fractions: volume fractions to which the design is constrained; None: free.
        release: names of the constraints that are released.
        periodic: whether the volumes are periodic.
    Raises:
        UserError: when a target contradicts a curve, with the constraint to release or the compatible values; when
            `release` has a name that is not in RELEASABLE, or that of a target.
    """
    unknown = [name for name in release if name not in RELEASABLE]
    if unknown:
        raise UserError(f"{unknown[0]!r} cannot be released; the constraints that can be are {', '.join(RELEASABLE)}")
    curves = [w for w in specs if w.quantity in CURVES]
    both = [c for c in curves if c.quantity in release]
    if both:
        raise UserError(f"{both[0].name}=micrograph asks for what --release {both[0].quantity} gives up; leave one out")
    area, growth = interface_of_curves(prior, fractions)
    if area is None:
        return
    constrained = False  # S2: while sampling, or in periodic volumes while their interfaces are optimised
    if method == "guided" and "two_point" not in release and prior.material is not None:
        constrained = bool(prior.material.held_covariance) or (
            periodic and prior.material.target_lineal_path is not None
        )
    for spec in (w for w in specs if w.quantity in AREA_QUANTITIES):
        # curves of all phases determine their shares of the interface; those of some phases do not
        curve = next((c for c in curves if c.phase == spec.phase), None)
        if spec.quantity == "relative_surface_area" and {c.phase for c in curves} != set(range(prior.config.phases)):
            curve = None
        if curve is None and not constrained:
            continue
        fixed = area[spec.phase] if spec.quantity == "surface_area" else area[spec.phase] / area.sum()
        factor = float(spec.value / (fixed if isinstance(spec, Target) else growth[spec.phase]))
        compatible = Interval(1 - AREA_TOLERANCE, 1 + AREA_TOLERANCE)
        target_range = Interval(0.0 if spec.relation == "<=" else factor, math.inf if spec.relation == ">=" else factor)
        if not compatible.met(*target_range):
            low, high = (unit.formatted(spec.quantity, bound * fixed) for bound in compatible)
            text = unit.text(spec) if isinstance(spec, Target) else str(spec)
            curve_name = "S2" if curve is None or curve.quantity == "two_point" else "the lineal path"
            reason = (
                f"{curve_name} fixes the interface by its slope at 0, for phase {spec.phase} to {spec.quantity} = "
                f"{unit.formatted(spec.quantity, fixed)}"
            )
            if curve is not None:
                raise UserError(
                    f"targets {curve.name}=micrograph and {text} contradict each other: {reason}; leave one out, or "
                    f"ask for {low} to {high}"
                )
            raise UserError(
                f"target {text} contradicts what is held: {reason}, and designs hold S2; release it with "
                f"--release two_point, or ask for {low} to {high}"
            )


def interface_of_curves(prior: Prior, fractions: Sequence[float] | None) -> tuple[np.ndarray | None, np.ndarray]:
    """Interface area per volume of each phase from the slope of S2 at 0, in 1 / voxel, and its ratio to that at the
    fractions of the micrograph; None and ones where S2 is unknown or the fractions are free.

    S2(r) = phi - s r / 4 + ... in an isotropic medium (Debye, Anderson and Brumberger 1957); at other fractions the
    covariance constraint is proportional to the variance of the phase.
    """
    material = prior.material
    if material is None or material.target_covariance is None or fractions is None:
        return None, np.ones(prior.config.phases)
    own, now = np.asarray(material.volume_fractions), np.asarray(fractions)
    growth = now * (1 - now) / (own * (1 - own))
    covariance = np.asarray(material.target_covariance)
    first = radial_lags((1 << 16,) * 2, r_max=1, periodic=True)[1]
    return growth * 4 * (covariance[:, 0] - covariance[:, 1]) / first, growth


def fractions_for_targets(
    targets: Sequence[Target],
    fractions: Sequence[float] | None,
    *,
    unit: LengthUnit = LengthUnit(),  # noqa: B008  # frozen
) -> tuple[float, ...] | None:
    """Volume fractions within the bounds of targets: unchanged for phases whose curves are targets, else in proportion
    to the given ones.

    Raises:
        UserError: when no fractions that sum to 1 are within the bounds; when there are targets for fractions and none
            are given, as for a general prior.

    >>> changed = fractions_for_targets([Target("volume_fraction", 0, 0.5)], (0.2, 0.2, 0.6))
    >>> [round(phi, 3) for phi in changed]
    [0.5, 0.125, 0.375]
    """
    fraction_targets = [target for target in targets if target.quantity == "volume_fraction"]
    if fractions is None:
        if fraction_targets:
            raise UserError("a general prior holds no volume fractions; train it on a micrograph to ask for others")
        return None
    low, high = _fraction_bounds(targets, len(fractions), unit)
    curves = [target for target in targets if target.quantity in CURVES]
    for curve in curves:
        low[curve.phase] = max(low[curve.phase], fractions[curve.phase])
        high[curve.phase] = min(high[curve.phase], fractions[curve.phase])
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low > high + 1e-6):
        curve_texts = " and ".join(f"{curve.name}=micrograph" for curve in curves)
        raise UserError(
            f"{curve_texts} and {_listed(fraction_targets, unit)} exclude each other: a curve belongs to the fraction "
            "that its phase has in the micrograph; leave one out"
        )
    base, scales = np.asarray(fractions), np.array([0.0, 1 / min(fractions)])
    for _ in range(60):  # bisection for the common factor at which the fractions, clipped to their bounds, sum to 1
        factor = scales.mean()
        scales[int(np.clip(factor * base, low, high).sum() > 1)] = factor
    return tuple(np.clip(scales.mean() * base, low, high).tolist())


def _fraction_bounds(targets: Sequence[Target], phases: int, unit: LengthUnit) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each volume fraction by the targets for it.

    Raises:
        UserError: when no fractions that sum to 1 are within them.
    """
    fraction_targets = [target for target in targets if target.quantity == "volume_fraction"]
    low, high = np.zeros(phases), np.ones(phases)
    for target in fraction_targets:
        if target.relation in ("=", ">="):
            low[target.phase] = max(low[target.phase], target.value)
        if target.relation in ("=", "<="):
            high[target.phase] = min(high[target.phase], target.value)
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low >= 1) or np.any(low > high):
        above = next((target.value for target in fraction_targets if target.value > 1), None)
        hint = "" if above is None else "; a share is at most 1"
        if above is not None and 5 <= above <= 100:
            hint += f": write {above:g}% or {above / 100:g}"
        raise UserError(
            f"no volume fractions of {phases} phases that sum to 1 meet {_listed(fraction_targets, unit)}{hint}"
        )
    return low, high


def _number(target: Target) -> tuple[str, int, int | None]:
    """The number of a medium that a target concerns; tortuosity factor and diffusivity count as the same."""
    quantity = "diffusivity" if target.quantity == "tortuosity" else target.quantity
    return quantity, target.phase, target.axis


def _interval(targets: Sequence[Target], phi_range: Interval, *, slack: bool = False) -> Interval:
    """Values of one number that targets allow, tortuosity factors as diffusivities; `slack`: within the tolerances."""
    low, high = 0.0, math.inf
    for target in targets:
        own = _number_interval([target], slack=slack)
        if target.quantity == "tortuosity":
            own = Interval(phi_range.low / own.high, phi_range.high / own.low if own.low > 0 else math.inf)
        low, high = max(low, own.low), min(high, own.high)
    return Interval(low, high)


def _number_interval(targets: Sequence[Target], *, slack: bool = True) -> Interval:
    low, high = 0.0, math.inf
    for target in targets:
        margin = target.tolerance if slack and target.relation == "=" else 0.0
        low = max(low, target.value * (1 - margin) if target.relation != "<=" else 0.0)
        high = min(high, target.value * (1 + margin) if target.relation != ">=" else math.inf)
    return Interval(low, high)


def _span(interval: Interval) -> str:
    low, high = f"{interval.low:.4g}", f"{interval.high:.4g}"
    return low if low == high else f"{low} to {high}"


def _listed(targets: Sequence[Target], unit: LengthUnit) -> str:
    return " and ".join(unit.text(target) for target in targets)
