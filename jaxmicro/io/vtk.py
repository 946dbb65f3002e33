"""VTK image data: reading and writing XML (.vti), reading legacy files (.vtk).

All encodings that VTK writes are read: ASCII, base64 and raw, inline and appended, compressed, of either byte order,
on cells and on points. `Spacing` is the voxel size; unit, phase values and periodicity, for which VTK has no field, are
field data, which ParaView keeps.

One file: both formats describe one grid and its arrays, and share encodings and checks.
"""

import base64
import functools
import lzma
import math
import re
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.raster import Raster, check_size, needs, reading, replacing
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit

_TYPES = {"UInt8": "u1", "Int8": "i1", "UInt16": "u2", "Int16": "i2", "Int32": "i4", "UInt32": "u4"} | {
    "Int64": "i8", "UInt64": "u8", "Float32": "f4", "Float64": "f8"
}  # fmt: skip
_LEGACY = {"unsigned_char": "u1", "char": "i1", "signed_char": "i1", "unsigned_short": "u2", "short": "i2"} | {
    "unsigned_int": "u4", "int": "i4", "unsigned_long": "u8", "long": "i8", "float": "f4", "double": "f8"
} | {f"vtktype{name.lower()}": code for name, code in _TYPES.items()} | {"vtkidtype": "i8"}  # fmt: skip
_APPENDED = b'<AppendedData encoding="raw">'
_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}
_FIELD_LIMIT = 2**20  # bytes of one array of field data: names and a few numbers
_NAME = "phase"  # of the array that we write


