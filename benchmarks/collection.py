"""Claim: tortuosity factors of samples of 32^3 voxels are right to 1e-4 and take 0.03 s of processor time each.

    python -m benchmarks.collection                       # 128 volumes of 32^3 and 16 of 64^3
    python -m benchmarks.collection --edge 48 --samples 32

Thresholded Gaussian fields, shares 0.6 and 0.4 of the conducting phase, tortuosity.1.z. Checked first: each against a
solve to a relative error of 1e-10. Then `pipeline.measure_collection` as `jaxmicro measure` calls it, reading and
writing included, compiled before; wall time, and processor time over all threads.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from scipy import ndimage

from experiments.tables import markdown_table
from jaxmicro import io, physics, pipeline
from jaxmicro.collection import Collection
from jaxmicro.descriptors import percolating_clusters

TIGHT = physics.SolverConfig(tolerance=1e-5)  # 1e-10 in D_eff
NAME = "tortuosity.1.z"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each edge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int)
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args(arguments)
    cases = [(32, 128), (64, 16)] if options.edge is None else [(options.edge, options.samples)]
    rows = [row(edge, samples) for edge, samples in cases]
    print(markdown_table(rows, {name: name for name in rows[0]}))


def row(edge: int, samples: int) -> dict[str, str]:
    """Largest relative error of the tortuosity factors, and the time that they take."""
    whole = collection(edge, samples)
    with tempfile.TemporaryDirectory() as folder:
        io.write_collection(Path(folder) / "a.zarr", whole)
        for _ in range(2):  # the first compiles
            wall, processor = time.perf_counter(), time.process_time()
            measured = pipeline.measure_collection(
                Path(folder) / "a.zarr", pipeline.chosen_features(whole, [NAME]), replace=True
            )
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
    worst = max(
        abs(tau / tortuosity(whole.sample(i) == 1) - 1) if np.isfinite(tau) else 0.0
        for i, tau in enumerate(measured.column(NAME)[:16])
    )
    if worst > 1e-4:
        raise SystemExit(f"a tortuosity factor is {worst:.1e} off")
    return {
        "voxels": f"{edge}^3",
        "samples": str(samples),
        "largest relative error": f"{worst:.1e}",
        "samples per second": f"{samples / wall:.1f}",
        "processor seconds a sample": f"{processor / samples:.3f}",
    }


def collection(edge: int, samples: int) -> Collection:
    """Thresholded Gaussian fields with a correlation length of some three voxels."""
    rng = np.random.default_rng(0)
    fields = [ndimage.gaussian_filter(rng.normal(size=(edge,) * 3), 3, mode="wrap") for _ in range(samples)]
    labels = np.stack([field > np.quantile(field, 0.4 + 0.2 * (i % 2)) for i, field in enumerate(fields)])
    return Collection(labels.astype(np.uint8), (), np.zeros((samples, 0)), np.arange(samples), (0.0, 1.0))


def tortuosity(phase: np.ndarray) -> float:
    """Volume fraction over D_eff along z, solved to 1e-10."""
    conducting = percolating_clusters(phase, axis=0)
    with jax.enable_x64(True):
        return float(phase.mean() / physics.solve(conducting.astype(float), axis=0, config=TIGHT).d_eff)


if __name__ == "__main__":
    main()
