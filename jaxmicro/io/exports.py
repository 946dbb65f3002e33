"""Export to PNG images, plain NPY arrays, and STL surfaces of a phase."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxmicro.errors import UserError
from jaxmicro.io.raster import needs, replacing
from jaxmicro.types import Microstructure
from jaxmicro.units import ratio


def write_png(path: str | Path, microstructure: Microstructure) -> None:
    """Write an image as a grey PNG with its pixel size in pixels per metre. Grey levels are the values of the phases if
    these are integers from 0 to 255, else evenly spaced from 0 to 255.

    Raises:
        UserError: the microstructure is a volume.
    """
    if microstructure.labels.ndim != 2:
        raise UserError(
            f"cannot write {path}: a PNG holds one image, this is a volume; write a .tif, or crop a plane: --crop 0,:,:"
        )
    values = np.asarray(microstructure.values)
    whole = np.rint(values)
    exact = np.array_equal(values, whole) and len(values) > 1 and values.min() >= 0 and values.max() <= 255
    levels = whole if exact and np.unique(whole).size == len(values) else np.linspace(0, 255, len(values)).round()
    metres = ratio(microstructure.unit, "m") if microstructure.voxel_size else None
    options: dict[str, Any] = {}
    if metres is not None and microstructure.voxel_size is not None:
        per_metre = 1 / (microstructure.voxel_size * metres)
        if 1 <= per_metre < 2**32:  # PNG stores a 32-bit integer
            options["dpi"] = (per_metre * 0.0254,) * 2
    with replacing(Path(path)) as part:
        Image.fromarray(levels.astype(np.uint8)[microstructure.labels]).save(part, "PNG", **options)


def write_npy(path: str | Path, microstructure: Microstructure) -> None:
    """Write the labels as a plain NumPy array, uint8; NPY cannot store voxel size, unit and values."""
    with replacing(Path(path)) as part, part.open("wb") as file:
        np.save(file, microstructure.labels, allow_pickle=False)


def write_stl(path: str | Path, microstructure: Microstructure, phase: int | None = None) -> None:
    """Write the closed surface of a phase as binary STL, by marching cubes; lengths in the unit of the voxel size.

    Marching cubes cut the edges of voxels, so that the surface encloses slightly less volume than the voxels.

    Args:
        phase: label 0..P-1; None means 1, for two phases only.
    Raises:
        UserError: the microstructure is an image, the phase has no voxel, or it is None with more than two phases.
    """
    labels, phases = microstructure.labels, microstructure.phases
    if labels.ndim != 3:
        raise UserError(f"cannot write {path}: an image has no surface; STL is for volumes")
    if phase is None and phases > 2:
        raise UserError(f"cannot write {path}: choose the phase whose surface to write, --phase 0 to {phases - 1}")
    phase = 1 if phase is None else phase
    if not 0 <= phase < phases or not (labels == phase).any():
        raise UserError(f"cannot write {path}: there is no voxel of phase {phase}; phases are 0 to {phases - 1}")
    solid = np.pad((labels == phase).astype(np.float32), 1)  # so that the surface is closed at the faces of the volume
    measure = needs("skimage.measure", "STL (by scikit-image)")
    corners, triangles, _, _ = measure.marching_cubes(solid, 0.5, spacing=(microstructure.voxel_size or 1.0,) * 3)
    corners = corners[:, ::-1] - 0.5 * (microstructure.voxel_size or 1.0)  # x y z; the first voxel starts at 0
    mesh = np.zeros(len(triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    mesh["corners"] = corners[triangles]  # anticlockwise seen from outside: turning z y x into x y z mirrored them
    sides = np.diff(mesh["corners"], axis=1)
    normals = np.cross(sides[:, 0], sides[:, 1])
    mesh["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    with replacing(Path(path)) as part, part.open("wb") as file:
        file.write(f"jaxmicro phase {phase}".encode("ascii").ljust(80)[:80])
        file.write(np.uint32(len(triangles)).astype("<u4").tobytes())
        file.write(mesh.tobytes())
