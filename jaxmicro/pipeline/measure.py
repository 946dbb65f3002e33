"""Measure: the descriptors of an image or a volume."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxmicro import descriptors
from jaxmicro.pipeline.estimators import check_r_max, measure_head
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.transport import TransportField, transport
from jaxmicro.types import Microstructure


def measure(
    structure: Microstructure,
    *,
    r_max: int | None = None,
    diffusivity: bool = False,
    on_field: Callable[[TransportField], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The descriptors of an image or a volume as plain numbers, ready for JSON.

    Lengths and areas are in the unit of the voxel size, or in voxels when it is unknown; curves run over r = 0..r_max
    voxels (32, or half the shortest edge if that is less) and are estimated from the window, not periodic. "two_point"
    is the mean over all directions, "two_point_along" S2 along each axis, both about the mean of the image
    (`descriptors.centred`). The mean chord length is infinite where no chord ends. "schema", "estimators", "units" and
    "lags" define the numbers; "two_point" at r belongs to the distance lags["two_point"][r].

    Args:
        diffusivity: also solve for the effective diffusivity of each phase: its entry "transport", see `transport`.
        on_field, progress: as in `transport`.
    Raises:
        UserError: when r_max does not fit the image.
    """
    r_max = check_r_max(structure, r_max)
    size = structure.voxel_size or 1.0
    axes = "zyx"[-structure.labels.ndim :]
    fractions = jax.nn.one_hot(structure.labels, structure.phases)
    relative_area = descriptors.relative_surface_area(fractions)
    unit = structure.unit if structure.voxel_size else "voxel"
    measured = {
        **measure_head(structure.shape, r_max=r_max, unit=unit, diffusivity=diffusivity),
        "source": structure.source,
        "shape": list(structure.shape),
        "voxel_size": structure.voxel_size,
        "unit": unit,
        "periodic": structure.periodic,
        "thresholds": list(structure.thresholds),
        "remarks": list(structure.remarks),
        "r_max": r_max,
        "phases": [
            {
                "label": label,
                "value": structure.values[label],
                "volume_fraction": structure.volume_fractions[label],
                "relative_surface_area": float(relative_area[label]),
                **_measure_phase(structure.labels == label, axes, size, r_max),
            }
            for label in range(structure.phases)
        ],
    }
    if diffusivity:
        for phase, of_phase in zip(
            measured["phases"], transport(structure, on_field=on_field, progress=progress), strict=True
        ):
            phase["transport"] = {name: value for name, value in of_phase.items() if name != "label"}
    return measured


def _measure_phase(phase: np.ndarray, axes: str, size: float, r_max: int) -> dict[str, Any]:
    def along(measured: Callable[[int], Any]) -> dict[str, Any]:
        return {name: measured(axis) for axis, name in enumerate(axes)}

    def curve(describe: Callable[..., Any], **direction: int) -> list[float]:
        return np.asarray(describe(phase, r_max=r_max, **direction)).tolist()

    return {
        "specific_surface_area": float(descriptors.crofton_surface_area(phase, voxel_size=size)),
        "specific_surface_area_faces": float(descriptors.specific_surface_area(phase, voxel_size=size)),
        "mean_chord_length": along(lambda axis: size * descriptors.mean_chord_length(phase, axis=axis)),
        "percolates": along(lambda axis: bool(descriptors.percolation(phase, axis))),
        "percolating_fraction": along(lambda axis: descriptors.percolating_fraction(phase, axis=axis)),
        "connected_fraction": descriptors.connected_fraction(phase),
        "two_point": curve(descriptors.centred(descriptors.radial_two_point)),
        "two_point_along": along(lambda axis: curve(descriptors.centred(descriptors.directional_two_point), axis=axis)),
        "lineal_path": along(lambda axis: curve(descriptors.lineal_path, axis=axis)),
    }
