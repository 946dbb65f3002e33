"""`jaxmicro design`: volumes that meet targets.

One file: the command, and the records, tables and lines that report its result.
"""

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
from jaxmicro.errors import TargetsMissed, UserError
from jaxmicro.io import files, read, write
from jaxmicro.pipeline import (
    CURVES,
    PER_LENGTH,
    DistillationConfig,
    LengthUnit,
    Prior,
    Target,
    TargetSpec,
    exact_values_of_planes,
)
from jaxmicro.types import AXES, Microstructure

SCHEMA = "jaxmicro.designs/1"  # of designs.json; the number changes with the fields of that file
UNTARGETED = "unfinished"  # folder of the reconstruction without targets, until its design is finished


def run(options: Design) -> None:
    """Design the volumes and write the run folder.

    Raises:
        TargetsMissed: everything is written, but not all targets are met.
    """
    console = Console(quiet=options.quiet)
    prior = _checked_prior(options)
    reference = find_reference(options.source, prior, options.reference)
    shape, sampling = three_edges(options.size), sampling_of(options, prior)
    with checked_options():
        distillation = DistillationConfig(
            **{name: value for name, value in {
                "steps": options.sds_steps, "learning_rate": options.sds_rate, "weight": options.sds_weight,
            }.items() if value is not None}
        )  # fmt: skip
    targets = pipeline.read_targets(  # raises on impossible targets, before a folder is made
        options.target,
        prior,
        micrograph=reference,
        names=options.names,
        each_slice=options.each_slice,
        shape=shape,
        method=options.method,
        periodic=options.periodic,
        tolerance=options.tolerance / 100,
        release=options.release,
    )
    resolved = pipeline.sampling_config(prior, shape=shape, sampling=sampling)
    held = pipeline.constrained_in_design(prior, resolved, targets, method=options.method, release=options.release)
    _warn(console, targets, reference)
    unit = pipeline.length_unit_of(prior)
    descriptions = [unit.text(t, options.names) if isinstance(t, Target) else t.text(options.names) for t in targets]
    console.remark(f"targets: {', '.join(descriptions)}")
    name = Path(options.source).name.removesuffix(".safetensors")
    folder = open_run_folder(
        "design", name, options, out=options.out, resume=options.resume, inputs=[pipeline.prior_path(options.source)],
        sampling=dataclasses.replace(resolved, shape=shape), distillation=distillation, prior=prior.config.to_dict(),
        targets=targets, held=held,
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
        release=options.release,
        tolerance=options.tolerance / 100,
        rounds=options.rounds,
        sampling=sampling,
        distillation=distillation,
    )
    records = _report(folder, console, options, reference, held)
    if not all(record["met"] for record in records):
        raise TargetsMissed(_missed(records, options, folder))


def _checked_prior(options: Design) -> pipeline.Prior:
    """The prior; raises UserError for wrong file formats or phase names."""
    if not options.formats:
        raise UserError("--formats names no file format; give at least one of tif, vti, npz, zarr")
    if len(set(options.names)) != len(options.names):
        raise UserError(f"--names {' '.join(options.names)}: two phases have the same name")
    if any(name.isdecimal() for name in options.names):
        raise UserError(f"--names {' '.join(options.names)}: a number is the label of a phase, not its name; use words")
    prior = pipeline.load_prior(options.source)
    pipeline.check_of_planes(prior)
    if options.names and len(options.names) != prior.config.phases:
        raise UserError(f"--names has {len(options.names)} names; the prior has {prior.config.phases} phases")
    return prior


