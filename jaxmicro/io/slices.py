"""Volumes stored as images of their slices: a folder, or a pattern such as slices/*.png, in natural order."""

import glob
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from jaxmicro.errors import UserError
from jaxmicro.io.volumes import is_zarr

_IMAGES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def slice_files(path: Path) -> list[Path]:
    """The images in a folder or of a pattern in natural order (2 before 10); empty for a file or a Zarr folder.

    Raises:
        UserError: there are no images, or images of several formats, or the folder is a run folder.
    """
    if path.is_file() or is_zarr(path):
        return []
    if path.is_dir():
        if (path / "config.json").is_file():
            raise UserError(f"{path} is a run folder; name the volume in it, such as {path / 'volume_000.tif'}")
        files = [
            child for child in path.iterdir() if child.suffix.lower() in _IMAGES and not child.name.startswith(".")
        ]
        if not files:
            raise UserError(f"{path} is a folder without images; give a file, a Zarr array, or a folder of slices")
    elif glob.has_magic(str(path)):
        files = [Path(name) for name in glob.glob(str(path))]
        if not files:
            raise UserError(f"{path} matches no file; check the pattern")
    else:
        return []
    endings = sorted({file.suffix.lower() for file in files})
    if len(endings) > 1:
        raise UserError(f"{path} holds files {', '.join(endings)}; give one kind as a pattern, such as '*{endings[0]}'")
    return sorted(files, key=natural)


def in_order(files: Sequence[str | Path]) -> list[int]:
    """Indices that sort files by the numbers in their names if they are in alphabetical order, as a shell lists them;
    files in any other order stay as given.

    >>> in_order(["s_1.png", "s_10.png", "s_2.png"])
    [0, 2, 1]
    >>> in_order(["s_10.png", "s_2.png", "s_1.png"])
    [0, 1, 2]
    """
    names = [str(file) for file in files]
    places = range(len(names))
    return sorted(places, key=lambda i: natural(Path(names[i]))) if names == sorted(names) else list(places)


def uneven(files: Sequence[str | Path]) -> str | None:
    """Remark on slices whose numbers are not evenly spaced, as when a file is missing; None if they are, or if their
    names do not differ in exactly one number.

    >>> uneven(["s_0.png", "s_1.png", "s_3.png"]).split(":")[0]
    'the numbers of the slices go from s_1.png to s_3.png where others differ by 1'
    >>> uneven(["s_0.png", "s_2.png", "s_4.png"])
    >>> uneven(["s_1.png", "s_3.png", "s_2.png"]).split(",")[0]
    'the slices are not in the order of their numbers'
    """
    names = [re.split(r"(\d+)", Path(file).name) for file in files]  # texts and numbers alternately
    if len({len(name) for name in names}) > 1:
        return None
    differing = [place for place, words in enumerate(zip(*names, strict=True)) if len(set(words)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return None
    steps = [int(after[differing[0]]) - int(before[differing[0]]) for before, after in itertools.pairwise(names)]
    if min(steps) < 0 < max(steps):
        return "the slices are not in the order of their numbers, and are read as they were given"
    usual = max(sorted(set(steps)), key=steps.count)
    irregular = [f"{Path(files[i]).name} to {Path(files[i + 1]).name}" for i, step in enumerate(steps) if step != usual]
    if not irregular:
        return None
    gaps = ", ".join(irregular[:3] + ["..."] * (len(irregular) > 3))
    return (
        f"the numbers of the slices go from {gaps} where others differ by {usual}: slices may be missing, and are "
        "read as if they were not"
    )


def natural(path: Path) -> list[tuple[int, int | str]]:
    """Key that sorts names by the numbers in them: 2 before 10."""
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", path.name) if part]
