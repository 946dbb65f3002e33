"""Reading collections: Zarr as `io.collection_store` writes it, and the formats of `io.collection_files`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.io.collection_arrays import intact, open_array, read_column, stored_samples
from jaxmicro.io.collection_files import TABLE, is_hdf5, read_folder, read_hdf5_collection
from jaxmicro.io.collection_store import collection_path, create_collection, finished_attributes
from jaxmicro.io.raster import check_size, reading
from jaxmicro.io.volumes import is_zarr

Progress = Callable[[str, int, int, str], None]


def collection_digest(collection: Collection, *, progress: Progress | None = None) -> str:
    """SHA-256 of all that a collection is, its labels included; the name of its file and those of samples are not.

    Args:
        progress: called with what is done, the number of samples read, that of all, and an empty note.
    Raises:
        UserError: a sample cannot be read.
    """
    plain = [(f.name, f.role, f.unit) for f in collection.features], collection.values, collection.voxel_size
    plain = repr((*plain, collection.unit, collection.periodic, len(collection), collection.grid))
    digest = hashlib.sha256(plain.encode())
    for numbers in (collection.table, collection.origin):
        digest.update(np.ascontiguousarray(numbers).tobytes())
    for i in range(len(collection)):
        digest.update(np.ascontiguousarray(collection.sample(i)).tobytes())
        if progress is not None:
            progress("samples read", i + 1, len(collection), "")
    return digest.hexdigest()


def write_collection(
    path: str | Path, collection: Collection, *, digest: str | None = None, progress: Progress | None = None
) -> None:
    """Write a collection as Zarr, reading one sample at a time; goes on where an interrupted call ended.

    Args:
        digest: `collection_digest` of the collection, kept with it (`stored_digest`).
        progress: called with what is done, the number of samples stored, that of all, and an empty note.
    Raises:
        UserError: as `create_collection`, or a sample cannot be read.
    """
    writer = create_collection(
        path, samples=len(collection), grid=collection.grid, values=collection.values,
        voxel_size=collection.voxel_size, unit=collection.unit, periodic=collection.periodic, digest=digest,
    )  # fmt: skip
    for i in np.flatnonzero(~writer.stored()):
        writer.store(i, collection.sample(i))
        if progress is not None:
            progress("samples", int(i) + 1, len(collection), "")
    writer.finish(origin=collection.origin, features=collection.features, table=collection.table)


def read_collection(path: str | Path, *, shape: Sequence[int] = ()) -> Collection:
    """The collection in a Zarr folder, in a folder of images or volumes with `features.csv`, or in HDF5 files.

    Labels are read when they are asked for. Features are in the order of their names, process parameters first (of
    `features.csv` and HDF5 in the order of the file).

    Args:
        path: a folder, also a run folder with `collection.zarr` in it, or an HDF5 file or a pattern of HDF5 files; see
            `io.collection_files` for these.
        shape: edges of a sample, of HDF5 files that hold plain lists of numbers.
    Raises:
        UserError: there is no collection, it is unfinished or damaged, or its shapes or numbers are not valid.
    """
    path = collection_path(path)
    if is_hdf5(path):
        return read_hdf5_collection(path, shape=tuple(shape))
    if path.is_dir() and (path / TABLE).is_file() and not is_zarr(path):
        return read_folder(path)
    attributes = finished_attributes(path)
    with reading(path, "collection"):
        n, grid = int(attributes["samples"]), tuple(int(edge) for edge in attributes["grid"])
        check_size(path, grid, 1)
        labels = _StoredLabels(path, (n, *grid))
        with intact(f"{path}: the array of its labels"):
            store = labels.store
        if (store.shape, store.dtype.name, store.chunk_layout.read_chunk.shape) != ((n, *grid), "uint8", (1, *grid)):
            raise UserError(f"{path} is damaged: its labels are not those of {n} samples of {grid}; copy it again")
        there = int(stored_samples(path, (n, *grid)).sum())
        if there < n:
            raise UserError(f"{path} is damaged: it has {there} of {n} samples; copy it again")
        origin, _ = read_column(path, "origin", n)
        names = sorted(c.name for c in (path / "features").iterdir() if c.is_dir() and not c.name.startswith("."))
        columns = [read_column(path / "features", name, n) for name in names]
        features = [Feature(name, a["role"], a["unit"]) for name, (_, a) in zip(names, columns, strict=True)]
        order = sorted(range(len(names)), key=lambda i: (features[i].role != "process", names[i]))
        return Collection(
            labels,
            tuple(features[i] for i in order),
            np.stack([columns[i][0] for i in order], axis=1) if order else np.zeros((n, 0)),
            origin,
            tuple(float(value) for value in attributes["values"]),
            attributes["voxel_size"],
            attributes["unit"],
            tuple(bool(yes) for yes in attributes["periodic"]),
            path.name,
        )


@dataclass(frozen=True, eq=False)
class _StoredLabels:
    """Labels of a collection in Zarr, read when they are asked for."""

    path: Path
    shape: tuple[int, ...]

    @property
    def store(self) -> Any:
        return open_array(self.path / "labels")

    def __getitem__(self, index: Any, /) -> np.ndarray:
        store = self.store
        pending = [(i, store[int(i)].read(order="C")) for i in np.arange(self.shape[0])[index].ravel().tolist()]
        read = []
        for i, future in pending:
            with intact(f"{self.path}: sample {i} (of 0 to {self.shape[0] - 1})"):
                read.append(np.asarray(future.result()))
        return read[0] if np.ndim(index) == 0 and not isinstance(index, slice) else np.stack(read)
