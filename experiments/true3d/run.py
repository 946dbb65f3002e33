"""Generated volumes against a true volume that no model has seen: `python -m experiments.true3d.run [MATERIAL...]`.

S2, lineal path, interface area and percolation are measured in 3D. Two yardsticks: true sub-volumes of the training
half against the test half, which is what a perfect generator would score, and two true sub-volumes of the test half
against each other.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.machine import describe
from experiments.materials import test_half, training_half, whole_volume
from experiments.priors import find_prior, untrained_prior
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.true3d.config import True3dConfig, smoke
from experiments.volumes import make_volumes, seconds_per_volume
from jaxmicro import evaluate, viz
from jaxmicro.descriptors import percolating_fraction
from jaxmicro.evaluate.statistics import volume_statistics
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
COLUMNS = {
    "material": "Material", "compared": "Compared", "phase": "Phase", "count": "n", "phi": "phi",
    "s2": "S2 error (%)", "lineal_path": "Lineal path error (%)", "area": "Interface area (ratio)",
    "percolating": "Percolating fraction", "seconds": "s / volume",
}  # fmt: skip


class Measured(NamedTuple):
    """One volume in 3D, per phase."""

    fraction: np.ndarray  # p
    two_point: np.ndarray  # p r
    lineal_path: np.ndarray  # p r
    area: np.ndarray  # p, voxel faces per voxel
    percolating: np.ndarray  # p, share of the phase that connects opposite faces, mean over the axes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the materials asked for, or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("materials", nargs="*", metavar="MATERIAL", help="berea3d, nmc3d; default: both")
    parser.add_argument("--volumes", type=int, help="other than the configured number")
    options = parser.parse_args(arguments)
    config = True3dConfig()
    config = dataclasses.replace(
        config,
        materials=tuple(options.materials) or config.materials,
        volumes=options.volumes or config.volumes,
    )
    results = HERE / "results.csv"
    run(config, find_prior=lambda name, volume: find_prior(name), results=results, figures=HERE / "figures")
    write_table(HERE / "README.md", "table", markdown_table(table_rows(read_rows(results)), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same with a tiny untrained network, on small corners of the true volume; returns the rows."""
    results = out / "results.csv"
    run(
        smoke(out), find_prior=lambda name, volume: untrained_prior(volume), results=results, figures=out / "figures",
        crop=32,
    )  # fmt: skip
    return table_rows(read_rows(results))


def run(
    config: True3dConfig,
    *,
    find_prior: Callable[[str, Microstructure], Prior],
    results: Path,
    figures: Path,
    crop: int | None = None,
) -> None:
    """Volumes, rows and figures of each material.

    Args:
        crop: use only the first voxels along each axis of both halves.
    """
    for material in config.materials:
        volume = whole_volume(material)
        train, test = (_corner(half(volume), crop) for half in (training_half, test_half))
        folder, shape = config.out / material, (config.edge,) * 3
        made = make_volumes(
            find_prior(material, train), folder, count=config.volumes, shape=shape, seed=config.seed,
            sampling=config.sampling,
        )  # fmt: skip
        truth = measure(test.labels, test.phases, config.r_max)
        generated = [measure(v.labels, test.phases, config.r_max, periodic=v.periodic) for v in made]
        from_train, from_test = (
            [measure(labels, test.phases, config.r_max) for labels in blocks(half.labels, shape)]
            for half in (train, test)
        )
        pairs = list(itertools.combinations(from_test, 2))
        groups = {
            "generated, test half": [(one, truth) for one in generated],
            "true sub-volumes of the training half, test half": [(one, truth) for one in from_train],
            "two true sub-volumes of the test half": pairs,
        }
        seconds = seconds_per_volume(folder)
        rows = [row for name, group in groups.items() for row in group_rows(material, name, group)]
        rows = [row | {"seconds": seconds if row["compared"].startswith("gen") else None} | describe() for row in rows]
        replace_rows(results, rows, key=["material", "compared", "phase"])
        draw(figures, material, made, test, config.r_max, folder)


