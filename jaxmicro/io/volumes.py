"""Writing microstructures as TIFF, NPZ and Zarr, and reading NPY, NPZ and Zarr.

Each writer stores labels, voxel size, unit, phase values and periodicity, so that reading the file gives an equal
microstructure, and writes atomically: the complete file or none.
"""

import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorstore
import tifffile

from jaxmicro.errors import UserError
from jaxmicro.io.files import check_npz, check_promise, read_array_header, read_json
from jaxmicro.io.raster import Raster, drop_unit_axes, reading, replacing
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit

_ZARR_ATTRIBUTES = {"voxel_size", "unit", "values", "periodic"}
_ZARR_CHUNK = 64  # voxels along each edge


def write_tiff(path: str | Path, microstructure: Microstructure) -> None:
    """Write a calibrated ImageJ TIFF: uint8 labels, z as slices, display range set to the labels.

    The `spacing` of the ImageJ description is the exact voxel size; the resolution tags hold it as a fraction. Pixels
    are not compressed, so that ImageJ can read a stack of any length with a single header.
    """
    size, unit = microstructure.voxel_size, plain_unit(microstructure.unit)
    density = None if size is None else _pixels_per_unit(size)
    metadata: dict[str, Any] = {
        "axes": "ZYX"[-microstructure.labels.ndim :],
        "min": 0.0,
        "max": float(microstructure.phases - 1),
        "Info": _as_text(microstructure),
    }
    if size is not None:
        metadata |= {"spacing": size} | ({"unit": unit} if unit else {})
    with replacing(Path(path)) as part:
        tifffile.imwrite(
            part,
            microstructure.labels,
            imagej=True,
            resolution=None if density is None else (density, density),
            resolutionunit="NONE",
            metadata=metadata,
        )


def write_ome_tiff(path: str | Path, microstructure: Microstructure) -> None:
    """Write an uncompressed OME-TIFF: uint8 labels with physical sizes and their unit."""
    axes, size, unit = "ZYX"[-microstructure.labels.ndim :], microstructure.voxel_size, plain_unit(microstructure.unit)
    metadata: dict[str, Any] = {"axes": axes, "Description": _as_text(microstructure)}
    if size is not None:
        named = {"um": "µm", "angstrom": "Å", "inch": "in"}.get(unit or "", unit or "reference frame")
        for axis in axes:
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": named}
    with replacing(Path(path)) as part:
        tifffile.imwrite(part, microstructure.labels, ome=True, photometric="minisblack", metadata=metadata)


def write_npz(path: str | Path, microstructure: Microstructure) -> None:
    """Write a compressed NPZ with `labels`, `values`, `periodic`, and `voxel_size` and `unit` where known; without
    pickles."""
    arrays: dict[str, Any] = {
        "labels": microstructure.labels,
        "values": np.array(microstructure.values),
        "periodic": np.array(microstructure.periodic),
    }
    if microstructure.voxel_size is not None:
        arrays["voxel_size"] = np.array(microstructure.voxel_size)
    if microstructure.unit is not None:
        arrays["unit"] = np.array(plain_unit(microstructure.unit))
    with replacing(Path(path)) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def write_zarr(path: str | Path, microstructure: Microstructure) -> None:
    """Write a Zarr (version 3) array in chunks of 64 voxels a side; voxel size, unit, values and periodicity are
    attributes."""
    path, labels = Path(path), microstructure.labels
    with replacing(path, ours=is_our_zarr) as part:
        create_zarr(part, labels, microstructure)


def create_zarr(path: Path, labels: np.ndarray, microstructure: Microstructure | None = None) -> None:
    """Write a new Zarr array with all its chunks, and the calibration of a microstructure as attributes."""
    metadata = _zarr_metadata(labels, microstructure)
    spec = _zarr_spec(path, "zarr3") | {"metadata": metadata, "create": True, "store_data_equal_to_fill_value": True}
    tensorstore.open(spec).result().write(labels).result()


def read_numpy(path: Path, dataset: str | None = None) -> Raster:
    """The array in an NPY file, or in an NPZ the array `dataset`, else `labels`, else the only one.

    Pickled objects are an error and never loaded. An NPY of shape (h, w, 3) with equal channels is a grey image.
    """
    with reading(path, "NumPy file"), path.open("rb") as file:
        _refuse_pickles(path, file)
        _check_numpy(path, file)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            grey = loaded.ndim == 3 and loaded.shape[-1] in (3, 4) and (loaded[..., :3] == loaded[..., :1]).all()
            return Raster(drop_unit_axes(loaded[..., 0] if grey else loaded), source=path.name)
        return _from_npz(path, loaded, dataset)


