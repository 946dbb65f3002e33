"""What `generate` prints: asked against measured, what was changed, and the process that would make the samples."""

from typing import Any

import numpy as np

from jaxmicro.cli.console import aligned
from jaxmicro.units import with_unit


def file_name(number: int, count: int) -> str:
    """Name of a sample's files, with as many digits as the largest number of `count` samples needs, at least three."""
    return f"volume_{number:0{max(3, len(str(count - 1)))}d}"


def table(record: dict[str, Any]) -> str:
    """The printed tables: asked against measured, and the process that would make the samples."""
    rows = [["feature", "asked", "measured (mean)", "spread", "mean absolute error", "not connected"]]
    for name, of in record["summary"].items():
        numbers = [of[key] for key in ("asked", "mean", "standard_deviation", "mean_absolute_error")]
        rows.append(
            [
                with_unit(name, of["unit"]),
                *("-" if n is None else f"{n:.4g}" for n in numbers),
                str(of["not_connected"] or "-"),
            ]
        )
    count = f"{record['count']} sample{'s' * (record['count'] != 1)}"
    lines = [f"{count}, measured by the code that measures collections", aligned(rows)]
    lines += [*_exact_lines(record), *(f"note: {note}" for note in record["notes"])]
    lines += _training_lines(record["training"], record["not_compared"])
    if record["not_measured"]:
        lines.append(f"asked, but not measured here: {', '.join(record['not_measured'])}")
    if record["process"]:
        quantiles = next(iter(record["process"].values()))["quantiles"]
        rows = [["process parameter", "asked", *(f"{float(quantile):.0%}" for quantile in quantiles)]]
        for name, of in record["process"].items():
            asked = "-" if of["asked"] is None else f"{of['asked']:.4g}"
            rows.append([with_unit(name, of["unit"]), asked, *(f"{value:.4g}" for value in of["quantiles"].values())])
        lines += ["", "distribution of the process that would make them, as quantiles over all samples", aligned(rows)]
    return "\n".join(lines)


def _exact_lines(record: dict[str, Any]) -> list[str]:
    """What was changed to meet targets exactly, what was left, and what was missed."""
    exact = record["exact"]
    if exact is None:
        return []
    share, met = np.mean(exact["voxels_changed"]), [name for name in exact["targets"] if not exact["missed"][name]]
    lines = [
        f"made exact: {', '.join(met) or 'nothing'}; {share:.2%} of the voxels changed, interface area by "
        f"{np.mean(exact['surface_area_change']):+.1%}, S2 by at most {np.max(exact['two_point_change']):.3f}"
    ]
    if exact["left_as_sampled"]:
        lines.append(f"left as sampled: {', '.join(exact['left_as_sampled'])}")
    return lines + [f"not met: {text}" for text in missed_lines(record)]


def missed_lines(record: dict[str, Any]) -> list[str]:
    """The targets that were to be made exact and are not, each with the values and names of the samples."""
    missed = {} if record["exact"] is None else record["exact"]["missed"]
    lines = []
    for name, numbers in missed.items():
        if numbers:
            values = ", ".join(f"{record['samples'][name][i]:.4g} in {file_name(i, record['count'])}" for i in numbers)
            lines.append(f"{name}={record['targets'][name]:.4g}: {values}")
    return lines


def _training_lines(training: dict[str, Any] | None, not_compared: str | None) -> list[str]:
    """Copies and diversity in two lines."""
    if training is None:
        return [f"not compared with the training samples: {not_compared}"]
    copies, (ours, theirs) = training["copies"], (training["diversity"][of] for of in ("generated", "held_out"))
    limit = "unknown" if copies["limit"] is None else f"{copies['limit']:.2f}"
    lines = [
        f"distance to the nearest training sample (0: a copy): {np.min(copies['generated']):.2f} to "
        f"{np.max(copies['generated']):.2f}, of held-out samples {np.min(copies['held_out']):.2f} to "
        f"{np.max(copies['held_out']):.2f}; {copies['copied']} below the limit of copies, {limit}"
    ]
    pairs = [of["pair_distance"] for of in (ours, theirs)]
    if None not in pairs:
        lines.append(f"distance of pairs: {pairs[0]:.2f}, of similar held-out samples {pairs[1]:.2f}")
    return lines