def design_into(
    folder: RunFolder,
    console: Console,
    prior: Prior,
    targets: Sequence[str | Target | TargetSpec],
    *,
    count: int,
    formats: Sequence[str],
    names: Sequence[str] = (),
    stems: tuple[str, str] = ("reconstruction", "volume"),
    shape: Sequence[int],
    **options: Any,
) -> None:
    """Make the designs that are not in the folder yet.

    Args:
        stems: of the file names of the reconstruction that a design starts from, and of the designed volume.
        options: passed to `pipeline.design`.
    """

    def paths(stem: str, number: int) -> list[Path]:
        return [folder.path / f"{stem}_{number:03d}.{ending}" for ending in formats]

    def keep(number: int, found: pipeline.Design) -> None:
        for stem, volume in zip(stems, (found.reconstruction, found.volume), strict=True):
            for path in paths(stem, number):
                write(path, volume)
        folder.write_figures({f"design_{number:03d}": figures.design(found, names)})
        finish(number, _record(found, names))  # last: its presence states that the other files are complete

    def finish(number: int, record: dict[str, Any]) -> None:
        folder.write_sealed(f"design_{number:03d}.json", record)
        shutil.rmtree(folder.path / UNTARGETED, ignore_errors=True)
        console.remark(_line(number, record))

    def fail(number: int, reason: UserError) -> None:
        nothing = {"targets": [], "effects": [], "rounds": 0, "met": False, "more_may_help": False}
        finish(number, {"failure": str(reason), **nothing})

    def is_finished(number: int) -> bool:
        path = folder.path / f"design_{number:03d}.json"
        if not is_recorded(path, console):
            return False
        if files.unsealed(path).get("failure"):
            return True
        size: dict[str, Any] = {"shape": shape, "phases": prior.config.phases}
        whole = [is_made(paths(stem, number), **size, console=console) for stem in stems]
        return all(whole) and (folder.path / "figures" / f"design_{number:03d}.png").is_file()

    drop_damaged_arrays(sorted((folder.path / UNTARGETED).glob("*.npz")), console)
    pipeline.design(
        prior,
        targets,
        shape=shape,
        volumes=count,
        skip=[number for number in range(count) if is_finished(number)],
        on_design=keep,
        on_impossible=fail,
        keep=folder.path / UNTARGETED,
        progress=console.progress,
        **options,
    )


def _report(
    folder: RunFolder, console: Console, options: Design, reference, held: Sequence[str]
) -> list[dict[str, Any]]:
    """Print the table of all designs, compare the designed volumes with the micrograph, and return the records."""
    records = [files.unsealed(folder.path / f"design_{n:03d}.json") for n in range(options.volumes)]
    folder.write_json("designs.json", {"schema": SCHEMA, "designs": records})
    finished = {number: record for number, record in enumerate(records) if not record["failure"]}
    if not finished:
        return records
    effects = _effects_table(list(finished.values()))
    if not options.quiet:
        console.result(_table(records))
        console.result(f"side effects, mean over the volumes:\n{aligned(effects)}")
    if options.no_report:
        return records
    volumes = [read(folder.path / f"volume_{n:03d}.{options.formats[0]}") for n in finished]
    stems = [f"design_{n:03d}" for n in finished]
    pictures = {stem: folder.file(f"figures/{stem}.png").read_bytes() for stem in stems}
    title = _title(list(finished.values()))
    heading = "What the design does to all phases and axes (mean over the volumes)"
    targets = next(iter(finished.values()))["targets"]
    target_names = [Target(t["quantity"], t["phase"], 0.0, t["axis"]).name for t in targets]
    report = write_report(
        folder, console, volumes, reference, title=title, more=pictures, tables={heading: effects}, held=held,
        diffusivity=not options.no_diffusivity, targets=target_names, names=options.names,
    )  # fmt: skip
    if report is not None and not options.quiet:
        console.result(summary(report, names=options.names))
    console.remark(f"{len(finished)} design{'s' * (len(finished) > 1)} in {folder.path}")
    return records


def _record(found: pipeline.Design, names: Sequence[str]) -> dict[str, Any]:
    """Targets, achieved values and side effects of a design, in the unit of the material; areas also per voxel."""
    unit = LengthUnit(found.volume.voxel_size, found.volume.unit)
    targets = []
    for target, before, achieved in zip(found.targets, found.before, found.achieved, strict=True):
        numbers = {"value": target.value, "before": before, "achieved": achieved}
        factor = unit.factor(target.quantity)
        targets.append(
            {
                **dataclasses.asdict(target),
                "name": target.name_with(names),
                "unit": unit.unit_of(target.quantity),
                **{name: factor * number for name, number in numbers.items()},
                **({"per_voxel": numbers} if target.quantity in PER_LENGTH else {}),
                "met": pipeline.residual(target, achieved) <= 1,
                **_sections(found, target),
                **_face_to_face(found, target),
                "deviation": None if math.isnan(target.value) else target.deviation(achieved),
            }
        )
    targeted = {(target.quantity, target.phase, target.axis) for target in found.targets}
    effects = [
        {
            "quantity": quantity,
            "phase": phase,
            "axis": None if axis is None else AXES[axis],
            "name": Target(quantity, phase, 0.0, axis).name_with(names),
            "unit": unit.unit_of(quantity),
            "before": before * unit.factor(quantity),
            "after": after * unit.factor(quantity),
            "target": (quantity, phase, axis) in targeted,
        }
        for quantity, phase, axis, before, after in found.effects
    ]
    done = {"rounds": found.rounds, "met": found.met, "more_may_help": found.more_may_help}
    return {"failure": None, "targets": targets, "effects": effects, **done}


