"""`jaxmicro evaluate`: volumes against their micrograph."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.inputs import read_image, volume_files
from jaxmicro.cli.options import Evaluate, ImageOptions
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.evaluate import check_comparable, report_html, warnings
from jaxmicro.types import Microstructure


def run(options: Evaluate) -> None:
    """Compare and write the run folder."""
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
    )
    if report is not None and not options.quiet:
        console.result(summary(report))


def _true_volume(options: Evaluate, console: Console) -> Microstructure | None:
    """The measured volume; --voxel-size holds for it, too, where it does not state its own."""
    if options.true_volume is None:
        return None
    found = read_image(options.true_volume, ImageOptions(), console)
    if found.voxel_size is None and options.voxel_size is not None:
        return read_image(
            options.true_volume, ImageOptions(voxel_size=options.voxel_size, unit=options.unit), Console(quiet=True)
        )
    return found


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
    more: Mapping[str, bytes] | None = None,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    targets: Sequence[str] = (),
) -> dict[str, Any] | None:
    """evaluation.json, figures (and `more`) and report.html (with `tables`); without a reference pictures of the
    volumes only."""
    if reference is None:
        console.remark("no micrograph to compare with: give one with --reference for a report")
        folder.write_figures(figures.of_volumes(volumes))
        return None
    console.remark(f"comparing with {reference.source or 'the micrograph'} ...")
    report = pipeline.evaluate(volumes, reference, true_volume=true_volume, r_max=r_max, seed=seed, targets=targets)
    folder.write_json("evaluation.json", report)
    pictures = {**figures.of_volumes(volumes, reference), **figures.of_evaluation(report), **(more or {})}
    folder.write_figures({name: png for name, png in pictures.items() if name not in (more or {})})
    html = report_html(report, pictures, title=title, tables=tables, config=folder.config())
    page = folder.write("report.html", html)
    folder.log("evaluated", report=str(page))
    for warning in warnings(report):
        console.remark(f"note: {warning}")
    console.remark(f"report: {page}")
    return report


def summary(report: dict[str, Any]) -> str:
    """Error rates per phase, as a table."""
    rows = [["phase", "volume fraction", "micrograph", "S2 error [%]", "lineal path error [%]", "surface ratio"]]
    for phase in report["phases"]:
        fraction, ratio = phase["volume_fraction"], phase["surface_area"]["ratio"]
        rows.append(
            [
                str(phase["phase"]),
                f"{fraction['mean']:.4f}",
                f"{fraction['reference']:.4f}",
                f"{phase['two_point']['error_rate']:.2f}",
                f"{phase['lineal_path']['error_rate']:.2f}",
                f"{ratio:.3f}" if ratio is not None else "-",
            ]
        )
    return aligned(rows)