def write_vti(path: str | Path, microstructure: Microstructure) -> None:
    """Write VTK image data for ParaView: cell data "phase", one cell per voxel, origin 0, x fastest.

    Unit, voxel size, phase values and periodicity are field data. An image is one layer of cells.
    """
    labels = microstructure.labels.reshape((1,) * (3 - microstructure.labels.ndim) + microstructure.shape)
    spacing = microstructure.voxel_size or 1.0
    array = f'<DataArray type="UInt8" Name="{_NAME}" format="appended" offset="0"/>'
    header = _header(labels.shape, spacing, _our_fields(microstructure), _NAME, array)
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
    """Write scalar or vector fields as VTK image data for ParaView: float32 cell data, NaN outside their phase.

    Args:
        grid: voxels along each axis, (h, w) or (z, y, x).
        fields: scalars "*grid" or vectors "*grid d" with components in the order of the axes; in the file x y z.
        voxel_size: edge of a voxel in `unit`; 1 when unknown.
    """
    arrays, offset = [], 0
    for name, values in fields.items():
        components = 3 if values.ndim > len(grid) else 1
        arrays.append(
            f'<DataArray type="Float32" Name="{name}" NumberOfComponents="{components}" '
            f'format="appended" offset="{offset}"/>'
        )
        offset += 8 + 4 * components * int(np.prod(grid))
    shape = (1,) * (3 - len(grid)) + grid
    calibration = _field_data((), voxel_size, unit)
    header = _header(shape, voxel_size or 1.0, calibration, next(iter(fields)), "\n".join(arrays))
    with replacing(Path(path)) as part, part.open("wb") as file:
        file.write(header + _APPENDED + b"\n_")
        for values in fields.values():
            if values.ndim > len(grid):
                missing = np.zeros((*grid, 3 - values.shape[-1]), values.dtype)
                values = np.concatenate([values[..., ::-1], missing], axis=-1)
            values = np.ascontiguousarray(values, "<f4")
            file.write(np.uint64(values.nbytes).astype("<u8").tobytes())
            file.write(values.data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def _header(shape: tuple[int, ...], spacing: float, field_data: str, scalars: str, arrays: str) -> bytes:
    extent = " ".join(f"0 {edge}" for edge in shape[::-1])
    edges = " ".join([repr(float(spacing))] * 3)
    return f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{edges}">
<FieldData>
{field_data}
</FieldData>
<Piece Extent="{extent}"><CellData Scalars="{scalars}">
{arrays}
</CellData></Piece>
</ImageData>
""".encode("ascii")


def _our_fields(microstructure: Microstructure) -> str:
    text = _field_data(microstructure.values, microstructure.voxel_size, microstructure.unit)
    if microstructure.periodic:  # with its shape, because ParaView keeps field data when it crops
        shape = " ".join(map(str, microstructure.shape))
        text += '\n<DataArray type="UInt8" Name="periodic" NumberOfTuples="1" format="ascii">1</DataArray>'
        text += (
            f'\n<DataArray type="Int64" Name="periodic_shape" NumberOfTuples="{microstructure.labels.ndim}" '
            f'format="ascii">{shape}</DataArray>'
        )
    return text


def _field_data(values: tuple[float, ...], voxel_size: float | None, unit: str | None) -> str:
    """Phase values and calibration as field data; unknown ones are omitted."""
    unit = plain_unit(unit)
    fields = [("values", values)] if values else []
    if voxel_size is not None:
        fields.append(("voxel_size", (voxel_size,)))
    lines = [
        f'<DataArray type="Float64" Name="{name}" NumberOfTuples="{len(numbers)}" format="ascii">'
        f"{' '.join(repr(float(number)) for number in numbers)}</DataArray>"
        for name, numbers in fields
    ]
    if unit is not None:  # VTK stores a string as the codes of its characters, ended by 0
        codes = " ".join(str(code) for code in (*unit.encode("ascii"), 0))
        lines.append(f'<DataArray type="String" Name="unit" NumberOfTuples="1" format="ascii">{codes}</DataArray>')
    return "\n".join(lines)


@dataclass(frozen=True)
class _Array:
    """One data array of a file; its numbers are read on demand."""

    name: str
    on_cells: bool
    components: int
    itemsize: int  # bytes of one number
    numbers: Callable[[int], np.ndarray]  # the numbers, whose expected count is the argument
    is_scalars: bool = False  # whether the file marks it as the active scalars


@dataclass
class _Image:
    """Grid, field data and arrays of an image data file; the numbers of the arrays are not read yet."""

    points: tuple[int, ...] = ()  # along z, y, x
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    arrays: list[_Array] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


def read_vti(path: Path, dataset: str | None = None) -> Raster:
    """VTK XML image data.

    Args:
        dataset: name of the array to read; None for the active scalars of the file, or its only array.
    Raises:
        UserError: the file is damaged, no image data, has several pieces, several arrays with `dataset` None, or the
            array has several components.
    """
    with reading(path, "VTI file"):
        source = _Xml(path)
        node = source.root.find("ImageData")
        if node is None:
            kind = source.root.get("type", "something else")
            raise UserError(f"{path} holds VTK {kind}; expected ImageData: resample it to an image in ParaView")
        pieces = node.findall("Piece")
        if len(pieces) != 1:
            raise UserError(f"{path} holds {len(pieces)} pieces; save it as one, for example from ParaView")
        bounds = [int(number) for number in pieces[0].get("Extent", node.attrib["WholeExtent"]).split()]
        image = _Image(_points(bounds), _three(node.get("Spacing", "1 1 1").split()))
        for location in ("CellData", "PointData"):
            for data in pieces[0].iterfind(location):
                for array in data.iterfind("DataArray"):
                    name = array.get("Name", "")
                    components = int(array.get("NumberOfComponents", 1))
                    size = np.dtype(_TYPES.get(array.get("type", ""), "f8")).itemsize
                    get, shown = functools.partial(source.numbers, array), name == data.get("Scalars")
                    image.arrays.append(_Array(name, location == "CellData", components, size, get, shown))
        image.fields = {one.get("Name", ""): source.field(one) for one in node.iterfind("FieldData/*")}
        return _raster(path, image, dataset)


def read_vtk(path: Path, dataset: str | None = None) -> Raster:
    """VTK legacy structured points, ASCII or binary; arguments and errors as `read_vti`."""
    with reading(path, "VTK file"):
        return _raster(path, _Legacy(path).image(), dataset)


def _points(bounds: list[int]) -> tuple[int, ...]:
    if len(bounds) != 6 or any(last < first for first, last in zip(bounds[::2], bounds[1::2], strict=True)):
        raise ValueError(f"extent {bounds}")
    return tuple(last - first + 1 for first, last in zip(bounds[::2], bounds[1::2], strict=True))[::-1]


def _three(words: list[str]) -> tuple[float, ...]:
    """Three numbers x y z in the order of arrays."""
    x, y, z = (abs(float(word)) for word in words)
    return z, y, x


def _raster(path: Path, image: _Image, dataset: str | None) -> Raster:
    """The array to read, with the calibration of the image."""
    chosen = _choose(path, image.arrays, dataset)
    if chosen.components != 1:
        raise UserError(
            f"{path}: array {chosen.name!r} has {chosen.components} components; expected one number a voxel"
        )
    shape = tuple(max(edge - 1, 1) if chosen.on_cells else edge for edge in image.points)
    check_size(path, shape, chosen.itemsize)
    values = chosen.numbers(math.prod(shape))
    array, spacing = values.reshape(shape), image.spacing
    for axis in (0, 1, 2):  # a volume of one layer along any axis is an image
        if array.ndim == 3 and array.shape[axis] == 1:
            array = array.squeeze(axis)
            spacing = tuple(np.delete(spacing, axis).tolist())
    edges, unit = _calibration(spacing, image.fields)
    ours = chosen.name == _NAME
    phase_values = tuple(float(v) for v in image.fields.get("values", ())) if ours else ()
    periodic_shape = image.fields.get("periodic_shape")
    periodic = np.all(image.fields.get("periodic", 0)) and (
        periodic_shape is None or tuple(periodic_shape) == array.shape
    )
    remarks = () if edges is None or unit else ("the file states no unit of length; give it with --unit",)
    return Raster(array, edges, unit, phase_values or None, path.name, bool(ours and periodic), size_remarks=remarks)


def _choose(path: Path, arrays: list[_Array], dataset: str | None) -> _Array:
    names = ", ".join(f"{array.name} ({'cells' if array.on_cells else 'points'})" for array in arrays)
    if not arrays:
        raise UserError(f"{path} holds no data arrays; save it with the array of the phases")
    if dataset is not None:
        named = [array for array in arrays if array.name == dataset]
        if not named:
            raise UserError(f"{path} has no array {dataset!r}; it holds {names}")
        return named[0]
    scalars = [array for array in arrays if array.is_scalars]
    if scalars or len(arrays) == 1:
        return (scalars or arrays)[0]
    single = [array for array in arrays if array.components == 1]
    if len(single) == 1:
        return single[0]
    raise UserError(f"{path} holds {len(arrays)} arrays: {names}; name the one to read with --dataset NAME")


def _calibration(spacing: tuple[float, ...], fields: dict[str, Any]) -> tuple[tuple[float, ...] | None, str | None]:
    """Voxel edges and their unit from the spacing; None for VTK's default of 1 without field data of this package."""
    exact = [float(number) for number in fields.get("voxel_size", ())]
    unit = plain_unit(fields["unit"] if isinstance(fields.get("unit"), str) else None)
    if set(spacing) == {1.0} and not exact and unit is None:
        return None, None
    if len(exact) == 1 and all(abs(edge - exact[0]) <= 1e-5 * exact[0] for edge in spacing):
        return tuple(exact) * len(spacing), unit  # the same number with more digits than VTK writes
    if min(spacing) <= 0:
        raise ValueError(f"spacing {spacing}")
    return spacing, unit


class _Xml:
    """A VTK XML file: its tree, and access to the numbers of its arrays."""

    def __init__(self, path: Path):
        self._path = path
        content = path.read_bytes()
        tag = re.search(rb"<AppendedData([^>]*)>", content)
        head = content[: tag.start()] + b"</VTKFile>" if tag else content
        if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
            raise UserError(f"{path} declares XML entities, which are not read; save it again without")
        self.root = ElementTree.fromstring(head)
        self._data = memoryview(b"")
        self._encoded = False
        if tag:
            self._encoded = b"base64" in tag[1]
            start = content.index(b"_", tag.end()) + 1
            end = content.find(b"<", start) if self._encoded else len(content)
            self._data = memoryview(content)[start : end if end >= 0 else len(content)]
        order = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self._order = order
        self._header = np.dtype(order + _TYPES[self.root.get("header_type", "UInt32")])

    def numbers(self, node: ElementTree.Element, count: int | None) -> np.ndarray:
        """The numbers of a data array: `count`, or all for None. A string is the codes of its characters."""
        dtype = np.dtype("u1") if node.get("type") == "String" else np.dtype(self._order + _TYPES[node.attrib["type"]])
        if node.get("format", "ascii") == "ascii":
            return _from_text(node.text or "", dtype, count)
        expected = None if count is None else count * dtype.itemsize
        if node.get("format") == "appended":
            if not len(self._data):
                raise ValueError("no appended data")
            content, encoded = self._data[int(node.get("offset", 0)) :], self._encoded
        else:
            content, encoded = memoryview("".join((node.text or "").split()).encode("ascii")), True
        return np.frombuffer(self._bytes(content, encoded, expected), dtype)

    def field(self, node: ElementTree.Element) -> Any:
        """An array of field data as a list of numbers, or a string."""
        if node.get("type") == "String":
            return self.numbers(node, None).tobytes().split(b"\0")[0].decode("utf-8")
        return self.numbers(node, None).tolist() if node.get("type") in _TYPES else []

    def _bytes(self, data: memoryview, encoded: bool, expected: int | None) -> bytes:
        compressor = self.root.get("compressor")
        if compressor is None:
            (length,) = _words(data, encoded, self._header, 1)
            self._check(length, expected)
            start = self._header.itemsize
            return _part(data, encoded, 0, start + length)[start:]
        blocks, size, last = _words(data, encoded, self._header, 3)
        if not 0 <= blocks <= len(data):
            raise ValueError(f"{blocks} compressed blocks in {len(data)} bytes")
        self._check((blocks - (last > 0)) * size + last if blocks else 0, expected)
        packed = _words(data, encoded, self._header, 3 + blocks)[3:]
        header = self._header.itemsize * (3 + blocks)
        start = 4 * -(-header // 3) if encoded else header  # the header is encoded separately
        body = _part(data[start:], encoded, 0, sum(packed))
        whole, position = [], 0
        for number, length in enumerate(packed):
            full = last if last and number == blocks - 1 else size
            whole.append(_unpacked(compressor, body[position : position + length], full))
            position += length
        return b"".join(whole)

    @staticmethod
    def _check(length: int, expected: int | None) -> None:
        """Check the declared length before memory is allocated."""
        if expected is not None and length != expected:
            raise ValueError(f"{length} bytes of data where {expected} are expected")
        if expected is None and length > _FIELD_LIMIT:
            raise ValueError(f"{length} bytes of field data")


def _words(data: memoryview, encoded: bool, dtype: np.dtype, count: int) -> list[int]:
    return [int(word) for word in np.frombuffer(_part(data, encoded, 0, count * dtype.itemsize), dtype)]


def _part(data: memoryview, encoded: bool, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop`; raises ValueError if the data end before."""
    if encoded:
        part = base64.b64decode(bytes(data[: 4 * -(-stop // 3)]), validate=False)[start:stop]
    else:
        part = bytes(data[start:stop])
    if len(part) != stop - start:
        raise ValueError(f"{len(part)} bytes where {stop - start} are expected")
    return part


def _unpacked(compressor: str, data: bytes, size: int) -> bytes:
    if compressor == "vtkZLibDataCompressor":
        whole = zlib.decompressobj().decompress(data, size or 1)
    elif compressor == "vtkLZMADataCompressor":
        whole = lzma.LZMADecompressor().decompress(data, size)
    elif compressor == "vtkLZ4DataCompressor":
        whole = bytes(needs("imagecodecs", "LZ4 compression").lz4_decode(data, header=False, out=size))
    else:
        raise UserError(f"the compression {compressor} is not known; save it with ZLib, or as TIFF")
    if len(whole) != size:
        raise ValueError(f"a block of {len(whole)} bytes where {size} are expected")
    return whole


def _from_text(text: str | bytes, dtype: np.dtype, count: int | None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # raised on text that is no number
        values = np.fromstring(text, dtype.newbyteorder("="), sep=" ")
    if count is not None and values.size != count:
        raise ValueError(f"{values.size} numbers where {count} are expected")
    return values


def _array(name: str, on_cells: bool, components: int, numbers: Any, *, is_scalars: bool = False) -> _Array:
    """An array whose numbers have been read."""
    return _Array(name, on_cells, components, numbers.itemsize, lambda count: numbers, is_scalars)


class _Legacy:
    """A cursor over a legacy file: keywords in lines of text, between them numbers as text or big-endian bytes."""

    def __init__(self, path: Path):
        self._path, self._content, self._at = path, path.read_bytes(), 0
        if not self._content.startswith(b"# vtk DataFile"):
            raise ValueError("no '# vtk DataFile' at its start")
        self._at = self._content.index(b"\n", self._content.index(b"\n") + 1) + 1  # version and title
        self._binary = (self._words() or [""])[0].upper() == "BINARY"

    def image(self) -> _Image:
        image, on_cells, count = _Image(), True, 0
        while (words := self._words()) is not None:
            key = words[0].upper()
            if key == "DATASET" and words[1].upper() != "STRUCTURED_POINTS":
                raise UserError(
                    f"{self._path} holds VTK {words[1]}; expected STRUCTURED_POINTS: resample it to an image"
                )
            elif key == "DIMENSIONS":
                image.points = tuple(int(word) for word in words[:0:-1])
            elif key in ("SPACING", "ASPECT_RATIO"):
                image.spacing = _three(words[1:4])
            elif key in ("POINT_DATA", "CELL_DATA"):
                on_cells, count = key == "CELL_DATA", int(words[1])
                self._check(image, on_cells, count)
            elif key == "FIELD":
                found = self._field(int(words[2]))
                if count:
                    image.arrays += [_array(name, on_cells, size, numbers) for name, (size, numbers) in found.items()]
                else:
                    image.fields |= {name: values for name, (_, values) in found.items()}
            elif key == "SCALARS":
                components = int(words[3]) if len(words) > 3 else 1
                at, following = self._at, self._words() or [""]
                if following[0].upper() != "LOOKUP_TABLE":
                    self._at = at
                numbers = self._numbers(words[2], count * components)
                image.arrays.append(_array(words[1], on_cells, components, numbers, is_scalars=True))
            elif key in _COMPONENTS:
                self._numbers(words[2], count * _COMPONENTS[key])
            elif key == "LOOKUP_TABLE":
                self._numbers("unsigned_char" if self._binary else "float", 4 * int(words[2]))
            elif key == "COLOR_SCALARS":  # bytes, which VTK writes as text divided by 255
                numbers = self._numbers("unsigned_char" if self._binary else "float", count * int(words[2]))
                numbers = numbers if self._binary else np.rint(255 * numbers).astype(np.uint8)
                image.arrays.append(_array(words[1], on_cells, int(words[2]), numbers, is_scalars=True))
            elif key == "METADATA":
                while self._line().strip():
                    pass
            elif key != "ORIGIN" and key != "DATASET":
                raise ValueError(f"unknown keyword {words[0][:20]!r}")
        return image

    def _check(self, image: _Image, on_cells: bool, count: int) -> None:
        expected = int(np.prod([max(edge - on_cells, 1) for edge in image.points])) if len(image.points) == 3 else -1
        if count != expected:
            raise ValueError(f"{count} numbers in a grid of {expected}")

    def _field(self, arrays: int) -> dict[str, tuple[int, Any]]:
        found: dict[str, tuple[int, Any]] = {}
        while len(found) < arrays and (words := self._words()) is not None:
            if words[0].upper() == "METADATA":
                while self._line().strip():
                    pass
                continue
            name, components, tuples, kind = words
            size = int(components) * int(tuples)
            if kind == "string":
                texts = [self._string() for _ in range(min(size, 100))]
                found[name] = (1, texts[0] if texts else "")
            else:
                found[name] = (int(components), self._numbers(kind, size))
        return found

    def _string(self) -> str:
        if not self._binary:
            return self._line().decode("utf-8").strip()
        first = self._content[self._at]  # the two highest bits give the number of bytes of the length
        extra = {3: 0, 2: 1, 1: 3, 0: 7}[first >> 6]
        length = int.from_bytes(bytes([first & 63]) + self._content[self._at + 1 : self._at + 1 + extra], "big")
        start = self._at + 1 + extra
        self._at = start + length
        return self._content[start : self._at].decode("utf-8")

    def _numbers(self, kind: str, count: int) -> np.ndarray:
        if kind.lower() not in _LEGACY:
            raise ValueError(f"numbers of type {kind}")
        dtype = np.dtype(">" + _LEGACY[kind.lower()])
        if self._binary:
            values = np.frombuffer(self._content, dtype, count, self._at)
            self._at += values.nbytes
            return values
        # the numbers end before the first line that starts with a word
        word = re.compile(rb"^[ \t]*(?!nan|inf)[A-Za-z_]", re.MULTILINE | re.IGNORECASE)
        found = word.search(self._content, self._at)
        end = found.start() if found else len(self._content)
        values = _from_text(self._content[self._at : end], dtype, count)
        self._at = end
        return values

    def _line(self) -> bytes:
        end = self._content.find(b"\n", self._at)
        end = len(self._content) if end < 0 else end
        line, self._at = self._content[self._at : end], end + 1
        return line

    def _words(self) -> list[str] | None:
        """The words of the next line that is not empty; None at the end."""
        while self._at < len(self._content):
            if words := self._line().decode("ascii").split():
                return words
        return None
