"""Reading micrographs and volumes: PNG, BMP, JPEG and TIFF here, other formats by the table in `formats`.

Grey levels are those that a viewer such as Fiji shows, with 0 black, whatever the file stores: TIFFs that store white
as 0 (WhiteIsZero) are inverted and palettes of greys applied, for every compression and suffix. Indices into a palette
of up to eight colours are labels.

One file: decoder, palette and compression together determine the grey level that is shown.
"""

import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from jaxmicro.errors import UserError
from jaxmicro.io import formats, ome_zarr, volumes
from jaxmicro.io.calibration import INCH, Calibration, density_calibration, info_text, tiff_calibration
from jaxmicro.io.files import check_promise
from jaxmicro.io.raster import FileLayout, Raster, check_size, needs, reading
from jaxmicro.io.segmentation import MAX_PHASES

_PILLOW = (".png", ".bmp", ".jpg", ".jpeg")
_TIFF = (".tif", ".tiff")
_MOST_CHANNELS = 4
_DEFLATE = 1032  # largest compression ratio of PNG
# Messages of tifffile on damage, and those on harmless values: private tags from 32768 on, and text
_DAMAGE = re.compile(
    r"corrupt|invalid page|invalid offset|circular|missing|failed to re|out of range|incorrect|expected .* got|"
    r"could not read all|incompletely|fromfile> raised|_load_virtual_frames"
)
_HARMLESS = re.compile(r"ASCII|Geo|GDAL|TiffTag (3[3-9]\d{3}|[4-9]\d{4}) ")
_WHITE_IS_ZERO = "the file stores white as 0 (WhiteIsZero) and is read as it is shown: phase 0 is black"
_PLANES_AS_COLOURS = (
    "its planes are stored as red, green and blue of one picture, as tifffile does with three or four planes unless "
    "told otherwise: if they are a stack, write it again with photometric='minisblack'"
)
NO_LAYOUT = FileLayout()


class _Pixels(NamedTuple):
    """Numbers "*grid": grey levels, or colours 0xRRGGBB; `indexed` and `indices` as in `Raster`."""

    array: np.ndarray
    colours: bool = False
    indexed: bool = False
    indices: np.ndarray | None = None