def _sections(found: pipeline.Design, target: Target) -> dict[str, Any]:
    """Smallest and largest value over all sections, for a target that holds in each section."""
    if not target.each:
        return {}
    labels = found.volume.labels
    each = [
        exact_values_of_planes(target.quantity, np.moveaxis(labels, axis, 0), found.volume.phases, target.phase)
        for axis in range(3)
    ]
    return {"sections": {"smallest": min(map(np.min, each)), "largest": max(map(np.max, each))}}


def _face_to_face(found: pipeline.Design, target: Target) -> dict[str, Any]:
    """Values between two opposite faces; the target itself is a property of the periodic medium."""
    numbers = found.face_to_face(target)
    return {} if numbers is None else {"face_to_face": dict(zip(("before", "achieved"), numbers, strict=True))}


def _title(records: list[dict[str, Any]]) -> str:
    """Title of the report: the targets, and the mean values of the volumes."""
    parts = []
    for same in zip(*(record["targets"] for record in records), strict=True):
        unit, relation = same[0]["unit"], _bound(same[0])
        part = f"{same[0]['name']} {_with_unit(sum(_from_json(one['achieved']) for one in same) / len(same), unit)}"
        if same[0]["value"] is not None:  # null (NaN) for curves; a relative change has another value for each volume
            part += f" (wanted {relation}{_with_unit(sum(one['value'] for one in same) / len(same), unit)})"
        missed = sum(not one["met"] for one in same)
        if missed:
            part += f" MISSED{_of_volumes(missed, len(records))}" + " volumes" * (len(records) > 1)
        if "face_to_face" in same[0]:
            faces = [_from_json(one["face_to_face"]["achieved"]) for one in same]
            part += f"; between two faces {sum(faces) / len(faces):.4g}"
        parts.append(part)
    return "Designed: " + ", ".join(parts)


def _line(number: int, record: dict[str, Any]) -> str:
    if record["failure"]:
        return f"volume {number}: not made: {record['failure']}"
    reached = []
    for target in record["targets"]:
        text = f"{target['name']} {_with_unit(target['achieved'], target['unit'])}"
        if target["each"]:
            text += " (sections {smallest:.4g} to {largest:.4g})".format(**target["sections"])
        if "face_to_face" in target:
            text += f" ({_from_json(target['face_to_face']['achieved']):.4g} between two faces)"
        reached.append(text)
    done, state = record["rounds"], "all targets met"
    if not record["met"]:
        state = "not all targets met: the nearest round is kept" + "; more rounds may help" * record["more_may_help"]
    return f"volume {number}: {', '.join(reached)} ({done} round{'s' * (done > 1)}, {state})"


def _missed(records: list[dict[str, Any]], options: Design, folder: RunFolder) -> str:
    """Message that names the missed targets, and options that may help."""
    missed = [(number, record) for number, record in enumerate(records) if not record["met"]]
    each = []
    for number, record in missed:
        names = [target["name"] for target in record["targets"] if not target["met"]]
        each.append(f"volume {number} ({', '.join(names) or record['failure']})")
    count = f"{len(missed)} of {len(records)} volume{'s' * (len(records) > 1)} miss{'es' * (len(missed) == 1)} a target"
    remedies = []
    if any(record["more_may_help"] for _, record in missed):
        remedies.append(f"more rounds (--rounds {2 * options.rounds})")
    if options.method == "guided" and any(record["rounds"] for _, record in missed):
        if "two_point" not in options.release:
            remedies.append("giving up the two-point correlation (--release two_point)")
        if not any(target["quantity"] == "volume_fraction" for target in records[missed[0][0]]["targets"]):
            remedies.append("another volume fraction (--target ... volume_fraction.PHASE=...)")
    hint = f"; what may help is {', or '.join(remedies)}" if remedies else ""
    return f"{count}: {'; '.join(each)}; all is written to {folder.path}{hint}"