def _check_numpy(path: Path, file: BinaryIO) -> None:
    """Check the size that the header of a NumPy file declares, before memory is allocated."""
    if file.read(2) == b"PK":
        file.seek(0)
        check_npz(path, file)
        return
    file.seek(0)
    shape, _, kind = read_array_header(file)
    check_promise(path, [*shape, kind.itemsize], path.stat().st_size)
    file.seek(0)


def _from_npz(path: Path, loaded: Any, dataset: str | None) -> Raster:
    names = loaded.files
    chosen = dataset or ("labels" if "labels" in names else names[0] if len(names) == 1 else None)
    if chosen not in names:
        raise UserError(f"{path} holds the arrays {', '.join(names) or '(none)'}; name the one to read: --dataset NAME")
    array = loaded[chosen]
    ours = chosen == "labels" and "values" in names and loaded["values"].ndim == 1
    values = tuple(float(value) for value in loaded["values"]) if ours else None
    size = loaded["voxel_size"] if "voxel_size" in names else None
    unit = plain_unit(str(loaded["unit"])) if "unit" in names else None
    periodic = "periodic" in names and bool(np.all(loaded["periodic"]))
    return Raster(drop_unit_axes(array), _per_axis(size, array.ndim), unit, values, path.name, periodic)


def _refuse_pickles(path: Path, file: BinaryIO) -> None:
    """Raise a UserError for an array of Python objects; the file position is reset to the start."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"PK"):  # an NPZ; its arrays are checked as they are read
        return
    if start != b"\x93NUMPY":
        raise UserError(
            f"{path} is not a NumPy file (pickles are never loaded); save it with numpy.save or numpy.savez"
        )
    if read_array_header(file)[2].hasobject:
        raise UserError(
            f"{path} holds pickled Python objects, which are never loaded because they can run code; "
            "save a plain array of numbers"
        )
    file.seek(0)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group, version 2 or 3."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def is_our_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array of `write_zarr` without other files, so that it may be replaced."""
    try:
        metadata = read_json(path / "zarr.json")
    except UserError:
        return False
    attributes = metadata.get("attributes")
    if metadata.get("node_type") != "array" or not isinstance(attributes, dict) or set(attributes) != _ZARR_ATTRIBUTES:
        return False
    return holds_only(path, re.compile(r"zarr\.json|c(/\d+)+"))


def holds_only(folder: Path, names: re.Pattern[str]) -> bool:
    """Whether the paths of all files in a folder, relative to it, match the pattern."""
    return all(names.fullmatch(f.relative_to(folder).as_posix()) for f in folder.rglob("*") if not f.is_dir())


def _zarr_metadata(labels: np.ndarray, microstructure: Microstructure | None) -> dict[str, Any]:
    """Metadata of a Zarr (version 3) array of labels, with the calibration of a microstructure as attributes."""
    attributes = {} if microstructure is None else {
        "voxel_size": microstructure.voxel_size,
        "unit": plain_unit(microstructure.unit),
        "values": microstructure.values,
        "periodic": microstructure.periodic,
    }  # fmt: skip
    return {
        "data_type": "uint8",
        "shape": labels.shape,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [min(edge, _ZARR_CHUNK) for edge in labels.shape]},
        },
        "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}],
        "dimension_names": list("zyx"[-labels.ndim :]),
        "attributes": attributes,
    }


def read_zarr(path: Path, *, header_only: bool = False) -> Raster:
    """A Zarr array, version 2 or 3, through TensorStore, with `voxel_size`, `unit` and `values` from its attributes.

    Args:
        header_only: return an empty array, with the attributes.
    """
    with reading(path, "Zarr array"):
        metadata = json.loads((path / "zarr.json").read_text()) if (path / "zarr.json").is_file() else {}
        ours = set(metadata.get("attributes", ())) == _ZARR_ATTRIBUTES
        array = np.zeros((0, 0, 0)) if header_only else zarr_array(path, ours=ours)
        if not metadata and (path / ".zattrs").is_file():
            metadata = {"attributes": json.loads((path / ".zattrs").read_text())}
        attributes = metadata.get("attributes", {})
        values = tuple(float(value) for value in attributes.get("values", ())) or None
        spacing = _per_axis(attributes.get("voxel_size"), array.ndim)
    periodic = attributes.get("periodic") is True
    return Raster(drop_unit_axes(array), spacing, plain_unit(attributes.get("unit")), values, path.name, periodic)


