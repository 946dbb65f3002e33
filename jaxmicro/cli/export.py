"""`jaxmicro export`: the same data in another format."""

from jaxmicro import pipeline
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import read_image, volume_or_slices
from jaxmicro.cli.options import Export
from jaxmicro.errors import UserError
from jaxmicro.io import write
from jaxmicro.io.formats import WRITERS, ending


def run(options: Export) -> None:
    """Read, convert, write."""
    console, target = Console(quiet=options.quiet), options.target
    if target.exists() and not options.overwrite:
        raise UserError(f"{target} exists already; choose another name or add --overwrite")
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent} to write {target.name} to; make it first")
    suffix = ending(target)
    if suffix == ".safetensors":
        pipeline.save_prior(target, pipeline.load_prior(options.source))
    elif suffix in WRITERS:
        structure = read_image(volume_or_slices(options.source), options, console, resample=options.resample)
        write(target, structure, phase=options.phase)
    else:
        endings = ", ".join((*WRITERS, ".safetensors"))
        raise UserError(f"unknown ending {target.suffix!r} of {target}; expected one of {endings}")
    console.remark(f"wrote {target}")
