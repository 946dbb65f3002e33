"""MetaImage (.mha, .mhd), NRRD (.nrrd, .nhdr) and NIfTI, the formats of ITK and 3D Slicer; raw numbers.

MetaImage and NRRD are a text header of a dozen lines and numbers, x fastest, in the same file or beside it. They are
decoded here, so that sizes are checked before memory is allocated. NIfTI is read by nibabel.

One file: the four formats share the layout of a header beside raw numbers, and its checks.
"""

import bz2
import json
import logging
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.files import check_promise
from jaxmicro.io.raster import Raster, check_size, drop_unit_axes, needs, reading, replacing
from jaxmicro.types import Microstructure
from jaxmicro.units import in_one_unit, plain_unit

_META = {
    "MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_UINT": "u4", "MET_INT": "i4",
    "MET_ULONG": "u4", "MET_LONG": "i4", "MET_ULONG_LONG": "u8", "MET_LONG_LONG": "i8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_NRRD = {
    "u1": "uchar, unsigned char, uint8, uint8_t", "i1": "signed char, int8, int8_t", "f4": "float", "f8": "double",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u4": "uint, unsigned int, uint32, uint32_t", "i4": "int, signed int, int32, int32_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
}  # fmt: skip
_NRRD_TYPES = {name: code for code, names in _NRRD.items() for name in names.split(", ")}
_HEADER_LIMIT = 2**16  # bytes of a text header
_NO_UNIT = "the file states a spacing but no unit of length; give it with --unit (ITK means mm)"


