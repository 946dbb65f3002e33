"""Diffusivity of two measured volumes and its scatter over sub-volumes: `python -m experiments.diffusivity.run`."""

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.diffusivity.config import DiffusivityConfig, smoke
from experiments.machine import describe
from experiments.materials import cubes, whole_volume
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from jaxmicro import pipeline

HERE = Path(__file__).parent
COLUMNS = {
    "material": "Material", "edge": "Edge", "count": "n", "phase": "Phase", "axis": "Axis", "phi": "phi",
    "connected": "Connect", "finite_volume": "D_eff / D_0, finite volumes", "q1": "elements",
    "tortuosity_factor": "Tortuosity factor",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("materials", nargs="*", metavar="MATERIAL", help="nmc3d, berea3d; default: both")
    parser.add_argument("--edge", type=int, nargs="*", help="edges of the sub-volumes")
    parser.add_argument("--whole", action="store_true", help="the whole volumes too: minutes")
    options = parser.parse_args(arguments)
    config = DiffusivityConfig()
    unknown = [name for name in options.materials if name not in config.materials]
    if unknown or any(edge < 2 or edge > 128 for edge in options.edge or ()):
        parser.error(f"materials are {', '.join(config.materials)}; edges are 2 to 128 voxels")
    config = dataclasses.replace(
        config,
        materials=tuple(options.materials) or config.materials,
        edges=config.edges if options.edge is None else tuple(options.edge),
        whole=options.whole,
    )
    run(config, HERE / "results.csv")
    write_table(HERE / "README.md", "table", markdown_table(read_rows(HERE / "results.csv"), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same on two tiny cubes; returns the rows."""
    run(smoke(), out / "results.csv")
    return read_rows(out / "results.csv")


def run(config: DiffusivityConfig, results: Path) -> None:
    """Rows for each material, edge, phase and axis: mean and standard deviation over the cubes."""
    for material in config.materials:
        volume = whole_volume(material)
        for edge in config.edges:
            found = [pipeline.transport(cube, tensor=False) for cube in cubes(volume, edge, config.most)]
            replace_rows(results, list(rows(material, str(edge), found)), key=["material", "edge", "phase", "axis"])
            print(f"{material}: {len(found)} cubes of {edge}^3", flush=True)
        if config.whole:
            found = [pipeline.transport(volume, tensor=False)]
            replace_rows(results, list(rows(material, "whole", found)), key=["material", "edge", "phase", "axis"])


def rows(material: str, edge: str, found: list[list[dict]]) -> Iterator[dict]:
    """One row per phase and axis; a cube that the phase does not connect counts with a diffusivity of 0."""
    for label, axis in itertools.product(range(len(found[0])), found[0][0]["axes"]):
        along = [phases[label]["axes"][axis] for phases in found]
        if not all(one["converged"] for one in along):
            raise RuntimeError(f"{material}, cubes of {edge}: a solve of phase {label} along {axis} did not converge")
        phi = [phases[label]["wiener_bounds"][1] for phases in found]
        taus = [one["tortuosity_factor"] for one in along if one["percolates"]]
        yield {
            "material": material, "edge": edge, "count": len(found), "phase": label, "axis": axis, "phi": pm(phi, 3),
            "connected": f"{sum(one['percolates'] for one in along)} of {len(found)}",
            **{scheme: pm([one[scheme] for one in along], 4) for scheme in ("finite_volume", "q1")},
            "tortuosity_factor": pm(taus, 2) if taus else "inf",
            **describe(),
        }  # fmt: skip


def pm(values: list[float], digits: int) -> str:
    """Mean, and with several values the standard deviation."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
