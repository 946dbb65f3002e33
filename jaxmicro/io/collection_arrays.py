"""Arrays and groups of which a collection consists: Zarr (version 3) through TensorStore, with checksums."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from jaxtyping import Bool

from jaxmicro.errors import UserError
from jaxmicro.io.raster import replacing

_ZSTD_LEVEL = 3


def chunk_name(i: int, axes: int) -> str:
    """Name of the file of sample i, of labels with `axes` axes."""
    return ".".join(["c", str(i), *["0"] * (axes - 1)])


def stored_samples(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    """Which samples of a collection have a file."""
    try:
        names = set(os.listdir(path / "labels"))
    except OSError:
        names = set()
    return np.array([chunk_name(i, len(shape)) in names for i in range(shape[0])])


@contextmanager
def intact(what: str, *, again: str = "make it again") -> Iterator[None]:
    """Context that converts any exception of TensorStore, whose text is about its drivers, to a UserError of one line.

    Args:
        what: the collection and the part of it that is read.
        again: what else can be done than to copy the collection again.
    Raises:
        UserError: the part is truncated, changed or missing, or may not be read.
    """
    try:
        yield
    except Exception as error:  # decoders raise exceptions of any type
        if isinstance(error, PermissionError) or "PERMISSION_DENIED" in str(error):
            raise UserError(f"{what} may not be read (permission denied); allow it, or {again}") from error
        raise UserError(
            f"{what} is truncated or damaged; copy the collection again from where it is whole, or {again}"
        ) from error


def open_array(path: Path) -> tensorstore.TensorStore:
    """An array of a collection; reading a chunk that is not there is an error."""
    return tensorstore.open(_spec(path), open=True).result()


def read_column(folder: Path, name: str, n: int) -> tuple[np.ndarray, dict[str, Any]]:
    """One number per sample, and the attributes of their array.

    Raises:
        UserError: the array is missing or damaged, or has another length.
    """
    path = folder / name
    of_features = folder.name == "features"
    again = f"remove {path} and measure it again if it was measured" if of_features else "make it again"
    with intact(f"{folder.parent if of_features else folder}: its column {name}", again=again):
        store = open_array(path)
        column = np.asarray(store.read().result())
        attributes = store.spec().to_json()["metadata"].get("attributes", {})
    if column.shape != (n,):
        raise UserError(f"{path} is damaged: it has the shape {column.shape} for {n} samples; copy it again")
    return column, attributes


def create_array(path: Path, column: np.ndarray, attributes: dict[str, Any]) -> None:
    """Write a new array of one chunk."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    metadata = _metadata(str(column.dtype), column.shape, column.shape, codecs, attributes)
    tensorstore.open(_spec(path) | {"metadata": metadata}, create=True).result().write(column).result()


def create_labels(path: Path, shape: tuple[int, ...]) -> None:
    """Create the array of labels "n *grid" with a chunk for each sample, or leave the one that is there."""
    zstd = {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL}}
    metadata = _metadata("uint8", shape, (1, *shape[1:]), [{"name": "bytes"}, zstd, {"name": "crc32c"}], {})
    tensorstore.open(_spec(path) | {"metadata": metadata}, create=True, open=True).result()


def _metadata(
    kind: str, shape: tuple[int, ...], chunk: tuple[int, ...], codecs: list[dict[str, Any]], attributes: dict[str, Any]
) -> dict[str, Any]:
    return {
        "data_type": kind,
        "shape": list(shape),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "codecs": codecs,
        "attributes": attributes,
    }


def _spec(path: Path) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path.resolve()}/"},
        "fill_missing_data_reads": False,  # a sample that is not there must not read as phase 0
        "store_data_equal_to_fill_value": True,
    }


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write the metadata of a group, whole or not at all."""
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    with replacing(path / "zarr.json") as part:
        part.write_text(json.dumps(group, indent=1) + "\n")