def zarr_array(path: Path, *, ours: bool = False) -> np.ndarray:
    """The numbers of a Zarr array.

    Args:
        ours: the array was written by this package, so that all its chunks must exist.
    """
    driver = "zarr3" if (path / "zarr.json").is_file() else "zarr"
    store = tensorstore.open(_zarr_spec(path, driver), read=True, open=True).result()
    _check_zarr(path, store, ours=ours)
    return np.asarray(store.read(order="C").result())


def _check_zarr(path: Path, store: tensorstore.TensorStore, *, ours: bool) -> None:
    """Check the size that the metadata declare against the chunks, before memory is allocated. Missing chunks stand for
    the fill value, but an array of ours has all of them."""
    chunks = [child for child in path.rglob("*") if child.is_file() and not child.name.startswith((".z", "zarr.json"))]
    stored, item = sum(chunk.stat().st_size for chunk in chunks), store.dtype.numpy_dtype.itemsize
    chunk_shape = [edge or 1 for edge in store.chunk_layout.read_chunk.shape or store.shape]
    check_promise(path, [*store.shape, item], stored)
    check_promise(path, [*chunk_shape, item], stored)
    count = math.prod(-(-edge // chunk) for edge, chunk in zip(store.shape, chunk_shape, strict=True))
    if ours and len(chunks) != count:
        raise UserError(f"{path} is damaged: it has {len(chunks)} of {count} chunks; copy or export it again")
    if ours and any(chunk > edge for edge, chunk in zip(store.shape, chunk_shape, strict=True)):
        raise UserError(
            f"{path} is damaged: its chunks are larger than its shape {store.shape}; copy or export it again"
        )


def _zarr_spec(path: Path, driver: str) -> dict[str, Any]:
    """Specification with which TensorStore opens a folder; `driver` is "zarr" (version 2) or "zarr3"."""
    return {"driver": driver, "kvstore": {"driver": "file", "path": f"{path.resolve()}/"}}


def _per_axis(voxel_size: Any, axes: int) -> tuple[float, ...] | None:
    """One edge per axis, from one edge or from a sequence; None when unknown."""
    if voxel_size is None or np.size(voxel_size) == 0:
        return None
    edges = np.broadcast_to(
        np.asarray(voxel_size, float), (axes,) if np.size(voxel_size) == 1 else np.shape(voxel_size)
    )
    return tuple(float(edge) for edge in edges)


def _as_text(microstructure: Microstructure) -> str:
    """Properties for which TIFF has no field, as text. Periodicity includes the shape, because ImageJ keeps the text
    when it crops an image."""
    lines = [f"jaxmicro phase values: {json.dumps(microstructure.values)}"]
    return "\n".join(lines + [_periodic_line(microstructure.shape)] * microstructure.periodic)


def _periodic_line(shape: tuple[int, ...]) -> str:
    return f"jaxmicro periodic: {' x '.join(map(str, shape))}"


def periodic_from_text(text: str, shape: tuple[int, ...]) -> bool:
    """Whether the Info text of a TIFF states that an array of this shape is periodic."""
    return _periodic_line(shape) in text.splitlines()


def values_from_text(text: str) -> tuple[float, ...] | None:
    """Phase values from the Info text of a TIFF written by this package; None for other text."""
    for line in text.splitlines():
        if line.startswith("jaxmicro phase values: "):
            try:
                return tuple(float(value) for value in json.loads(line.partition(": ")[2]))
            except (ValueError, TypeError):
                return None
    return None


def _pixels_per_unit(voxel_size: float) -> tuple[int, int]:
    """1 / voxel_size as a fraction of 32-bit integers."""
    density = 1 / voxel_size
    if not 1e-9 <= density <= 1e9:
        raise UserError(f"voxel size {voxel_size:g} does not fit a TIFF; express it in another unit, such as nm or um")
    fraction = Fraction(density).limit_denominator(int(min(4e9, 4e9 / density)))
    return fraction.numerator, fraction.denominator
