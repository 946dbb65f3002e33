"""How often the error of a micrograph lies within what it says of itself: `python -m experiments.coverage.run`."""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.coverage.config import CoverageConfig, smoke
from experiments.coverage.media import MEDIA, images
from experiments.machine import describe
from experiments.tables import markdown_table, read_rows, replace_rows, write_table
from jaxmicro.evaluate import error_rate, representativity, shape_error
from jaxmicro.evaluate.statistics import image_statistics

HERE = Path(__file__).parent
COLUMNS = {
    "medium": "Medium", "phase": "Phase", "phi": "phi", "images": "n", "statistic": "Statistic",
    "coverage": "Within [%]", "error": "Mean error", "true_90": "90 % of errors below", "interval": "Interval, mean",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("media", nargs="*", metavar="MEDIUM", help=f"of {', '.join(MEDIA)}; default: all")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.media if name not in MEDIA]:
        parser.error(f"no medium {unknown[0]}; there are {', '.join(MEDIA)}")
    for name in options.media or MEDIA:
        began = time.monotonic()
        replace_rows(HERE / "results.csv", list(rows(name, CoverageConfig())), key=["medium", "phase", "statistic"])
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    write_table(HERE / "README.md", "table", markdown_table(read_rows(HERE / "results.csv"), COLUMNS))


def run_smoke(out: Path) -> list[dict[str, str]]:
    """The same on a few small images of two media; returns the rows."""
    for name in ("discs", "berea3d"):
        replace_rows(out / "results.csv", list(rows(name, smoke())), key=["medium", "phase", "statistic"])
    return read_rows(out / "results.csv")


def rows(name: str, config: CoverageConfig) -> Iterator[dict]:
    """One row per phase and statistic."""
    errors, intervals, fractions = [], [], []
    for stack, planes in images(name, config):
        phases = int(stack.max()) + 1
        found = [_statistics(image, phases, config.r_max) for image in stack]
        truth = _mean(found) if planes is None else _of_planes(planes, phases, config.r_max)
        errors += [_errors(one, truth) for one in found]  # image, phase, statistic
        intervals += [
            [list(part["error_90"].values()) for part in representativity(image, phases, r_max=config.r_max)]
            for image in stack
        ]
        fractions.append(truth["volume_fraction"])
    error, interval = np.array(errors), np.array(intervals)
    for p, s in np.ndindex(error.shape[1:]):
        yield {
            "medium": name, "phase": p, "phi": round(float(np.mean(fractions, axis=0)[p]), 3), "images": len(error),
            "statistic": STATISTICS[s], "coverage": round(100 * float(np.mean(error[:, p, s] <= interval[:, p, s])), 1),
            **{column: float(f"{value:.3g}") for column, value in (
                ("error", error[:, p, s].mean()), ("true_90", np.quantile(error[:, p, s], 0.9)),
                ("interval", interval[:, p, s].mean()),
            )},
            **describe(),
        }  # fmt: skip


STATISTICS = ("volume fraction", "S2 error rate [%]", "S2 shape error", "lineal path error rate [%]", "interface [%]")


def _statistics(image: np.ndarray, phases: int, r_max: int) -> dict[str, np.ndarray]:
    found = image_statistics(image, phases=phases, r_max=r_max)
    return {
        "volume_fraction": np.asarray(found.volume_fraction, float),
        "two_point": np.asarray(found.two_point[0], float),
        "lineal_path": np.asarray(found.lineal_path[0], float),
        "boundary_length": np.asarray(found.boundary_length[0], float),
    }


def _mean(found: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}


def _of_planes(planes: np.ndarray, phases: int, r_max: int) -> dict[str, np.ndarray]:
    """Means over whole planes, which all have the same size."""
    return _mean([_statistics(plane, phases, r_max) for plane in planes])


def _errors(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> np.ndarray:
    """Errors of each phase "p s" in the order of the statistics."""
    return np.array([
        (
            abs(found["volume_fraction"][p] - truth["volume_fraction"][p]),
            error_rate(found["two_point"][p], truth["two_point"][p]),
            shape_error(found["two_point"][p], truth["two_point"][p]),
            error_rate(found["lineal_path"][p], truth["lineal_path"][p]),
            100 * abs(found["boundary_length"][p] / truth["boundary_length"][p] - 1),
        )
        for p in range(len(truth["volume_fraction"]))
    ])  # fmt: skip


if __name__ == "__main__":
    main()
