"""Design volumes to targets: `python -m experiments.design.run [CASE...]`; see README.md.

Volumes that are there are not made again. The table and the figures show whatever is finished.
"""

import argparse
import dataclasses
import itertools
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments.design.config import CASES, DesignConfig, smoke
from experiments.machine import describe
from experiments.materials import micrograph
from experiments.priors import find_prior, untrained_prior
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from jaxmicro import evaluate, pipeline, viz
from jaxmicro.descriptors import chord_length_distribution, euler_characteristic, interface_areas, label_clusters
from jaxmicro.guidance import CURVES, QUANTITIES, exact_value, exact_values_of_planes
from jaxmicro.io import read, write
from jaxmicro.phases import one_hot
from jaxmicro.pipeline import Design, Prior
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
COLUMNS = {
    "case": "Case", "target": "Number", "volumes": "n", "wanted": "Wanted", "before": "Reconstruction",
    "achieved": "Design", "off": "Mean off (%)", "worst": "Worst volume off (%)", "s2_before": "S2 error before (%)",
    "s2": "S2 error (%)", "lineal_path": "Lineal path error (%)", "surface_area": "Surface area (ratio)",
    "medium_reconstruction": "D_eff z y x of the periodic medium, before", "medium_volume": "after",
    "d_reconstruction": "D_eff z y x between two faces, before", "d_volume": "after",
    "tau_medium_reconstruction": "Tortuosity factor z y x of the periodic medium, before", "tau_medium_volume": "after",
    "tau_reconstruction": "Tortuosity factor z y x between two faces, before", "tau_volume": "after",
    "euler_reconstruction": "Euler number in 3D / 1000 voxels, before", "euler_volume": "after",
    "clusters_reconstruction": "Clusters in 3D / 1000 voxels, before", "clusters_volume": "after",
    "chords_reconstruction": "Chord lengths off (voxels), before", "chords_volume": "after",
    "triple_reconstruction": "Triple points (ratio), before", "triple_volume": "after",
    "contacts_reconstruction": "Interface of each pair of phases (ratio), before", "contacts_volume": "after",
    "rounds": "Rounds", "seconds": "s / volume",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--volumes", type=int, help="fewer volumes than the configured number")
    parser.add_argument("--out", type=Path, help="folder of the volumes")
    parser.add_argument("--results", type=Path, default=HERE / "results.csv", help="table that rows are put into")
    options = parser.parse_args(arguments)
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    config = DesignConfig()
    config = dataclasses.replace(
        config,
        cases=tuple(options.cases) or config.cases,
        volumes=options.volumes or config.volumes,
        out=options.out or config.out,
    )
    run(config, find_prior=lambda name, image: find_prior(name), results=options.results, figures=HERE / "figures")
    write_table(HERE / "README.md", "table", markdown_table(read_rows(options.results), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same with a tiny untrained network, in seconds; returns the rows."""
    results = out / "results.csv"
    run(smoke(out), find_prior=lambda name, image: untrained_prior(image), results=results, figures=out / "figures")
    return read_rows(results)


def run(
    config: DesignConfig, *, find_prior: Callable[[str, Microstructure], Prior], results: Path, figures: Path
) -> None:
    """Designs, rows and a figure of each case."""
    for name in config.cases:
        case = CASES[name]
        image = micrograph(case.material)
        prior = find_prior(case.material, image)
        folder = config.out / re.sub(r"[ =*]", "_", name)
        designs = designed(prior, image, folder, name, config)
        rows = report_rows(designs, image, name, config, _seconds(folder))
        replace_rows(results, rows, key=["case", "target"])
        figures.mkdir(parents=True, exist_ok=True)
        first = designs[0]
        panel = viz.design_panel(
            first.reconstruction.labels, first.volume.labels,
            [(t.name, b, t.value, a) for t, b, a in zip(first.targets, first.before, first.achieved, strict=True)],
            phases=image.phases, voxel_size=image.voxel_size, unit=image.unit,
        )  # fmt: skip
        (figures / f"{folder.name}.png").write_bytes(viz.png(panel, dpi=100))
        panels = distributions(designs, image, config)
        if panels:
            figure = viz.section_distributions(panels)
            (figures / f"{folder.name}_sections.png").write_bytes(viz.png(figure, dpi=100))


def designed(prior: Prior, image: Microstructure, folder: Path, name: str, config: DesignConfig) -> list[Design]:
    """The designs of a case; the missing ones are made."""
    folder.mkdir(parents=True, exist_ok=True)
    case, began = CASES[name], time.monotonic()

    def keep(number: int, found: Design) -> None:
        nonlocal began
        write(folder / f"volume_{number:03d}.npz", found.volume)
        write(folder / f"reconstruction_{number:03d}.npz", found.reconstruction)
        numbers = {
            "targets": [dataclasses.asdict(target) for target in found.targets],
            "before": found.before,
            "achieved": found.achieved,
            "rounds": found.rounds,
            "seconds": time.monotonic() - began,
        }
        _record(folder, number).write_text(json.dumps(numbers))
        achieved = ", ".join(f"{value:.4g}" for value in found.achieved)
        print(f"{name}: volume {number + 1}: {achieved} in {numbers['seconds']:.0f} s", flush=True)
        began = time.monotonic()

    done = [number for number in range(config.volumes) if _record(folder, number).is_file()]
    if len(done) < config.volumes:
        pipeline.design(
            prior, case.targets, micrograph=image, shape=config.shape, volumes=config.volumes, seed=config.seed,
            method="sds" if case.method == "sds" else "guided", tolerance=config.tolerance, rounds=config.rounds,
            release=case.release, sampling=config.sampling, distillation=config.distillation, skip=done, on_design=keep,
            keep=config.out / f"untargeted_{case.material}",
        )  # fmt: skip
    return [_read(folder, number) for number in range(config.volumes)]


def distributions(designs: Sequence[Design], image: Microstructure, config: DesignConfig) -> list[tuple]:
    """What `viz.section_distributions` shows: numbers of all sections that targets are about (Figs. 5 to 7, c)."""
    panels = []
    for i, target in enumerate(designs[0].targets):
        if target.quantity not in QUANTITIES or QUANTITIES[target.quantity].of_plane is None:
            continue
        before, after = (
            np.concatenate([
                exact_values_of_planes(target.quantity, np.moveaxis(volume.labels, axis, 0), image.phases, target.phase)
                for volume in volumes for axis in range(3)
            ])
            for volumes in ([d.reconstruction for d in designs], [d.volume for d in designs])
        )  # fmt: skip
        edge = min(*config.shape, *image.shape)
        crops = pipeline.crop_values(image, target.quantity, target.phase, edge=edge)
        wanted = float(np.mean([design.targets[i].value for design in designs]))
        panels.append((target.name, crops, before, after, wanted))
    return panels


def report_rows(
    designs: Sequence[Design], image: Microstructure, name: str, config: DesignConfig, seconds: float
) -> list[dict[str, object]]:
    """One row per target: what was wanted and reached, and what it cost in resemblance to the micrograph."""
    after, before = (
        evaluate.compare([getattr(d, kind) for d in designs], image, r_max=config.r_max, patches=0)["phases"]
        for kind in ("volume", "reconstruction")
    )

    def of_phases(report: list[dict], *path: str) -> str:
        found = []
        for phase in report:
            value = phase
            for key in path:
                value = value[key]
            found.append("-" if value is None else f"{value:.2f}")
        return " ".join(found)

    free = {
        f"{name}_{kind}": values
        for kind in ("reconstruction", "volume")
        for name, values in free_numbers([getattr(design, kind) for design in designs], image).items()
    }
    rows = []
    for i, target in enumerate(designs[0].targets):
        achieved = np.array([design.achieved[i] for design in designs])
        wanted = np.array([design.targets[i].value for design in designs])
        curve = target.quantity in CURVES
        row = {
            "case": name,
            "target": target.name,
            "volumes": len(designs),
            "wanted": "" if curve else _pm(wanted),
            "before": _pm(np.array([design.before[i] for design in designs])),
            "achieved": _pm(achieved),
            "off": "" if curve else f"{100 * float(np.mean(achieved / wanted) - 1):.2f}",
            "worst": "" if curve else f"{100 * float(np.abs(achieved / wanted - 1).max()):.2f}",
            "s2_before": of_phases(before, "two_point", "error_rate"),
            "s2": of_phases(after, "two_point", "error_rate"),
            "lineal_path": of_phases(after, "lineal_path", "error_rate"),
            "surface_area": of_phases(after, "surface_area", "ratio"),
            "rounds": f"{np.mean([design.rounds for design in designs]):.1f}",
            "seconds": f"{seconds:.0f}",
            **describe(),
            **free,
        }
        if "diffusivity" in target.quantity or target.quantity == "tortuosity":
            for kind in ("reconstruction", "volume"):
                labels = [getattr(design, kind).labels for design in designs]
                fractions = np.array([[np.mean(volume == target.phase)] for volume in labels])
                for where, periodic in (("", False), ("medium_", True)):
                    d = np.array([
                        [exact_value("diffusivity", v, image.phases, target.phase, axis, periodic=periodic)
                         for axis in range(3)]
                        for v in labels
                    ])  # fmt: skip
                    tau = fractions / np.where(d > 0, d, np.nan)
                    row[f"{where or 'd_'}{kind}"] = " ".join(f"{value:.3g}" for value in d.mean(axis=0))
                    row[f"tau_{where}{kind}"] = " ".join(f"{value:.3g}" for value in tau.mean(axis=0))
        rows.append(row)
    return rows


def free_numbers(volumes: Sequence[Microstructure], image: Microstructure) -> dict[str, str]:
    """What no sampling and no target holds: means over the volumes, for each phase (contacts: for each pair).

    Euler number and clusters are those of the periodic medium. Chord lengths are compared with the micrograph's by how
    much they differ on average, the shortest beside the shortest and the longest beside the longest; triple points and
    contacts by their ratio.
    """
    phases, r_max = image.phases, min(*image.shape, *volumes[0].shape) - 2

    def chords(phase: np.ndarray) -> np.ndarray:
        each = [chord_length_distribution(phase, axis=axis, r_max=r_max) for axis in range(phase.ndim)]
        return np.cumsum(np.mean(each, axis=0))

    def contacts(labels: np.ndarray, periodic: bool) -> np.ndarray:
        areas = interface_areas(one_hot(jnp.asarray(labels), phases), periodic=periodic)
        return np.asarray(areas)[np.triu_indices(phases, 1)]

    off = np.array([
        [np.abs(chords(v.labels == p) - chords(image.labels == p)).sum() for p in range(phases)] for v in volumes
    ])  # fmt: skip
    euler, clusters = (
        np.array([[1000 * count(v.labels == p) / v.labels.size for p in range(phases)] for v in volumes])
        for count in (
            lambda phase: float(euler_characteristic(phase, periodic=True)),
            lambda phase: label_clusters(phase, periodic=True).max(),
        )
    )
    found = {
        "euler": euler,
        "clusters": clusters,
        "chords": off,
        "contacts": [contacts(v.labels, v.periodic) / contacts(image.labels, False) for v in volumes],
    }
    if phases > 2:
        found["triple"] = [[triple_points(v.labels) / triple_points(image.labels)] for v in volumes]
    return {name: " ".join(f"{value:.3g}" for value in np.mean(each, axis=0)) for name, each in found.items()}


def triple_points(labels: np.ndarray) -> float:
    """Share of the squares of 2 x 2 neighbours, in planes along all axes, that show three phases or more."""
    shares = []
    for a, b in itertools.combinations(range(labels.ndim), 2):
        plane = np.moveaxis(labels, (a, b), (-2, -1))
        rows = plane[..., :-1, :], plane[..., 1:, :]
        corners = np.stack([row[..., cut] for row in rows for cut in (slice(None, -1), slice(1, None))])
        corners.sort(axis=0)
        shares.append(np.mean(np.sum(corners[1:] != corners[:-1], axis=0) >= 2))
    return float(np.mean(shares))


def _pm(values: np.ndarray) -> str:
    return f"{values.mean():.4g}" + (f" ± {values.std(ddof=1):.2g}" if values.size > 1 else "")


def _record(folder: Path, number: int) -> Path:
    return folder / f"design_{number:03d}.json"


def _seconds(folder: Path) -> float:
    """Median wall time of the designs; the first of a run includes compilation."""
    return float(np.median([json.loads(path.read_text())["seconds"] for path in folder.glob("design_*.json")]))


def _read(folder: Path, number: int) -> Design:
    data = json.loads(_record(folder, number).read_text())
    volumes = [read(folder / f"{kind}_{number:03d}.npz") for kind in ("volume", "reconstruction")]
    targets = tuple(pipeline.Target(**target) for target in data["targets"])
    return Design(*volumes, targets, tuple(data["before"]), tuple(data["achieved"]), data["rounds"])


if __name__ == "__main__":
    main()