@dataclass(frozen=True)
class _Layout:
    """File, position, type and encoding of the numbers of a grid.

    Attributes:
        shape: edges in array order, x last.
        dtype: with its byte order.
        file: that holds the numbers.
        start: offset of the first byte; negative if the numbers end at the end of the file.
        packed: None, "zlib" (with or without a gzip header), "bz2" or "text".
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    file: Path
    start: int = 0
    packed: str | None = None


def _load(path: Path, layout: _Layout) -> np.ndarray:
    """The array; the size that the header states is compared with that of the data first.

    Raises:
        UserError: it is too large (`raster.check_size`).
        ValueError: the size of the data is not that of the array.
    """
    if not layout.shape or min(layout.shape) < 1:
        raise ValueError(f"sizes {layout.shape}")
    check_size(path, layout.shape, layout.dtype.itemsize)
    count = math.prod(layout.shape)
    need, stored = count * layout.dtype.itemsize, layout.file.stat().st_size
    start = stored - need if layout.start < 0 else layout.start
    if start < 0 or (layout.packed is None and stored - start < need):
        raise ValueError(f"{stored} bytes where {max(start, 0) + need} are expected")
    if layout.start >= 0 and layout.packed is None and stored - start - need >= need // layout.shape[0]:
        raise ValueError(f"{stored - start} bytes where {need} are expected: slices would be left out")
    with layout.file.open("rb") as file:
        file.seek(start)
        if layout.packed is None:
            return np.fromfile(file, layout.dtype, count).reshape(layout.shape)
        check_promise(path, [need], stored - start)
        content = file.read()
    if layout.packed == "text":
        numbers = np.array(content.split()[: count + 1], layout.dtype.newbyteorder("="))
    else:
        limit = need + layout.dtype.itemsize  # one number more, to detect surplus data
        numbers = np.frombuffer(_unpacked(content, layout.packed, limit), layout.dtype)
    if numbers.size != count:
        raise ValueError(f"{numbers.size} numbers where {count} are expected")
    return numbers.reshape(layout.shape)


def _unpacked(content: bytes, packed: str, need: int) -> bytes:
    if packed == "bz2":
        return bz2.BZ2Decompressor().decompress(content, need)
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content, need)


def _beside(path: Path, name: str) -> Path:
    """Path of the data file that a header names, which must be in the same folder."""
    file = path.parent / name
    if "/" in name or "\\" in name or not name:
        raise UserError(f"{path} keeps its numbers in {name!r}; put that file beside it, named without a folder")
    if not file.is_file():
        raise UserError(f"{path} keeps its numbers in {name}, which is not beside it; copy both files")
    return file


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_LIMIT)


def read_metaimage(path: Path) -> Raster:
    """MetaImage: header and numbers in one file (.mha) or in two (.mhd), raw or zlib.

    The format has no field for a unit; `write_metaimage` stores it, and the phase values, in a comment.

    Raises:
        UserError: the file is damaged, has several channels, is a list of files, or is too large.
    """
    with reading(path, "MetaImage"):
        head, fields, at = _head(path), {}, 0
        while "ElementDataFile" not in fields:
            end = head.find(b"\n", at)
            name, equals, value = head[at : end if end >= 0 else len(head)].decode("latin-1").partition("=")
            if not equals:
                raise ValueError("no ElementDataFile in its header")
            fields[name.strip()] = value.strip()
            at = end + 1
            if end < 0:
                break
        name = fields["ElementDataFile"]
        if name.startswith("LIST") or "%" in name:
            raise UserError(f"{path} is a list of slices; give their folder instead")
        if int(fields.get("ElementNumberOfChannels", 1)) != 1:
            raise UserError(f"{path} has {fields['ElementNumberOfChannels']} channels; expected one number per voxel")
        local = name.upper() == "LOCAL"
        big = fields.get("ElementByteOrderMSB", fields.get("BinaryDataByteOrderMSB", "False")).lower() in ("true", "1")
        packed = "zlib" if fields.get("CompressedData", "False").lower() in ("true", "1") else None
        if fields.get("BinaryData", "True").lower() in ("false", "0"):
            packed = "text"
        shape = tuple(int(edge) for edge in fields["DimSize"].split())[::-1]
        layout = _Layout(
            shape,
            np.dtype((">" if big else "<") + _META[fields["ElementType"]]),
            path if local else _beside(path, name),
            at if local else int(fields.get("HeaderSize", 0)),
            packed,
        )
        array = _load(path, layout)
        spacing = _positive(fields.get("ElementSpacing", fields.get("ElementSize", "")).split()[::-1])
        return _raster(path, array, spacing, None, _our_properties(fields.get("Comment", "")))


def write_metaimage(path: str | Path, microstructure: Microstructure) -> None:
    """Write an uncompressed MetaImage in one file (.mha): ITK, 3D Slicer, ParaView and Fiji read it."""
    edge = microstructure.voxel_size or 1.0
    ndim = microstructure.labels.ndim
    header = [
        "ObjectType = Image",
        f"NDims = {ndim}",
        f"Comment = {_properties_line(microstructure)}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        f"TransformMatrix = {' '.join(f'{v:g}' for v in np.eye(ndim).ravel())}",
        f"Offset = {' '.join(['0'] * ndim)}",
        f"ElementSpacing = {' '.join([repr(float(edge))] * ndim)}",
        f"DimSize = {' '.join(map(str, microstructure.shape[::-1]))}",
        "ElementType = MET_UCHAR",
        "ElementDataFile = LOCAL",
    ]
    _write(path, "\n".join(header) + "\n", microstructure.labels)


def read_nrrd(path: Path) -> Raster:
    """NRRD: header and numbers in one file (.nrrd) or in two (.nhdr); raw, gzip, bzip2 or text.

    Raises:
        UserError: the file is damaged, is a list of files, has an unknown encoding, or is too large.
    """
    with reading(path, "NRRD file"):
        head = _head(path)
        if not head.startswith(b"NRRD000"):
            raise ValueError("no NRRD000 at its start")
        fields, pairs, at = {}, {}, head.index(b"\n") + 1
        while at < len(head):
            end = head.find(b"\n", at)
            line = head[at : end if end >= 0 else len(head)].decode("utf-8").strip()
            at = end + 1 if end >= 0 else len(head)
            if not line:
                break
            match = re.match(r"(.*?):=(.*)|(.*?): ?(.*)", line)
            if line.startswith("#") or match is None:
                continue
            if match[1] is not None:
                pairs[match[1]] = match[2]
            else:
                fields[match[3].strip().lower().replace(" ", "")] = match[4].strip()
        name = fields.get("datafile")
        if name and (name.startswith("LIST") or "%" in name):
            raise UserError(f"{path} is a list of slices; give their folder instead")
        packed = {"raw": None, "gzip": "zlib", "gz": "zlib", "bzip2": "bz2", "bz2": "bz2"} | {
            name: "text" for name in ("text", "txt", "ascii")
        }
        if fields["encoding"].lower() not in packed:
            raise UserError(f"{path} has the encoding {fields['encoding']}, which is not read; save it as raw or gzip")
        if int(fields.get("lineskip", 0)):
            raise UserError(f"{path} skips lines of its data file, which is not read; save it without")
        shape = tuple(int(edge) for edge in fields["sizes"].split())[::-1]
        skip = int(fields.get("byteskip", 0))
        layout = _Layout(
            shape,
            np.dtype((">" if fields.get("endian", "little").lower() == "big" else "<") + _NRRD_TYPES[fields["type"]]),
            _beside(path, name) if name else path,
            skip if name or skip < 0 else at + skip,
            packed[fields["encoding"].lower()],
        )
        array = _load(path, layout)
        spacing, units = _nrrd_spacing(fields)
        remarks: tuple[str, ...] = ()
        unit = None
        if spacing is not None and units:
            try:
                spacing, unit = in_one_unit(spacing, units)
            except UserError as error:
                spacing, remarks = None, (str(error),)
        return _raster(path, array, spacing, unit, _our_properties(pairs.get("jaxmicro", "")), remarks)


def _nrrd_spacing(fields: dict[str, str]) -> tuple[tuple[float, ...] | None, list[str]]:
    """Voxel edges in array order, and their units: those of the axes, or of the space of the axis directions."""
    quoted = {key: re.findall(r'"([^"]*)"', fields.get(key, "")) for key in ("units", "spaceunits")}
    if "spacedirections" in fields:
        vectors = re.findall(r"none|\(([^)]*)\)", fields["spacedirections"])
        edges = [math.hypot(*map(float, vector.split(","))) for vector in vectors if vector]
        units = quoted["spaceunits"] or quoted["units"]
        if len(set(units)) > 1 and any(sum(c != 0 for c in map(float, v.split(","))) != 1 for v in vectors if v):
            units = []  # axes oblique to a space with different units
        return tuple(edges[::-1]) or None, units[::-1] if len(units) == len(edges) else []
    spacing = _positive(fields.get("spacings", "").split()[::-1])
    return spacing, quoted["units"][::-1] if spacing and len(quoted["units"]) == len(spacing) else []


def write_nrrd(path: str | Path, microstructure: Microstructure) -> None:
    """Write an uncompressed NRRD in one file, with spacings and units: 3D Slicer, ITK and Fiji read it."""
    ndim = microstructure.labels.ndim
    header = [
        "NRRD0004",
        "type: uint8",
        f"dimension: {ndim}",
        f"sizes: {' '.join(map(str, microstructure.shape[::-1]))}",
        "encoding: raw",
        "endian: little",
    ]
    if microstructure.voxel_size is not None:
        header.append(f"spacings: {' '.join([repr(float(microstructure.voxel_size))] * ndim)}")
        unit = plain_unit(microstructure.unit)
        header += [f"units: {' '.join([json.dumps(unit)] * ndim)}"] if unit else []
    _write(path, "\n".join([*header, f"jaxmicro:={_properties_line(microstructure)}", "", ""]), microstructure.labels)


def read_nifti(path: Path) -> Raster:
    """NIfTI (.nii, .nii.gz) through nibabel: voxel sizes and their unit from the header; orientation is ignored.

    Raises:
        UserError: the file is damaged or no NIfTI file.
    """
    with reading(path, "NIfTI file"):
        nibabel = needs("nibabel", "NIfTI")
        logging.getLogger("nibabel").setLevel(logging.CRITICAL)  # no warnings about unusual headers
        logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
        image: Any = nibabel.load(path)
        shape = image.shape[::-1]
        check_size(path, shape, image.get_data_dtype().itemsize)
        if path.suffix == ".nii" and path.stat().st_size < math.prod(shape) * image.get_data_dtype().itemsize:
            raise ValueError(f"{path.stat().st_size} bytes for {shape} voxels")
        slope, intercept = image.dataobj.slope, image.dataobj.inter
        scaled = (slope, intercept) != (1, 0)
        array = np.asarray(image.dataobj if scaled else image.dataobj.get_unscaled()).T
        edges = tuple(float(edge) for edge in image.header.get_zooms()[: len(shape)][::-1])
        unit = {"meter": "m", "mm": "mm", "micron": "um"}.get(image.header.get_xyzt_units()[0])
        return _raster(path, array, edges if min(edges) > 0 else None, unit, {})


def read_raw(path: Path, shape: Sequence[int] | None, dtype: str | None) -> Raster:
    """Numbers without a header, x fastest.

    Args:
        shape: edges z y x (of an image y x).
        dtype: NumPy's name of the data type, such as uint8, uint16 or >u2 (big-endian).
    Raises:
        UserError: shape or type is missing, or does not fit the size of the file.
    """
    size = path.stat().st_size
    if not shape or dtype is None:
        raise UserError(
            f"{path} holds {size} bytes without a header; say what they are: --shape Z Y X --dtype uint8 (or uint16, "
            "float32 ...; >u2 is big-endian)"
        )
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "buif":
        raise UserError(f"{path}: --dtype {dtype}: expected a type of numbers, such as uint8, uint16, int32 or float32")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise UserError(f"{path}: --shape {' '.join(map(str, shape))}: expected three edges z y x (or two of an image)")
    need = math.prod(shape) * kind.itemsize
    if need != size:
        raise UserError(
            f"{path} holds {size} bytes, but {' x '.join(map(str, shape))} numbers of type {kind} are {need}; correct "
            "--shape or --dtype" + (f", or cut off the first {size - need} bytes if it has a header" * (size > need))
        )
    return _raster(path, _load(path, _Layout(tuple(shape), kind, path)), None, None, {})


def _positive(words: list[str]) -> tuple[float, ...] | None:
    """Edges of a voxel from a header; None if they are missing, zero or infinite."""
    edges = tuple(abs(float(word)) for word in words)
    if not edges or not all(0 < edge < math.inf for edge in edges):
        return None
    return edges


def _raster(
    path: Path,
    array: np.ndarray,
    spacing: tuple[float, ...] | None,
    unit: str | None,
    ours: dict[str, Any],
    remarks: tuple[str, ...] = (),
) -> Raster:
    unit = unit or plain_unit(ours.get("unit"))
    if spacing is not None and (len(spacing) != array.ndim or (set(spacing) == {1.0} and not unit and not ours)):
        spacing = None
    array = drop_unit_axes(array)
    spacing = spacing[-array.ndim :] if spacing is not None else None
    if ours and not ours.get("voxel_size"):
        spacing = None
    values = tuple(float(value) for value in ours.get("values", ())) or None
    periodic = ours.get("periodic") == list(array.shape)
    if spacing is not None and unit is None and not ours:
        remarks = (*remarks, _NO_UNIT)
    return Raster(array, spacing, unit, values, path.name, periodic, size_remarks=remarks)


def _properties_line(microstructure: Microstructure) -> str:
    """Properties for which the formats have no field, as one line. `periodic` is the shape, because other programs keep
    the line when they crop the volume."""
    return "jaxmicro " + json.dumps(
        {
            "values": microstructure.values,
            "unit": plain_unit(microstructure.unit),
            "voxel_size": microstructure.voxel_size,
            "periodic": microstructure.shape if microstructure.periodic else None,
        }
    )


def _our_properties(text: str) -> dict[str, Any]:
    """The properties in a line of `_properties_line`; empty for other text."""
    try:
        properties = json.loads(text.removeprefix("jaxmicro ")) if text.startswith("jaxmicro ") else {}
    except ValueError:
        return {}
    return properties if isinstance(properties, dict) else {}


def _write(path: str | Path, header: str, labels: np.ndarray) -> None:
    with replacing(Path(path)) as part, part.open("wb") as file:
        file.write(header.encode("ascii"))
        file.write(np.ascontiguousarray(labels).data)
