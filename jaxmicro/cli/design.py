"""`jaxmicro design`: volumes that meet targets."""

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.evaluate import summary, write_report
from jaxmicro.cli.inputs import checked_options, three_edges
from jaxmicro.cli.options import Design
from jaxmicro.cli.reconstruct import find_reference, sampling_of
from jaxmicro.cli.resume import drop_damaged_arrays, is_made, is_recorded
from jaxmicro.cli.run_folder import RunFolder, open_run_folder
from jaxmicro.errors import UserError
from jaxmicro.guidance import CURVES, DistillationConfig, Target, Wish, exact_of_planes
from jaxmicro.io import files, read, write
from jaxmicro.pipeline import Prior
from jaxmicro.types import Microstructure

UNTARGETED = "unfinished"  # folder of the volume without targets, while a design is made of it


def run(options: Design) -> None:
    """Design the volumes and write the run folder."""
    console = Console(quiet=options.quiet)
    if not options.formats:
        raise UserError("--formats names no file format; give at least one of tif, vti, npz, zarr")
    if len(set(options.names)) != len(options.names):
        raise UserError(f"--names {' '.join(options.names)}: two phases have the same name")
    if any(name.isdecimal() for name in options.names):
        raise UserError(f"--names {' '.join(options.names)}: a number is the label of a phase, not its name; use words")
    prior = pipeline.load_prior(options.source)
    if options.names and len(options.names) != prior.config.phases:
        raise UserError(f"--names has {len(options.names)} names; the prior has {prior.config.phases} phases")
    reference = find_reference(options.source, prior, options.reference)
    shape, sampling = three_edges(options.size), sampling_of(options, prior)
    with checked_options():
        distillation = DistillationConfig(
            **{name: value for name, value in {
                "steps": options.sds_steps, "learning_rate": options.sds_rate, "weight": options.sds_weight,
            }.items() if value is not None}
        )  # fmt: skip
    targets = pipeline.read_targets(  # refuses what cannot be before a folder is made
        options.target,
        prior,
        micrograph=reference,
        names=options.names,
        each_slice=options.each_slice,
        shape=shape,
        method=options.method,
        periodic=options.periodic,
        tolerance=options.tolerance / 100,
    )
    resolved = pipeline.sampling_config(prior, shape=shape, sampling=sampling)
    _warn(console, targets, reference)
    name = Path(options.source).name.removesuffix(".safetensors")
    folder = open_run_folder(
        "design", name, options, out=options.out, resume=options.resume, inputs=[pipeline.prior_path(options.source)],
        sampling=dataclasses.replace(resolved, shape=shape), distillation=distillation, prior=prior.config.to_dict(),
        targets=targets,
    )  # fmt: skip
    design_into(
        folder,
        console,
        prior,
        targets,
        count=options.volumes,
        formats=options.formats,
        names=options.names,
        shape=shape,
        seed=options.seed,
        method=options.method,
        tolerance=options.tolerance / 100,
        rounds=options.rounds,
        sampling=sampling,
        distillation=distillation,
    )
    _report(folder, console, options, reference)


def design_into(
    folder: RunFolder,
    console: Console,
    prior: Prior,
    targets: Sequence[str | Target | Wish],
    *,
    count: int,
    formats: Sequence[str],
    names: Sequence[str] = (),
    stems: tuple[str, str] = ("reconstruction", "volume"),
    shape: Sequence[int],
    **options: Any,
) -> None:
    """Make the designs that the folder does not hold yet.

    Args:
        stems: of the files of what a design starts from and of what it comes to.
        options: go to `pipeline.design`.
    """

    def paths(stem: str, number: int) -> list[Path]:
        return [folder.path / f"{stem}_{number:03d}.{ending}" for ending in formats]

    def keep(number: int, found: pipeline.Design) -> None:
        for stem, volume in zip(stems, (found.reconstruction, found.volume), strict=True):
            for path in paths(stem, number):
                write(path, volume)
        folder.write_figures({f"design_{number:03d}": figures.design(found, names)})
        record = _record(found, names)
        folder.write_sealed(f"design_{number:03d}.json", record)  # last: it says that the rest is there
        shutil.rmtree(folder.path / UNTARGETED, ignore_errors=True)
        console.remark(_line(number, record, rounds=options.get("rounds")))

    def made(number: int) -> bool:
        if not is_recorded(folder.path / f"design_{number:03d}.json", console):
            return False
        size: dict[str, Any] = {"shape": shape, "phases": prior.config.phases}
        whole = [is_made(paths(stem, number), **size, console=console) for stem in stems]
        return all(whole) and (folder.path / "figures" / f"design_{number:03d}.png").is_file()

    drop_damaged_arrays(sorted((folder.path / UNTARGETED).glob("*.npz")), console)
    pipeline.design(
        prior,
        targets,
        shape=shape,
        volumes=count,
        skip=[number for number in range(count) if made(number)],
        on_design=keep,
        keep=folder.path / UNTARGETED,
        progress=console.progress,
        **options,
    )


