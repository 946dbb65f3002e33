"""Targets as numbers: resolved with the micrograph, and checked for feasibility."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, QUANTITIES, LengthUnit, Target, TargetSpec, exact_values_of_planes, parse_target
from jaxmicro.pipeline.feasibility import Method, check_against_constraints, check_feasible, fractions_for_targets
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.target_statistics import target_fractions
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit, ratio

CROP = 64  # edge in voxels of the crops of a micrograph over which max and min are taken
# error rate at which S2 is met where interfaces are optimised without other quantities
OPTIMISED_CURVE_TOLERANCE = 0.003
CURVE_TOLERANCE = 0.01  # error rate at which a curve is met otherwise
ROUNDING = 0.002  # relative deviation beyond a bound at which it still counts as met
INTERFACE_QUANTITIES = ("diffusivity", "tortuosity", "slice_diffusivity", "surface_area")
"""Quantities that interface optimisation can change."""


def read_targets(
    targets: Sequence[str | Target | TargetSpec],
    prior: Prior,
    *,
    micrograph: Microstructure | None = None,
    names: Sequence[str] = (),
    each_slice: bool = False,
    shape: Sequence[int] = (64, 64, 64),
    method: Method = "guided",
    periodic: bool = True,
    tolerance: float = 0.02,
    release: Sequence[str] = (),
) -> list[Target | TargetSpec]:
    """Targets as numbers; a change in percent of a quantity that exists in 3D only stays a spec until there is a
    reconstruction to refer to. Arguments as `design`.

    Raises:
        UserError: when a target cannot be read, cannot be met by any medium, or contradicts another target or a
            constraint; when the micrograph is needed and not given; when the method does not support the targets.
    """
    if prior.config.space != "pixel" and method == "guided":
        raise UserError("a latent prior can be designed by score distillation only: --method sds")
    if not targets:
        raise UserError("no target given; say for example diffusivity.0.z=+20%")
    if not 0 < tolerance < 1:
        raise UserError(f"the tolerance is {100 * tolerance:g} %; expected more than 0 and less than 100")
    resolved = [
        _resolved(
            parse_target(spec, phases=prior.config.phases, names=names) if isinstance(spec, str) else spec,
            prior,
            micrograph,
            shape,
            tolerance,
        )
        for spec in targets
    ]
    if each_slice:
        resolved = [_of_each(spec) for spec in resolved]
        if not any(isinstance(spec, Target) and spec.each for spec in resolved):
            sections = ", ".join(name for name, quantity in QUANTITIES.items() if quantity.of_plane is not None)
            raise UserError(f"each slice can only have what slices have: {sections}; no target is about these")
    fractions = target_fractions(prior, "micrograph")
    numbers = [spec for spec in resolved if isinstance(spec, Target)]
    unit = length_unit_of(prior)
    constrained = fractions_for_targets(numbers, fractions, unit=unit)  # raises where targets exclude each other
    curves = [spec for spec in resolved if spec.quantity in CURVES]
    if not periodic and curves:
        raise UserError(f"{curves[0].quantity} can be a target of periodic volumes only; leave out --no-periodic")
    if curves:
        curves_alone = method == "guided" and all(spec.quantity in (*CURVES, "volume_fraction") for spec in resolved)
        optimised = curves_alone and can_optimise_interfaces(resolved, prior, periodic=periodic)
        tolerances = {
            "two_point": OPTIMISED_CURVE_TOLERANCE if optimised else CURVE_TOLERANCE,
            "lineal_path": CURVE_TOLERANCE,
        }
        resolved = [dataclasses.replace(w, tolerance=tolerances[w.quantity]) if w in curves else w for w in resolved]
    if method == "sds":
        if any(edge % prior.config.factor for edge in shape):
            raise UserError(f"--method sds needs edges that are multiples of {prior.config.factor}")
        fractions = None  # a distillation does not constrain them
    check_feasible(resolved, fractions, phases=prior.config.phases, unit=unit)
    check_against_constraints(
        resolved, prior, constrained, method=method, release=release, unit=unit, periodic=periodic
    )
    return resolved


def length_unit_of(prior: Prior) -> LengthUnit:
    """The unit of lengths of the material of a prior."""
    material = prior.material
    return LengthUnit() if material is None else LengthUnit(material.voxel_size, material.unit)


def can_optimise_interfaces(targets: Sequence[Target | TargetSpec], prior: Prior, *, periodic: bool) -> bool:
    """Whether interface optimisation can serve the targets: the volume is periodic, the prior knows all curves of its
    micrograph, and no target is about shares of the interface or the fractions of single sections."""
    known = prior.material is not None and prior.material.target_lineal_path is not None
    quantities = {t.quantity for t in targets if t.quantity != "volume_fraction" or (isinstance(t, Target) and t.each)}
    return known and periodic and bool(quantities) and quantities <= {*CURVES, *INTERFACE_QUANTITIES}


def _of_each(spec: Target | TargetSpec) -> Target | TargetSpec:
    """The target imposed on each section, if it is for a quantity of sections."""
    sections = spec.quantity in QUANTITIES and QUANTITIES[spec.quantity].of_plane is not None
    return dataclasses.replace(spec, each=True) if sections and isinstance(spec, Target) else spec


def _resolved(spec, prior: Prior, micrograph: Microstructure | None, shape, tolerance: float) -> Target | TargetSpec:
    """The target with its value in voxels, or the spec where its value depends on a reconstruction."""
    if isinstance(spec, Target):
        return spec
    target = functools.partial(
        Target, spec.quantity, spec.phase, axis=spec.axis, relation=spec.relation, tolerance=tolerance
    )
    if spec.quantity in CURVES:
        material = prior.material
        if (
            material is None
            or material.target_covariance is None
            or not (material.lineal_path or spec.quantity == "two_point")
        ):
            raise UserError(f"{spec.quantity} needs a prior that knows its micrograph; train it on one")
        return target(math.nan)
    if spec.quantity == "relative_surface_area" and prior.config.phases == 2:
        raise UserError("of two phases each has half of the interface: relative_surface_area cannot be a target")
    if spec.kind == "number":
        return target(_in_voxels(spec, length_unit_of(prior)))
    if spec.kind == "change" and QUANTITIES[spec.quantity].of_plane is None:
        return spec
    if spec.quantity == "volume_fraction" and spec.kind in ("change", "micrograph") and prior.material is not None:
        return target(spec.value * prior.material.volume_fractions[spec.phase])
    if micrograph is None:
        raise UserError(f"{spec.quantity}.{spec.phase}={spec.kind} needs the micrograph; name it with --reference")
    if micrograph.phases != prior.config.phases:
        raise UserError(
            f"the micrograph has {micrograph.phases} phases, the prior {prior.config.phases}; give the one it knows"
        )
    numbers = crop_values(micrograph, spec.quantity, spec.phase, edge=min(CROP, *shape, *micrograph.shape))
    value = {"max": np.max, "min": np.min, "micrograph": np.mean, "change": np.mean}[spec.kind](numbers)
    if not value > 0:
        raise UserError(f"{spec.quantity}.{spec.phase}={spec.kind} is 0 in crops of the micrograph: give a number")
    return target(float(spec.value * value))


def _in_voxels(spec: TargetSpec, unit: LengthUnit) -> float:
    """The value of a spec with lengths in voxels: converted from the unit it names, else from that of the material, in
    which `measure` prints it."""
    if spec.per is None:
        return spec.value / unit.factor(spec.quantity)
    if plain_unit(spec.per) is None:
        return spec.value
    if unit.voxel_size is None or unit.unit is None:
        raise UserError(f"target {spec}: the voxel size of the material is unknown; give a number per voxel: /voxel")
    units = ratio(unit.unit, spec.per)
    if units is None:
        raise UserError(f"target {spec}: no unit {spec.per!r}; the material has voxels of {unit.voxel_size:g} "
                        f"{unit.unit}, and /voxel is understood, too")  # fmt: skip
    return spec.value * unit.voxel_size * units


def crop_values(micrograph: Microstructure, quantity: str, phase: int, *, edge: int) -> np.ndarray:
    """Values of a quantity in square crops of a micrograph (or of the planes of a volume), half an edge apart."""
    planes = micrograph.labels[None] if micrograph.labels.ndim == 2 else micrograph.labels
    windows = np.lib.stride_tricks.sliding_window_view(planes, (edge, edge), axis=(1, 2))
    step = max(edge // 2, 1)
    each = [
        exact_values_of_planes(quantity, plane.reshape(-1, edge, edge), micrograph.phases, phase)
        for plane in windows[:, ::step, ::step]
    ]
    return np.concatenate(each)


def residual(target: Target, achieved: float) -> float:
    """Deviation of a value from its target over the tolerance; up to 1 the target is met.

    Args:
        achieved: the value; of a curve its error rate in percent. Beyond a bound at most ROUNDING is tolerated.

    >>> round(residual(Target("diffusivity", 0, value=0.1, tolerance=0.02), 0.101), 3)
    0.5
    """
    if target.quantity in CURVES:
        return achieved / (100 * target.tolerance)
    allowed = target.tolerance if target.relation == "=" else min(target.tolerance, ROUNDING)
    return abs(target.deviation(achieved)) / allowed


def largest_residual(targets: Sequence[Target], achieved: Sequence[float]) -> float:
    """The largest residual of several targets."""
    return max(residual(t, v) for t, v in zip(targets, achieved, strict=True))