def _with_unit(number: float | None, unit: str) -> str:
    """A number of a record with its unit: 0.002/nm."""
    return f"{_from_json(number):.4g}" + (unit[1:] if unit.startswith("1/") else f" {unit}" if unit else "")


def _table(records: Sequence[dict[str, Any]]) -> str:
    rows = [["volume", "target", "wanted", "before", "achieved", "off [%]", "met"]]
    for number, record in enumerate(records):
        for target in record["targets"]:
            curve, unit = target["quantity"] in CURVES, target["unit"]
            before, achieved = (_with_unit(target[when], unit) for when in ("before", "achieved"))
            deviation = _from_json(target["achieved"] if curve else target["deviation"]) * (1 if curve else 100)
            target_text = "micrograph" if curve else _bound(target) + _with_unit(target["value"], unit)
            met = "yes" if target["met"] else "no"
            rows.append([str(number), target["name"], target_text, before, achieved, f"{deviation:.2f}", met])
            if "face_to_face" in target:  # of a periodic volume, whose target does not depend on where it is cut
                before, achieved = (_with_unit(target["face_to_face"][when], unit) for when in ("before", "achieved"))
                rows.append([str(number), "  between two faces", "", before, achieved, "", ""])
    return aligned(rows)


def _effects_table(records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows: the quantities of the targets for all phases and axes, as means over the volumes before and after, their
    change, and for those that are targets whether they are met."""
    rows = [["number", "before", "after", "change", "target"]]
    missed_in = [{target["name"] for target in record["targets"] if not target["met"]} for record in records]
    for same in zip(*(record["effects"] for record in records), strict=True):
        before, after = (sum(_from_json(one[when]) for one in same) / len(same) for when in ("before", "after"))
        unit, name, change = same[0]["unit"], same[0]["name"], "-"
        if 0 < before < math.inf and after < math.inf and same[0]["quantity"] not in CURVES:
            change = f"{100 * (after / before - 1):+.1f} %"
        stopped = sum(_conducts(one, "before") and not _conducts(one, "after") for one in same)
        if stopped:
            change += f"; conducts no more{_of_volumes(stopped, len(records))}"
        state = ""
        if same[0]["target"]:
            missed = sum(name in names for names in missed_in)
            state = f"missed{_of_volumes(missed, len(records))}" if missed else "met"
        rows.append([name, _with_unit(before, unit), _with_unit(after, unit), change, state])
    return rows


def _of_volumes(count: int, total: int) -> str:
    """The text " in COUNT of TOTAL"; empty for a single volume."""
    return f" in {count} of {total}" if total > 1 else ""


def _conducts(effect: dict[str, Any], when: str) -> bool:
    """Whether the phase conducts, by its diffusivity or tortuosity factor; True for other quantities."""
    value = _from_json(effect[when])
    if "diffusivity" in effect["quantity"]:
        return value > 0
    return math.isfinite(value) if effect["quantity"] == "tortuosity" else True


def _bound(target: dict[str, Any]) -> str:
    """The relation of an inequality, ">=" or "<="; empty for an equality."""
    return "" if target["relation"] == "=" else target["relation"]


def _from_json(number: float | None) -> float:
    """The number, or infinity for null: JSON has no infinite tortuosity factor."""
    return math.inf if number is None else number


def _warn(console: Console, targets: Sequence[Target | TargetSpec], reference: Microstructure | None) -> None:
    """Warn where a target volume fraction is outside the range of crops of the micrograph."""
    for target in targets:
        if reference is None or not isinstance(target, Target) or target.quantity != "volume_fraction":
            continue
        crop_fractions = pipeline.crop_values(reference, target.quantity, target.phase, edge=min(64, *reference.shape))
        if not crop_fractions.min() <= target.value <= crop_fractions.max():
            console.remark(
                f"note: {target.name}={target.value:.4g} is outside of what crops of the micrograph have "
                f"({crop_fractions.min():.3g} to {crop_fractions.max():.3g}): volumes may not look like the material"
            )
