"""Results and state of an earlier run in its folder: used if intact, else set aside and computed again."""

from collections.abc import Sequence
from pathlib import Path

from jaxmicro.cli.console import Console
from jaxmicro.errors import UserError
from jaxmicro.io import files, read
from jaxmicro.pipeline import Prior, load_prior


def is_made(paths: Sequence[Path], *, shape: Sequence[int], phases: int, console: Console) -> bool:
    """Whether all files of a volume exist, can be read, have this shape and number of phases, and agree.

    Files that do not are renamed (`files.set_aside`), with a remark.
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
    if any(volume != volumes[0] for volume in volumes):  # it is unknown which file is correct
        for path in paths:
            make_again(path, f"{path} differs from the same volume in another format", console)
        return False
    return True


def is_recorded(path: Path, console: Console) -> bool:
    """Whether a sealed record (`files.sealed`) exists and is intact; a damaged one is renamed."""
    if not path.exists():
        return False
    try:
        files.unsealed(path)
    except UserError as error:
        make_again(path, str(error), console)
        return False
    return True


def finished_prior(path: Path, console: Console) -> Prior | None:
    """The prior that a finished training wrote; None if its file does not exist or cannot be read."""
    if not path.exists():
        return None
    try:
        return load_prior(path)
    except UserError as error:
        make_again(path, str(error), console)
        return None


def drop_damaged_arrays(paths: Sequence[Path], console: Console) -> None:
    """Rename damaged or truncated state files, so that their computation starts again."""
    for path in paths:
        if files.is_damaged(path):
            make_again(path, f"{path} is cut off or damaged", console)


def make_again(path: Path, problem: str, console: Console) -> None:
    """Rename a damaged file to NAME.damaged, with a remark that states the problem."""
    aside = files.set_aside(path)
    console.remark(f"note: {problem}; it is now {aside.name} and is made again")
