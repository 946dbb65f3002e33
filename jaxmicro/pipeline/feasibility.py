"""Targets that no medium can have, that exclude each other, or that contradict what a design holds."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxmicro.descriptors import radial_lags
from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, LengthUnit, Target, TargetSpec
from jaxmicro.pipeline.prior import Prior

Method = Literal["guided", "sds"]
RELEASABLE = ("two_point",)  # what is held and can be given up; fractions are given up by targets for them
# How far volumes with held S2 may be from the interface that its slope says, relative; without a target they are 3 %
# (64^3) to 7 % (32^3) off it, and a target draws them farther only as far as it draws S2 away, too
AREA_TOLERANCE = 0.1
AREA_QUANTITIES = ("surface_area", "relative_surface_area")  # what the slopes of S2 and lineal path at 0 fix


class Interval(NamedTuple):
    """What targets leave of the values of a number."""

    low: float
    high: float

    def met(self, low: float, high: float) -> bool:
        """Whether it has a value between these."""
        return bool(self.low <= high and low <= self.high)


def check_feasible(
    targets: Sequence[Target | TargetSpec],
    fractions: Sequence[float] | None,
    *,
    phases: int | None = None,
    unit: LengthUnit = LengthUnit(),  # noqa: B008  # frozen
) -> None:
    """Refuses targets that no medium has, alone or together.

    Args:
        fractions: volume fractions that are held where no target says otherwise; None: free.
        phases: of the medium, if it is known.
        unit: unit of lengths in what is said.
    Raises:
        UserError: with the bound that is violated, or the targets that exclude each other.
    """
    numbers = [t for t in targets if isinstance(t, Target)]
    # of an unknown number of phases there is one more than was named
    count = phases or (len(fractions) if fractions is not None else 2 + max((t.phase for t in numbers), default=0))
    fill = _fractions_left(numbers, fractions, count, unit)
    _one_value_for_one_number(numbers, fill, unit)
    for target in numbers:
        _within_bounds(target, fill[target.phase], unit)
    _mean_and_axes(numbers, fill, unit)
    _interfaces_together(numbers, count, unit)


def _fractions_left(
    targets: Sequence[Target], fractions: Sequence[float] | None, phases: int, unit: LengthUnit
) -> list[Interval]:
    """What volume fractions can be: what is held, or where nothing is, what the targets leave."""
    if fractions is not None:
        wanted = fractions_for_targets(targets, fractions, unit=unit)
        assert wanted is not None
        return [Interval(phi, phi) for phi in wanted]
    low, high = _asked_fractions(targets, phases, unit)
    return [
        Interval(max(low[p], 1 - (high.sum() - high[p])), min(high[p], 1 - (low.sum() - low[p]))) for p in range(phases)
    ]


def _one_value_for_one_number(targets: Sequence[Target], fill: Sequence[Interval], unit: LengthUnit) -> None:
    """Targets for one number, with tortuosity factors as diffusivities, D = phi / tau."""
    for i, a in enumerate(targets):
        for b in targets[i + 1 :]:
            x, y = (_interval([t], fill[t.phase], slack=a.quantity != b.quantity) for t in (a, b))
            if _number(a) == _number(b) and not x.met(*y):
                law = "" if a.quantity == b.quantity else (
                    f", for tortuosity factor times diffusivity is the volume fraction ({_span(fill[a.phase])})"
                )  # fmt: skip
                raise UserError(f"targets {unit.text(a)} and {unit.text(b)} contradict each other{law}; leave one out")


def _within_bounds(target: Target, fill: Interval, unit: LengthUnit) -> None:
    """The bounds of Wiener, and of Hashin and Shtrikman, for a phase that fills at most so much."""
    phi = fill.high
    if target.quantity == "tortuosity" and target.relation != ">=":
        # as below: layers along one direction, the isotropic optimum for the mean of all
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
    # one direction: layers along it, and slices may differ in their fraction; the mean over the directions of a
    # volume: no medium is above the isotropic optimum
    if target.axis is None and target.quantity in ("diffusivity", "tortuosity"):
        return 2 * phi / (3 - phi), "Hashin-Shtrikman"
    return phi, "Wiener"


def _mean_and_axes(targets: Sequence[Target], fill: Sequence[Interval], unit: LengthUnit) -> None:
    """The mean over the axes is asked for, and the axes are, too."""
    for phase in {t.phase for t in targets if t.quantity in ("diffusivity", "tortuosity")}:
        of_phase = [t for t in targets if t.phase == phase and t.quantity in ("diffusivity", "tortuosity")]
        mean = [t for t in of_phase if t.axis is None]
        along = [[t for t in of_phase if t.axis == axis] for axis in range(3)]
        if not mean or not any(along):
            continue
        each = [_interval(t, fill[phase], slack=True) for t in along]
        low = sum(bounds.low for bounds in each) / 3
        high = sum(min(bounds.high, fill[phase].high) for bounds in each) / 3  # Wiener, where nothing else is said
        if not _interval(mean, fill[phase], slack=True).met(low, high):
            raise UserError(
                f"targets {_listed([*mean, *(t for some in along for t in some)], unit)} contradict each other: those "
                f"along axes make a mean diffusivity of {_span(Interval(low, high))}; leave one out"
            )


def _interfaces_together(targets: Sequence[Target], phases: int, unit: LengthUnit) -> None:
    """Each interface belongs to two phases: none has more than all others together, and shares sum to 1."""
    asked = {q: [t for t in targets if t.quantity == q] for q in AREA_QUANTITIES}
    area = [_number_interval([t for t in asked["surface_area"] if t.phase == p]) for p in range(phases)]
    for p in range(phases):
        others = sum(area[q].high for q in range(phases) if q != p)
        if area[p].low > others:
            raise UserError(
                f"targets {_listed(asked['surface_area'], unit)} contradict each other: each interface of phase {p} "
                "is one of another phase, too, so that it cannot have more than the others together; leave one out"
            )
    share = [_number_interval([t for t in asked["relative_surface_area"] if t.phase == p]) for p in range(phases)]
    if sum(s.low for s in share) > 1 or sum(min(s.high, 0.5) for s in share) < 1:
        raise UserError(
            f"targets {_listed(asked['relative_surface_area'], unit)} contradict each other: the shares of all phases "
            "in the interface sum to 1; leave one out"
        )


def check_held(
    specs: Sequence[Target | TargetSpec],
    prior: Prior,
    fractions: Sequence[float] | None,
    *,
    method: Method,
    release: Sequence[str] = (),
    unit: LengthUnit = LengthUnit(),  # noqa: B008  # frozen
    periodic: bool = True,
) -> None:
    """Refuses targets for the interface that contradict the S2 or lineal path that a design holds or is asked for.

    Args:
        specs: of which a change is one of what a reconstruction has, whose S2 is the micrograph's.
        fractions: volume fractions that will be held; None: free.
        release: what is not held.
        periodic: whether the volumes are.
    Raises:
        UserError: with what to release, or the value that goes with it.
    """
    unknown = [name for name in release if name not in RELEASABLE]
    if unknown:
        raise UserError(f"{unknown[0]!r} cannot be released; what is held and can be is {', '.join(RELEASABLE)}")
    curves = [w for w in specs if w.quantity in CURVES]
    both = [c for c in curves if c.quantity in release]
    if both:
        raise UserError(f"{both[0].name}=micrograph asks for what --release {both[0].quantity} gives up; leave one out")
    area, growth = interface_of_curves(prior, fractions)
    if area is None:
        return
    held = False  # S2: while sampling, or of periodic volumes while their interfaces are moved
    if method == "guided" and "two_point" not in release and prior.material is not None:
        held = bool(prior.material.held_covariance) or (periodic and prior.material.target_lineal_path is not None)
    for spec in (w for w in specs if w.quantity in AREA_QUANTITIES):
        # a share of the interface is fixed where that of all phases is
        kept = next((c for c in curves if c.phase == spec.phase), None)
        if spec.quantity == "relative_surface_area" and {c.phase for c in curves} != set(range(prior.config.phases)):
            kept = None
        if kept is None and not held:
            continue
        fixed = area[spec.phase] if spec.quantity == "surface_area" else area[spec.phase] / area.sum()
        factor = float(spec.value / (fixed if isinstance(spec, Target) else growth[spec.phase]))
        reach = Interval(1 - AREA_TOLERANCE, 1 + AREA_TOLERANCE)
        wanted = Interval(0.0 if spec.relation == "<=" else factor, math.inf if spec.relation == ">=" else factor)
        if not reach.met(*wanted):
            low, high = (unit.formatted(spec.quantity, bound * fixed) for bound in reach)
            asked = unit.text(spec) if isinstance(spec, Target) else str(spec)
            curve = "S2" if kept is None or kept.quantity == "two_point" else "the lineal path"
            reason = (
                f"{curve} fixes the interface by its slope at 0, for phase {spec.phase} to {spec.quantity} = "
                f"{unit.formatted(spec.quantity, fixed)}"
            )
            if kept is not None:
                raise UserError(
                    f"targets {kept.name}=micrograph and {asked} contradict each other: {reason}; leave one out, or "
                    f"ask for {low} to {high}"
                )
            raise UserError(
                f"target {asked} contradicts what is held: {reason}, and designs hold S2; release it with "
                f"--release two_point, or ask for {low} to {high}"
            )


def interface_of_curves(prior: Prior, fractions: Sequence[float] | None) -> tuple[np.ndarray | None, np.ndarray]:
    """Interface area per volume of each phase that the S2 of the micrograph fixes, in 1 / voxel, and the factor by
    which it is larger than at the fractions of the micrograph.

    S2(r) = phi - s r / 4 + ... in an isotropic medium (Debye, Anderson and Brumberger 1957); at other fractions the
    covariance held grows as the variance of the phase.
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
    """The volume fractions to hold: within what targets ask for, as they were for phases whose curves are targets, else
    in proportion to what they were.

    Raises:
        UserError: no fractions that sum to 1 do it, or there are none to begin with.
    """
    asked = [target for target in targets if target.quantity == "volume_fraction"]
    if fractions is None:
        if asked:
            raise UserError("a general prior holds no volume fractions; train it on a micrograph to ask for others")
        return None
    low, high = _asked_fractions(targets, len(fractions), unit)
    curves = [target for target in targets if target.quantity in CURVES]
    for curve in curves:
        low[curve.phase] = max(low[curve.phase], fractions[curve.phase])
        high[curve.phase] = min(high[curve.phase], fractions[curve.phase])
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low > high + 1e-6):
        kept = " and ".join(f"{curve.name}=micrograph" for curve in curves)
        raise UserError(f"{kept} and {_listed(asked, unit)} exclude each other: a curve belongs to the fraction that "
                        "its phase has in the micrograph; leave one out")  # fmt: skip
    base, scales = np.asarray(fractions), np.array([0.0, 1 / min(fractions)])
    for _ in range(60):  # the common factor at which the fractions, cut at their bounds, sum to 1
        factor = scales.mean()
        scales[int(np.clip(factor * base, low, high).sum() > 1)] = factor
    return tuple(np.clip(scales.mean() * base, low, high).tolist())


