"""A volume as the images of its slices: a folder, or a pattern such as slices/*.png, in natural order."""

import glob
import re
from pathlib import Path

from jaxmicro.errors import UserError
from jaxmicro.io.volumes import is_zarr

_IMAGES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def slice_files(path: Path) -> list[Path]:
    """The images in a folder or of a pattern, 2 before 10; empty for what is a file or a Zarr folder by itself.

    Raises:
        UserError: no images, images of several formats, or a run folder, whose pictures are no slices.
    """
    if path.is_file() or is_zarr(path):
        return []
    if path.is_dir():
        if (path / "config.json").is_file():
            raise UserError(f"{path} is a run folder; name the volume in it, such as {path / 'volume_000.tif'}")
        found = [
            child for child in path.iterdir() if child.suffix.lower() in _IMAGES and not child.name.startswith(".")
        ]
        if not found:
            raise UserError(f"{path} is a folder without images; give a file, a Zarr array, or a folder of slices")
    elif glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path))]
        if not found:
            raise UserError(f"{path} matches no file; check the pattern")
    else:
        return []
    endings = sorted({file.suffix.lower() for file in found})
    if len(endings) > 1:
        raise UserError(f"{path} holds files {', '.join(endings)}; give one kind as a pattern, such as '*{endings[0]}'")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", path.name) if part]
