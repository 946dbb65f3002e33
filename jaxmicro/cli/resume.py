"""Results and state of an earlier run in its folder: used if intact, else set aside and computed again."""

from collections.abc import Sequence
from pathlib import Path

from jaxmicro.cli.console import Console
from jaxmicro.errors import UserError
from jaxmicro.io import files, read
from jaxmicro.pipeline import Prior, load_prior


def is_made(paths: Sequence[Path], *, shape: Sequence[int], phases: int, console: Console) -> bool:
    """Whether a volume is there in all its files, readable, of this size, and the same in each of them.

    What is damaged is set aside, with a remark.
    """
    volumes = []
    for path in (path for path in paths if path.exists()):
        try:
            volume = read(path)
            if (volume.shape, volume.phases) != (tuple(shape), phases):
                raise UserError(f"{path} is not the volume that was written")
        except UserError as error:
            make_again(path, str(error), console)
        else:
            volumes.append(volume)
    if len(volumes) < len(paths):
        return False
    if any(volume != volumes[0] for volume in volumes):  # which of them is right is unknown
        for path in paths:
            make_again(path, f"{path} differs from the same volume in another format", console)
        return False
    return True


def is_recorded(path: Path, console: Console) -> bool:
    """Whether a sealed record is there as it was written."""
    if not path.exists():
        return False
    try:
        files.unsealed(path)
    except UserError as error:
        make_again(path, str(error), console)
        return False
    return True


def finished_prior(path: Path, console: Console) -> Prior | None:
    """The prior that a training has written; None if there is none that can be read."""
    if not path.exists():
        return None
    try:
        return load_prior(path)
    except UserError as error:
        make_again(path, str(error), console)
        return None


def drop_damaged_arrays(paths: Sequence[Path], console: Console) -> None:
    """Sets damaged or incomplete state files aside; that work begins anew."""
    for path in paths:
        if files.is_damaged(path):
            make_again(path, f"{path} is cut off or damaged", console)


def make_again(path: Path, problem: str, console: Console) -> None:
    """Puts a damaged file out of the way and says so."""
    aside = files.set_aside(path)
    console.remark(f"note: {problem}; it is now {aside.name} and is made again")
