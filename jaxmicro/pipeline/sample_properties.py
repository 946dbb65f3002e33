"""The properties that can be measured of each sample of a collection, and their numbers."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxmicro import descriptors, physics
from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError, perhaps_meant
from jaxmicro.units import ratio

ALONG = ("percolating_fraction", "diffusivity", "tortuosity")  # quantities that each axis has
SOLVED = ALONG[1:]  # those that need a solve
_SOLVER = physics.SolverConfig(tolerance=1e-2)  # of the field; the error of the diffusivity is its square: 1e-4
# Of 32^3 voxels eight together take 0.4 of the time that each takes alone
_MOST_TOGETHER, _VOXELS_TOGETHER = 8, 2**21


@dataclass(frozen=True, kw_only=True)
class Film:
    """Which labels are the phases of an organic solar cell, for GraSPI's descriptors; the first axis is its normal."""

    donor: int  # label of the donor, which conducts holes to the anode: the last plane
    acceptor: int  # label of the acceptor, which conducts electrons to the cathode: the first plane
    mixed: int | None = None  # label of the mixed phase, if there is one


def check_film(film: Film | None, phases: int) -> None:
    """Check that the labels of a film, if one is given, are 0 to phases - 1.

    Raises:
        UserError: they are others.
    """
    if film is not None and {film.donor, film.acceptor, film.mixed} - {None} != set(range(phases)):
        raise UserError(
            f"there are the labels 0 to {phases - 1}; each of them must be the donor, the acceptor or, of three, the "
            "mixed phase"
        )


class Conductor(NamedTuple):
    """One phase of one sample, along one axis along which it percolates."""

    sample: int
    phase: int
    axis: str
    volume_fraction: float  # of the phase, with its isolated parts
    sides: physics.Sides  # "periodic" if the sample is along both (in 2D the) other axes, else "insulated"
    conducting: Bool[np.ndarray, "*grid"]  # the voxels that connect the two faces, the axis first


def measurable_features(collection: Collection, film: Film | None = None) -> tuple[Feature, ...]:
    """All properties that can be measured: of each phase its volume_fraction and surface_area, along each axis its
    percolating_fraction, diffusivity and tortuosity; with `film` also GraSPI's descriptors under their names."""
    per_length = f"1/{collection.unit or 'unit'}" if collection.voxel_size else "1/voxel"
    phases = range(collection.phases)
    features = [Feature(f"volume_fraction.{p}") for p in phases]
    features += [Feature(f"surface_area.{p}", unit=per_length) for p in phases]
    features += [Feature(f"{quantity}.{p}.{axis}") for quantity in ALONG for p in phases for axis in collection.axes]
    if film is not None:
        features += [Feature(name) for name in graspi_names(film)]
    return tuple(features)


def chosen_features(collection: Collection, names: Sequence[str] = (), film: Film | None = None) -> tuple[Feature, ...]:
    """The measurable features of these names, or that begin with them ("tortuosity", "tortuosity.1", "CT_f"); all of
    them if no name is given.

    Raises:
        UserError: a name is none of theirs.
    """
    known = measurable_features(collection, film)
    chosen: set[Feature] = set()
    for name in names:
        found = {f for f in known if f.begins_with(name)}
        if not found:
            solar = any(each.startswith(name) for each in descriptors.GRASPI_THREE_PHASE)
            hint = "; GraSPI's descriptors need --donor and --acceptor, some of them --mixed" if solar and name else ""
            kinds = list(dict.fromkeys(feature.name.split(".")[0] for feature in known))
            near = hint or perhaps_meant(name, [*kinds, *(feature.name for feature in known)])
            raise UserError(
                f"{name!r:.120} is no feature that can be measured here{near}; there are {', '.join(kinds)}"
            )
        chosen |= found
    return tuple(feature for feature in known if not names or feature in chosen)


class Counted(NamedTuple):
    """Some samples and what was counted of them.

    Attributes:
        labels: uint8 "*grid", by number of the sample.
        numbers: by number of the sample and name of the feature; no surface areas, and of conductors no diffusivity and
            no tortuosity.
        conductors: what needs a solve.
    """

    labels: dict[int, np.ndarray]
    numbers: dict[int, dict[str, float]]
    conductors: list[Conductor]


def counted(
    collection: Collection, indices: Sequence[int] | np.ndarray, names: Sequence[str], film: Film | None
) -> Counted:
    """Read some samples and compute what is counted, not solved: by NumPy and SciPy alone, so that a thread may do so
    while another waits for JAX (two programs of JAX at once may wait for each other for ever).

    Raises:
        UserError: a sample is damaged, or is no film of the given phases.
    """
    labels_of = dict(zip(map(int, indices), collection.samples(indices), strict=True))
    numbers: dict[int, dict[str, float]] = {}
    conductors: list[Conductor] = []
    for i, labels in labels_of.items():
        found = numbers[i] = {}
        if film is not None and (chosen := [name for name in names if name in graspi_names(film)]):
            try:
                found |= descriptors.graspi_descriptors(
                    labels, donor=film.donor, acceptor=film.acceptor, mixed=film.mixed, names=chosen,
                    periodic=all(collection.periodic[1:]), pixel=_nanometres(collection),
                )  # fmt: skip
            except UserError as error:
                raise UserError(f"sample {i} of {collection.source}: {error}") from None
        for p in range(collection.phases):
            phase = labels == p
            fraction = found[f"volume_fraction.{p}"] = float(phase.mean())
            for axis, (connected, sides) in _connected(phase, p, collection, names).items():
                share = float(connected.mean()) / fraction if fraction else 0.0
                found[f"percolating_fraction.{p}.{axis}"] = share
                found |= {f"diffusivity.{p}.{axis}": 0.0, f"tortuosity.{p}.{axis}": np.inf}
                if share and any(f"{quantity}.{p}.{axis}" in names for quantity in SOLVED):
                    along_first = np.moveaxis(connected, collection.axes.index(axis), 0)
                    conductors.append(Conductor(i, p, axis, fraction, sides, along_first))
    return Counted(labels_of, numbers, conductors)


