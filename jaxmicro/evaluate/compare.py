"""Comparison of generated volumes with their micrograph, and with the true volume where there is one.

One file, because comparisons in planes and in 3D share the layout of their curves and scalars.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from jaxmicro.descriptors import (
    dependent_steps,
    euler_density,
    isotropic_slice_steps,
    percolating_fraction,
    slice_steps,
)
from jaxmicro.errors import UserError
from jaxmicro.evaluate.independent import CONSTRAINABLE, independent
from jaxmicro.evaluate.memorisation import memorisation
from jaxmicro.evaluate.metrics import error_rate, relative_area_error, shape_error
from jaxmicro.evaluate.overview import overview
from jaxmicro.evaluate.representativity import ODD, representativity
from jaxmicro.evaluate.rounding import by_axis, mean_and_spread, number, numbers
from jaxmicro.evaluate.statistics import (
    PlaneStatistics,
    VolumeStatistics,
    block_curves,
    image_statistics,
    plane_statistics,
    volume_statistics,
)
from jaxmicro.types import AXES, ArrayLike, Microstructure, check_all_phases, in_phases_of
from jaxmicro.units import same_length

_CROP = 64  # edge in pixels of the crops of the micrograph whose standard deviation is reported
_CROPS = 64  # at most this many of them
_SUB_VOLUMES = 8  # at most this many sub-volumes of a true volume as yardstick


def compare(
    volumes: Sequence[Microstructure],
    reference: Microstructure,
    *,
    true_volume: Microstructure | None = None,
    r_max: int = 32,
    patches: int = 48,
    seed: int = 0,
    targets: Sequence[str] = (),
    held: Sequence[str] | None = None,
) -> dict:
    """Statistics of volumes and of their micrograph with the differences between them, as a JSON-able dictionary.

    Volumes are measured in their planes normal to z, y and x, the micrograph as a whole, S2 about the mean of each grid
    (`descriptors.centred`), over all pairs of voxels of a periodic volume and over those inside the window otherwise.
    Error rates are P-Micro3Diff eq. 24; `relative_area_error` is P-MicroLad section 3.7. A reference in 3D is measured
    in its planes, and is the true volume unless another is given.

    Args:
        volumes: one or more generated volumes; they may differ in size.
        reference: the micrograph, 2D (or a volume, 3D).
        true_volume: volume of the real material; adds S2, lineal path and percolation in 3D under "true_volume", and
            the same numbers for sub-volumes of the true volume as "yardstick".
        r_max: largest distance of the curves in voxels; lowered to half the shortest edge of all grids.
        patches: number of patches in the search for copies of the micrograph (0: no search); see `memorisation`.
        seed: of the positions of these patches.
        targets: targets of a design, as "diffusivity.0.x"; `warnings` does not report deviations in these quantities.
        held: statistics that were constrained (`independent.CONSTRAINABLE`), and targets of a design; None: not known.
            They are marked: agreement there shows that the constraints work, not that the material is right.
    Returns:
        {"overview" (constrained and independent statistics, side by side), "held", "independent" (see `independent`),
        "r_max", "r", "voxel_size", "unit", "volumes", "periodic", "shapes", "reference", "phases": [per phase:
        "volume_fraction", "two_point", "lineal_path", "surface_area", "relative_surface_area", "percolating_fraction",
        "slice_steps"], "memorisation", "representativity", "targets", "true_volume", "transport"}; None where they do
        not apply; `pipeline.evaluate` fills in "transport".
        A curve has the keys "reference", "mean", "std" (over volumes), "volumes", "error_rate" (of the mean),
        "error_rate_volumes", and more. "slice_steps" is the root mean square change of a volume fraction from slice to
        slice over that of an isotropic material with the S2 of these planes, which do not show how they fit together;
        None where one of the two is undefined. "expected_99" are bounds along each axis: 99 of 100 isotropic volumes
        are within them along all axes. Distances in voxels, areas per voxel, fractions and curves dimensionless, error
        rates in percent.
    Raises:
        UserError: when there are no volumes, one is 2D, its phases are not those of the reference, voxel sizes differ,
            or a grid is too small to measure.
    """
    true_volume = reference if true_volume is None and reference.labels.ndim == 3 else true_volume
    check_comparable(volumes, reference, true_volume, r_max=r_max)
    volumes = [in_phases_of(reference, volume) for volume in volumes]
    true_volume = in_phases_of(reference, true_volume) if true_volume else None
    phases = reference.phases
    grids = [v.labels for v in volumes] + [reference.labels] + ([true_volume.labels] if true_volume else [])
    r_max = min(r_max, min(min(g.shape) for g in grids) // 2)
    statistics = [
        _on_host(plane_statistics(v.labels, phases=phases, r_max=r_max, periodic=v.periodic)) for v in volumes
    ]
    flat = reference.labels.ndim == 2
    measure = image_statistics if flat else functools.partial(plane_statistics, periodic=reference.periodic)
    original = _on_host(measure(reference.labels, phases=phases, r_max=r_max))
    scatter = _crop_scatter(reference.labels, phases, r_max) if flat else None
    sized = next((m for m in (reference, *volumes) if m.voxel_size is not None), reference)
    report = {
        "held": None if held is None else list(held),
        "independent": independent(volumes, reference, r_max=r_max, held=held),
        "r_max": r_max,
        "r": list(range(r_max + 1)),
        "voxel_size": sized.voxel_size,
        "unit": sized.unit,
        "volumes": len(volumes),
        "periodic": [v.periodic for v in volumes],
        "shapes": [list(v.labels.shape) for v in volumes],
        "reference": {
            "source": reference.source,
            "shape": list(reference.labels.shape),
            "crop": min(_CROP, *reference.labels.shape),
        },
        "phases": [_marked(_phase_report(p, statistics, original, scatter, volumes), held) for p in range(phases)],
        "memorisation": memorisation([v.labels for v in volumes], reference.labels, phases, patches=patches, seed=seed)
        if flat and patches
        else None,
        "representativity": representativity(
            reference.labels, phases, r_max=r_max, shapes=[v.labels.shape for v in volumes]
        )
        if flat
        else None,
        "targets": list(targets),
        "true_volume": _compare_3d(volumes, true_volume, phases, r_max) if true_volume else None,
        "transport": None,
    }
    return {"overview": overview(report), **report}


def check_comparable(
    volumes: Sequence[Microstructure],
    reference: Microstructure,
    true_volume: Microstructure | None = None,
    *,
    r_max: int = 32,
) -> None:
    """Checks the input of `compare`.

    Raises:
        UserError: as `compare`.
    """
    if not volumes:
        raise UserError("no volumes to evaluate; give at least one")
    if r_max < 1:
        raise UserError(f"r_max is {r_max} voxels; expected 1 or more")
    check_all_phases(reference)
    every = (*volumes, *([true_volume] if true_volume else []))
    sized = next((m for m in (reference, *every) if m.voxel_size is not None), reference)
    for volume in every:
        name = volume.source or "a volume"
        if volume.labels.ndim != 3:
            raise UserError(f"{name} is an image of shape {volume.labels.shape}; expected a volume z y x")
        in_phases_of(reference, volume)
        size, expected = volume.voxel_size, sized.voxel_size
        if size is not None and expected is not None and not same_length(size, volume.unit, expected, sized.unit):
            raise UserError(
                f"{name} has voxels of {size:g} {volume.unit or '(no unit)'}, "
                f"{sized.source or 'the reference'} of {expected:g} {sized.unit or '(no unit)'}; "
                "resample one of them (jaxmicro export --resample), or correct its voxel size"
            )
    measured = true_volume if true_volume is not reference else None
    if measured is not None and measured.voxel_size is None and sized.voxel_size is not None:
        stated = f"{sized.voxel_size:g} {sized.unit or ''}".rstrip()
        raise UserError(
            f"the true volume {measured.source} states no voxel size, {sized.source or 'the others'} has {stated}; "
            "its lengths cannot be compared: if it has the same voxel size, say so with --voxel-size and --unit"
        )
    smallest = min(min(m.labels.shape) for m in (*volumes, reference))
    if smallest < 4:
        raise UserError(f"an edge of {smallest} voxels is too short to measure correlations; at least 4 are needed")


def _on_host(statistics):
    return type(statistics)(*(np.asarray(field, float) for field in statistics))


def _phase_report(
    p: int,
    statistics: list[PlaneStatistics],
    original: PlaneStatistics,
    scatter: dict[str, np.ndarray] | None,
    volumes: Sequence[Microstructure],
) -> dict:
    percolating = [_percolation(v.labels == p) for v in volumes]
    steps = [_slice_steps(v, p, m) for v, m in zip(volumes, statistics, strict=True)]  # v a
    return {
        "phase": p,
        "volume_fraction": _scalar([m.volume_fraction[p] for m in statistics], original.volume_fraction[p]),
        "two_point": _plane_curve("two_point", p, statistics, original, scatter)
        | {"shape_error": number(_shape_error_of_mean(p, statistics, original))},
        "lineal_path": _plane_curve("lineal_path", p, statistics, original, scatter),
        "surface_area": _scalar(
            [m.boundary_length[:, p].mean() for m in statistics], original.boundary_length[:, p].mean()
        )
        | {"axes": by_axis(np.mean([m.boundary_length[:, p] for m in statistics], axis=0))},
        "relative_surface_area": _scalar(
            [m.relative_area[:, p].mean() for m in statistics], original.relative_area[:, p].mean()
        ),
        "percolating_fraction": mean_and_spread([np.mean(f) for f in percolating])
        | {"axes": by_axis(np.mean(percolating, axis=0))},
        "slice_steps": mean_and_spread(np.sqrt(np.mean(steps, axis=1)))
        | {"axes": by_axis(np.sqrt(np.mean(steps, axis=0))), "expected_99": _expected_steps(p, statistics, volumes)}
        if np.all(np.isfinite(steps))
        else None,
    }


def _marked(phase: dict, held: Sequence[str] | None) -> dict:
    """The report of a phase, with "held" set for each statistic that can be constrained."""
    for name in CONSTRAINABLE:
        if phase[name] is not None:
            phase[name]["held"] = None if held is None else name in held
    return phase


def _slice_steps(volume: Microstructure, p: int, planes: PlaneStatistics) -> np.ndarray:
    """Mean square change of a volume fraction from slice to slice, over that which the S2 of the planes implies in an
    isotropic medium, by axis."""
    s2 = planes.two_point[:, p].mean(axis=0)
    phase = np.asarray(volume.labels == p, np.float32)[..., None]
    measured = np.asarray(slice_steps(phase, periodic=volume.periodic))[:, 0, 0]
    return measured / np.asarray(isotropic_slice_steps(s2[None] - s2[0] ** 2, volume.labels.shape))[:, 0, 0]


def _expected_steps(p: int, statistics: list[PlaneStatistics], volumes: Sequence[Microstructure]) -> dict:
    """Bounds of the ratio "slice_steps" of isotropic volumes, by axis; one volume in 100 is outside along any axis."""
    s2 = np.mean([m.two_point[:, p].mean(axis=0) for m in statistics], axis=0)
    counts = np.sum([v.labels.shape for v in volumes], axis=0)
    freedom = np.maximum(counts / dependent_steps(s2 - s2[0] ** 2), 1.0)
    tail = (1 - ODD) / len(AXES) / 2
    return by_axis(np.sqrt(chi2.ppf([[tail], [1 - tail]], freedom) / freedom).T)


def _plane_curve(
    name: str,
    p: int,
    statistics: list[PlaneStatistics],
    original: PlaneStatistics,
    scatter: dict[str, np.ndarray] | None,
) -> dict:
    per_axis = np.array([getattr(m, name)[:, p] for m in statistics])  # v a r
    along = np.mean([getattr(m, name + "_along")[:, p] for m in statistics], axis=0)
    reference = getattr(original, name)[:, p].mean(axis=0)
    reference_along = getattr(original, name + "_along")[:, p]
    report = _curve(per_axis.mean(axis=1), reference)
    report["axes"] = by_axis(per_axis.mean(axis=0))  # planes normal to each axis
    report["error_rate_axes"] = by_axis([error_rate(c, reference) for c in per_axis.mean(axis=0)])
    report["directions"] = by_axis(along)  # along each direction of the volume
    report["reference_directions"] = dict(
        zip(AXES[-len(reference_along) :], [numbers(c) for c in reference_along], strict=True)
    )
    report["reference_crops_std"] = numbers(scatter[name][p]) if scatter else None
    return report


def _curve(curves: np.ndarray, reference: ArrayLike) -> dict:
    """Curves of the volumes "v r" against one reference curve."""
    mean = curves.mean(axis=0)
    rates = [error_rate(c, reference) for c in curves]
    return {
        "reference": numbers(reference),
        "mean": numbers(mean),
        "std": numbers(curves.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros_like(mean)),
        "volumes": [numbers(c) for c in curves],
        "error_rate": number(error_rate(mean, reference)),
        "error_rate_volumes": numbers(rates),
        "relative_area_error": number(relative_area_error(mean, reference)),
    }


def _shape_error_of_mean(p: int, statistics: list[PlaneStatistics], original: PlaneStatistics) -> float:
    mean = np.mean([m.two_point[:, p].mean(axis=0) for m in statistics], axis=0)
    return shape_error(mean, original.two_point[:, p].mean(axis=0))


def _scalar(values: Sequence | np.ndarray, reference: float | ArrayLike) -> dict:
    """Values of the volumes and of the reference: mean, standard deviation, ratio, and error in percent."""
    ratio = float(np.mean(values) / reference) if reference > 0 else None
    return {
        "reference": number(reference),
        **mean_and_spread(values),
        "ratio": None if ratio is None else number(ratio),
        "error_percent": None if ratio is None else number(100 * abs(ratio - 1)),
    }


def _percolation(phase: np.ndarray) -> list[float]:
    """Share of the phase that connects opposite faces, along z, y and x; 0 where the phase is absent."""
    return [float(percolating_fraction(phase, axis=axis)) if phase.any() else 0.0 for axis in range(3)]


def _crop_scatter(labels: np.ndarray, phases: int, r_max: int) -> dict[str, np.ndarray] | None:
    """Standard deviation of the curves between disjoint crops of the micrograph; None with fewer than two crops."""
    edge = min(_CROP, *labels.shape)
    rows, columns = (n // edge for n in labels.shape)
    if rows * columns < 2 or r_max >= edge:
        return None
    crops = labels[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge).swapaxes(1, 2)
    crops = crops.reshape(-1, edge, edge)
    chosen = np.unique(np.linspace(0, len(crops) - 1, _CROPS).round().astype(int))
    s2, path = block_curves(crops[chosen], phases=phases, r_max=r_max)
    return {
        "two_point": np.std(np.asarray(s2), axis=0, ddof=1),
        "lineal_path": np.std(np.asarray(path), axis=0, ddof=1),
    }


def _compare_3d(volumes: Sequence[Microstructure], truth: Microstructure, phases: int, r_max: int) -> dict:
    """S2, lineal path, interface area and percolation in 3D, of the volumes and of sub-volumes of the true volume,
    against the true volume."""
    shape = np.min([v.labels.shape for v in volumes], axis=0)
    blocks = sub_volumes(truth.labels, shape)
    original = _on_host(volume_statistics(truth.labels, phases=phases, r_max=r_max, periodic=truth.periodic))
    statistics = [
        _on_host(volume_statistics(v.labels, phases=phases, r_max=r_max, periodic=v.periodic)) for v in volumes
    ]
    parts = [replace(truth, labels=b, periodic=False) for b in blocks]
    yardstick = [_on_host(volume_statistics(b, phases=phases, r_max=r_max)) for b in blocks]
    whole = [_percolation(truth.labels == p) for p in range(phases)]
    return {
        "source": truth.source,
        "shape": list(truth.labels.shape),
        "sub_volumes": len(blocks),
        "sub_volume_shape": list(blocks[0].shape) if blocks else None,
        "phases": [
            {
                "phase": p,
                **_phase_3d(p, statistics, original, [v.labels for v in volumes], whole[p]),
                "euler_density": _euler_density(p, volumes, truth),
                "yardstick": _phase_3d(p, yardstick, original, blocks, whole[p])
                | {"euler_density": _euler_density(p, parts, truth)}
                if blocks
                else None,
            }
            for p in range(phases)
        ],
    }


def _euler_density(p: int, volumes: Sequence[Microstructure], truth: Microstructure) -> dict:
    """Euler characteristic of a phase per voxel; without a ratio, since it may be negative."""
    densities = [float(euler_density(v.labels == p, periodic=v.periodic)) for v in (truth, *volumes)]
    return {"reference": number(densities[0]), **mean_and_spread(densities[1:])}


def _phase_3d(
    p: int,
    statistics: list[VolumeStatistics],
    original: VolumeStatistics,
    labels: Sequence[np.ndarray],
    whole: list[float],
) -> dict:
    s2 = np.array([m.two_point[p] for m in statistics])
    percolating = [_percolation(grid == p) for grid in labels]
    return {
        "volume_fraction": _scalar(s2[:, 0], original.two_point[p, 0]),
        "two_point": _curve(s2, original.two_point[p])
        | {"shape_error": number(shape_error(s2.mean(axis=0), original.two_point[p]))},
        "lineal_path": _curve(np.array([m.lineal_path[p] for m in statistics]), original.lineal_path[p]),
        "surface_area": _scalar([m.boundary_area[p] for m in statistics], original.boundary_area[p]),
        "percolating_fraction": {"reference": number(np.mean(whole)), "reference_axes": by_axis(whole)}
        | mean_and_spread([np.mean(f) for f in percolating])
        | {"axes": by_axis(np.mean(percolating, axis=0))},
    }


def sub_volumes(labels: np.ndarray, shape: np.ndarray) -> list[np.ndarray]:
    """At most _SUB_VOLUMES disjoint sub-volumes of a shape, evenly chosen; none where fewer than two fit.

    >>> [part.shape for part in sub_volumes(np.zeros((4, 4, 9)), np.array([4, 4, 4]))]
    [(4, 4, 4), (4, 4, 4)]
    """
    counts = [n // int(edge) for n, edge in zip(labels.shape, shape, strict=True)]
    total = int(np.prod(counts))
    if total < 2:
        return []
    chosen = np.unique(np.linspace(0, total - 1, _SUB_VOLUMES).round().astype(int))
    corners = [np.multiply(np.unravel_index(k, counts), shape) for k in chosen]
    return [labels[tuple(slice(c, c + e) for c, e in zip(corner, shape, strict=True))] for corner in corners]
