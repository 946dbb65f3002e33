"""The four cases of P-Micro3Diff, and time and quality against n_h: `python -m experiments.micro3diff.run [CASE...]`.

Its Fig. 5 is the table of the cases, its Figs. 2 and 3 are the sweep (`--sweep`).
"""

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.machine import describe
from experiments.materials import micrograph, training_half, whole_volume
from experiments.micro3diff.config import CASES, Case, Micro3DiffConfig, smoke
from experiments.priors import find_prior, untrained_prior
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.volumes import make_volumes, seconds_per_volume
from experiments.weights.media import grain_images, spheres_volume
from jaxmicro import evaluate, viz
from jaxmicro.evaluate.statistics import block_curves, image_statistics, volume_statistics
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
COLUMNS = {
    "case": "Case", "fractions": "Fractions", "dimensions": "Measured in", "volumes": "n", "phi_text": "phi",
    "s2": "S2 error (%)", "s2_each": "each volume", "paper_s2": "paper", "lineal_path": "Lineal path error (%)",
    "lineal_path_each": "each volume", "paper_lineal_path": "paper", "seconds": "s / volume",
}  # fmt: skip
SWEEP_COLUMNS = {
    "couple": "Coupling", "harmonise": "n_h", "evaluations": "Evaluations", "seconds": "s / volume",
    "s2": "S2 error (%)", "lineal_path": "Lineal path error (%)", "phi_text": "phi",
}  # fmt: skip
FindPrior = Callable[[str, Microstructure], Prior]


class Curves(NamedTuple):
    """S2 and lineal path of the phase of interest."""

    two_point: np.ndarray  # r
    lineal_path: np.ndarray  # r


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases asked for, or all, or the sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--variant", choices=Micro3DiffConfig().variants, help="default: both")
    parser.add_argument("--volumes", type=int, help="other than the configured number")
    parser.add_argument("--sweep", action="store_true", help="the sweep of n_h instead of the cases")
    options = parser.parse_args(arguments)
    config = Micro3DiffConfig()
    config = dataclasses.replace(
        config,
        cases=tuple(options.cases) or config.cases,
        variants=(options.variant,) if options.variant else config.variants,
        volumes=options.volumes or config.volumes,
    )
    study = run_sweep if options.sweep else run_cases
    study(config, find_prior=lambda name, data: find_prior(name), results=HERE, figures=HERE / "figures")
    cases, sweep = read_rows(HERE / "results.csv"), read_rows(HERE / "sweep.csv")
    write_table(HERE / "README.md", "cases", markdown_table(table_rows(cases), COLUMNS))
    write_table(HERE / "README.md", "sweep", markdown_table(table_rows(sweep), SWEEP_COLUMNS))


