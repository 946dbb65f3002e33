"""Which sampling is best at a fixed cost: `python -m experiments.sampling.run [VARIANT...]`.

Volumes that are there are not made again; the table shows the variants that are finished.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from experiments.machine import describe
from experiments.materials import micrograph
from experiments.priors import find_prior, untrained_prior
from experiments.sampling.config import SamplingStudyConfig, smoke, variants
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from experiments.volumes import make_volumes, seconds_per_volume
from jaxmicro import evaluate
from jaxmicro.pipeline import Prior
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure

HERE = Path(__file__).parent
COLUMNS = {
    "variant": "Variant", "cost": "Cost", "seconds": "s / volume", "score": "Mean error (%)", "s2": "S2 (%)",
    "lineal_path": "Lineal path (%)", "area": "Surface area (%)", "shape": "S2 shape error", "volumes": "n",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the variants asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="; ".join(variants()))
    parser.add_argument("--material", choices=SamplingStudyConfig().materials, help="default: both")
    options = parser.parse_args(arguments)
    config = SamplingStudyConfig()
    config = dataclasses.replace(
        config,
        names=tuple(options.variants) or config.names,
        materials=(options.material,) if options.material else config.materials,
    )
    run(config, variants(), find_prior=lambda name, image: find_prior(name), results=HERE / "results.csv")
    write_table(HERE / "README.md", "table", markdown_table(table_rows(read_rows(HERE / "results.csv")), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same in seconds, with a tiny untrained network and two steps; returns the rows of the table."""
    tiny = {name: dataclasses.replace(sampling, steps=2) for name, sampling in variants().items()}
    results = out / "results.csv"
    run(smoke(out), tiny, find_prior=lambda name, image: untrained_prior(image), results=results)
    return table_rows(read_rows(results))


def run(
    config: SamplingStudyConfig,
    samplings: dict[str, SamplingConfig],
    *,
    find_prior: Callable[[str, Microstructure], Prior],
    results: Path,
) -> None:
    """One row per variant and material: errors of single volumes, mean over phases and volumes."""
    for name in config.names:
        for material in config.materials:
            image, sampling = micrograph(material), samplings[name]
            folder = config.out / material / name.replace(" ", "_").replace(",", "").replace(":", "")
            made = make_volumes(
                find_prior(material, image), folder, shape=config.shape, seed=config.seed, sampling=sampling,
                count=config.base_volumes if name == "base" else config.volumes,
            )  # fmt: skip
            single = [errors(volume, image, config.r_max) for volume in made]
            row = {"variant": name, "material": material, "volumes": len(made), "cost": cost(sampling)}
            for measure in single[0]:
                values = [one[measure] for one in single]
                row[measure] = float(np.mean(values))
                row[f"{measure}_std"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
            row |= {"seconds_per_volume": seconds_per_volume(folder)} | describe()
            replace_rows(results, [row], key=["variant", "material"])


def cost(sampling: SamplingConfig) -> int:
    """Evaluations of all the planes of one axis, for a volume."""
    return sampling.evaluations * (3 if sampling.mode == "average" else 1)


def errors(volume: Microstructure, image: Microstructure, r_max: int) -> dict[str, float]:
    """Errors of one volume, mean over the phases; percent but for the shape error."""
    phases = evaluate.compare([volume], image, r_max=r_max, patches=0)["phases"]
    measures = {
        "s2": np.mean([p["two_point"]["error_rate"] for p in phases]),
        "lineal_path": np.mean([p["lineal_path"]["error_rate"] for p in phases]),
        "area": np.mean([p["surface_area"]["error_percent"] for p in phases]),
    }
    measures["score"] = np.mean(list(measures.values()))
    measures["shape"] = np.mean([p["two_point"]["shape_error"] for p in phases])
    return {name: float(value) for name, value in measures.items()}


def table_rows(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """One row per variant, means over the materials, best first; the base with the scatter between its volumes."""
    table = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        group = [row for row in rows if row["variant"] == name]
        line = {"variant": name, "cost": group[0]["cost"], "volumes": "+".join(row["volumes"] for row in group)}
        for measure, digits in (("score", 2), ("s2", 2), ("lineal_path", 2), ("area", 2), ("shape", 4)):
            line[measure] = f"{np.mean([float(row[measure]) for row in group]):.{digits}f}"
            scatter = [float(row[f"{measure}_std"]) for row in group if row[f"{measure}_std"]]
            if scatter:
                line[measure] += f" ± {np.mean(scatter):.{digits}f}"
        line["seconds"] = " + ".join(f"{float(row['seconds_per_volume']):.0f}" for row in group)
        table.append(line)
    return sorted(table, key=lambda line: float(line["score"].split()[0]))


if __name__ == "__main__":
    main()
