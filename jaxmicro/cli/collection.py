"""`jaxmicro measure` of a collection: properties of every sample as columns of its table."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro import pipeline
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.options import Measure
from jaxmicro.collection import Collection
from jaxmicro.errors import UserError
from jaxmicro.io.collection_files import TABLE, is_hdf5
from jaxmicro.io.collection_store import collection_path, is_collection
from jaxmicro.io.collections import read_collection, write_collection

SCHEMA = "jaxmicro.measure_collection/1"


def names_collection(options: Measure) -> bool:
    """Whether the file is a collection: in Zarr, a folder with features.csv, or HDF5 that --out makes Zarr of."""
    if len(options.file) != 1:
        return False
    path, to_zarr = collection_path(options.file[0]), options.out is not None and options.out.suffix == ".zarr"
    return is_collection(path) or (path / TABLE).is_file() or (is_hdf5(path) and to_zarr and options.dataset is None)


def is_trainable_collection(paths: Sequence[Path]) -> bool:
    """Whether the first path is a collection in Zarr or a folder with features.csv, which `train` learns as a whole."""
    return bool(paths) and (is_collection(collection_path(paths[0])) or (paths[0] / TABLE).is_file())


def measured_collection(options: Measure, console: Console) -> dict[str, Any]:
    """Measure a collection, as the options say, and summarise its features.

    Raises:
        UserError: the collection is damaged or is not in Zarr and --out is missing, or an option does not apply.
    """
    path, film = collection_path(options.file[0]), _film(options)
    for name in ("segment", "merge_rare", "ignore", "crop", "stack", "voxel_size", "unit", "dataset", "r_max"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for images and volumes; a collection is measured as it is")
    if is_collection(path):
        if options.out is not None:
            raise UserError(f"{path} is in Zarr, and features are added to it; leave out --out")
        target = path
    elif options.out is None or options.out.suffix != ".zarr":
        raise UserError(
            f"features are added to collections in Zarr only; add --out NEW.zarr, to which {path} is copied"
        )
    else:
        target = options.out
        if not (is_hdf5(path) and glob.has_magic(str(path))) and not path.exists():
            raise UserError(f"{path} is not there")
        _copy(read_collection(path, shape=options.shape), target, console)
    collection = read_collection(target)
    features = pipeline.chosen_features(collection, options.features, film)
    known = {feature.name for feature in collection.features}
    there = [feature.name for feature in features if feature.name in known]
    if there and not options.replace:
        console.remark(
            f"{len(there)} features are there already ({there[0]} ...) and stay; --replace measures them again"
        )
    found = pipeline.measure_collection(target, features, film=film, replace=options.replace, progress=console.progress)
    console.remark(f"written to {target}")
    return {
        "schema": SCHEMA,
        "collection": str(target),
        "samples": len(found),
        "shape": list(found.grid),
        "features": [
            {
                "name": f.name,
                "role": f.role,
                "unit": f.unit,
                "measured": f in features,
                **_statistics(found.column(f.name)),
            }
            for f in found.features
        ],
    }


def collection_table(numbers: dict[str, Any]) -> str:
    """Table with a row for each feature; mean and spread are those of the finite numbers."""
    size = " x ".join(map(str, numbers["shape"]))
    rows = [["feature", "unit", "mean", "std", "least", "largest", "not connected"]]
    for feature in numbers["features"]:
        values = [f"{feature[name]:.4g}" for name in ("mean", "std", "min", "max")]
        rows.append([feature["name"], feature["unit"], *values, str(feature["infinite"] or "")])
    return f"{numbers['collection']}: {numbers['samples']} samples of {size} voxels\n{aligned(rows)}"


def _copy(collection: Collection, target: Path, console: Console) -> None:
    """Write a collection as Zarr, unless that has been done."""
    try:
        there = read_collection(target) if is_collection(target) else None
    except UserError:  # unfinished: `write_collection` goes on with it, or says why not
        there = None
    if there is None:
        write_collection(target, collection, progress=console.progress)
    elif (len(there), there.grid, there.values) != (len(collection), collection.grid, collection.values):
        raise UserError(f"{target} is another collection than {collection.source}; choose another name")


def _film(options: Measure) -> pipeline.Film | None:
    given = [label for label in (options.donor, options.acceptor, options.mixed) if label is not None]
    if options.donor is None or options.acceptor is None:
        if given:
            raise UserError("--donor and --acceptor belong together: the labels of the two phases of a solar cell")
        return None
    if min(given) < 0 or len(set(given)) < len(given):
        raise UserError(f"--donor, --acceptor and --mixed are {given}; expected labels that differ, from 0 on")
    return pipeline.Film(donor=options.donor, acceptor=options.acceptor, mixed=options.mixed)


def _statistics(column: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation and extremes of the finite numbers of a column, and how many are infinite."""
    finite = column[np.isfinite(column)]
    if not finite.size:
        return dict.fromkeys(("mean", "std", "min", "max"), float("inf")) | {"infinite": column.size}
    numbers = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max()}
    return {name: float(number) for name, number in numbers.items()} | {"infinite": int(column.size - finite.size)}
