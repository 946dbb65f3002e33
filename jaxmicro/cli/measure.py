"""`jaxmicro measure`: descriptors and transport properties of an image, a volume, or the samples of a collection."""

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any

from jaxmicro import pipeline
from jaxmicro.cli import figures
from jaxmicro.cli.collection import (
    collection_table,
    measured_collection,
    names_collection,
    no_collection,
    remark_on_tables,
)
from jaxmicro.cli.console import Console, aligned
from jaxmicro.cli.inputs import files_of, grey_levels, read_several
from jaxmicro.cli.options import Measure
from jaxmicro.cli.run_folder import open_run_folder, to_json
from jaxmicro.errors import UserError
from jaxmicro.io.vtk import write_fields
from jaxmicro.pipeline import TransportField
from jaxmicro.types import Microstructure

SCHEMA = "jaxmicro.measure_images/1"  # of the numbers of several images, each as `pipeline.measure` returns them
LARGE = 2**23  # voxels from which on the memory that diffusivities need is stated
BYTES_PER_VOXEL = 300  # of the solves, in double precision: measured at 256^3, where the tensor takes 5 GB


def run(options: Measure) -> None:
    """Read the files, measure them and print the result.

    Raises:
        UserError: a file cannot be read, or an option does not apply to it.
    """
    console = Console(quiet=options.quiet)
    of_collection = names_collection(options)
    if not of_collection:
        path = next(iter(options.file))
        if options.features or options.replace:
            raise no_collection(path, "--features and --replace are")
        if options.out is not None and options.out.suffix == ".zarr":
            raise no_collection(path, f"--out {options.out} is")
        remark_on_tables(options.file, console)
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print must not mix with the result
        numbers = (measured_collection if of_collection else _measured)(options, console)
    show = collection_table if of_collection else table_of_several if "images" in numbers else table
    console.result(to_json(numbers) if options.json else show(numbers))


def _measured(options: Measure, console: Console) -> dict[str, Any]:
    structures = read_several(options.file, options, console)
    if len(structures) > 1:
        return _several(options, structures, console)
    structure, path = next(iter(structures)), next(iter(options.file))
    name = str(path)
    solves = options.diffusivity == "always" or (options.diffusivity == "volumes" and structure.labels.ndim == 3)
    if solves and structure.labels.size >= LARGE:
        gigabytes = BYTES_PER_VOXEL * structure.labels.size / 1e9
        size = structure.labels.size
        console.remark(f"diffusivities of {size} voxels: about {gigabytes:.0f} GB of memory, and minutes")
    settings: dict[str, Any] = {"r_max": options.r_max, "diffusivity": solves, "progress": console.progress}
    if options.out is None:
        return {"file": name, **pipeline.measure(structure, **settings)}
    pipeline.check_r_max(structure, options.r_max)  # before a folder is made
    input_files = files_of(options.file)
    folder = open_run_folder("measure", path.stem, options, out=options.out, resume=options.resume, inputs=input_files)
    fields: dict[int, dict[str, Any]] = {}  # concentrations, by label of the phase and name of the axis
    voxel_size, unit = structure.voxel_size, structure.unit

    def keep(field: TransportField) -> None:
        fields.setdefault(field.label, {})[field.axis] = field.concentration
        path = folder.file(f"fields/phase{field.label}_{field.axis}.vti")
        grids = {"concentration": field.concentration, "flux_over_D0": field.flux / (voxel_size or 1.0)}
        write_fields(path, field.concentration.shape, grids, voxel_size=voxel_size, unit=unit)

    grey = grey_levels(options.file, options) if structure.thresholds else None
    numbers = {"file": name, **pipeline.measure(structure, on_field=keep, **settings)}
    folder.write_json("measure.json", numbers)
    folder.write_figures(figures.of_input(structure, grey))
    folder.write_figures(
        {f"concentration_phase{label}": figures.concentration(structure, label, of) for label, of in fields.items()}
    )
    console.remark(f"written to {folder.path}")
    return numbers


def _several(options: Measure, structures: Sequence[Microstructure], console: Console) -> dict[str, Any]:
    """Measurements of each of several images, and their pooled values."""
    if options.out is not None:
        raise UserError("--out is for one image or volume; leave it out, or measure the files one by one")
    if len({structure.labels.ndim for structure in structures}) > 1:
        raise UserError("some of the files are images and some are volumes; measure them one by one")
    r_max = min(pipeline.check_r_max(structure, options.r_max) for structure in structures)
    volumes = options.diffusivity == "volumes" and structures[0].labels.ndim == 3
    measured = [
        {
            "file": structure.source,
            **pipeline.measure(
                structure,
                r_max=r_max,
                diffusivity=volumes or options.diffusivity == "always",
                progress=console.progress,
            ),
        }
        for structure in structures
    ]
    numbers = {"schema": SCHEMA, **pipeline.pooled_numbers(measured)}
    if numbers["remarks"]:
        console.remark(
            f"note: {'; '.join(numbers['remarks'])}. Are these images of one material, segmented alike? If not, "
            "measure them one by one: numbers of all of them together are of neither"
        )
    return numbers


