"""OME-Zarr: groups with several resolutions, read in metadata versions 0.4 (Zarr 2) and 0.5 (Zarr 3), written in 0.5.

Volumes are labels: each voxel of a coarser level is one of the finer voxels in it, never their mean. The resolution is
halved along all axes.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.files import read_json
from jaxmicro.io.raster import Raster, reading, replacing
from jaxmicro.io.resample import halved
from jaxmicro.io.volumes import create_zarr, holds_only, is_zarr, read_zarr, zarr_array
from jaxmicro.types import Microstructure
from jaxmicro.units import in_one_unit, plain_unit

_UNITS = {"pm": "picometer", "angstrom": "angstrom", "nm": "nanometer", "um": "micrometer", "mm": "millimeter"} | {
    "cm": "centimeter", "m": "meter", "inch": "inch"
}  # fmt: skip
_SMALLEST = 64  # voxels along the longest edge of the coarsest level


def read_zarr_folder(path: Path, dataset: str | None = None) -> Raster:
    """A Zarr array, or the finest level of the image in a Zarr group, with its scale from OME metadata.

    Args:
        dataset: path of an array inside a group; None for the image that the group describes, or its only array.
    Raises:
        UserError: there are several arrays and `dataset` is None, several channels or times, or damage.
    """
    if not _is_group(path):
        return _with_scale(path, path.parent)
    if dataset is not None:
        inside = _inside(path, dataset)
        if not is_zarr(inside) or _is_group(inside):
            raise UserError(f"{path} has no array {dataset!r}; it holds {_names(path)}")
        return _with_scale(inside, inside.parent)
    with reading(path, "Zarr group"):
        image = _multiscales(path)
        first = None if image is None else str(image["datasets"][0]["path"])
    if first is not None:
        return _with_scale(_inside(path, first), path)
    arrays = [child for child in sorted(path.iterdir()) if is_zarr(child)]
    if len(arrays) == 1:  # for example series 0 of bioformats2raw
        return read_zarr_folder(arrays[0])
    raise UserError(f"{path} is a Zarr group of {_names(path)}; name the one to read with --dataset NAME")


def write_ome_zarr(path: str | Path, microstructure: Microstructure) -> None:
    """Write labels as an OME-Zarr group (0.5, Zarr 3) with coarser levels down to 64 voxels, for napari, Fiji (MoBIE)
    and neuroglancer. Voxel size and unit are its scale, phase values and periodicity attributes of level 0."""
    ndim, unit = microstructure.labels.ndim, plain_unit(microstructure.unit)
    edge = microstructure.voxel_size or 1.0
    axes: list[dict[str, str]] = [{"name": name, "type": "space"} for name in "zyx"[-ndim:]]
    if microstructure.voxel_size is not None and unit in _UNITS:
        axes = [axis | {"unit": _UNITS[unit]} for axis in axes]
    levels = [microstructure.labels]
    while max(levels[-1].shape) > _SMALLEST:
        levels.append(halved(levels[-1]))
    with replacing(Path(path), ours=is_our_ome_zarr) as part:
        datasets = []
        for number, labels in enumerate(levels):
            create_zarr(part / str(number), labels, microstructure if number == 0 else None)
            scale, shift = edge * 2**number, edge * (2**number - 1) / 2
            transforms = [
                {"type": "scale", "scale": [scale] * ndim},
                {"type": "translation", "translation": [shift] * ndim},
            ]
            datasets.append({"path": str(number), "coordinateTransformations": transforms})
        image = {"name": "phases", "axes": axes, "datasets": datasets, "type": "one voxel of each block"}
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}, "jaxmicro": "labels"}
        (part / "zarr.json").write_text(
            json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1)
        )


def is_our_ome_zarr(path: Path) -> bool:
    """Whether a folder is a group of `write_ome_zarr` without other files, so that it may be replaced."""
    try:
        metadata = read_json(path / "zarr.json")
    except UserError:
        return False
    attributes = metadata.get("attributes")
    if not isinstance(attributes, dict) or "jaxmicro" not in attributes or metadata.get("node_type") != "group":
        return False
    try:
        levels = {str(level["path"]) for level in attributes["ome"]["multiscales"][0]["datasets"]}
    except (KeyError, IndexError, TypeError):
        return False
    level = "|".join(map(re.escape, levels))
    return holds_only(path, re.compile(rf"zarr\.json|({level})/(zarr\.json|c(/\d+)+)"))


def _is_group(path: Path) -> bool:
    if (path / "zarr.json").is_file():
        with reading(path, "Zarr group"):
            return json.loads((path / "zarr.json").read_text()).get("node_type") == "group"
    return (path / ".zgroup").is_file() and not (path / ".zarray").is_file()


def _attributes(path: Path) -> dict[str, Any]:
    if (path / "zarr.json").is_file():
        return json.loads((path / "zarr.json").read_text()).get("attributes", {})
    return json.loads((path / ".zattrs").read_text()) if (path / ".zattrs").is_file() else {}


def _multiscales(path: Path) -> dict[str, Any] | None:
    """The OME metadata of the image in a group; None without."""
    attributes = _attributes(path)
    images = attributes.get("ome", attributes).get("multiscales", [])
    return images[0] if images else None


def _inside(path: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{path}: {name!r} is outside of the group, and is not read")
    return path / name


def _names(path: Path) -> str:
    return ", ".join(sorted(child.name for child in path.iterdir() if is_zarr(child))) or "nothing"


def _with_scale(path: Path, group: Path) -> Raster:
    """An array with the scale in the OME metadata of its group, if there is one."""
    with reading(path, "Zarr array"):
        image = _multiscales(group) if is_zarr(group) and _is_group(group) else None
        name = path.relative_to(group).as_posix()
        level = next((d for d in (image or {}).get("datasets", []) if str(d["path"]).strip("/") == name), None)
        if image is None or level is None:
            return read_zarr(path)
        ours = read_zarr(path, header_only=True)
        array = zarr_array(path, ours=ours.values is not None)
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", [])]
        axes = axes or [{"name": name} for name in "tczyx"[-array.ndim :]]
        if len(axes) != array.ndim:
            raise ValueError(f"{len(axes)} axes for an array of shape {array.shape}")
        scale = np.ones(array.ndim)
        for transforms in (level.get("coordinateTransformations"), image.get("coordinateTransformations")):
            for transform in transforms or []:
                if transform.get("type") == "scale" and "scale" in transform:
                    scale = scale * np.asarray(transform["scale"], float)
        kept = []
        for number, axis in enumerate(axes):
            space = axis.get("type", "space" if axis["name"] in ("z", "y", "x") else "other") == "space"
            if not space and array.shape[number] != 1:
                raise UserError(f"{path} has {array.shape[number]} {axis['name']}; save one of them")
            # a volume of one layer is an image
            if space and (array.shape[number] > 1 or axis["name"] in ("y", "x")):
                kept.append(number)
        shape = tuple(array.shape[number] for number in kept)
        units = [axes[number].get("unit") for number in kept]
        spacing: tuple[float, ...] | None = tuple(float(scale[number]) for number in kept)
        remarks: tuple[str, ...] = ()
        unit = None
        if min(spacing) <= 0:
            raise ValueError(f"scale {spacing}")
        try:
            spacing, unit = in_one_unit(spacing, units)
        except UserError as error:
            spacing, remarks = None, (str(error),)
        unit = unit or ours.unit
        if spacing is not None and set(spacing) == {1.0} and unit is None and ours.spacing is None:
            spacing = None  # the default of programs that know no scale
        elif spacing is not None and unit is None and ours.spacing is None:
            remarks = ("the file states a scale but no unit of length; give it with --unit",)
        periodic = ours.periodic
        return Raster(array.reshape(shape), spacing, unit, ours.values, path.name, periodic, size_remarks=remarks)
