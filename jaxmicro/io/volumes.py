"""Writing microstructures as TIFF, VTI, NPZ and Zarr, and reading the last three (and NPY) back.

Each writer keeps labels, voxel size, unit, phase values and periodicity, so that reading the file gives an equal
microstructure, and leaves either the whole file or none.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

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
_APPENDED = b'<AppendedData encoding="raw">'
_VTI_TYPES = {"UInt8": "<u1", "Int8": "<i1", "UInt16": "<u2", "Int16": "<i2", "Int32": "<i4", "UInt32": "<u4"} | {
    "Int64": "<i8", "UInt64": "<u8", "Float32": "<f4", "Float64": "<f8"
}  # fmt: skip


def write(path: str | Path, microstructure: Microstructure) -> None:
    """Writes a file of the format that its suffix names: .tif, .tiff, .vti, .npz or .zarr.

    Raises:
        UserError: another suffix, no space left on the disk, or no permission; nothing is left half written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise UserError(f"cannot write {path}: the suffix must be one of {', '.join(_WRITERS)}")
    _WRITERS[suffix](path, microstructure)


def write_tiff(path: str | Path, microstructure: Microstructure) -> None:
    """Writes a calibrated ImageJ TIFF: uint8 labels, Z as slices, contrast set to the labels.

    The exact voxel size is the `spacing` of the ImageJ description; the resolution tags hold it as a fraction.
    The pixels are not compressed, so that ImageJ reads a stack of any length from its one header.
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


def write_vti(path: str | Path, microstructure: Microstructure) -> None:
    """Writes VTK image data for ParaView: cell data "phase", one cell per voxel, origin 0, x fastest.

    Unit, voxel size, phase values and periodicity are field data. An image is one layer of cells.
    """
    labels = microstructure.labels.reshape((1,) * (3 - microstructure.labels.ndim) + microstructure.shape)
    extent = " ".join(f"0 {edge}" for edge in labels.shape[::-1])
    spacing = " ".join([repr(float(microstructure.voxel_size or 1.0))] * 3)
    header = f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{spacing}">
<FieldData>
{_vti_fields(microstructure.values, microstructure.voxel_size, microstructure.unit, microstructure.periodic)}
</FieldData>
<Piece Extent="{extent}"><CellData Scalars="phase">
<DataArray type="UInt8" Name="phase" format="appended" offset="0"/>
</CellData></Piece>
</ImageData>
""".encode("ascii")
    with replacing(Path(path)) as part, part.open("wb") as file:
        file.write(header + _APPENDED + b"\n_" + np.uint64(labels.size).astype("<u8").tobytes())
        file.write(np.ascontiguousarray(labels).data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def write_fields(
    path: str | Path,
    grid: tuple[int, ...],
    fields: Mapping[str, np.ndarray],
    *,
    voxel_size: float | None = None,
    unit: str | None = None,
) -> None:
    """Writes fields of numbers as VTK image data for ParaView: float32 cell data, NaN where there is nothing.

    Args:
        grid: voxels along each axis, (h, w) or (z, y, x).
        fields: scalars "*grid" or vectors "*grid d" with components in the order of the axes; in the file x y z.
        voxel_size: edge of a voxel in `unit`; 1 when unknown.
    """
    extent = " ".join(f"0 {edge}" for edge in ((1,) * (3 - len(grid)) + grid)[::-1])
    spacing = " ".join([repr(float(voxel_size or 1.0))] * 3)
    arrays, offset = [], 0
    for name, field in fields.items():
        components = 3 if field.ndim > len(grid) else 1
        arrays.append(
            f'<DataArray type="Float32" Name="{name}" NumberOfComponents="{components}" '
            f'format="appended" offset="{offset}"/>'
        )
        offset += 8 + 4 * components * int(np.prod(grid))
    header = f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{spacing}">
<FieldData>
{_vti_fields((), voxel_size, unit)}
</FieldData>
<Piece Extent="{extent}"><CellData Scalars="{next(iter(fields))}">
{chr(10).join(arrays)}
</CellData></Piece>
</ImageData>
""".encode("ascii")
    with replacing(Path(path)) as part, part.open("wb") as file:
        file.write(header + _APPENDED + b"\n_")
        for field in fields.values():
            if field.ndim > len(grid):
                missing = np.zeros((*grid, 3 - field.shape[-1]), field.dtype)
                field = np.concatenate([field[..., ::-1], missing], axis=-1)
            values = np.ascontiguousarray(field, "<f4")
            file.write(np.uint64(values.nbytes).astype("<u8").tobytes())
            file.write(values.data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def write_npz(path: str | Path, microstructure: Microstructure) -> None:
    """Writes a compressed NPZ with `labels`, `values`, `periodic`, and `voxel_size` and `unit` where known. Nothing is
    pickled."""
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
    """Writes a Zarr (version 3) array in chunks of 64 voxels a side; voxel size, unit, values and periodicity are
    attributes."""
    path, labels = Path(path), microstructure.labels
    metadata = {
        "data_type": "uint8",
        "shape": labels.shape,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [min(edge, _ZARR_CHUNK) for edge in labels.shape]},
        },
        "codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}],
        "dimension_names": list("zyx"[-labels.ndim :]),
        "attributes": {
            "voxel_size": microstructure.voxel_size,
            "unit": plain_unit(microstructure.unit),
            "values": microstructure.values,
            "periodic": microstructure.periodic,
        },
    }
    with replacing(path, ours=is_our_zarr) as part:
        store = tensorstore.open(
            _zarr_spec(part, "zarr3") | {"metadata": metadata, "create": True, "store_data_equal_to_fill_value": True}
        ).result()
        store.write(labels).result()


_WRITERS: dict[str, Callable[[str | Path, Microstructure], None]] = {
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".vti": write_vti,
    ".npz": write_npz,
    ".zarr": write_zarr,
}


def read_numpy(path: Path) -> Raster:
    """An NPY array, or the array `labels` (else the only array) of an NPZ. Pickled objects are refused, never loaded.

    An NPY of shape (h, w, 3) with equal channels is a grey image.
    """
    with reading(path, "NumPy file"), path.open("rb") as file:
        _refuse_pickles(path, file)
        _check_numpy(path, file)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            grey = loaded.ndim == 3 and loaded.shape[-1] in (3, 4) and (loaded[..., :3] == loaded[..., :1]).all()
            return Raster(drop_unit_axes(loaded[..., 0] if grey else loaded), source=path.name)
        return _from_npz(path, loaded)


def _check_numpy(path: Path, file: BinaryIO) -> None:
    """Holds what the header of a NumPy file promises against its size, before memory is taken."""
    if file.read(2) == b"PK":
        file.seek(0)
        check_npz(path, file)
        return
    file.seek(0)
    shape, _, kind = read_array_header(file)
    check_promise(path, [*shape, kind.itemsize], path.stat().st_size)
    file.seek(0)


def _from_npz(path: Path, loaded: Any) -> Raster:
    names = loaded.files
    if "labels" not in names and len(names) != 1:
        raise UserError(f"{path} holds the arrays {', '.join(names) or '(none)'}; name the one to read 'labels'")
    array = loaded["labels" if "labels" in names else names[0]]
    ours = "labels" in names and "values" in names and loaded["values"].ndim == 1
    values = tuple(float(value) for value in loaded["values"]) if ours else None
    size = loaded["voxel_size"] if "voxel_size" in names else None
    unit = plain_unit(str(loaded["unit"])) if "unit" in names else None
    periodic = "periodic" in names and bool(np.all(loaded["periodic"]))
    return Raster(drop_unit_axes(array), _per_axis(size, array.ndim), unit, values, path.name, periodic)


def _refuse_pickles(path: Path, file: BinaryIO) -> None:
    """Raises a UserError for an array of Python objects; leaves the file at its start."""
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


def read_vti(path: Path) -> Raster:
    """VTK image data as `write_vti` writes it: one array, raw appended, little-endian, not compressed."""
    with reading(path, "VTI file"):
        head, found, tail = path.read_bytes().partition(_APPENDED)
        if not found:
            raise UserError(
                f"{path} has no raw appended data; only .vti files of this package are read: save it as TIFF"
            )
        file = ElementTree.fromstring(head + b"</VTKFile>")
        image = file.find("ImageData")
        node = None if image is None else image.find("Piece/CellData/DataArray")
        if image is None or node is None:
            raise ValueError("no cell data")
        bounds = [int(number) for number in image.attrib["WholeExtent"].split()]
        shape = [last - first for first, last in zip(bounds[::2], bounds[1::2], strict=True)][::-1]
        data = _appended(path, file.attrib, node.attrib, tail, int(np.prod(shape)))
        fields = {field.get("Name"): (field.text or "").split() for field in image.iterfind("FieldData/DataArray")}
        size, values = (tuple(float(number) for number in fields.get(name, ())) for name in ("voxel_size", "values"))
        unit = "".join(chr(int(code)) for code in fields.get("unit", ())).rstrip("\0")
    array = drop_unit_axes(data.reshape(shape))
    periodic = fields.get("periodic") == ["1"]
    return Raster(array, size * array.ndim or None, plain_unit(unit), values or None, path.name, periodic)


def _appended(path: Path, file: dict[str, str], array: dict[str, str], tail: bytes, count: int) -> np.ndarray:
    """The numbers of one array in the raw appended data, after the header that holds their length in bytes."""
    if file.get("compressor") or file.get("byte_order", "LittleEndian") != "LittleEndian":
        raise UserError(f"{path} is compressed or big-endian; save it raw and little-endian, or as TIFF")
    kind, header = np.dtype(_VTI_TYPES[array["type"]]), np.dtype(_VTI_TYPES[file.get("header_type", "UInt32")])
    start = tail.index(b"_") + 1 + int(array.get("offset", 0))
    length = int(np.frombuffer(tail, header, 1, start)[0])
    if length != count * kind.itemsize:
        raise ValueError(f"{length} bytes of data where {count * kind.itemsize} are expected")
    return np.frombuffer(tail, kind, count, start + header.itemsize)


def _vti_fields(values: tuple[float, ...], voxel_size: float | None, unit: str | None, periodic: bool = False) -> str:
    """Phase values, calibration and periodicity as field data; what is unknown is left out."""
    unit = plain_unit(unit)
    fields: list[tuple[str, str, tuple]] = [("Float64", "values", values)] if values else []
    if voxel_size is not None:
        fields.append(("Float64", "voxel_size", (voxel_size,)))
    lines = [
        f'<DataArray type="{kind}" Name="{name}" NumberOfTuples="{len(numbers)}" format="ascii">'
        f"{' '.join(repr(float(number)) for number in numbers)}</DataArray>"
        for kind, name, numbers in fields
    ]
    if periodic:
        lines.append('<DataArray type="UInt8" Name="periodic" NumberOfTuples="1" format="ascii">1</DataArray>')
    if unit is not None:  # VTK stores a string as the codes of its characters, ended by 0
        codes = " ".join(str(code) for code in (*unit.encode("ascii"), 0))
        lines.append(f'<DataArray type="String" Name="unit" NumberOfTuples="1" format="ascii">{codes}</DataArray>')
    return "\n".join(lines)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group, version 2 or 3."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def is_our_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array as `write_zarr` writes it, and holds nothing else: it may be replaced."""
    try:
        metadata = read_json(path / "zarr.json")
    except UserError:
        return False
    attributes = metadata.get("attributes")
    if metadata.get("node_type") != "array" or not isinstance(attributes, dict) or set(attributes) != _ZARR_ATTRIBUTES:
        return False
    inside = (child.relative_to(path).as_posix() for child in path.rglob("*") if not child.is_dir())
    return all(name == "zarr.json" or re.fullmatch(r"c(/\d+)+", name) for name in inside)


def read_zarr(path: Path) -> Raster:
    """A Zarr array, version 2 or 3, through TensorStore, with `voxel_size`, `unit` and `values` from its attributes."""
    with reading(path, "Zarr array"):
        version_3 = (path / "zarr.json").is_file()
        metadata = json.loads((path / "zarr.json").read_text()) if version_3 else {}
        if metadata.get("node_type") == "group" or (path / ".zgroup").is_file():
            inside = sorted(child.name for child in path.iterdir() if is_zarr(child))
            raise UserError(f"{path} is a Zarr group of {', '.join(inside) or 'nothing'}; give the array inside it")
        store = tensorstore.open(_zarr_spec(path, "zarr3" if version_3 else "zarr"), read=True, open=True).result()
        _check_zarr(path, store, ours=set(metadata.get("attributes", ())) == _ZARR_ATTRIBUTES)
        array = np.asarray(store.read(order="C").result())
        if not version_3 and (path / ".zattrs").is_file():
            metadata = {"attributes": json.loads((path / ".zattrs").read_text())}
        attributes = metadata.get("attributes", {})
        values = tuple(float(value) for value in attributes.get("values", ())) or None
        spacing = _per_axis(attributes.get("voxel_size"), array.ndim)
    periodic = attributes.get("periodic") is True
    return Raster(drop_unit_axes(array), spacing, plain_unit(attributes.get("unit")), values, path.name, periodic)


def _check_zarr(path: Path, store: tensorstore.TensorStore, *, ours: bool) -> None:
    """Holds what the metadata promise against the chunks that are there, before memory is taken. Absent chunks stand
    for one value, except in an array of ours, which has them all."""
    chunks = [child for child in path.rglob("*") if child.is_file() and not child.name.startswith((".z", "zarr.json"))]
    there, item = sum(chunk.stat().st_size for chunk in chunks), store.dtype.numpy_dtype.itemsize
    chunk_shape = [edge or 1 for edge in store.chunk_layout.read_chunk.shape or store.shape]
    check_promise(path, [*store.shape, item], there)
    check_promise(path, [*chunk_shape, item], there)
    count = math.prod(-(-edge // chunk) for edge, chunk in zip(store.shape, chunk_shape, strict=True))
    if ours and len(chunks) != count:
        raise UserError(f"{path} is damaged: it has {len(chunks)} of {count} chunks; copy or export it again")


def _zarr_spec(path: Path, driver: str) -> dict[str, Any]:
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
    """What a TIFF has no field for. The shape is there because ImageJ keeps the text of an image that it crops."""
    lines = [f"jaxmicro phase values: {json.dumps(microstructure.values)}"]
    return "\n".join(lines + [_periodic_line(microstructure.shape)] * microstructure.periodic)


def _periodic_line(shape: tuple[int, ...]) -> str:
    return f"jaxmicro periodic: {' x '.join(map(str, shape))}"


def periodic_from_text(text: str, shape: tuple[int, ...]) -> bool:
    """Whether the Info text of a TIFF says that an array of this shape is periodic."""
    return _periodic_line(shape) in text.splitlines()


def values_from_text(text: str) -> tuple[float, ...] | None:
    """Phase values from the Info text of a TIFF of ours; None if there are none."""
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