def read_raster(path: str | Path, layout: FileLayout = NO_LAYOUT) -> Raster:
    """The numbers in an image or volume file, with their calibration; not yet phases.

    Raises:
        UserError: the file is missing, damaged, not an image, coloured, empty, or not 2D or 3D.
    """
    path = Path(path)
    _check_exists(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raster = ome_zarr.read_zarr_folder(path, layout.dataset)
    elif suffix in _PILLOW:
        array, colours, indexed, indices = _read_with_pillow(path, suffix[1:].upper())
        spacing, unit, remarks = _density(path)
        raster = Raster(
            array, spacing, unit, source=path.name, size_remarks=remarks, colours=colours, indexed=indexed,
            indices=indices,
        )  # fmt: skip
    elif suffix in _TIFF:
        raster = _read_tiff(path)
    elif (name := formats.ending(path)) in formats.READERS:
        raster = formats.READERS[name](path, layout)
    else:
        known = ", ".join((*_PILLOW, *_TIFF, *formats.READERS))
        raise UserError(f"{path} is not of a known format; save it as one of {known} or .zarr")
    _check_grid(path, raster.array)
    return raster


def _check_exists(path: Path) -> None:
    try:
        if path.is_dir() and not volumes.is_zarr(path):
            raise UserError(f"{path} is a folder, not an image; give an image file or a Zarr array")
        if path.is_file() and path.suffix.lower() == ".zarr":
            raise UserError(f"{path} is a file, but a Zarr array is a folder; copy the whole folder, or unpack it")
        if path.is_file():
            with path.open("rb") as file:
                if not file.read(1):
                    raise UserError(f"{path} is empty (0 bytes); copy or export it again")
        elif not path.exists():
            raise UserError(f"{path} does not exist; check the name and the folder")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; check the name and its permissions") from error


def _check_grid(path: Path, array: np.ndarray) -> None:
    if array.size == 0:
        raise UserError(f"{path} is an empty image (shape {array.shape}); expected at least one pixel along each axis")
    if array.ndim not in (2, 3):
        raise UserError(
            f"{path} is {array.ndim}D (shape {array.shape}); expected an image (h, w) or one volume (z, y, x): "
            "save a single channel and time"
        )


def _read_with_pillow(path: Path, kind: str) -> _Pixels:
    """Grey levels, palette indices or colours "h w"."""
    with reading(path, kind), _opened(path) as image:
        if image.format == "PNG":
            _check_png_size(path, image)
            _check_png_chunks(path)
        if image.mode != "P":
            return _one_channel(path, np.asarray(image))
        colours = np.zeros((256, 3), np.uint8)
        palette = np.frombuffer(bytes(image.getpalette("RGB") or b""), np.uint8).reshape(-1, 3)
        colours[: len(palette)] = palette
        stored = np.asarray(image)
        shown = _through_palette(stored, colours)
        if shown is stored:
            return _Pixels(stored, indexed=True)
        found = _one_channel(path, shown)
        other = (palette != palette[:, :1]).any() and not found.colours  # other slices may show colours
        return found._replace(indices=stored) if other else found


@contextmanager
def _muted() -> Iterator[None]:
    """Within the context the standard error stream is suppressed: libtiff, which Pillow uses, writes to it."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image of any size up to the limit of `check_size`: Pillow's own is less than 14,000 x 14,000 pixels."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            check_size(path, (image.height, image.width), len(image.getbands()))
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_png_size(path: Path, image: Image.Image) -> None:
    bits = 1 if image.mode == "1" else 8 * len(image.getbands())  # a lower bound
    bits = 1 if image.mode == "P" else bits
    if image.width * image.height * bits / 8 > _DEFLATE * path.stat().st_size:
        raise ValueError(f"{path.stat().st_size} bytes cannot hold {image.height} x {image.width} pixels")


def _check_png_chunks(path: Path) -> None:
    """Check the lengths of chunks before decoding: Pillow allocates as much memory as a chunk declares."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(8)  # the signature
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            if file.tell() + length > size:
                raise ValueError("the file ends before its pixels do")
            file.seek(length + 4, os.SEEK_CUR)  # and the checksum


def _density(path: Path) -> Calibration:
    """Calibration from the resolution of a PNG (per metre), JPEG or BMP (per inch)."""
    with reading(path, path.suffix[1:].upper()), _opened(path) as image:
        dots = image.info.get("dpi", (0, 0))
    if len(dots) != 2 or not all(np.isfinite(float(d)) and float(d) > 0 for d in dots):
        return Calibration()
    metres = 1.0 if path.suffix.lower() == ".png" else INCH
    width, height = (INCH / metres / float(d) for d in dots)
    return density_calibration((height, width), metres, 2)


def _through_palette(indices: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Pixels of an image with a palette: its greys if all are grey, else up to eight indices, else colours "... s"."""
    used = np.unique(indices)
    shown = colours[used]
    if (shown == shown[:, :1]).all():
        return colours[indices, 0]
    return indices if used.size <= MAX_PHASES else colours[indices]


def _one_channel(path: Path, pixels: np.ndarray) -> _Pixels:
    """Pixels without their samples axis (the last of three): the grey level if the channels are equal, else the colour
    as one number 0xRRGGBB. The opacity must be constant."""
    if pixels.ndim < 3:
        return _Pixels(pixels)
    colours, opacity = (pixels[..., :-1], pixels[..., -1]) if pixels.shape[-1] in (2, 4) else (pixels, pixels[:0])
    if opacity.size and opacity.min() != opacity.max():
        raise UserError(f"{path} has transparent parts; flatten it to one grey channel")
    if (colours == colours[..., :1]).all():
        return _Pixels(np.ascontiguousarray(colours[..., 0]))
    if colours.shape[-1] != 3 or colours.dtype not in (np.uint8, np.uint16):
        raise _not_one_channel(path)
    red, green, blue = np.moveaxis(colours if colours.dtype == np.uint8 else colours >> 8, -1, 0).astype(np.uint32)
    return _Pixels(red << 16 | green << 8 | blue, colours=True)


def _equal_channels(path: Path, channels: np.ndarray) -> np.ndarray:
    if (channels != channels[..., :1]).any():
        raise _not_one_channel(path)
    return np.ascontiguousarray(channels[..., 0])


def _in_colour_planes(series: tifffile.TiffPageSeries) -> bool:
    planar = series.keyframe.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    return planar and series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB


def _not_one_channel(path: Path) -> UserError:
    return UserError(f"{path} is a colour image; save it as grey (one channel), or as labels with one value a phase")


def _read_tiff(path: Path) -> Raster:
    with reading(path, "TIFF"), _damage_is_an_error(), tifffile.TiffFile(path) as tiff:
        _check_all_bytes_present(path, tiff)
        info = info_text(tiff)
        values = volumes.values_from_text(info)
        series = list(tiff.series)
        _check_same_size(path, series)
        stacks, indices = [], None
        for part in series:
            array, axes = _stored(path, part)
            if len(series) == 1 and values is None and _has_colours(part.keyframe):
                indices = _one_stack(path, array, axes).array
            if values is None:  # else labels of phases, which an inverted display does not renumber
                array, axes = _shown(array, axes, part.keyframe, colours_only_show=bool(tiff.is_imagej))
            stacks.append(_one_stack(path, array, axes, in_planes=_in_colour_planes(part)))
        array, colours, *_ = stacks[0] if len(stacks) == 1 else _in_page_order(series, stacks)
        spacing, unit, size_remarks = tiff_calibration(tiff, array.ndim)
        inverted = any(part.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE for part in series)
    remarks = (_WHITE_IS_ZERO,) if inverted and values is None else ()
    remarks += (_PLANES_AS_COLOURS,) if colours and any(map(_in_colour_planes, series)) else ()
    periodic = volumes.periodic_from_text(info, array.shape)
    indexed = indices is not None and np.array_equal(indices, array)
    indices = None if indexed or colours else indices
    return Raster(array, spacing, unit, values, path.name, periodic, remarks, size_remarks, colours, indexed, indices)


def _has_colours(page: tifffile.TiffPage) -> bool:
    """Whether the page has a palette with colours, not only greys."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return False
    return bool((page.colormap != page.colormap[:1]).any())


def _check_same_size(path: Path, series: list[tifffile.TiffPageSeries]) -> None:
    """Check that all series have one size and type: tifffile may read the pages of a stack as a series each."""
    kinds = {(one.keyframe.shape, one.dtype) for one in series}
    if len(kinds) > 1:
        sizes = ", ".join(f"{' x '.join(map(str, shape))} {dtype}" for shape, dtype in sorted(kinds, key=str))
        raise UserError(
            f"{path} holds {len(series)} images of different sizes or types ({sizes}); save one of them, or one stack"
        )


def _in_page_order(series: list[tifffile.TiffPageSeries], stacks: list[_Pixels]) -> _Pixels:
    """One stack from several series, whose pages may alternate in the file."""
    colours = any(stack.colours for stack in stacks)
    arrays = [stack.array * np.uint32(0x010101 if colours and not stack.colours else 1) for stack in stacks]
    arrays = arrays if colours else [stack.array for stack in stacks]
    planes = np.concatenate([array.reshape(-1, *array.shape[-2:]) for array in arrays])
    pages = [-1 if page is None else int(page.index) for one in series for page in one.pages]
    if len(pages) == len(planes) and min(pages) >= 0:
        planes = planes[np.argsort(pages)]
    return _Pixels(planes, colours)


def _stored(path: Path, series: tifffile.TiffPageSeries) -> tuple[np.ndarray, str]:
    """Pixels as stored, and the letters of their axes."""
    try:
        return series.asarray(), series.axes
    except (ValueError, ImportError) as error:
        if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
            raise
    # LZW and other compressions for which tifffile needs imagecodecs
    pages = []
    try:
        with _muted(), _opened(path) as image:
            for page in series.pages:
                image.seek(page.index)  # type: ignore[union-attr]
                pages.append(np.asarray(image))
    except UnidentifiedImageError:
        needs("imagecodecs", f"its compression {tifffile.COMPRESSION(series.keyframe.compression).name}")
        raise
    array, axes = np.stack(pages), series.axes.replace("S", "")
    grid = [edge for axis, edge in zip(series.axes, series.shape, strict=True) if axis != "S"]
    array, axes = array.reshape(*grid, *array.shape[3:]), axes + "S" * (array.ndim > 3)
    bits, white = series.keyframe.bitspersample, series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if array.dtype in (bool, np.uint8) and white:  # Pillow inverts 1 and 8 bits, but not more
        array = _inverted(array, 8)
    if array.dtype == np.uint8 and bits < 8 and series.keyframe.photometric != tifffile.PHOTOMETRIC.PALETTE:
        array = array // (255 // (2**bits - 1))  # Pillow scales 2 and 4 bits to 8
    return array, axes


def _shown(array: np.ndarray, axes: str, page: tifffile.TiffPage, *, colours_only_show: bool) -> tuple[np.ndarray, str]:
    """Pixels as they are shown, with 0 black, and the letters of their axes.

    Args:
        colours_only_show: indices into a palette of colours are the data, however many: ImageJ uses it for display.
    """
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return _inverted(array, page.bitspersample), axes
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        shown = _through_palette(array, (page.colormap.T >> 8).astype(np.uint8))
        if shown.ndim == array.ndim:
            return shown, axes
        return (array, axes) if colours_only_show else (shown, axes + "S")
    return array, axes


def _inverted(array: np.ndarray, bits: int) -> np.ndarray:
    """Pixels with black and white exchanged: subtracted from 2^bits - 1, or from the largest if not unsigned."""
    if array.dtype == bool:
        return ~array
    if array.dtype.kind == "u":
        return (2**bits - 1 - array).astype(array.dtype)
    return array.max() - array.astype(np.result_type(array, np.int32))  # so that small signed integers do not overflow


def _one_stack(path: Path, array: np.ndarray, axes: str, *, in_planes: bool = False) -> _Pixels:
    """The image "h w" or volume "z y x" in a TIFF series; `in_planes`: its colours are stored as planes."""
    colours = False
    if "S" in axes and array.ndim == len(axes):
        planes = np.moveaxis(array, axes.index("S"), 0)
        if (
            in_planes and len(planes) == 4 and planes[3].min() != planes[3].max()
        ):  # the fourth is a slice, not an opacity
            raise UserError(f"{path}: {_PLANES_AS_COLOURS}")
        array, colours, *_ = _one_channel(path, np.moveaxis(array, axes.index("S"), -1))
        axes = axes.replace("S", "")
    # more than four channels are slices: tifffile's ImageJ mode labels a stack so if its axes are not named
    if "C" in axes and array.ndim == len(axes) and array.shape[axes.index("C")] <= _MOST_CHANNELS:
        array = _equal_channels(path, np.moveaxis(array, axes.index("C"), -1))
    return _Pixels(array.squeeze(tuple(axis for axis in range(array.ndim - 2) if array.shape[axis] == 1)), colours)


@contextmanager
def _damage_is_an_error() -> Iterator[None]:
    """Raise on damage that tifffile only logs, and for which it returns fewer slices, or zeros."""
    log = logging.getLogger("tifffile")
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    failure = None
    try:
        yield
    except Exception as error:  # often a consequence of the damage, which is reported instead
        failure = error
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
    damage = [text for text in records if _DAMAGE.search(text) and not _HARMLESS.search(text)]
    if damage:
        raise ValueError(damage[0].split("> ")[-1]) from failure
    if failure is not None:
        raise failure


def _check_all_bytes_present(path: Path, tiff: tifffile.TiffFile) -> None:
    """Check pages and strips before decoding: declared but missing ones would take hours, or be read as zeros."""
    size, first = tiff.filehandle.size, tiff.pages.first
    stored = first.nbytes if tiff.is_imagej and first.compression == 1 else 1  # ImageJ writes one header for all pages
    if len(tiff.pages) * stored > size:
        raise ValueError("it says that it has more pages than its size allows")
    for page in tiff.pages:
        if math.prod(page.chunked) > len(page.dataoffsets):
            raise ValueError("it says that it has more rows than are there")
        check_promise(path, [page.nbytes], size)
        ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > size:
            raise ValueError("the file ends before its pixels do")
