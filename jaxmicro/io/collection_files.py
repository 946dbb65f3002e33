"""Collections in the files of other programs: a folder with a table, and HDF5 with one dataset a sample.

A folder holds images or volumes of one shape and `features.csv`: a line of names, then one line for each file.

    file,process:temperature [K],phi,origin,volume_fraction.0
    run1_0001.png,350,0.5,run1,0.412

The column `file` is the first. `origin` is optional: a name or number of the run or region, without which each sample
counts as its own. All others are features: process parameters if they are called phi, chi or time, or have the prefix
`process:`; else properties. A unit stands in square brackets behind the name. Semicolons or tabs may stand for the
commas, as some spreadsheets write them; numbers may then have decimal commas.

HDF5 is as MicroGen3D has it: each dataset at the root is a sample, its attributes are the features (CT_f_D_tort1 ...;
`origin` as above). Phases are the distinct values of all samples together, in increasing order.
"""

import csv
import glob
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.collection import Collection, Feature, allowed_numbers
from jaxmicro.errors import UserError
from jaxmicro.io.hdf5 import check_dataset
from jaxmicro.io.raster import Raster, needs, reading
from jaxmicro.io.segmentation import MAX_PHASES, check_numbers
from jaxmicro.io.slices import natural
from jaxmicro.io.structures import read_rasters

TABLE = "features.csv"
PROCESS = ("phi", "chi", "time")  # names of process parameters
_HDF5 = (".h5", ".hdf5", ".hdf")
_COLUMN = re.compile(r"(?P<process>process:)?\s*(?P<name>[^\[\]]*?)\s*(\[(?P<unit>[^\[\]]*)\])?")
_Sample = tuple[Path, str]  # file, and dataset of an HDF5 file


def is_hdf5(path: Path) -> bool:
    """Whether the name, or a pattern of names, is that of HDF5 files."""
    return path.suffix.lower() in _HDF5 and not path.is_dir()


def read_folder(path: Path) -> Collection:
    """The images or volumes of a folder with the numbers of its `features.csv`.

    Raises:
        UserError: the table is not one, does not match the files, or lacks a number; the files differ in shape or voxel
            size, or hold grey levels or colours.
    """
    header, rows, decimal = _table(path / TABLE)
    files = [_inside(path, row[0], number) for number, row in rows]
    _check_files(path, files)
    origin, features, columns = np.arange(len(rows)), [], []
    for place, title in enumerate(header[1:], 1):
        cells = [(f"{path / TABLE}, line {number}", row[place]) for number, row in rows]
        if title.strip() == "origin":
            origin = _numbered([cell for _, cell in cells])
            continue
        features.append(_feature(title))
        columns.append([_number(where, features[-1].name, cell, decimal) for where, cell in cells])
    samples = [(file, "") for file in files]
    first, values, periodic = _survey(samples)
    table = np.array(columns, float).T if columns else np.zeros((len(rows), 0))
    return Collection(
        _Files(tuple(samples), first.array.shape, values), tuple(features), table, origin, values,
        first.voxel_size, first.unit, (periodic,) * first.array.ndim, path.name,
    )  # fmt: skip