def _report(folder: RunFolder, console: Console, options: Design, reference) -> None:
    """The table of all designs, and the comparison of the designed volumes with the micrograph."""
    records = [files.unsealed(folder.path / f"design_{n:03d}.json") for n in range(options.volumes)]
    folder.write_json("designs.json", records)
    if not options.quiet:
        console.result(_table(records))
    if options.no_report:
        return
    volumes = [read(folder.path / f"volume_{n:03d}.{options.formats[0]}") for n in range(options.volumes)]
    stems = [f"design_{n:03d}" for n in range(options.volumes)]
    pictures = {stem: folder.file(f"figures/{stem}.png").read_bytes() for stem in stems}
    report = write_report(folder, console, volumes, reference, title=_title(records), more=pictures)
    if report is not None and not options.quiet:
        console.result(summary(report))
    console.remark(f"{options.volumes} design{'s' * (options.volumes > 1)} in {folder.path}")


def _record(found: pipeline.Design, names: Sequence[str]) -> dict[str, Any]:
    targets = [
        {**dataclasses.asdict(target), "name": target.called(names), "before": before, "achieved": achieved,
         "met": pipeline.miss(target, achieved) <= 1, **_sections(found, target),
         "deviation": None if math.isnan(target.value) else target.deviation(achieved)}
        for target, before, achieved in zip(found.targets, found.before, found.achieved, strict=True)
    ]  # fmt: skip
    return {"targets": targets, "rounds": found.rounds, "met": found.met}


def _sections(found: pipeline.Design, target: Target) -> dict[str, Any]:
    """The range over sections, where each of them should have the number."""
    if not target.each:
        return {}
    labels = found.volume.labels
    each = [
        exact_of_planes(target.quantity, np.moveaxis(labels, axis, 0), found.volume.phases, target.phase)
        for axis in range(3)
    ]
    return {"sections": {"smallest": min(map(np.min, each)), "largest": max(map(np.max, each))}}


def _title(records: list[dict[str, Any]]) -> str:
    """What was asked for and what the volumes have on average."""
    parts = []
    for number, target in enumerate(records[0]["targets"]):
        each = [record["targets"][number] for record in records]
        achieved = sum(_from_json(one["achieved"]) for one in each) / len(each)
        # NaN is null in JSON; a change is one of what each volume had
        wanted = None if target["value"] is None else sum(one["value"] for one in each) / len(each)
        asked = (
            "" if wanted is None else f" (wanted {'' if target['relation'] == '=' else target['relation']}{wanted:.4g})"
        )
        parts.append(f"{target['name']} {achieved:.4g}{asked}")
    return "Designed: " + ", ".join(parts)


def _line(number: int, record: dict[str, Any], *, rounds: int | None = None) -> str:
    reached = []
    for target in record["targets"]:
        text = f"{target['name']} {target['achieved']:.4g}" + " % off" * (target["quantity"] in CURVES)
        if target["each"]:
            text += " (sections {smallest:.4g} to {largest:.4g})".format(**target["sections"])
        reached.append(text)
    done, state = record["rounds"], "all targets met"
    if not record["met"]:
        state = "not all targets met: the nearest round is kept" + "; more rounds may help" * (done == rounds)
    return f"volume {number + 1}: {', '.join(reached)} ({done} round{'s' * (done > 1)}, {state})"


def _table(records: list[dict[str, Any]]) -> str:
    rows = [["volume", "target", "wanted", "before", "achieved", "off [%]", "met"]]
    for number, record in enumerate(records):
        for target in record["targets"]:
            curve = target["quantity"] in CURVES
            before, achieved = (_from_json(target[when]) for when in ("before", "achieved"))
            off = achieved if curve else 100 * _from_json(target["deviation"])
            wanted = (
                "micrograph"
                if curve
                else f"{'' if target['relation'] == '=' else target['relation']}{target['value']:.4g}"
            )
            unit = " %" * curve
            numbers = [f"{before:.4g}{unit}", f"{achieved:.4g}{unit}", f"{off:.2f}"]
            rows.append([str(number), target["name"], wanted, *numbers, "yes" if target["met"] else "no"])
    return aligned(rows)


def _from_json(number: float | None) -> float:
    """What is infinite, as the tortuosity of what conducts nothing, is null in JSON."""
    return math.inf if number is None else number


def _warn(console: Console, targets: Sequence[Target | Wish], reference: Microstructure | None) -> None:
    """Says so where a target lies outside of what the prior has seen."""
    for target in targets:
        if reference is None or not isinstance(target, Target) or target.quantity != "volume_fraction":
            continue
        seen = pipeline.crop_numbers(reference, target.quantity, target.phase, edge=min(64, *reference.shape))
        if not seen.min() <= target.value <= seen.max():
            console.remark(
                f"note: {target.name}={target.value:.4g} is outside of what crops of the micrograph have "
                f"({seen.min():.3g} to {seen.max():.3g}): volumes may not look like the material"
            )