def table_of_several(numbers: dict[str, Any]) -> str:
    """Table with a row for each phase and image, and one for each phase of all images together."""
    first = numbers["images"][0]
    unit = first["unit"] or "unit"
    per = "surface per volume" if len(first["shape"]) == 3 else "boundary per area"
    axes = list(first["phases"][0]["mean_chord_length"])
    header = [
        "phase",
        "image",
        "volume fraction",
        f"{per} [1/{unit}]",
        *(f"mean chord {axis} [{unit}]" for axis in axes),
    ]
    rows = [header]
    for label, together in enumerate(numbers["pooled"]):
        found = [(image["file"], image["phases"][label]) for image in numbers["images"]]
        for name, phase in [*found, ("all", together)]:
            chords = [f"{phase['mean_chord_length'][axis]:.4g}" for axis in axes]
            fraction = f"{phase['volume_fraction']:.4f}"
            if phase is together:
                fraction += f" +- {phase['volume_fraction_error']:.4f}"
            rows.append([str(label), name, fraction, f"{phase['specific_surface_area']:.4g}", *chords])
    kind = "that differ in their phases (see the note)" if numbers["remarks"] else "of one material"
    title = (
        f"{len(numbers['images'])} images {kind}; all: their mean by size, with its standard error (mean "
        "chords: all of the length over all chords)"
    )
    return "\n".join([title, aligned(rows)])


def table(numbers: dict[str, Any]) -> str:
    """The printed tables of one measurement.

    Areas per volume are by Crofton's formula, which does not count the steps of the voxels as surface. They are also
    given per voxel, a unit in which targets of a design may be written.
    """
    unit = numbers["unit"] or "unit"
    size = " x ".join(map(str, numbers["shape"]))
    voxel = (
        f", voxel {numbers['voxel_size']:g} {numbers['unit'] or '(no unit stated)'}" if numbers["voxel_size"] else ""
    )
    lines = [f"{numbers['file']}: {size} voxels{voxel}"]
    if numbers["thresholds"]:
        lines.append(f"grey levels between the phases: {', '.join(f'{t:g}' for t in numbers['thresholds'])}")
    per = "surface per volume" if len(numbers["shape"]) == 3 else "boundary per area"
    header = [
        "phase",
        "value",
        "volume fraction",
        f"{per} [1/{unit}]",
        *([f"{per} [1/voxel]"] if numbers["voxel_size"] else []),
        "percolates",
        "connected",
    ]
    lines.append(aligned([header, *(_row(phase, numbers["voxel_size"]) for phase in numbers["phases"])]))
    bias = "spheres within 1 %, planes along the grid 7 % low"
    if len(numbers["shape"]) == 2:
        bias = "circles within 1 %, straight edges along the grid 5 % low"
    lines.append(f"{per}: Crofton's formula ({bias}); what each number is: docs/numbers.md, --json")
    lines += ["", "along each axis, r in voxels (all distances: --json)", _directions(numbers)]
    if "transport" in numbers["phases"][0]:
        title = (
            "diffusivity of each phase with the others blocked, relative to its own, between two opposite faces "
            "with tight sides (tortuosity: finite volumes)"
        )
        tensor = "effective tensor of the medium repeated periodically, by finite volumes; rows and columns are axes"
        if numbers["periodic"]:
            tensor += ", the diagonal is what the periodic volume has"
        lines += ["", title, _transport(numbers), "", tensor, _tensor(numbers)]
    return "\n".join(lines)


def _transport(numbers: dict[str, Any]) -> str:
    """Table of diffusivities; "at most" is Wiener's upper bound, which holds for every medium along every axis."""
    rows = [["phase", "axis", "finite volumes (lower)", "q1 elements (upper)", "at most", "tortuosity factor"]]
    for phase in numbers["phases"]:
        bound = phase["transport"]["wiener_bounds"][1]
        for axis, along in phase["transport"]["axes"].items():
            tau = f"{along['tortuosity_factor']:.3f}" if along["percolates"] else "inf (not connected)"
            values = [f"{along[name]:.4f}" for name in ("finite_volume", "q1")]
            if not along["converged"]:
                tau = "did not converge"
            rows.append([str(phase["label"]), axis, *values, f"{bound:.4f}", tau])
    return aligned(rows)


def _directions(numbers: dict[str, Any]) -> str:
    """Table of mean chords, S2 and lineal path along each axis, which differ in an anisotropic medium."""
    r_max = numbers["r_max"]
    distances = sorted({max(1, r_max // 16), max(1, r_max // 4), r_max})
    curves = {"two_point_along": "S2", "lineal_path": "lineal path"}
    titles = [f"{title}({r})" for title in curves.values() for r in distances]
    rows = [["phase", "axis", f"mean chord [{numbers['unit'] or 'unit'}]", *titles]]
    for phase in numbers["phases"]:
        for axis, chord in phase["mean_chord_length"].items():
            values = [f"{phase[name][axis][r]:z.4f}" for name in curves for r in distances]
            rows.append([str(phase["label"]), axis, f"{chord:.4g}", *values])
    return aligned(rows)


def _tensor(numbers: dict[str, Any]) -> str:
    """Table of effective tensors, with the tortuosity factor of their diagonal if the volume is periodic."""
    axes, periodic = list(numbers["phases"][0]["transport"]["axes"]), numbers["periodic"]
    rows = [["phase", "axis", *axes, *["tortuosity factor"] * periodic]]
    for phase in numbers["phases"]:
        transport = phase["transport"]
        for axis, row in zip(axes, transport["tensor_periodic"], strict=True):
            entries = [str(phase["label"]), axis, *(f"{value:.4f}" for value in row)]
            if periodic:
                tau = transport["axes"][axis]["tortuosity_factor_periodic"]
                entries.append("inf (not connected)" if math.isinf(tau) else f"{tau:.3f}")
            rows.append(entries)
    return aligned(rows)


def _row(phase: dict[str, Any], voxel_size: float | None) -> list[str]:
    return [
        str(phase["label"]),
        f"{phase['value']:g}",
        f"{phase['volume_fraction']:.4f}",
        f"{phase['specific_surface_area']:.4g}",
        *([f"{phase['specific_surface_area'] * voxel_size:.4g}"] if voxel_size else []),
        " ".join(axis for axis, yes in phase["percolates"].items() if yes) or "no",
        f"{phase['connected_fraction']:.3f}",
    ]