def read_hdf5_collection(path: Path, *, shape: tuple[int, ...] = ()) -> Collection:
    """The datasets at the root of an HDF5 file, or of all files of a pattern, with their attributes as features.

    Args:
        shape: edges of a sample, if the datasets are plain lists of numbers.
    Raises:
        UserError: a file is damaged or holds no datasets, samples differ in shape or attributes; h5py is not installed.
    """
    files = sorted(map(Path, glob.glob(str(path))), key=natural) if glob.has_magic(str(path)) else [path]
    samples: list[_Sample] = []
    attributes: list[dict[str, Any]] = []
    for file in files:
        h5py = needs("h5py", "HDF5")
        with reading(file, "HDF5 file"), h5py.File(file, "r") as opened:
            for name in sorted(opened, key=lambda name: natural(Path(name))):
                inside = isinstance(opened.get(name, getlink=True), h5py.HardLink)  # links to other files are not read
                if inside and isinstance(opened[name], h5py.Dataset):
                    samples.append((file, name))
                    attributes.append(dict(opened[name].attrs))
    if not samples:
        raise UserError(f"{path} holds no samples; expected HDF5 with one dataset for each")
    names = [name for name, value in attributes[0].items() if _is_number(value)]
    for (file, dataset), found in zip(samples, attributes, strict=True):
        missing = [name for name in names if not _is_number(found.get(name))]
        if missing:
            raise UserError(f"{file}: dataset {dataset} has no number {missing[0]}, which others have as an attribute")
    origins = [str(np.ravel(found["origin"])[0]) for found in attributes if "origin" in found]
    origin = _numbered(origins) if len(origins) == len(samples) else np.arange(len(samples))
    features = tuple(_feature(name) for name in names if name != "origin")
    table = np.array([[float(np.ravel(found[f.name])[0]) for f in features] for found in attributes]).reshape(
        len(samples), -1
    )
    first, values, _ = _survey(samples, shape)
    return Collection(
        _Files(tuple(samples), first.array.shape, values, shape), features, table, origin, values, source=path.name
    )


@dataclass(frozen=True, eq=False)
class _Files:
    """Labels of samples in files, read when they are asked for."""

    samples: tuple[_Sample, ...]
    grid: tuple[int, ...]
    values: tuple[float, ...]
    stated: tuple[int, ...] = ()  # edges of plain lists of numbers

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.samples), *self.grid)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        chosen = np.arange(len(self.samples))[index]
        labels = [self._labels(self.samples[i]) for i in np.ravel(chosen)]
        return labels[0] if np.ndim(chosen) == 0 else np.stack(labels)

    def _labels(self, sample: _Sample) -> np.ndarray:
        array = _values(_raster(sample, self.stated))
        places = np.clip(np.searchsorted(self.values, array), 0, len(self.values) - 1)
        if array.shape != self.grid or not np.array_equal(np.asarray(self.values)[places], array):
            raise UserError(f"{_named(sample)} has changed since it was first read; read the collection again")
        return places.astype(np.uint8)


def _survey(samples: Sequence[_Sample], stated: tuple[int, ...] = ()) -> tuple[Raster, tuple[float, ...], bool]:
    """The first sample, the values of the phases of all, and whether all are periodic; reads each once."""
    first, values, periodic = None, np.zeros(0), True
    for sample in samples:
        raster = _raster(sample, stated)
        first = first or raster
        if raster.array.shape != first.array.shape:
            raise UserError(
                f"{_named(sample)} has {_edges(raster)} voxels, {_named(samples[0])} has {_edges(first)}; samples of a "
                "collection have one shape: cut them to one"
            )
        if (raster.spacing, raster.unit) != (first.spacing, first.unit):
            raise UserError(f"{_named(sample)} and {_named(samples[0])} have different voxel sizes; make them equal")
        periodic &= raster.periodic
        found = np.asarray(raster.values) if raster.values is not None else np.unique(raster.array).astype(float)
        values = np.union1d(values, found)
        if len(values) > MAX_PHASES:
            raise UserError(
                f"{_named(sample)} is grey: there are more than {MAX_PHASES} values; save segmented samples with one "
                "value a phase"
            )
    assert first is not None
    return first, tuple(map(float, values)), periodic


def _raster(sample: _Sample, stated: tuple[int, ...]) -> Raster:
    path, dataset = sample
    if not dataset:
        (raster,) = read_rasters([path], stack="volume")
        if raster.colours or raster.indexed:
            raise UserError(f"{path} is in colours; save samples of a collection as labels, one grey level a phase")
        return raster
    with reading(path, "HDF5 file"), needs("h5py", "HDF5").File(path, "r") as file:
        check_dataset(path, dataset, file[dataset])
        array = file[dataset][()]
        if array.ndim == 1 and stated:
            if array.size != math.prod(stated):
                raise UserError(f"dataset {dataset} has {array.size} numbers, not {' x '.join(map(str, stated))}")
            array = array.reshape(stated)
        while array.ndim > 2 and array.shape[0] == 1:  # a channel, as networks have it
            array = array[0]
        if array.ndim not in (2, 3) or array.dtype.kind not in "buif":
            raise UserError(f"dataset {dataset} is {array.dtype} {array.shape}; expected numbers h w or z y x")
        check_numbers(array)
    return Raster(array, source=path.name)


