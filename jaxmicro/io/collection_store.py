"""Writing collections: a Zarr (version 3) group, sample by sample. Read by `io.collections.read_collection`.

    zarr.json           attributes: schema, finished, samples, grid, values, voxel_size, unit, periodic;
                        of a copy also digest
    labels/             uint8 (n, *grid), one chunk a sample, zstd with CRC-32C
    origin/             int64 (n), run or region of each sample
    features/NAME/      float64 (n), one chunk with CRC-32C; attributes: role, unit

Samples are chunks of their own, without shards: several processes store different samples at the same time, and a
damaged chunk is noticed by its checksum. The last thing written is `finished`, without which the reader refuses.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxmicro.collection import Feature, check_column
from jaxmicro.errors import UserError
from jaxmicro.io.collection_arrays import (
    create_array,
    create_labels,
    open_array,
    read_column,
    stored_samples,
    write_group,
)
from jaxmicro.io.collection_files import TABLE
from jaxmicro.io.files import clean, read_json, remove
from jaxmicro.io.raster import reading, replacing, writing
from jaxmicro.io.volumes import is_zarr
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit

SCHEMA = "jaxmicro.collection/1"
COLLECTION = "collection.zarr"  # name of a collection in a run folder


@dataclass(frozen=True)
class CollectionWriter:
    """An unfinished collection on disk: store every sample, in any order and from several processes, then finish.

    Attributes:
        path: its folder.
        shape: number of samples, and voxels along each axis of one.
        phases: number of phases; labels are below it.
    """

    path: Path
    shape: tuple[int, ...]
    phases: int

    def store(self, i: int | np.integer, labels: np.ndarray) -> None:
        """Write the labels of sample i, uint8 "*grid"; they replace those that are there.

        Raises:
            UserError: the labels have another shape or reach P, there is no sample i, or the disk is full.
        """
        if not 0 <= i < self.shape[0]:
            raise UserError(f"{self.path} has {self.shape[0]} samples; there is no sample {i}")
        if labels.shape != self.shape[1:] or labels.dtype != np.uint8:
            raise UserError(f"sample {i} is {labels.dtype} {labels.shape}; the collection holds uint8 {self.shape[1:]}")
        if labels.max() >= self.phases:
            raise UserError(f"sample {i} has the label {labels.max()}; the collection has {self.phases} phases")
        with writing(self.path):
            open_array(self.path / "labels")[i].write(labels).result()

    def stored(self) -> Bool[np.ndarray, " n"]:
        """Which samples are stored."""
        return stored_samples(self.path, self.shape)

    def finish(
        self,
        *,
        origin: np.ndarray,
        features: Sequence[Feature] = (),
        table: np.ndarray | None = None,
    ) -> None:
        """Write the origins, int64 "n", and the table, float64 "n f", and declare the collection finished.

        Raises:
            UserError: a sample has not been stored, or the table or the origins do not fit.
        """
        missing = np.flatnonzero(~self.stored())
        if missing.size:
            raise UserError(
                f"{self.path}: {missing.size} of {self.shape[0]} samples, {missing[0]} first, are not stored"
            )
        if origin.shape != self.shape[:1]:
            raise UserError(f"{self.path}: {origin.shape} origins for {self.shape[0]} samples; give one for each")
        _add(self.path, self.shape[0], features, np.zeros((self.shape[0], 0)) if table is None else table)
        if not (self.path / "origin").exists() or not np.array_equal(
            read_column(self.path, "origin", self.shape[0])[0], origin
        ):
            with replacing(self.path / "origin", ours=is_zarr) as part:
                create_array(part, origin, {})
        write_group(self.path, read_json(self.path / "zarr.json")["attributes"] | {"finished": True})


def create_collection(
    path: str | Path,
    *,
    samples: int,
    grid: Sequence[int],
    values: Sequence[float],
    voxel_size: float | None = None,
    unit: str | None = None,
    periodic: Sequence[bool] = (),
    digest: str | None = None,
) -> CollectionWriter:
    """Begin a collection, or go on with the unfinished one that was begun with the same arguments, as every process
    that stores samples does.

    Args:
        samples: their number n.
        grid: voxels along each axis of a sample, (h, w) or (z, y, x).
        values, voxel_size, unit, periodic: as in `Collection`.
        digest: `collection_digest` of the collection that is copied, by which the copy is known.
    Raises:
        UserError: the path holds something else, or a finished collection, or an argument is out of range.
    """
    path, shape = Path(path), (int(samples), *map(int, grid))
    # raises on what is out of range
    blank = np.broadcast_to(np.uint8(0), shape[1:])
    Microstructure(blank, tuple(map(float, values)), voxel_size, unit)
    if shape[0] < 1 or len(periodic) not in (0, len(grid)):
        raise UserError(f"{path}: {samples} samples, periodic {tuple(periodic)}; expected 1 or more, and one per axis")
    attributes: dict[str, Any] = {
        "schema": SCHEMA,
        "finished": False,
        "samples": shape[0],
        "grid": list(shape[1:]),
        "values": [float(value) for value in values],
        "voxel_size": None if voxel_size is None else float(voxel_size),
        "unit": plain_unit(unit),
        "periodic": [bool(yes) for yes in periodic] or [False] * len(grid),
    }
    if digest is not None:
        attributes["digest"] = digest
    if is_collection(path):
        there = read_json(path / "zarr.json")["attributes"]
        if there != attributes:
            state = "a finished" if there.get("finished") else "another unfinished"
            raise UserError(f"{path} is {state} collection; choose another name, or remove it yourself")
    elif path.exists() and (not path.is_dir() or any(not child.name.startswith(".") for child in path.iterdir())):
        raise UserError(f"{path} exists and is no collection; choose another name")
    else:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            write_group(path, attributes)  # first: by this another process knows that it is its collection, too
    with writing(path):
        (path / "features").mkdir(exist_ok=True)
        if not (path / "features" / "zarr.json").exists():
            write_group(path / "features", {})
        create_labels(path / "labels", shape)
    return CollectionWriter(path, shape, len(values))


def add_features(path: str | Path, features: Sequence[Feature], table: np.ndarray) -> None:
    """Add columns, float64 "n f", to a finished collection; each is there whole or not at all.

    A column that is there already must be equal, role and unit included.

    Raises:
        UserError: the table does not fit the collection, or a column is there with other numbers.
    """
    path = collection_path(path)
    _add(path, finished_attributes(path)["samples"], features, table)


def remove_features(path: str | Path, names: Sequence[str]) -> None:
    """Remove columns from a finished collection.

    Raises:
        UserError: a column cannot be removed.
    """
    path = collection_path(path)
    finished_attributes(path)
    for name in names:
        column = path / "features" / Feature(name).name
        with writing(column):
            gone = column.with_name(f".{column.stem}.{os.getpid()}.part")  # renamed at once, then removed
            os.replace(column, gone)
            remove(gone)


def collection_path(path: str | Path) -> Path:
    """The collection in a run folder, or the bundled one of this name; any other path as it is."""
    inside = Path(path) / COLLECTION
    if is_collection(inside):
        return inside
    return bundled_collections().get(str(path), Path(path)) if not Path(path).exists() else Path(path)


def bundled_collections() -> dict[str, Path]:
    """Names and folders of the collections that come with jaxmicro."""
    return {path.stem: path for path in sorted(Path(str(files("jaxmicro") / "assets")).glob("*.zarr"))}


def is_bundled(path: Path) -> bool:
    """Whether a folder is a collection that comes with jaxmicro, to which nothing is written."""
    return path.resolve() in {bundled.resolve() for bundled in bundled_collections().values()}


def is_collection(path: str | Path) -> bool:
    """Whether a folder is a collection in Zarr, finished or not, of any version."""
    try:
        attributes = read_json(Path(path) / "zarr.json").get("attributes")
    except UserError:
        return False
    return isinstance(attributes, dict) and str(attributes.get("schema", "")).startswith(
        SCHEMA.rpartition("/")[0] + "/"
    )


def is_finished(path: str | Path) -> bool:
    """Whether a folder is a finished collection."""
    return is_collection(path) and read_json(Path(path) / "zarr.json")["attributes"].get("finished") is True


def stored_digest(path: str | Path) -> str | None:
    """The digest of the collection of which a collection in Zarr, finished or not, is a copy; None if it is none."""
    return read_json(Path(path) / "zarr.json")["attributes"].get("digest") if is_collection(path) else None


def finished_attributes(path: Path) -> dict[str, Any]:
    """Attributes of a finished collection of this version.

    Raises:
        UserError: there is no collection, or it is unfinished, damaged or of another version.
    """
    if not is_collection(path):
        what = (
            f"a folder without {TABLE}" if path.is_dir() else "a file of another kind" if path.exists() else "not there"
        )
        raise UserError(
            f"{path} is {what}; a collection is a Zarr folder of jaxmicro, a folder of images with {TABLE}, or HDF5"
        )
    attributes = read_json(path / "zarr.json")["attributes"]
    if attributes["schema"] != SCHEMA:
        raise UserError(f"{path} has the schema {attributes['schema']!r:.60}, and this version reads {SCHEMA}")
    with reading(path, "collection"):
        n = attributes["samples"]
        if attributes["finished"] is not True:
            there = int(stored_samples(path, (n, *attributes["grid"])).sum())
            raise UserError(
                f"{path} is an unfinished collection, {there} of {n} samples are stored; continue what makes it"
            )
    return attributes


def _add(path: Path, n: int, features: Sequence[Feature], table: np.ndarray) -> None:
    if table.shape != (n, len(features)):
        raise UserError(
            f"{path} has {n} samples; a table of {table.shape} does not fit them and {len(features)} features"
        )
    clean(path / "features")
    new = []
    for number, feature in enumerate(features):
        column = np.ascontiguousarray(table[:, number])
        check_column(feature.name, column, str(path))
        if (path / "features" / feature.name).is_dir():
            there, attributes = read_column(path / "features", feature.name, n)
            if not np.array_equal(there, column) or attributes != {"role": feature.role, "unit": feature.unit}:
                raise UserError(f"{path} has a feature {feature.name} with other numbers; remove it or rename this one")
        else:
            new.append((feature, column))
    for feature, column in new:
        with replacing(path / "features" / feature.name) as part:
            create_array(part, column, {"role": feature.role, "unit": feature.unit})