def _asked_fractions(targets: Sequence[Target], phases: int, unit: LengthUnit) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest fraction of each phase that targets leave.

    Raises:
        UserError: none that sum to 1.
    """
    asked = [target for target in targets if target.quantity == "volume_fraction"]
    low, high = np.zeros(phases), np.ones(phases)
    for target in asked:
        if target.relation in ("=", ">="):
            low[target.phase] = max(low[target.phase], target.value)
        if target.relation in ("=", "<="):
            high[target.phase] = min(high[target.phase], target.value)
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low >= 1) or np.any(low > high):
        above = next((target.value for target in asked if target.value > 1), None)
        hint = "" if above is None else "; a share is at most 1"
        if above is not None and 5 <= above <= 100:
            hint += f": write {above:g}% or {above / 100:g}"
        raise UserError(f"no volume fractions of {phases} phases that sum to 1 meet {_listed(asked, unit)}{hint}")
    return low, high


def _number(target: Target) -> tuple[str, int, int | None]:
    """Which number of a medium a target is about; tortuosity and diffusivity are one."""
    quantity = "diffusivity" if target.quantity == "tortuosity" else target.quantity
    return quantity, target.phase, target.axis


def _interval(targets: Sequence[Target], fill: Interval, *, slack: bool = False) -> Interval:
    """What is left of one number, tortuosity factors as diffusivities; with slack within the tolerances."""
    low, high = 0.0, math.inf
    for target in targets:
        own = _number_interval([target], slack=slack)
        if target.quantity == "tortuosity":
            own = Interval(fill.low / own.high, fill.high / own.low if own.low > 0 else math.inf)
        low, high = max(low, own.low), min(high, own.high)
    return Interval(low, high)


def _number_interval(targets: Sequence[Target], *, slack: bool = True) -> Interval:
    low, high = 0.0, math.inf
    for target in targets:
        give = target.tolerance if slack and target.relation == "=" else 0.0
        low = max(low, target.value * (1 - give) if target.relation != "<=" else 0.0)
        high = min(high, target.value * (1 + give) if target.relation != ">=" else math.inf)
    return Interval(low, high)


def _span(interval: Interval) -> str:
    low, high = f"{interval.low:.4g}", f"{interval.high:.4g}"
    return low if low == high else f"{low} to {high}"


def _listed(targets: Sequence[Target], unit: LengthUnit) -> str:
    return " and ".join(unit.text(target) for target in targets)
