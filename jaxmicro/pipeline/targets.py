"""What is asked for as numbers: resolved against the micrograph, checked against what media can have."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, QUANTITIES, Scale, Target, Wish, exact_of_planes, parse_target
from jaxmicro.pipeline.feasibility import Method, check_feasible, check_held, wanted_fractions
from jaxmicro.pipeline.prior import Prior
from jaxmicro.pipeline.volumes import held_fractions
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit, ratio

CROP = 64  # edge of the crops of a micrograph whose largest and smallest numbers are known as max and min
POLISHED, UNPOLISHED = 0.003, 0.01  # error rate of S2 that counts as met, by how the volume is finished
ROUNDING = 0.002  # relative deviation from a bound that counts as none
MOVABLE = ("diffusivity", "tortuosity", "slice_diffusivity", "surface_area")  # what moving interfaces can change


def read_targets(
    targets: Sequence[str | Target | Wish],
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
) -> list[Target | Wish]:
    """Targets as numbers; a change of what exists in 3D only stays a wish until the reconstruction is there.

    Arguments as `design`.

    Raises:
        UserError: a target cannot be read, or met by any medium, or contradicts another or what is held; the micrograph
            is needed and not given; the method cannot do it.
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
    scale = scale_of(prior)
    wanted = wanted_fractions(numbers, fractions, scale=scale)  # refuses what does not go together
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
    check_feasible(found, fractions, phases=prior.config.phases, scale=scale)
    check_held(found, prior, wanted, method=method, release=release, scale=scale, periodic=periodic)
    return found


def scale_of(prior: Prior) -> Scale:
    """The unit of lengths of the material of a prior."""
    material = prior.material
    return Scale() if material is None else Scale(material.voxel_size, material.unit)


def finishable(targets: Sequence[Target | Wish], prior: Prior, *, periodic: bool) -> bool:
    """Whether the interfaces of a volume can be moved to what is wanted: the prior knows all curves of its micrograph,
    and no target is about shares of the interface, or the fractions of single sections."""
    known = prior.material is not None and prior.material.wanted_segments is not None
    quantities = {t.quantity for t in targets if t.quantity != "volume_fraction" or (isinstance(t, Target) and t.each)}
    return known and periodic and bool(quantities) and quantities <= {*CURVES, *MOVABLE}


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
        return target(_in_voxels(wish, scale_of(prior)))
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


def _in_voxels(wish: Wish, scale: Scale) -> float:
    """The number of a wish, which may be per unit of length, per voxel: as it says, else in the unit of the material,
    in which `measure` prints it."""
    if wish.per is None:
        return wish.value / scale.factor(wish.quantity)
    if plain_unit(wish.per) is None:
        return wish.value
    if scale.voxel_size is None or scale.unit is None:
        raise UserError(f"target {wish}: the voxel size of the material is unknown; give a number per voxel: /voxel")
    units = ratio(scale.unit, wish.per)
    if units is None:
        raise UserError(f"target {wish}: no unit {wish.per!r}; the material has voxels of {scale.voxel_size:g} "
                        f"{scale.unit}, and /voxel is understood, too")  # fmt: skip
    return wish.value * scale.voxel_size * units


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