def _values(raster: Raster) -> np.ndarray:
    return raster.array.astype(float) if raster.values is None else np.asarray(raster.values)[raster.array]


def _named(sample: _Sample) -> str:
    return f"{sample[0]}{f': dataset {sample[1]}' if sample[1] else ''}"


def _edges(raster: Raster) -> str:
    return " x ".join(map(str, raster.array.shape))


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Names of the columns, the lines of the table with their numbers, all with as many cells, and the decimal sign."""
    with reading(path, "table of features"), path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read()
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((sign for sign in ";\t" if first.partition(sign)[0].strip(' "') == "file"), ",")
    with reading(path, "table of features"):
        reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
        lines = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    if len(lines) < 2 or lines[0][1][0].strip() != "file":
        raise UserError(
            f"{path}: expected a line of names, of which the first is 'file', and a line for each sample, with commas, "
            "semicolons or tabs between the cells"
        )
    header = lines[0][1]
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise UserError(f"{path}, line {number} has {len(row)} cells, the line of names {len(header)}")
    return header, lines[1:], "." if delimiter == "," else ","


def _inside(folder: Path, name: str, line: int) -> Path:
    name = name.strip()
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{folder / TABLE}, line {line}: {name!r:.120} is no file within the folder")
    if not (folder / name).exists():
        raise UserError(f"{folder / TABLE}, line {line}: there is no file {name}; correct the name or remove the line")
    return folder / name


def _check_files(folder: Path, files: Sequence[Path]) -> None:
    listed = set(files)
    if len(listed) < len(files):
        twice = next(file for number, file in enumerate(files) if file in files[:number])
        raise UserError(f"{folder / TABLE} names {twice.name} twice; a sample has one line")
    kinds = {file.suffix.lower() for file in files}
    extra = sorted(c for c in _beside(files) if c.suffix.lower() in kinds and c not in listed and c.name != TABLE)
    if extra:
        raise UserError(
            f"{folder / TABLE} has no line for {extra[0].name} ({len(extra)} such files); add it, or move the file away"
        )


def _beside(files: Sequence[Path]) -> Iterator[Path]:
    for folder in {file.parent for file in files}:
        yield from (child for child in folder.iterdir() if not child.name.startswith("."))


def _feature(title: str) -> Feature:
    match = _COLUMN.fullmatch(title.strip())
    if match is None:
        raise UserError(f"{title!r:.120} is no name of a feature; expected a name, and a unit in square brackets")
    process = match["process"] is not None or match["name"] in PROCESS
    return Feature(match["name"], "process" if process else "property", (match["unit"] or "").strip())


def _number(where: str, name: str, cell: str, decimal: str) -> float:
    plain = cell.replace(decimal, ".") if cell.count(decimal) == 1 and "." not in cell else cell
    try:
        number = float(plain)
    except ValueError:
        raise UserError(f"{where}: {name} is {cell!r:.60}; expected a number") from None
    if not allowed_numbers(name, np.array([number])).all():
        raise UserError(
            f"{where}: {name} is {cell.strip()!r:.60}; expected a finite number (only a tortuosity may be inf: not "
            "connected): correct it, or leave out the line with its file, or the column"
        )
    return number


def _is_number(value: Any) -> bool:
    return np.size(value) == 1 and np.asarray(value).dtype.kind in "buif"


def _numbered(names: Sequence[str]) -> np.ndarray:
    """Whole numbers as they are; else every name has the number of its first occurrence."""
    if all(re.fullmatch(r"\s*-?\d{1,18}\s*", name) for name in names):
        return np.array([int(name) for name in names], np.int64)
    known = {name: number for number, name in enumerate(dict.fromkeys(each.strip() for each in names))}
    return np.array([known[name.strip()] for name in names], np.int64)
