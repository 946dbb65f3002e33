"""Reconstruct five materials, compare with their micrographs: `python -m experiments.reconstruction.run [MATERIAL...]`.

Volumes that are there are not made again, so the work may be stopped and split at will. The table and the figures show
whatever is finished.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.machine import describe
from experiments.materials import cubes, micrograph, whole_volume
from experiments.priors import find_prior, untrained_prior
from experiments.reconstruction.config import ReconstructionConfig, smoke
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.volumes import make_volumes, seconds_per_volume
from jaxmicro import evaluate, viz
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
TRUE_VOLUMES = {"berea": "berea3d"}  # whose micrograph is a plane of it
COLUMNS = {
    "material": "Material", "fractions": "Fractions", "phase": "Phase", "volumes": "n", "phi_reference": "phi",
    "phi": "phi, volumes", "s2": "S2 error (%)", "s2_each": "each volume", "lineal_path": "Lineal path error (%)",
    "lineal_path_each": "each volume",
    "windows": "S2 / lineal path from windows (%)", "surface_area": "Surface area (ratio)",
    "shape_error": "S2 shape error", "nearest_copy": "Nearest crop", "seconds": "s / volume",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the materials asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("materials", nargs="*", metavar="MATERIAL", help="default: all five")
    parser.add_argument("--variant", choices=ReconstructionConfig().variants, help="default: all")
    parser.add_argument("--yardstick", action="store_true", help="cubes of the true volumes instead of generated ones")
    parser.add_argument("--volumes", type=int, help="fewer volumes than the configured number")
    options = parser.parse_args(arguments)
    config = ReconstructionConfig()
    config = dataclasses.replace(
        config,
        materials=tuple(options.materials) or config.materials,
        variants=(options.variant,) if options.variant else config.variants,
        volumes=options.volumes or config.volumes,
    )
    results = HERE / "results.csv"
    if options.yardstick:
        yardstick(config, results)
    else:
        run(config, find_prior=lambda name, image: find_prior(name), results=results, figures=HERE / "figures")
    write_table(HERE / "README.md", "table", markdown_table(table_rows(read_rows(HERE / "results.csv")), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same with a tiny untrained network, in seconds; returns the rows."""
    results = out / "results.csv"
    run(smoke(out), find_prior=lambda name, image: untrained_prior(image), results=results, figures=out / "figures")
    return table_rows(read_rows(results))


def run(
    config: ReconstructionConfig,
    *,
    find_prior: Callable[[str, Microstructure], Prior],
    results: Path,
    figures: Path,
) -> None:
    """Volumes, report, rows and figures of each material and variant."""
    for material in config.materials:
        image = micrograph(material)
        prior = find_prior(material, image)
        for variant in config.variants:
            folder = config.out / f"{material}_{variant}"
            volumes = make_volumes(
                prior, folder, count=config.volumes, shape=config.shape, seed=config.seed, sampling=config.sampling,
                fractions=None if variant == "free" else "micrograph", scatter=variant == "scattered",
            )  # fmt: skip
            report = evaluate.compare(volumes, image, r_max=config.r_max, patches=config.patches)
            (folder / "report.json").write_text(json.dumps(report))
            windows = [dataclasses.replace(volume, periodic=False) for volume in volumes]
            seen = evaluate.compare(windows, image, r_max=config.r_max, patches=0)
            rows = report_rows(report, material, variant, seconds_per_volume(folder), seen)
            replace_rows(results, rows, key=["material", "fractions", "phase"])
            draw(figures, f"{material}_{variant}", volumes[0], image, report)


def yardstick(config: ReconstructionConfig, results: Path) -> None:
    """Rows of true cubes against the same micrograph: what a perfect generator of as many volumes would score."""
    for material, volume in TRUE_VOLUMES.items():
        found = cubes(whole_volume(volume), config.shape[0], config.volumes)
        report = evaluate.compare(found, micrograph(material), r_max=config.r_max, patches=0)
        rows = report_rows(report, material, "true volume", None)
        replace_rows(results, rows, key=["material", "fractions", "phase"])


def report_rows(
    report: dict, material: str, variant: str, seconds: float | None, windows: dict | None = None
) -> list[dict[str, object]]:
    """One row per phase: error of the ensemble mean, and mean and standard deviation over the single volumes.

    `windows` is the report of the same volumes seen as windows of something larger.
    """
    rows = []
    for number, phase in enumerate(report["phases"]):
        s2, path, copy = phase["two_point"], phase["lineal_path"], report["memorisation"]
        seen = windows and windows["phases"][number]
        rows.append(
            {
                "material": material,
                "fractions": variant,
                "phase": phase["phase"],
                "volumes": report["volumes"],
                "phi_reference": phase["volume_fraction"]["reference"],
                "phi_mean": phase["volume_fraction"]["mean"],
                "phi_std": phase["volume_fraction"]["std"],
                "s2_error": s2["error_rate"],
                **spread("s2_error", s2["error_rate_volumes"]),
                "lineal_path_error": path["error_rate"],
                **spread("lineal_path_error", path["error_rate_volumes"]),
                "s2_error_window": seen and seen["two_point"]["error_rate"],
                "lineal_path_error_window": seen and seen["lineal_path"]["error_rate"],
                "surface_area_ratio": phase["surface_area"]["ratio"],
                "surface_area_ratio_std": phase["surface_area"]["std"] / phase["surface_area"]["reference"],
                "shape_error": s2["shape_error"],
                "percolating_fraction": phase["percolating_fraction"]["mean"],
                "nearest_copy": copy and copy["nearest"],
                "nearest_own": copy and copy["yardstick"],
                "seconds_per_volume": seconds,
                **describe(),
            }
        )
    return rows


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation of the errors of single volumes."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return {f"{name}_each": mean, f"{name}_each_std": variance**0.5}


def table_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of results.csv with means and spreads joined for reading."""

    def pm(row: dict[str, str], mean: str, std: str, digits: int) -> str:
        return f"{float(row[mean]):.{digits}f} ± {float(row[std]):.{digits}f}"

    return [
        {
            **row,
            "phi_reference": f"{float(row['phi_reference']):.3f}",
            "phi": pm(row, "phi_mean", "phi_std", 3),
            "s2": f"{float(row['s2_error']):.2f}",
            "s2_each": pm(row, "s2_error_each", "s2_error_each_std", 1),
            "lineal_path": f"{float(row['lineal_path_error']):.2f}",
            "windows": f"{row['s2_error_window']} / {row['lineal_path_error_window']}"
            if row["s2_error_window"]
            else "",
            "lineal_path_each": pm(row, "lineal_path_error_each", "lineal_path_error_each_std", 1),
            "surface_area": pm(row, "surface_area_ratio", "surface_area_ratio_std", 3),
            "nearest_copy": row["nearest_copy"] and f"{row['nearest_copy']} ({row['nearest_own']})",
            "seconds": row["seconds_per_volume"] and f"{float(row['seconds_per_volume']):.2g}",
        }
        for row in rows
    ]


def draw(folder: Path, name: str, volume: Microstructure, image: Microstructure, report: dict) -> None:
    """Planes on three axes beside the micrograph, and the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    size = {"voxel_size": image.voxel_size, "unit": image.unit}
    planes = viz.slice_panel(volume.labels, micrograph=image.labels, phases=image.phases, **size)
    (folder / f"{name}_planes.png").write_bytes(viz.png(planes, dpi=80))
    (folder / f"{name}_curves.png").write_bytes(viz.png(viz.correlation_curves(report), dpi=80))


if __name__ == "__main__":
    main()
