"""Definitions of the reported numbers: estimators, units and lags; docs/numbers.md explains them in full."""

from collections.abc import Sequence
from typing import Any

from jaxmicro.descriptors import radial_lags
from jaxmicro.errors import UserError
from jaxmicro.types import Microstructure

MEASURE, EVALUATION = "jaxmicro.measure/1", "jaxmicro.evaluation/1"
"""Schemas of JSON; the number changes when keys or their meaning do."""

_BLOCKED = "one phase with all others blocked, relative to its own"
_FINITE_VOLUMES = "finite volumes, fluxes by harmonic means (lower bound of the voxel geometry)"
_CONDITIONS = (
    "between two opposite faces with tight sides; where the name says periodic, of the medium repeated periodically, "
    "by finite volumes"
)
ESTIMATORS = {
    "volume_fraction": "share of the voxels",
    "specific_surface_area": "Crofton's formula: intersections of lines in the 13 (2D: 4) directions to neighbouring "
    "voxels, weighted by solid angle; the target quantity surface_area; within 1 % for voxelised spheres (radius of 5 "
    "voxels and more) and circles, 7 % low for planes along the grid (2D: straight edges along the grid or its "
    "diagonals 5 % low, 3 % high between)",
    "specific_surface_area_faces": "voxel faces (2D: edges) between the phase and others; 50 % (2D: 27 %) above the "
    "area of spheres at any resolution, exact for planes along the grid",
    "relative_surface_area": "share of the phase in the sum over the phases of the total variation of their "
    "indicators, smoothed by a Gaussian of one voxel",
    "mean_chord_length": "2 phi over the share of neighbouring pairs along the axis that differ: not biased by the "
    "window",
    "percolates": "one cluster of voxels that share faces reaches both sides",
    "percolating_fraction": "share of the phase in such clusters",
    "connected_fraction": "share of the phase in its largest cluster of voxels that share faces",
    "two_point": "S2, centred: phi^2 plus the covariance about the mean of the grid, over its pairs of voxels "
    "whose distance rounds to r, a shell of mean distance lags.two_point",
    "two_point_along": "the same for pairs along the axis, r voxels apart",
    "lineal_path": "share of the segments of r + 1 voxels along the axis that lie in the phase",
    "transport": f"{_BLOCKED}: {_FINITE_VOLUMES}, and bilinear elements (upper bound); {_CONDITIONS}",
}
_PER_LENGTH = ("specific_surface_area", "specific_surface_area_faces")


def measure_head(shape: Sequence[int], *, r_max: int, unit: str | None, diffusivity: bool) -> dict[str, Any]:
    """Schema, estimators, units and lags of a report of `measure`."""
    names = [name for name in ESTIMATORS if diffusivity or name != "transport"]
    length = unit or "unit of voxel_size"
    units = {name: f"1/{length}" if name in _PER_LENGTH else "1" for name in names}
    return {
        "schema": MEASURE,
        "estimators": {name: ESTIMATORS[name] for name in names},
        "units": {**units, "mean_chord_length": length},
        "lags": lags(shape, r_max=r_max),
    }


def check_r_max(structure: Microstructure, r_max: int | None) -> int:
    """The largest lag of curves in voxels: the given one, or 32, or half the shortest edge if that is less.

    Raises:
        UserError: when it does not fit the image, or the image has an edge of one voxel.
    """
    shortest = min(structure.shape)
    if shortest < 2:
        plane = ",".join("0" if edge == 1 else ":" for edge in structure.shape)
        how = f"; --crop {plane} reads it as an image" if plane.count(":") > 1 else ""
        sizes = " x ".join(map(str, structure.shape))
        raise UserError(f"{sizes} voxels: curves along each axis need two voxels or more along it{how}")
    r_max = max(1, min(32, shortest // 2)) if r_max is None else r_max
    if not 1 <= r_max < shortest:
        raise UserError(f"r_max is {r_max} voxels; the shortest edge has {shortest}: choose 1 to {shortest - 1}")
    return r_max


def lags(shape: Sequence[int], *, r_max: int, periodic: bool = False) -> dict[str, Any]:
    """Distances of the entries r = 0..r_max of curves in voxels: the mean of the shell for S2, r along an axis."""
    mean = radial_lags(shape, r_max=r_max, periodic=periodic)
    along = list(range(r_max + 1))
    return {"unit": "voxel", "two_point": mean.round(6).tolist(), "two_point_along": along, "lineal_path": along}


def evaluation_head(report: dict[str, Any]) -> dict[str, Any]:
    """Schema, estimators, units and lags of a report of `evaluate.compare`."""
    r_max, periodic = report["r_max"], all(report["periodic"])
    shape = min(report["shapes"], key=min)
    estimators = {
        "two_point": f"{ESTIMATORS['two_point']}, in planes normal to z, y and x",
        "lineal_path": f"{ESTIMATORS['lineal_path']}, mean over the directions in these planes",
        "surface_area": "edges of pixels between the phase and others, over the number of neighbouring pairs, of these "
        "planes; 27 % above the boundary of discs at any resolution, so that ratios are unbiased and values are not",
        "relative_surface_area": ESTIMATORS["relative_surface_area"],
        "percolating_fraction": ESTIMATORS["percolating_fraction"],
        "slice_steps": "root mean square change of the volume fraction between neighbouring slices over what S2 of "
        "planes implies in an isotropic medium",
        "independent": "in square windows (disjoint crops of the micrograph and of planes of the volumes), per pixel: "
        "euler_density, clusters less holes (shared edges); clusters and specks (below speck_pixels) in a "
        "window; triple_points, 2 x 2 pixels of three phases or more; contacts, unlike neighbours of a pair of "
        "phases; mean_chord_length in pixels; chord_length_distribution, mean difference of ordered chords in pixels; "
        "cross_correlation, error rate in percent",
    }
    if report["transport"] is not None:
        estimators["transport"] = f"{_BLOCKED}: {_FINITE_VOLUMES}; {_CONDITIONS}"
    head: dict[str, Any] = {
        "schema": EVALUATION,
        "estimators": estimators,
        "units": {
            **dict.fromkeys(estimators, "1"),
            "surface_area": "1/voxel",
            "independent": "1/pixel^2, pixels, percent",
        },
        "lags": lags(shape[:2], r_max=r_max, periodic=periodic),
    }
    if report["true_volume"] is not None:
        head["lags"]["two_point_3d"] = lags(shape, r_max=r_max, periodic=periodic)["two_point"]
    return head