def surface_areas(collection: Collection, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Crofton's area per volume of the phases of a sample that `names` asks for."""
    size = collection.voxel_size or 1.0
    asked = [(f"surface_area.{p}", labels == p) for p in range(collection.phases) if f"surface_area.{p}" in names]
    return {name: float(descriptors.crofton_surface_area(phase, voxel_size=size)) for name, phase in asked}


def solves_together(grid: tuple[int, ...]) -> int:
    """Samples whose solves are one call of a compiled program."""
    return min(max(_VOXELS_TOGETHER // math.prod(grid), 1), _MOST_TOGETHER)


def solved(conductors: Sequence[Conductor]) -> list[dict[str, float]]:
    """Diffusivity, relative to that of the phase, and tortuosity factor of each conductor, by name.

    Finite volumes between the two faces, in double precision; NaN where a solve does not converge. One compiled program
    for each shape and kind of sides; every number depends on its conductor alone, to the bit.
    """
    d_eff = np.zeros(len(conductors))
    kinds = [(conductor.conducting.shape, conductor.sides) for conductor in conductors]
    with jax.enable_x64(True):
        for shape, sides in dict.fromkeys(kinds):
            places = [place for place, other in enumerate(kinds) if other == (shape, sides)]
            together = solves_together(shape)
            for start in range(0, len(places), together):
                group = places[start : start + together]
                stack = np.zeros((together, *shape), bool)  # what is not filled conducts nothing, and is solved at once
                stack[: len(group)] = [conductors[place].conducting for place in group]
                d_eff[group] = np.asarray(_diffusivities(stack, sides=sides))[: len(group)]
    return [
        {
            f"diffusivity.{conductor.phase}.{conductor.axis}": float(value),
            f"tortuosity.{conductor.phase}.{conductor.axis}": float(conductor.volume_fraction / value),
        }
        for conductor, value in zip(conductors, d_eff, strict=True)
    ]


def _connected(
    phase: Bool[np.ndarray, "*grid"], p: int, collection: Collection, names: Sequence[str]
) -> dict[str, tuple[Bool[np.ndarray, "*grid"], physics.Sides]]:
    """Voxels of a phase in clusters that connect both faces, along each axis that a name asks for, and the kind of the
    sides.

    The number must not depend on where a periodic sample is cut along its sides: of 32^3 voxels with 0.08 to 0.52 of
    the free diffusivity, shifts change the number between tight sides by 0.014 (standard deviation).
    """
    connected = {}
    clusters: dict[tuple[bool, ...], np.ndarray] = {}
    for number, axis in enumerate(collection.axes):
        if not any(f"{quantity}.{p}.{axis}" in names for quantity in ALONG):
            continue
        others = tuple(yes for other, yes in enumerate(collection.periodic) if other != number)
        wraps = tuple(all(others) and other != number for other in range(phase.ndim))
        if wraps not in clusters:
            clusters[wraps] = descriptors.label_clusters(phase, periodic=wraps)
        table = np.zeros(int(clusters[wraps].max()) + 1, bool)
        table[descriptors.spanning(clusters[wraps], number)] = True
        connected[axis] = table[clusters[wraps]], "periodic" if all(others) else "insulated"
    return connected


@functools.partial(jax.jit, static_argnames="sides")
def _diffusivities(conducting: Bool[Array, " n *grid"], *, sides: physics.Sides) -> Float[Array, " n"]:
    """D_eff / D_0 along the first axis, of each grid."""

    def one(conducting: Bool[Array, "*grid"]) -> Float[Array, ""]:
        return physics.conducted(physics.solve(conducting.astype(float), axis=0, sides=sides, config=_SOLVER), True)

    return jax.vmap(one)(conducting)


def graspi_names(film: Film | None = None) -> Sequence[str]:
    """GraSPI's descriptors of a film of two or three phases; without one, all that there are."""
    two = film is not None and film.mixed is None
    return list(descriptors.GRASPI_TWO_PHASE if two else descriptors.GRASPI_THREE_PHASE)


def _nanometres(collection: Collection) -> float:
    """Edge of a voxel in nm; GraSPI's 1 nm where it is unknown."""
    return (collection.voxel_size or 1.0) * ((ratio(collection.unit, "nm") if collection.unit else None) or 1.0)
