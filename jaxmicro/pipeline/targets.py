"""What is asked for as numbers: resolved against the micrograph, checked against what media can have."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, QUANTITIES, Target, Wish, exact_of_planes, parse_target
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.volumes import held_fractions
from jaxmicro.types import Microstructure

CROP = 64  # edge of the crops of a micrograph whose largest and smallest numbers are known as max and min
POLISHED, UNPOLISHED = 0.003, 0.01  # error rate of S2 that counts as met, by how the volume is finished
ROUNDING = 0.002  # relative deviation from a bound that counts as none
TRANSPORT = ("diffusivity", "tortuosity", "slice_diffusivity")  # what moving interfaces can change


def read_targets(
    targets: Sequence[str | Target | Wish],
    prior: Prior,
    *,
    micrograph: Microstructure | None = None,
    names: Sequence[str] = (),
    each_slice: bool = False,
    shape: Sequence[int] = (64, 64, 64),
    method: Literal["guided", "sds"] = "guided",
    periodic: bool = True,
    tolerance: float = 0.02,
) -> list[Target | Wish]:
    """Targets as numbers; a change of what exists in 3D only stays a wish until the reconstruction is there.

    Arguments as `design`.

    Raises:
        UserError: a target cannot be read, or met by any medium, or contradicts another; the micrograph is needed and
            not given; the method cannot do it.
    """
    if prior.config.space != "pixel" and method == "guided":
        raise UserError("a latent prior can be designed by score distillation only: --method sds")
    if not targets:
        raise UserError("no target given; say for example diffusivity.0.z=+20%")
    if not 0 < tolerance < 1:
        raise UserError(f"the tolerance is {100 * tolerance:g} %; expected more than 0 and less than 100")
    found = [
        _resolved(
            parse_target(wish, phases=prior.config.phases, names=names) if isinstance(wish, str) else wish,
            prior,
            micrograph,
            shape,
            tolerance,
        )
        for wish in targets
    ]
    if each_slice:
        found = [_of_each(wish) for wish in found]
        if not any(isinstance(wish, Target) and wish.each for wish in found):
            sections = ", ".join(name for name, quantity in QUANTITIES.items() if quantity.of_plane is not None)
            raise UserError(f"each slice can only have what slices have: {sections}; no target is about these")
    fractions = held_fractions(prior, "micrograph")
    numbers = [wish for wish in found if isinstance(wish, Target)]
    wanted_fractions(numbers, fractions)  # refuses what does not go together
    curves = [wish for wish in found if wish.quantity in CURVES]
    if not periodic and curves:
        raise UserError(f"{curves[0].quantity} can be a target of periodic volumes only; leave out --no-periodic")
    if curves:
        alone = method == "guided" and all(wish.quantity in (*CURVES, "volume_fraction") for wish in found)
        polished = alone and finishable(found, prior, periodic=periodic)
        allowed = {"two_point": POLISHED if polished else UNPOLISHED, "lineal_path": UNPOLISHED}
        found = [dataclasses.replace(w, tolerance=allowed[w.quantity]) if w in curves else w for w in found]
    if method == "sds":
        if any(edge % prior.config.factor for edge in shape):
            raise UserError(f"--method sds needs edges that are multiples of {prior.config.factor}")
        fractions = None  # not held
    check_feasible(found, fractions)
    return found


def finishable(targets: Sequence[Target | Wish], prior: Prior, *, periodic: bool) -> bool:
    """Whether the interfaces of a volume can be moved to what is wanted: the prior knows all curves of its micrograph,
    and no target is about how many interfaces there are, or about the fractions of single sections."""
    known = prior.material is not None and prior.material.wanted_segments is not None
    quantities = {t.quantity for t in targets if t.quantity != "volume_fraction" or (isinstance(t, Target) and t.each)}
    return known and periodic and bool(quantities) and quantities <= {*CURVES, *TRANSPORT}


def _of_each(wish: Target | Wish) -> Target | Wish:
    """The target for each section, if sections have such a number."""
    sections = wish.quantity in QUANTITIES and QUANTITIES[wish.quantity].of_plane is not None
    return dataclasses.replace(wish, each=True) if sections and isinstance(wish, Target) else wish


def _resolved(wish, prior: Prior, micrograph: Microstructure | None, shape, tolerance: float) -> Target | Wish:
    if isinstance(wish, Target):
        return wish
    target = functools.partial(
        Target, wish.quantity, wish.phase, axis=wish.axis, relation=wish.relation, tolerance=tolerance
    )
    if wish.quantity in CURVES:
        material = prior.material
        if (
            material is None
            or material.wanted_covariance is None
            or not (material.lineal_path or wish.quantity == "two_point")
        ):
            raise UserError(f"{wish.quantity} needs a prior that knows its micrograph; train it on one")
        return target(math.nan)
    if wish.quantity == "relative_surface_area" and prior.config.phases == 2:
        raise UserError("of two phases each has half of the interface: relative_surface_area cannot be a target")
    if wish.kind == "number":
        return target(wish.value)
    if wish.kind == "change" and QUANTITIES[wish.quantity].of_plane is None:
        return wish
    if wish.quantity == "volume_fraction" and wish.kind in ("change", "micrograph") and prior.material is not None:
        return target(wish.value * prior.material.volume_fractions[wish.phase])
    if micrograph is None:
        raise UserError(f"{wish.quantity}.{wish.phase}={wish.kind} needs the micrograph; name it with --reference")
    if micrograph.phases != prior.config.phases:
        raise UserError(
            f"the micrograph has {micrograph.phases} phases, the prior {prior.config.phases}; give the one it knows"
        )
    numbers = crop_numbers(micrograph, wish.quantity, wish.phase, edge=min(CROP, *shape, *micrograph.shape))
    value = {"max": np.max, "min": np.min, "micrograph": np.mean, "change": np.mean}[wish.kind](numbers)
    if not value > 0:
        raise UserError(f"{wish.quantity}.{wish.phase}={wish.kind} is 0 in crops of the micrograph: give a number")
    return target(float(wish.value * value))


def crop_numbers(micrograph: Microstructure, quantity: str, phase: int, *, edge: int) -> np.ndarray:
    """A quantity of square crops of a micrograph (or of the planes of a volume), half an edge apart."""
    planes = micrograph.labels[None] if micrograph.labels.ndim == 2 else micrograph.labels
    windows = np.lib.stride_tricks.sliding_window_view(planes, (edge, edge), axis=(1, 2))
    step = max(edge // 2, 1)
    each = [
        exact_of_planes(quantity, plane.reshape(-1, edge, edge), micrograph.phases, phase)
        for plane in windows[:, ::step, ::step]
    ]
    return np.concatenate(each)


def check_feasible(targets: Sequence[Target | Wish], fractions: Sequence[float] | None) -> None:
    """Refuses targets that no medium has.

    Args:
        fractions: volume fractions that are held where no target says otherwise; None: free.
    Raises:
        UserError: with the bound that is violated.
    """
    numbers = [t for t in targets if isinstance(t, Target)]
    asked = None if fractions is None else wanted_fractions(numbers, fractions)
    comparable = [t if asked is None else _as_diffusivity(t, asked[t.phase]) for t in numbers]
    for i, (a, x) in enumerate(zip(numbers, comparable, strict=True)):
        for b, y in zip(numbers[i + 1 :], comparable[i + 1 :], strict=True):
            if (x.quantity, x.phase, x.axis) == (y.quantity, y.phase, y.axis) and _contradict(x, y):
                raise UserError(f"targets {text_of(a)} and {text_of(b)} contradict each other; leave one out")
    for target in numbers:
        phi = None if asked is None else asked[target.phase]
        if target.quantity == "tortuosity" and target.relation != ">=":
            # as below: layers along one direction, the isotropic optimum for the mean of all
            lowest, name = 1.0, "Wiener"
            if target.axis is None and phi is not None:
                lowest, name = (3 - phi) / 2, "Hashin-Shtrikman"
            if target.value < lowest:
                raise UserError(
                    f"target {text_of(target)} is below the {name} bound {lowest:.4g} of tortuosity factors; "
                    "ask for more"
                )
        if target.relation == "<=" or math.isnan(target.value):
            continue
        if target.quantity == "relative_surface_area" and target.value > 0.5:
            raise UserError(f"target {text_of(target)}: the share of one phase in the interface is at most 0.5")
        if "diffusivity" in target.quantity and phi is not None:
            # one direction: layers along it, and slices may differ in their fraction; the mean over the directions of a
            # volume: no medium is above the isotropic optimum
            mean = target.axis is None and target.quantity == "diffusivity"
            bound, name = (2 * phi / (3 - phi), "Hashin-Shtrikman") if mean else (phi, "Wiener")
            if target.value > bound:
                raise UserError(
                    f"target {text_of(target)} is above the {name} bound {bound:.4g} of a phase that fills {phi:.4g} "
                    f"of the volume; ask for less, or for more of the phase: volume_fraction.{target.phase}=..."
                )


def _as_diffusivity(target: Target, phi: float) -> Target:
    """A tortuosity factor as the diffusivity that it is at a volume fraction phi; other targets as they are."""
    if target.quantity != "tortuosity":
        return target
    relation = {"=": "=", ">=": "<=", "<=": ">="}[target.relation]
    return dataclasses.replace(target, quantity="diffusivity", value=phi / target.value, relation=relation)


def wanted_fractions(targets: Sequence[Target], fractions: Sequence[float] | None) -> tuple[float, ...] | None:
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
    low, high = np.zeros(len(fractions)), np.ones(len(fractions))
    for target in asked:
        if target.relation in ("=", ">="):
            low[target.phase] = max(low[target.phase], target.value)
        if target.relation in ("=", "<="):
            high[target.phase] = min(high[target.phase], target.value)
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low >= 1) or np.any(low > high):
        given = ", ".join(text_of(target) for target in asked)
        raise UserError(f"no volume fractions of {len(fractions)} phases that sum to 1 meet {given}")
    curves = [target for target in targets if target.quantity in CURVES]
    for curve in curves:
        low[curve.phase] = max(low[curve.phase], fractions[curve.phase])
        high[curve.phase] = min(high[curve.phase], fractions[curve.phase])
    if low.sum() > 1 + 1e-6 or high.sum() < 1 - 1e-6 or np.any(low > high + 1e-6):
        given = " and ".join(text_of(target) for target in asked)
        kept = " and ".join(f"{curve.name}=micrograph" for curve in curves)
        raise UserError(f"{kept} and {given} exclude each other: a curve belongs to the fraction that its phase has in "
                        "the micrograph; leave one out")  # fmt: skip
    base, scales = np.asarray(fractions), np.array([0.0, 1 / min(fractions)])
    for _ in range(60):  # the common factor at which the fractions, cut at their bounds, sum to 1
        scale = scales.mean()
        scales[int(np.clip(scale * base, low, high).sum() > 1)] = scale
    return tuple(np.clip(scales.mean() * base, low, high).tolist())


def _contradict(a: Target, b: Target) -> bool:
    low = max((t.value for t in (a, b) if t.relation in ("=", ">=")), default=-math.inf)
    high = min((t.value for t in (a, b) if t.relation in ("=", "<=")), default=math.inf)
    return low > high


def text_of(target: Target) -> str:
    return f"{target.name}{target.relation}{target.value:.4g}"


def miss(target: Target, achieved: float) -> float:
    """Deviation over tolerance, met up to 1; of a curve its error rate, in percent, over it. A bound is one: only what
    the rounding of voxels may do to it is allowed."""
    if target.quantity in CURVES:
        return achieved / (100 * target.tolerance)
    allowed = target.tolerance if target.relation == "=" else min(target.tolerance, ROUNDING)
    return abs(target.deviation(achieved)) / allowed


def goals(targets: Sequence[Target]) -> np.ndarray:
    """What to aim at: the values, and of a bound a little more than it, so that it is kept."""
    sides = {"=": 0.0, ">=": 0.5, "<=": -0.5}
    return np.array([target.value * (1 + sides[target.relation] * target.tolerance) for target in targets])


def worst(targets: Sequence[Target], achieved: Sequence[float]) -> float:
    return max(miss(t, v) for t, v in zip(targets, achieved, strict=True))
