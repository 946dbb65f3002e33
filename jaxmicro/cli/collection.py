"""`jaxmicro measure` of a collection: properties of every sample as columns of its table."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro import pipeline
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.inputs import listed
from jaxmicro.cli.options import Generate, Measure
from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.io.collection_files import TABLE, is_hdf5
from jaxmicro.io.collection_store import collection_path, is_bundled, is_collection, is_finished, stored_digest
from jaxmicro.io.collections import collection_digest, read_collection, write_collection
from jaxmicro.io.volumes import is_zarr

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


def no_collection(path: Path, options: str) -> UserError:
    """The error of giving options of collections with something else, which says how that becomes a collection."""
    if path.is_dir() and not is_zarr(path):
        other = "".join(f" (but {name})" for name in _other_tables(path)[:1])
        return UserError(
            f"{options} for collections, and {path} has no {TABLE}{other}; write there a line of names, "
            "'file,NAME ...', and a line for each image (docs/formats.md)"
        )
    return UserError(
        f"{options} for collections, and {path} is none: a Zarr folder of jaxmicro, a folder of images with {TABLE}, "
        "or HDF5 files with --out NEW.zarr"
    )


def remark_on_tables(paths: Sequence[Path], console: Console) -> None:
    """A remark on a table in a folder of images that has another name than that of a collection's."""
    for path in paths[:1]:
        for table in _other_tables(path)[:1]:
            console.remark(
                f"note: {path} is read as images; if {table} is about them, it makes a collection under the name "
                f"{TABLE}, with 'file' as the name of its first column"
            )


def _other_tables(path: Path) -> list[str]:
    """Files in a folder without features.csv that may be meant as it."""
    if not path.is_dir() or (path / TABLE).exists():
        return []
    return sorted(child.name for child in path.iterdir() if child.suffix.lower() in (".csv", ".tsv", ".xlsx", ".ods"))


def measured_collection(options: Measure, console: Console) -> dict[str, Any]:
    """Measure a collection, as the options say, and summarise its features.

    Raises:
        UserError: the collection is damaged or is not in Zarr and --out is missing, or an option does not apply.
    """
    path, film = collection_path(options.file[0]), film_of(options)
    for name in ("segment", "merge_rare", "ignore", "crop", "stack", "voxel_size", "unit", "dataset", "r_max"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for images and volumes; a collection is measured as it is")
    if is_collection(path) and not is_bundled(path):
        if options.out is not None:
            raise UserError(f"{path} is in Zarr, and features are added to it; leave out --out")
        target = path
    elif options.out is None or options.out.suffix != ".zarr":
        raise UserError(
            f"features are added to your own collections in Zarr only; add --out NEW.zarr, to which {path} is copied"
        )
    else:
        target = options.out
        if not (is_hdf5(path) and glob.has_magic(str(path))) and not path.exists():
            raise UserError(f"{path} is not there")
        given = read_collection(path, shape=options.shape)
        _check_film(film, given, pipeline.chosen_features(given, listed(options.features), film))
        _copy(given, path, target, console)
    collection = read_collection(target)
    features = pipeline.chosen_features(collection, listed(options.features), film)
    known = {feature.name for feature in collection.features}
    there = [feature.name for feature in features if feature.name in known]
    if len(there) == len(features) and not options.replace:
        console.remark(f"all {len(there)} features are measured already in {target}; --replace measures them again")
    elif there and not options.replace:
        console.remark(
            f"{len(there)} features are there already ({there[0]} ...) and stay; --replace measures them again"
        )
    found = pipeline.measure_collection(target, features, film=film, replace=options.replace, progress=console.progress)
    if options.replace or len(there) < len(features):
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


def _copy(collection: Collection, path: Path, target: Path, console: Console) -> None:
    """Write the collection that was read from `path` as Zarr, or go on with that, unless it has been done.

    Raises:
        UserError: the target is the copy of another collection, or of this one before it was changed.
    """
    digest = collection_digest(collection, progress=console.progress)
    if is_collection(target) and stored_digest(target) != digest:
        raise UserError(
            f"{target} holds another collection than {path}, or {path} has changed since it was copied there; choose "
            f"another --out, or remove {target} if it is no longer needed"
        )
    if not is_finished(target):
        write_collection(target, collection, digest=digest, progress=console.progress)


def _check_film(film: pipeline.Film | None, collection: Collection, features: Sequence[Feature]) -> None:
    """Check that the labels of a film are those of a collection, if GraSPI's descriptors are among the features.

    Raises:
        UserError: a phase of the collection is none of the given labels.
    """
    if film is None or {f.name for f in features} <= {f.name for f in pipeline.measurable_features(collection)}:
        return
    given = [label for label in (film.donor, film.acceptor, film.mixed) if label is not None]
    if others := sorted(set(range(collection.phases)) - set(given)):
        raise UserError(
            f"{collection.source} has the labels {others} besides {given}, the donor and acceptor; cut electrodes off, "
            "or name a mixed phase with --mixed"
        )


def film_of(options: Measure | Generate) -> pipeline.Film | None:
    """The labels of the phases of a film; None where they are not given.

    Raises:
        UserError: some are given only, or they are no different labels.
    """
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
