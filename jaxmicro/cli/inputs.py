"""Conversion of command-line options to arguments of the library."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxmicro.cli.console import Console
from jaxmicro.cli.options import ImageOptions, share
from jaxmicro.errors import UserError
from jaxmicro.io import FileLayout, read_images, read_rasters
from jaxmicro.io.preparing import resemblance
from jaxmicro.io.slices import slice_files
from jaxmicro.io.volumes import is_zarr
from jaxmicro.types import Microstructure
from jaxmicro.units import is_length


def read_image(path: Path, options: ImageOptions, console: Console, *, resample: str | None = None) -> Microstructure:
    """The microstructure in a file, read as the options say; remarks on how it was read are printed.

    Raises:
        UserError: the file cannot be read as one image or volume of phases.
    """
    if options.stack == "images":
        raise UserError(f"{path}: --stack images is for 'train' and 'measure'; one image or volume is needed here")
    return read_several([path], options, console, resample=resample)[0]


def read_several(
    paths: Sequence[Path], options: ImageOptions, console: Console, *, resample: str | None = None
) -> tuple[Microstructure, ...]:
    """Images of one material with the same phases, or the one volume that they are slices of.

    Raises:
        UserError: no file is given, the voxel size or its unit is invalid, or the files do not have the same phases.
    """
    if not paths:
        raise UserError("Missing file: name at least one image or volume")
    if options.voxel_size is not None and options.voxel_size <= 0:
        raise UserError(f"the voxel size is {options.voxel_size}; expected a positive length")
    if options.unit is not None and not is_length(options.unit):
        raise UserError(f"--unit {options.unit}: no unit of length; expected nm, um, mm, cm, m, angstrom or inch")
    settings = {"voxel_size": options.voxel_size, "unit": options.unit, "resample": resample} | _parts(options)
    structures = read_images(paths, segment=options.segment, **settings)
    for number, structure in enumerate(structures):
        name = paths[number] if len(structures) == len(paths) else structure.source
        for remark in structure.remarks:
            console.remark(f"{name}: {remark}")
    if len(structures) > 1 and options.stack is None:
        shapes = {structure.shape for structure in structures}
        if len(shapes) == 1 and structures[0].labels.ndim == 2 and related(structures):
            console.remark("note: these images resemble each other as slices of a volume do: then add --stack volume")
    return structures


def related(images: Sequence[Microstructure]) -> bool:
    """Whether images of one size correlate as neighbouring slices of a volume do."""
    stack = np.stack([image.labels for image in images])
    return len(images) > 2 and resemblance(stack) > 0.5


def grey_levels(paths: Sequence[Path], options: ImageOptions, number: int = 0) -> np.ndarray:
    """Grey levels of image `number` before segmentation, cropped as it is read."""
    settings = _parts(options)
    return read_rasters(paths, **{key: settings[key] for key in ("ignore", "crop", "stack", "layout")})[number].array


def _parts(options: ImageOptions) -> dict[str, Any]:
    return {
        "merge_rare": 0.0 if options.merge_rare is None else _rare(options.merge_rare),
        "ignore": () if options.ignore is None else tuple(map(_value, options.ignore.split(","))),
        "crop": options.crop,
        "stack": options.stack,
        "layout": FileLayout(options.dataset, options.shape, options.dtype),
    }


def _rare(text: str) -> float:
    """The share 0.001, from "0.001" or "0.1%"."""
    try:
        value = share(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 0.5:
        raise UserError(f"--merge-rare {text}: expected a share above 0 and below one half, such as 0.001 or 0.1%")
    return value


def _value(text: str) -> float:
    """A grey level, NaN, or a colour #rrggbb as the number 0xRRGGBB."""
    try:
        return float(int(text.strip()[1:], 16)) if text.strip().startswith("#") else float(text)
    except ValueError:
        raise UserError(f"--ignore {text}: expected a number, nan or a colour #rrggbb (several with commas)") from None


def three_edges(size: tuple[int, ...]) -> tuple[int, int, int]:
    """Edges (z, y, x) in voxels, of a cube from one number or of a box from three.

    Raises:
        UserError: neither one nor three positive edges.
    """
    if len(size) not in (1, 3):
        raise UserError(f"--size takes one edge or three (z y x), in voxels; found {len(size)} numbers")
    if min(size) < 1:
        raise UserError(f"--size {' '.join(map(str, size))}: edges must be positive numbers of voxels")
    z, y, x = size * 3 if len(size) == 1 else size
    return z, y, x


@contextmanager
def checked_options() -> Iterator[None]:
    """Turns the ValueError of a config built from options into a UserError.

    Raises:
        UserError: the message of that ValueError.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from None


def listed(words: Sequence[str]) -> list[str]:
    """Names given with spaces or commas between them.

    >>> listed(["tortuosity,surface_area.1", "diffusivity"])
    ['tortuosity', 'surface_area.1', 'diffusivity']
    """
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


def read_targets(words: Sequence[str]) -> dict[str, float]:
    """Targets from NAME=VALUE, or several of these with commas between; VALUE is a number, of a share also in percent,
    or inf. Signs are those of numbers: +50% is refused, because 'design' reads it as a change.

    Raises:
        UserError: a word cannot be read, is a bound or a change, or a name occurs twice.

    >>> read_targets(["volume_fraction.0=30%", "tortuosity.1.z=2.5"])
    {'volume_fraction.0': 0.3, 'tortuosity.1.z': 2.5}
    """
    targets: dict[str, float] = {}
    for word in (part for several in words for part in re.split(r",(?=[^,]*=)", several)):
        name, equals, text = (part.strip() for part in word.partition("="))
        if "<" in word or ">" in word:
            raise UserError(f"target {word!r:.80} is a bound, and targets of 'generate' are equalities: NAME=VALUE")
        try:
            value = share(text)
        except ValueError:
            value = math.nan
        if not (name and equals) or math.isnan(value):
            raise UserError(f"target {word!r:.80} cannot be read; expected NAME=VALUE, such as volume_fraction.0=0.3")
        if text.startswith("+") or (text.startswith("-") and text.endswith("%")):
            raise UserError(
                f"target {word!r:.80} reads as a change, and targets of 'generate' are the values themselves; write "
                f"{name}=VALUE without a sign"
            )
        if name in targets:
            raise UserError(f"target {name} is given twice; leave out one")
        targets[name] = value
    return targets


VOLUME_SUFFIXES = (".tif", ".tiff", ".vti", ".npz", ".zarr")


def volume_files(source: Path) -> list[Path]:
    """The volumes of a run folder, or the file itself.

    Raises:
        UserError: the folder holds no volumes.
    """
    if not source.is_dir() or is_zarr(source):
        return [source]
    for suffix in VOLUME_SUFFIXES:
        if found := sorted(source.glob(f"volume_*{suffix}")):
            return found
    raise UserError(f"{source} holds no volumes (volume_000.tif ...); name a file or a run folder of 'reconstruct'")


def volume_or_slices(source: Path) -> Path:
    """The first volume of a run folder; a file, or a folder or pattern of slices, as it is."""
    if source.is_dir() and not is_zarr(source) and not any(source.glob("volume_*")):
        return source
    return volume_files(source)[0]


def files_of(paths: Sequence[Path]) -> list[Path]:
    """All files that are read: the slices of a folder or pattern, else the path itself."""
    return [file for path in paths for file in slice_files(path) or [path]]