def measure(labels: np.ndarray, phases: int, r_max: int, *, periodic: bool = False) -> Measured:
    """Fractions, S2, lineal path, interface area and percolation of a volume "z y x"."""
    found = volume_statistics(labels, phases=phases, r_max=min(r_max, min(labels.shape) // 2), periodic=periodic)
    s2 = np.asarray(found.two_point)
    percolating = [
        np.mean([percolating_fraction(labels == p, axis=axis) if (labels == p).any() else 0.0 for axis in range(3)])
        for p in range(phases)
    ]
    return Measured(
        s2[:, 0], s2, np.asarray(found.lineal_path), np.asarray(found.boundary_area), np.array(percolating)
    )  # fmt: skip


def blocks(labels: np.ndarray, shape: Sequence[int]) -> list[np.ndarray]:
    """The disjoint sub-volumes of a shape; an edge longer than the volume is cut to it."""
    edges = [min(edge, n) for edge, n in zip(shape, labels.shape, strict=True)]
    corners = itertools.product(*(range(0, n - edge + 1, edge) for edge, n in zip(edges, labels.shape, strict=True)))
    return [labels[tuple(slice(c, c + edge) for c, edge in zip(corner, edges, strict=True))] for corner in corners]


def group_rows(material: str, name: str, pairs: Sequence[tuple[Measured, Measured]]) -> list[dict]:
    """One row per phase: mean and standard deviation over pairs of a volume and what it is compared with."""
    rows = []
    for p in range(len(pairs[0][1].fraction)) if pairs else ():
        s2 = [_error(one.two_point[p], other.two_point[p]) for one, other in pairs]
        path = [_error(one.lineal_path[p], other.lineal_path[p]) for one, other in pairs]
        mean_curve = np.mean([one.two_point[p] for one, _ in pairs], axis=0)
        rows.append(
            {
                "material": material,
                "compared": name,
                "phase": p,
                "count": len(pairs),
                **_spread("phi", [one.fraction[p] for one, _ in pairs]),
                "phi_reference": float(pairs[0][1].fraction[p]),
                **_spread("s2_error", s2),
                "s2_error_of_mean": _error(mean_curve, pairs[0][1].two_point[p]),
                **_spread("lineal_path_error", path),
                **_spread("area_ratio", [one.area[p] / other.area[p] for one, other in pairs]),
                **_spread("percolating", [one.percolating[p] for one, _ in pairs]),
                "percolating_reference": float(pairs[0][1].percolating[p]),
            }
        )
    return rows


def table_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of results.csv with means and spreads joined for reading."""

    def pm(row: dict[str, str], name: str, digits: int) -> str:
        return f"{float(row[name]):.{digits}f} ± {float(row[name + '_std']):.{digits}f}"

    return [
        {
            **row,
            "phi": f"{pm(row, 'phi', 3)} ({float(row['phi_reference']):.3f})",
            "s2": pm(row, "s2_error", 2),
            "lineal_path": pm(row, "lineal_path_error", 2),
            "area": pm(row, "area_ratio", 3),
            "percolating": f"{pm(row, 'percolating', 3)} ({float(row['percolating_reference']):.3f})",
            "seconds": row["seconds"] and f"{float(row['seconds']):.0f}",
        }
        for row in rows
    ]


def draw(
    figures: Path, material: str, made: Sequence[Microstructure], test: Microstructure, r_max: int, folder: Path
) -> None:
    """Curves in 3D with the range of the true sub-volumes, and planes of a generated and of the true volume."""
    report = evaluate.compare(made, test, r_max=r_max)
    (folder / "report.json").write_text(json.dumps(report))
    figures.mkdir(parents=True, exist_ok=True)
    size = {"phases": test.phases, "voxel_size": test.voxel_size, "unit": test.unit}
    pictures = {
        "curves": viz.true_volume_curves(report),
        "planes": viz.slice_panel(made[0].labels, **size),
        "planes_true": viz.slice_panel(blocks(test.labels, made[0].shape)[0], **size),
    }
    for name, figure in pictures.items():
        (figures / f"{material}_{name}.png").write_bytes(viz.png(figure, dpi=80))


def _error(curve: np.ndarray, reference: np.ndarray) -> float:
    """P-Micro3Diff eq. 24, over the distances that both curves have (a thin block has fewer)."""
    n = min(len(curve), len(reference))
    return evaluate.error_rate(curve[:n], reference[:n])


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.mean(values)), f"{name}_std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _corner(volume: Microstructure, crop: int | None) -> Microstructure:
    return dataclasses.replace(volume, labels=np.ascontiguousarray(volume.labels[:crop, :crop, :crop]))


if __name__ == "__main__":
    main()
