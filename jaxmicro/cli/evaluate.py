"""`jaxmicro evaluate`: comparison of volumes with their micrograph."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.inputs import read_image, volume_files
from jaxmicro.cli.measure import BYTES_PER_VOXEL, LARGE
from jaxmicro.cli.options import Evaluate, ImageOptions
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.evaluate import (
    check_comparable,
    held_table,
    independent_table,
    report_html,
    truth_table,
    warnings,
    yardstick,
)
from jaxmicro.phases import phase_names
from jaxmicro.types import Microstructure


def run(options: Evaluate) -> None:
    """Compare and write the run folder.

    Raises:
        UserError: no volumes, or volumes that cannot be compared with the reference.
    """
    console = Console(quiet=options.quiet)
    paths = [file for path in options.volumes for file in volume_files(path)]
    if not paths:
        raise UserError("no volumes given; name volume files or a run folder of 'reconstruct'")
    volumes = [read_image(path, ImageOptions(), console) for path in paths]
    reference = read_image(options.reference, options, console)
    true_volume = _true_volume(options, console)
    check_comparable(volumes, reference, true_volume, r_max=options.r_max)  # before a folder is made
    folder = open_run_folder(
        "evaluate",
        options.volumes[0].stem,
        options,
        out=options.out,
        resume=options.resume,
        inputs=[*paths, options.reference, *([options.true_volume] if options.true_volume else [])],
    )
    report = write_report(
        folder,
        console,
        volumes,
        reference,
        title=f"{options.volumes[0].name} against {options.reference.name}",
        true_volume=true_volume,
        r_max=options.r_max,
        seed=options.seed,
        held=held_in(paths),
        diffusivity=not options.no_diffusivity,
    )
    if report is not None and not options.quiet:
        console.result(summary(report))


def _true_volume(options: Evaluate, console: Console) -> Microstructure | None:
    """The measured volume, with --voxel-size where its file states none."""
    if options.true_volume is None:
        return None
    volume = read_image(options.true_volume, ImageOptions(), console)
    if volume.voxel_size is None and options.voxel_size is not None:
        return read_image(
            options.true_volume, ImageOptions(voxel_size=options.voxel_size, unit=options.unit), Console(quiet=True)
        )
    return volume


def write_report(
    folder: RunFolder,
    console: Console,
    volumes: Sequence[Microstructure],
    reference: Microstructure | None,
    *,
    title: str,
    true_volume: Microstructure | None = None,
    r_max: int = 32,
    seed: int = 0,
    held: Sequence[str] | None = None,
    diffusivity: bool = True,
    more: Mapping[str, bytes] | None = None,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    targets: Sequence[str] = (),
    names: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Write evaluation.json, figures and report.html, and return the report; without a reference write only pictures of
    the volumes, and return None.

    Args:
        true_volume, r_max, seed, held, targets, diffusivity: as in `pipeline.evaluate`.
        more: further figures of the page, already written: content of a PNG file by name.
        tables: further tables of the page: rows of cells by heading.
        names: of the phases, for figures and column heads; empty: "phase 0", "phase 1", ...
    """
    if reference is None:
        console.remark("no micrograph to compare with: give one with --reference for a report")
        folder.write_figures(figures.of_volumes(volumes, names=names))
        return None
    console.remark(f"comparing with {reference.source or 'the micrograph'} ...")
    largest = max(volume.labels.size for volume in volumes)
    if diffusivity and largest >= LARGE:
        gigabytes = BYTES_PER_VOXEL * largest / 1e9
        console.remark(
            f"diffusivities of {largest} voxels: about {gigabytes:.0f} GB of memory, and minutes; --no-diffusivity "
            "leaves them out"
        )
    report = pipeline.evaluate(
        volumes, reference, true_volume=true_volume, r_max=r_max, seed=seed, held=held, targets=targets,
        diffusivity=diffusivity, progress=console.progress,
    )  # fmt: skip
    folder.write_json("evaluation.json", report)
    own_figures = figures.of_volumes(volumes, reference, names=names) | figures.of_evaluation(report, names=names)
    pictures = {**own_figures, **(more or {})}
    folder.write_figures({name: png for name, png in pictures.items() if name not in (more or {})})
    html = report_html(report, pictures, title=title, names=names, tables=tables, config=folder.config())
    page = folder.write("report.html", html)
    folder.log("evaluated", report=str(page))
    for warning in warnings(report):
        console.remark(f"note: {warning}")
    console.remark(f"report: {page}")
    return report


def held_in(paths: Sequence[Path]) -> tuple[str, ...] | None:
    """The constraints that all volumes have in common, from the config.json beside each; None if one has none."""
    constraints = []
    for folder in {path.parent for path in paths}:
        try:
            held = json.loads((folder / "config.json").read_text())["held"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
            return None
        constraints.append(held)
    return tuple(name for name in constraints[0] if all(name in other for other in constraints))


def summary(report: dict[str, Any], *, names: Sequence[str] = ()) -> str:
    """Tables of constrained statistics, independent statistics and the true volume, with a column for each phase; `*`
    marks a difference larger than the scatter of the micrograph."""
    phases = len(report["phases"])
    tables = [table for table in (held_table(report), independent_table(report), truth_table(report)) if table]
    width = max(len(name) for table in tables for name, _ in table.rows)
    lines = []
    for table in tables:
        rows = [["", *phase_names(phases, names)]]
        rows += [
            [name.ljust(width), *(cell.text + ("*" if cell.outside else " ") for cell in cells)]
            + [""] * (phases - len(cells))
            for name, cells in table.rows
        ]
        lines += [table.title, aligned(rows), ""]
    scatter = report["independent"]
    if scatter["crops"] > 1:
        lines.append(
            f"( ) micrograph ± what the scatter of its {scatter['crops']} crops of {scatter['window']} x "
            f"{scatter['window']} explains; * differs by more: {len(scatter['outside'])} of {scatter['compared']}"
        )
    if limits := yardstick(report):
        lines.append(f"( ) {limits}; * differs by more")
    return "\n".join(lines)
