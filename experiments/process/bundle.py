"""Bundle the model of this study, and a small part of its films, as `opv`.

python -m experiments.process.bundle
python -m experiments.process.bundle --model runs/films --collection films.zarr
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from experiments.process.config import ProcessConfig
from jaxmicro import pipeline
from jaxmicro.collection import Collection
from jaxmicro.io.checkpoint import load_weights, save_weights
from jaxmicro.io.collections import read_collection, write_collection

NAME = "opv"
RUNS, TIMES = 24, 3
PACKAGE = Path(pipeline.__file__).parents[1]


def main() -> None:
    """Write both into the package."""
    config = ProcessConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=config.out / "model", type=Path)
    parser.add_argument("--collection", default=config.out / "films", type=Path)
    options = parser.parse_args()
    bundle(options.model, read_collection(options.collection), PACKAGE)


def bundle(model: Path, films: Collection, package: Path) -> None:
    """The weights, kernels in bytes, in `weights/`; films that the model has learned from in `assets/`."""
    prior = pipeline.load_prior(model)
    assert prior.conditions is not None
    weights, assets = package / "weights" / f"{NAME}.safetensors", package / "assets" / f"{NAME}.zarr"
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(weights, *load_weights(pipeline.prior_path(model)), bits=8)
    shutil.rmtree(assets, ignore_errors=True)
    write_collection(assets, part(films, prior.record["held_out_origins"]).select(list(prior.conditions.names)))
    stored = sum(path.stat().st_size for path in assets.rglob("*") if path.is_file())
    print(f"{weights}: {weights.stat().st_size / 1e6:.2f} MB; {assets}: {stored / 1e6:.2f} MB")


def part(films: Collection, held_out: list[int]) -> Collection:
    """Up to RUNS of the other runs, evenly chosen, at TIMES of each, from early to late."""
    origins = np.setdiff1d(films.origin, held_out)
    chosen = []
    for origin in origins[np.unique(np.linspace(0, len(origins) - 1, RUNS).round().astype(int))]:
        of_run = np.flatnonzero(films.origin == origin)
        chosen += of_run[((np.arange(TIMES) + 0.5) * len(of_run) / TIMES).astype(int)].tolist()
    return films.subset(np.array(chosen))


if __name__ == "__main__":
    main()
