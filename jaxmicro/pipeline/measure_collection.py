"""Properties of every sample of a collection, added to it as columns: what `jaxmicro measure COLLECTION` does.

Every number is a function of its sample alone, so that an interrupted measurement continues to the same bits.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.io.collection_store import add_features, collection_path, is_bundled, remove_features
from jaxmicro.io.collections import read_collection
from jaxmicro.io.files import clean, remove
from jaxmicro.pipeline.progress import Progress
from jaxmicro.pipeline.sample_properties import Film, counted, solved, surface_areas
from jaxmicro.pipeline.state import Resumable, identity_of

STATE = "features/.measuring.npz"  # in the folder of the collection: what an interrupted measurement has
_TOGETHER = 2**22  # voxels of the samples that are measured together
_SAVE_SECONDS = 5.0


def measure_collection(
    path: str | Path,
    features: Sequence[Feature],
    *,
    film: Film | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Collection:
    """Measure features of all samples of a collection in Zarr, and add them to it as columns.

    Diffusivities are those of one phase with the others blocked, relative to its own, by finite volumes between two
    opposite faces, to a relative error of 1e-4, with periodic sides if samples are periodic along the other axes, else
    tight ones; the tortuosity factor is volume fraction over diffusivity, infinite where the phase does not connect the
    faces. Areas per volume are by Crofton's formula, in the unit of the voxel size, or per voxel edge where that is
    unknown. When the call is interrupted, what was measured stays in the folder, and the next call with the same `film`
    and `replace` continues with it.

    Args:
        features: as `chosen_features` gives them; those that the collection has already are left as they are.
        film: labels of the phases, for GraSPI's descriptors.
        replace: measure also the features that the collection has, and replace them.
        progress: called with the number of samples that are measured.
    Returns:
        The collection with its new columns.
    Raises:
        UserError: there is no such collection, it comes with jaxmicro, a solve does not converge, or a column cannot be
            written.
    """
    path = collection_path(path)
    if is_bundled(path):
        raise UserError(
            f"{path} comes with jaxmicro and stays as it is; copy it (`io.write_collection`), and measure that"
        )
    collection = read_collection(path)
    known = {feature.name for feature in collection.features}
    missing = [feature for feature in features if replace or feature.name not in known]
    if not missing:
        return collection
    clean(path / "features")
    state = Resumable(path / STATE, identity_of("measure_collection/1", str(film), replace, arrays=collection.origin))
    kept = state.load() or {}
    columns = {feature.name: kept.get(feature.name, np.full(len(collection), np.nan)) for feature in missing}
    left = np.flatnonzero(np.isnan(list(columns.values())).any(axis=0))
    done, saved = len(collection) - len(left), time.monotonic()
    try:
        for found in measured_samples(collection, left, list(columns), film):
            for i, numbers in found.items():
                for name, column in columns.items():
                    column[i] = numbers[name]
            done += len(found)
            if time.monotonic() - saved > _SAVE_SECONDS:
                state.save(**kept | columns)
                saved = time.monotonic()
            if progress is not None:
                progress("measured samples", done, len(collection), "")
    except BaseException:
        state.save(**kept | columns)
        raise
    state.save(**kept | columns)
    if replace:
        remove_features(path, [feature.name for feature in missing if feature.name in known])
    add_features(path, missing, np.stack(list(columns.values()), axis=1))
    remove(path / STATE)
    return read_collection(path)


def measured_table(
    samples: Collection, names: Sequence[str], progress: Progress | None = None, *, film: Film | None = None
) -> Float[np.ndarray, "n m"]:
    """The named features of all samples, by the code that measures collections; GraSPI's with `film` only.

    Raises:
        UserError: a solve does not converge.
    """
    table, done = np.empty((len(samples), len(names))), 0
    for found in measured_samples(samples, np.arange(len(samples)), names, film):
        for number, values in found.items():
            table[number] = [values[name] for name in names]
        done += len(found)
        if progress is not None:
            progress("measuring", done, len(samples), "")
    return table


def measured_samples(
    collection: Collection, left: np.ndarray, names: Sequence[str], film: Film | None
) -> Iterator[dict[int, dict[str, float]]]:
    """The numbers of each sample by name, of some samples at a time. While diffusion is solved in these, a thread
    counts in the next.

    Args:
        left: numbers of the samples to measure.
        names: of features to measure; others may be among the results.
        film: as `measure_collection`.
    Raises:
        UserError: a solve does not converge, or a sample is damaged.
    """
    together = max(1, _TOGETHER // int(np.prod(collection.grid)))
    chunks = [left[start : start + together] for start in range(0, len(left), together)]
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(counted, collection, chunk, names, film) for chunk in chunks[:1]]
        for number in range(len(chunks)):
            samples = ahead.pop().result()
            for chunk in chunks[number + 1 : number + 2]:
                ahead.append(pool.submit(counted, collection, chunk, names, film))
            for i, labels in samples.labels.items():
                samples.numbers[i].update(surface_areas(collection, labels, names))
            for conductor, found in zip(samples.conductors, solved(samples.conductors), strict=True):
                if not all(map(np.isfinite, found.values())):
                    raise UserError(
                        f"diffusion through phase {conductor.phase} of sample {conductor.sample} of "
                        f"{collection.source} along {conductor.axis} did not converge; choose other --features"
                    )
                samples.numbers[conductor.sample].update(found)
            yield samples.numbers