def run_smoke(out: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The same with tiny untrained networks, in seconds; returns the rows of the cases and of the sweep."""
    for study in (run_cases, run_sweep):
        study(smoke(out), find_prior=lambda name, data: untrained_prior(data), results=out, figures=out / "figures")
    return table_rows(read_rows(out / "results.csv")), table_rows(read_rows(out / "sweep.csv"))


def original(name: str) -> Microstructure:
    """What the model of a case was trained on; a volume, or an image, or images stacked along the first axis."""
    match name:
        case "spheres":
            return spheres_volume()
        case "grains":
            return grain_images()
        case "nmc":
            return training_half(whole_volume("nmc3d"))
        case _:
            return micrograph(name)


def run_cases(config: Micro3DiffConfig, *, find_prior: FindPrior, results: Path, figures: Path) -> None:
    """Volumes, rows and figures of each case and variant."""
    for name in config.cases:
        data = original(name)
        reference = reference_curves(name, data, config.r_max)
        prior = find_prior(CASES[name].prior, data)
        for variant in config.variants:
            folder = config.out / f"{name}_{variant}"
            volumes = make_volumes(
                prior, folder, count=config.volumes, shape=config.shape, seed=config.seed, sampling=config.sampling,
                fractions="micrograph" if variant == "calibrated" else None,
            )  # fmt: skip
            made = [curves_of_volume(v, CASES[name], config.r_max) for v in volumes]
            row = {"case": name, "fractions": variant, "dimensions": f"{CASES[name].dimensions}D"}
            row |= errors(made, reference)
            row |= {"paper_s2": CASES[name].paper_s2, "paper_lineal_path": CASES[name].paper_lineal_path}
            row |= {"seconds_per_volume": seconds_per_volume(folder)} | describe()
            replace_rows(results / "results.csv", [row], key=["case", "fractions"])
            draw(figures, f"{name}_{variant}", volumes[0], made, reference, data)


def run_sweep(config: Micro3DiffConfig, *, find_prior: FindPrior, results: Path, figures: Path) -> None:
    """Time and errors against n_h, at the same time steps, with free fractions as in the paper."""
    name = config.sweep_case
    data = original(name)
    reference, prior = reference_curves(name, data, config.r_max), find_prior(CASES[name].prior, data)
    for couple, harmonise in itertools.product(config.sweep_couple, config.sweep_harmonise):
        sampling = dataclasses.replace(config.sampling, harmonise=harmonise, couple=couple)
        folder = config.out / f"sweep_{couple:g}_{harmonise}"
        volumes = make_volumes(
            prior, folder, count=config.sweep_volumes, shape=config.shape, seed=config.seed, sampling=sampling,
            fractions=None,
        )  # fmt: skip
        made = [curves_of_volume(v, CASES[name], config.r_max) for v in volumes]
        row = {"couple": couple, "harmonise": harmonise, "steps": sampling.steps, "evaluations": sampling.evaluations}
        row |= errors(made, reference) | {"seconds_per_volume": seconds_per_volume(folder)} | describe()
        replace_rows(results / "sweep.csv", [row], key=["couple", "harmonise"])
        figures.mkdir(parents=True, exist_ok=True)
        planes = viz.slice_panel(volumes[0].labels, phases=data.phases, depths=(0.5,))
        (figures / f"{folder.name}_planes.png").write_bytes(viz.png(planes, dpi=80))
    draw_sweep(figures, read_rows(results / "sweep.csv"))


def reference_curves(name: str, data: Microstructure, r_max: int) -> Curves:
    """The curves of the original: in 3D where it is a volume, else in 2D (mean over the images)."""
    phase = data.labels == CASES[name].phase
    if CASES[name].dimensions == 3:
        return curves_of_volume(data, CASES[name], r_max)
    if phase.ndim == 3:  # independent images
        s2, path = block_curves(phase.astype(np.uint8), phases=2, r_max=r_max)
        return Curves(np.asarray(s2).mean(0)[1], np.asarray(path).mean(0)[1])
    found = image_statistics(phase.astype(np.uint8), phases=2, r_max=r_max)
    return Curves(np.asarray(found.two_point)[0, 1], np.asarray(found.lineal_path)[0, 1])


def curves_of_volume(volume: Microstructure, case: Case, r_max: int) -> Curves:
    """Curves of the phase of a case in 3D, or the mean over the planes normal to the three axes."""
    labels = (volume.labels == case.phase).astype(np.uint8)
    if case.dimensions == 3:
        found = volume_statistics(labels, phases=2, r_max=r_max, periodic=volume.periodic)
        return Curves(np.asarray(found.two_point)[1], np.asarray(found.lineal_path)[1])
    planes = evaluate.slice_statistics(labels, 2, r_max, periodic=volume.periodic)[1]
    return Curves(planes["two_point"], planes["lineal_path"])


def errors(made: Sequence[Curves], reference: Curves) -> dict[str, float | int]:
    """Error rates (P-Micro3Diff eq. 24, %) of the mean curves, and mean and deviation of those of single volumes."""
    row: dict[str, float | int] = {
        "volumes": len(made),
        "phi_reference": float(reference.two_point[0]),
        "phi": float(np.mean([one.two_point[0] for one in made])),
    }
    for field, name in (("two_point", "s2_error"), ("lineal_path", "lineal_path_error")):
        curves, target = np.array([getattr(one, field) for one in made]), getattr(reference, field)
        each = [evaluate.error_rate(curve, target) for curve in curves]
        row[name] = evaluate.error_rate(curves.mean(0), target)
        row[f"{name}_each"] = float(np.mean(each))
        row[f"{name}_each_std"] = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
    return row


def table_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of a results file with means and spreads joined for reading."""

    def pm(row: dict[str, str], name: str) -> str:
        return f"{float(row[name]):.1f} ± {float(row[name + '_std']):.1f}"

    return [
        {
            **row,
            "phi_text": f"{float(row['phi']):.3f} ({float(row['phi_reference']):.3f})",
            "s2": f"{float(row['s2_error']):.2f}",
            "s2_each": pm(row, "s2_error_each"),
            "lineal_path": f"{float(row['lineal_path_error']):.2f}",
            "lineal_path_each": pm(row, "lineal_path_error_each"),
            "seconds": row["seconds_per_volume"] and f"{float(row['seconds_per_volume']):.0f}",
        }
        for row in rows
    ]


def draw(
    folder: Path, name: str, volume: Microstructure, made: Sequence[Curves], reference: Curves, data: Microstructure
) -> None:
    """Planes, a 3D rendering, and the curves (Figs. 2, 4, 7, 9, 11 of the paper)."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = data.labels[0] if data.labels.ndim == 3 else data.labels
    planes = viz.slice_panel(volume.labels, micrograph=flat, phases=data.phases)
    (folder / f"{name}_planes.png").write_bytes(viz.png(planes, dpi=80))
    (folder / f"{name}_volume.png").write_bytes(
        viz.png(viz.volume_rendering(volume.labels, phases=data.phases), dpi=80)
    )
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for ax, field, title in zip(figure.subplots(1, 2), Curves._fields, ("S2", "lineal path"), strict=True):
        curves = np.array([getattr(one, field) for one in made])
        ax.plot(curves.T, color="0.75", linewidth=0.8)
        ax.plot(curves.mean(0), color="#004488", label=f"mean of {len(curves)} volumes")
        ax.plot(getattr(reference, field), color="#222222", linestyle="--", label="original")
        ax.set(xlabel="distance r (voxels)", ylabel=title, ylim=(0, None))
        ax.legend(frameon=False)
    (folder / f"{name}_curves.png").write_bytes(viz.png(figure, dpi=80))


def draw_sweep(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    """Time and error against n_h (Fig. 3 of the paper)."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for couple, line in zip(dict.fromkeys(row["couple"] for row in rows), ("--", "-", ":"), strict=False):
        group = [row for row in rows if row["couple"] == couple]
        n_h = [int(row["harmonise"]) for row in group]
        left.plot(n_h, [float(row["seconds_per_volume"]) for row in group], "o" + line, label=f"couple {couple}")
        for name, label, colour in (("s2_error", "S2", "#004488"), ("lineal_path_error", "lineal path", "#BB5566")):
            values = [float(row[name]) for row in group]
            right.plot(n_h, values, "o" + line, color=colour, label=f"{label}, couple {couple}")
    left.set(xlabel="harmonising steps $n_h$", ylabel="seconds per volume", ylim=(0, None))
    right.set(xlabel="harmonising steps $n_h$", ylabel="error rate (%)", ylim=(0, None))
    left.legend(frameon=False)
    right.legend(frameon=False)
    (folder / "sweep.png").write_bytes(viz.png(figure, dpi=80))


if __name__ == "__main__":
    main()
