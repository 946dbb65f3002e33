"""`jaxmicro export`: conversion of volumes, micrographs and weights to other formats."""

from pathlib import Path

from jaxmicro import pipeline
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import read_image, volume_files, volume_or_slices
from jaxmicro.cli.options import Export
from jaxmicro.descriptors import crofton_surface_area
from jaxmicro.errors import UserError
from jaxmicro.io import write
from jaxmicro.io.formats import READERS, WRITERS, ending
from jaxmicro.types import Microstructure


def run(options: Export) -> None:
    """Read, convert, write.

    Raises:
        UserError: the target exists, its folder does not, or its suffix is none that is written.
    """
    console, target = Console(quiet=options.quiet), options.target
    if target.exists() and not options.overwrite:
        raise UserError(f"{target} exists already; choose another name or add --overwrite")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} to write {target.name} to; make it first")
    suffix = ending(target)
    if suffix == ".safetensors":
        pipeline.save_prior(target, pipeline.load_prior(options.source))
    elif suffix in WRITERS:
        source = volume_or_slices(options.source)
        if source != options.source:
            count = len(volume_files(options.source))
            console.remark(f"{options.source} holds {count} volume{'s' * (count > 1)}: {source.name} is written")
        structure = read_image(source, options, console, resample=options.resample)
        if options.resample is not None:
            console.remark(_area_changes(source, options, structure))
        write(target, structure, phase=options.phase)
    else:
        endings = ", ".join((*WRITERS, ".safetensors"))
        known = f"{suffix} is read, but not written" if suffix in READERS else f"unknown ending {suffix!r}"
        raise UserError(f"{target}: {known}; expected one of {endings}")
    console.remark(f"wrote {target}")


def _area_changes(source: Path, options: Export, after: Microstructure) -> str:
    """Remark on how resampling changed the interface area per volume of each phase, if it is known."""
    try:
        before = read_image(source, options, Console(quiet=True))
    except UserError:  # voxels that are not cubic: Crofton's formula needs cubic ones
        return "interfaces are rounded off where they are finer than the new voxels: their area changes, too"
    changes = []
    for phase in range(after.phases):
        areas = [crofton_surface_area(m.labels == phase, voxel_size=m.voxel_size or 1.0) for m in (before, after)]
        old, new = map(float, areas)
        changes.append(f"{100 * (new / old - 1):+.1f} % of phase {phase}" if old > 0 else f"0 of phase {phase}")
    return f"interface per volume changed by {', '.join(changes)}"
