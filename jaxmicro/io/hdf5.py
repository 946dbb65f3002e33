"""Reading and writing HDF5, including DREAM.3D files, through h5py. Numbers stored in other files are not read."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.files import check_promise
from jaxmicro.io.raster import Raster, check_size, drop_unit_axes, needs, reading, replacing
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit

_MOST_OBJECTS = 10_000  # objects of a file that are searched for datasets
_NAMED = 12  # datasets listed in an error message
_ITEM_LIMIT = 256  # numbers in an attribute or in a small dataset that describes the grid


def read_hdf5(path: Path, dataset: str | None = None) -> Raster:
    """A 2D or 3D dataset of an HDF5 file.

    Args:
        dataset: its name, such as /exchange/data. None for the only dataset, or for the cell array Phases of DREAM.3D.
    Raises:
        UserError: there are several datasets and `dataset` is None, or it is not in the file, is stored in other files,
            holds no numbers, is too large (`raster.check_size`) or damaged; h5py is not installed.
    """
    with reading(path, "HDF5 file"), needs("h5py", "HDF5").File(path, "r") as file:
        found = _datasets(file)
        name = _choose(path, found, dataset)
        data = file[name]
        check_dataset(path, name, data)
        array = data[()]
        if array.ndim == 4 and array.shape[-1] == 1:  # DREAM.3D: z y x component
            array = array[..., 0]
        remarks: tuple[str, ...] = ()
        spacing, unit = _spacing(data, array.ndim)
        if spacing is not None and unit is None:
            remarks = ("the file states a spacing but no unit of length; give it with --unit (DREAM.3D means um)",)
        values = _floats(data.attrs.get("values", ())) if "jaxmicro" in data.attrs else ()
        periodic = list(_floats(data.attrs.get("periodic", ()))) == list(array.shape)
    array = drop_unit_axes(array)
    spacing = spacing[-array.ndim :] if spacing is not None else None
    return Raster(array, spacing, unit, values or None, path.name, periodic, size_remarks=remarks)


def write_hdf5(path: str | Path, microstructure: Microstructure) -> None:
    """Write the dataset /labels, compressed, with voxel_size (z y x), unit and values as attributes."""
    h5py = needs("h5py", "HDF5")
    with replacing(Path(path)) as part, h5py.File(part, "w") as file:
        data = file.create_dataset("labels", data=microstructure.labels, chunks=True, compression="gzip")
        data.attrs["jaxmicro"] = 1
        data.attrs["values"] = np.array(microstructure.values)
        unit = plain_unit(microstructure.unit)
        if microstructure.voxel_size is not None:
            data.attrs["voxel_size"] = np.full(microstructure.labels.ndim, microstructure.voxel_size)
            if unit is not None:
                data.attrs["unit"] = unit
        if microstructure.periodic:
            data.attrs["periodic"] = np.array(microstructure.shape)


def _datasets(file: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the numeric datasets in 2D or 3D."""
    h5py = needs("h5py", "HDF5")
    found: dict[str, tuple[int, ...]] = {}
    seen = 0

    def visit(name: str, item: Any) -> bool | None:  # soft and external links are not followed
        nonlocal seen
        seen += 1
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "buif":
            shape = item.shape or ()
            shape = shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape
            if len(shape) in (2, 3) and sum(edge > 1 for edge in shape) >= 2:
                found["/" + name] = shape
        return True if seen > _MOST_OBJECTS else None

    file.visititems(visit)
    return found


def _choose(path: Path, found: dict[str, tuple[int, ...]], dataset: str | None) -> str:
    listed = ", ".join(f"{name} ({' x '.join(map(str, shape))})" for name, shape in list(found.items())[:_NAMED])
    if dataset is not None:
        name = "/" + dataset.strip("/")
        if name not in found:
            raise UserError(f"{path} has no dataset {name} of numbers in 2D or 3D; it holds {listed or 'none'}")
        return name
    if not found:
        raise UserError(f"{path} holds no dataset of numbers in 2D or 3D")
    # DREAM.3D 6: /DataContainers/NAME/CellData/Phases; DREAM3D-NX: /DataStructure/NAME/Cell Data/Phases
    dream3d = [n for n in found if n.startswith(("/DataContainers/", "/DataStructure/")) and n.endswith("/Phases")]
    ours = [name for name in found if name == "/labels"]
    chosen = dream3d if len(dream3d) == 1 else ours or list(found)
    if len(chosen) != 1:
        raise UserError(f"{path} holds {len(found)} datasets: {listed}; name the one to read with --dataset NAME")
    return chosen[0]


def check_dataset(path: Path, name: str, data: Any) -> None:
    """Check the size of a dataset before memory is allocated.

    Raises:
        UserError: it keeps its numbers in other files, is too large, was never written, or its header is damaged.
    """
    if data.external or data.is_virtual:
        raise UserError(
            f"{path}: dataset {name} keeps its numbers in other files, which are not read; copy them into one"
        )
    check_size(path, data.shape, data.dtype.itemsize)
    stored = data.id.get_storage_size()
    if stored == 0:
        raise UserError(f"{path}: dataset {name} was declared but never written; save it again")
    check_promise(path, [*data.shape, data.dtype.itemsize], stored)


def _spacing(data: Any, ndim: int) -> tuple[tuple[float, ...] | None, str | None]:
    """Voxel edges in array order and their unit; None for what the file does not state."""
    attrs = data.attrs
    for name, unit in (("element_size_um", "um"), ("voxel_size", _string(attrs.get("unit")))):
        edges = _floats(attrs.get(name, ()))
        if len(edges) == 1:
            edges *= ndim
        if len(edges) == ndim and min(edges) > 0:
            return edges, plain_unit(unit)
    node = data.parent
    while node.name != "/":  # DREAM.3D describes the grid in a parent of its arrays, x first
        geometry = node.get("_SIMPL_GEOMETRY")
        stated = geometry.get("SPACING") if geometry is not None else None
        stated = node.attrs.get("_SPACING") if stated is None else stated
        if stated is not None:
            edges = _floats(stated)[::-1]
            if len(edges) == 3 and ndim == 3 and min(edges) > 0 and set(edges) != {1.0}:
                return edges, None
        node = node.parent
    return None, None


def _floats(stated: Any) -> tuple[float, ...]:
    """Numbers of an attribute or a small dataset; empty if it is something else."""
    if math.prod(getattr(stated, "shape", ())) > _ITEM_LIMIT:
        return ()
    numbers = np.asarray(stated[()] if hasattr(stated, "id") else stated)
    return tuple(float(number) for number in numbers.ravel()) if numbers.dtype.kind in "buif" else ()


def _string(stated: Any) -> str | None:
    return stated.decode("utf-8") if isinstance(stated, bytes) else stated if isinstance(stated, str) else None
