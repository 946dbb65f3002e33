"""Reading microstructures: one image or volume, or several micrographs with one set of phases.

One file: `read` is `read_images` of one file, and its steps (phases, calibration, resampling) share their arguments.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.io.images import NO_LAYOUT, read_raster
from jaxmicro.io.levels import Labelled, colour, label
from jaxmicro.io.preparing import cropped, data_bar, unrelated, without
from jaxmicro.io.raster import FileLayout, Raster, check_size
from jaxmicro.io.resample import resampled
from jaxmicro.io.segmentation import MAX_PHASES, check_numbers, mean_levels, multi_otsu_labels
from jaxmicro.io.slices import in_order, slice_files, uneven
from jaxmicro.types import Microstructure
from jaxmicro.units import plain_unit, quantity, ratio, same_length

_MOST_VOXELS = 1e9  # of a resampled volume
Stack = Literal["images", "volume"]
_LUMINANCE = np.array([299, 587, 114])  # thousandths, of red, green and blue: ITU-R BT.601


def read(
    path: str | Path,
    *,
    segment: int | None = None,
    voxel_size: float | None = None,
    unit: str | None = None,
    merge_rare: float = 0.0,
    ignore: Sequence[float | int] = (),
    crop: str | None = None,
    stack: Literal["volume"] | None = None,
    max_phases: int = MAX_PHASES,
    layout: FileLayout = NO_LAYOUT,
    resample: str | None = None,
) -> Microstructure:
    """The microstructure in an image or volume file.

    The distinct values of a segmented file become the labels 0..P-1 in increasing order, whatever its type; the colours
    of a segmented colour image in order of brightness. Float values that agree to within 1e-4 of their range are equal.
    A stack of pages or slices is a volume "z y x"; a stack of uncorrelated planes is an error unless `stack` is given.
    The calibration in the file (ImageJ, OME, or one of our formats) is kept.

    Args:
        path: an image or a volume: a file of a format in docs/formats.md, a Zarr folder, a folder or pattern of slices.
        segment: number of phases P to separate in a grey image by multi-Otsu thresholds; None for a segmented file.
        voxel_size: edge of a voxel in `unit`, if the file has none or a wrong one.
        unit: of `voxel_size`; None for that of the file.
        merge_rare: voxels of values rarer than this share get the phase of their neighbours, see `levels.label`.
        ignore: values of voxels outside the sample (0xRRGGBB in a colour image); a box without them is read, see
            `preparing.without`.
        crop: part to read, such as "0:400,:" for the first 400 rows, see `preparing.cropped`.
        stack: "volume" reads uncorrelated planes as a volume; for separate images use `read_images`.
        max_phases: more distinct values than this are an error: a grey image.
        layout: name of the array in a file that holds several; shape and type of raw numbers.
        resample: edge of the cubic voxels to resample to, "0.1" in the unit of the file or "100nm"; see
            `resample.resampled`.
    Returns:
        The microstructure; its `remarks` describe how it was read.
    Raises:
        UserError: the file is missing, damaged, not an image, grey, coloured, of one phase only, not 2D or 3D, has NaN
            values or voxels that are not cubic. The message is one line that names the file and a remedy.
    """
    (found,) = read_images(
        [path], segment=segment, voxel_size=voxel_size, unit=unit, merge_rare=merge_rare, ignore=ignore, crop=crop,
        stack=stack, max_phases=max_phases, layout=layout, resample=resample,
    )  # fmt: skip
    return found


def read_images(
    paths: Sequence[str | Path],
    *,
    segment: int | None = None,
    voxel_size: float | None = None,
    unit: str | None = None,
    merge_rare: float = 0.0,
    ignore: Sequence[float | int] = (),
    crop: str | None = None,
    stack: Stack | None = None,
    max_phases: int = MAX_PHASES,
    layout: FileLayout = NO_LAYOUT,
    resample: str | None = None,
) -> tuple[Microstructure, ...]:
    """Several micrographs of one material, with the same phases, thresholds and voxel size.

    Args:
        paths: files, each an image, a volume or a stack of images; they may differ in size.
        stack: "images": every plane of a stack is a separate image; "volume": files of one size are the slices of a
            volume, in their order; None: each file is an image or a volume.
        segment, voxel_size, unit, merge_rare, ignore, crop, max_phases, layout, resample: as in `read`; values are
            counted in all images together.
    Raises:
        UserError: as for `read`, or the files differ in voxel size or kind.
    """
    rasters = read_rasters(paths, ignore=ignore, crop=crop, stack=stack, layout=layout)
    names = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    try:
        grids = [_factors(raster, voxel_size, unit, resample) for raster in rasters] if resample else None
        sizes = [grid[1:] for grid in grids] if grids else [_calibration(r, voxel_size, unit) for r in rasters]
        size, unit = _one_size([each[:2] for each in sizes])
        remarks = tuple(dict.fromkeys(line for *_, lines in sizes for line in lines))
        labels, values, thresholds, phase_remarks = _phases(rasters, segment, merge_rare, max_phases)
        if len(rasters) > 1:  # shares in remarks are those of all pixels
            phase_remarks = [tuple(f"of all images together: {line}" for line in lines) for lines in phase_remarks]
        if grids:
            labels, change_remark = _resampled(labels, len(values), [grid[0] for grid in grids])
            rasters, phase_remarks[0] = (
                [replace(raster, periodic=False) for raster in rasters],
                (*phase_remarks[0], change_remark),
            )
        return tuple(
            Microstructure(
                each, values, size, unit, raster.source, thresholds, raster.periodic,
                (*raster.remarks, *(remarks if number == 0 else ()), *phase_remarks[number]),
            )
            for number, (each, raster) in enumerate(zip(labels, rasters, strict=True))
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{names}: {error}") from None


def read_rasters(
    paths: Sequence[str | Path],
    *,
    ignore: Sequence[float | int] = (),
    crop: str | None = None,
    stack: Stack | None = None,
    layout: FileLayout = NO_LAYOUT,
) -> list[Raster]:
    """The cropped images or volumes before they become phases; arguments as for `read_images`.

    Raises:
        UserError: there is no file, or a file cannot be read with these arguments.
    """
    if not paths:
        raise UserError("no image given; name at least one file")
    if stack == "volume":
        paths = [paths[place] for place in in_order(paths)]
    rasters = [_read(Path(path), layout) for path in paths]
    if stack == "volume" and len(rasters) > 1:
        rasters = [_joined(paths, rasters)]
    if stack == "images":
        rasters = [image for raster in rasters for image in _separate(raster)]
    prepared = []
    for number, raster in enumerate(rasters):
        name = paths[number] if len(rasters) == len(paths) else raster.source
        try:
            prepared.append(_prepared(raster, ignore, crop, stack))
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    return prepared


def _prepared(raster: Raster, ignore: Sequence[float | int], crop: str | None, stack: Stack | None) -> Raster:
    if crop is not None:
        raster = cropped(raster, crop)
    if ignore:
        raster = without(raster, ignore)
    check_numbers(raster.array)
    if raster.array.ndim == 2:
        bar = data_bar(raster.array)
        return raster if bar is None else replace(raster, remarks=(*raster.remarks, bar))
    if stack is None and raster.values is None and unrelated(raster.array):
        count, height, width = raster.array.shape
        raise UserError(
            f"its {count} planes of {height} x {width} have nothing to do with each other, as if they were separate "
            "images; say --stack images (read_images in Python), or --stack volume if they are slices of a volume; "
            "samples of a collection need the table features.csv in their folder (docs/formats.md)"
        )
    return raster


def _separate(raster: Raster) -> list[Raster]:
    """The planes of a stack as images."""
    if raster.array.ndim == 2:
        return [raster]
    spacing = None if raster.spacing is None else raster.spacing[-2:]
    return [
        replace(
            raster, array=plane, spacing=spacing, source=f"{raster.source}[{number}]", periodic=False,
            remarks=raster.remarks if number == 0 else (),
        )
        for number, plane in enumerate(raster.array)
    ]  # fmt: skip


def _read(path: Path, layout: FileLayout) -> Raster:
    """The image or volume in a file, or the volume of the slices in a folder or of a pattern."""
    files = slice_files(path)
    if not files:
        return read_raster(path, layout)
    first = read_raster(files[0])
    check_size(path, (len(files), *first.array.shape), first.array.itemsize)
    if len(files) == 1:
        return first
    volume = _joined(files, [first, *(read_raster(file) for file in files[1:])])
    edge = "" if volume.spacing is None else f", {volume.spacing[0]:.6g} {volume.unit or ''}".rstrip()
    remark = f"read {len(files)} slices, {files[0].name} to {files[-1].name}, taken to be as far apart as pixels{edge}"
    return replace(volume, remarks=(*volume.remarks, remark))


def _joined(paths: Sequence[str | Path], rasters: Sequence[Raster]) -> Raster:
    """Images as the slices of a volume."""
    first = rasters[0]
    for path, raster in zip(paths, rasters, strict=True):
        if raster.array.ndim != 2:
            raise UserError(f"{path} is a stack itself; give one volume, or slices that are images")
        if raster.array.shape != first.array.shape or raster.spacing != first.spacing or raster.unit != first.unit:
            raise UserError(
                f"{path} ({_described(raster)}) differs in size or calibration from {paths[0]} ({_described(first)}); "
                "the slices of a volume must not: leave it out, or read separate images with --stack images"
            )
    # the files do not state the distance of the slices: it is taken to be that of the pixels
    spacing = None if first.spacing is None else (max(first.spacing), *first.spacing)
    gap = uneven(paths)
    remarks = tuple(dict.fromkeys(line for raster in rasters for line in raster.remarks)) + ((gap,) if gap else ())
    size_remarks = tuple(dict.fromkeys(line for raster in rasters for line in raster.size_remarks))
    rasters = _as_values(_of_one_kind(rasters))
    first = rasters[0]
    return replace(
        first, array=np.stack([raster.array for raster in rasters]), spacing=spacing, values=rasters[0].values,
        periodic=False, source=f"{first.source} ... {rasters[-1].source}", indices=None, remarks=remarks,
        size_remarks=size_remarks,
    )  # fmt: skip


def _described(raster: Raster) -> str:
    """Size and calibration of an image."""
    edges = "no pixel size" if raster.spacing is None else " x ".join(f"{edge:.10g}" for edge in raster.spacing)
    return f"{' x '.join(map(str, raster.array.shape))}, {edges} {raster.unit or ''}".rstrip()


def _of_one_kind(rasters: Sequence[Raster]) -> list[Raster]:
    """Slices of a volume, all as grey levels, colours or palette indices: a slice may by chance use only the greys of a
    palette of which others use the colours."""
    if any(raster.indexed for raster in rasters):
        rasters = [
            raster if raster.indices is None else replace(raster, array=raster.indices, indices=None, indexed=True)
            for raster in rasters
        ]
    if len({raster.colours for raster in rasters}) == 1:
        return list(rasters)
    if any(raster.indexed or raster.array.dtype != np.uint8 for raster in rasters if not raster.colours):
        raise _of_two_kinds()
    grey = np.uint32(0x010101)
    return [r if r.colours else replace(r, array=r.array * grey, colours=True) for r in rasters]


def _of_two_kinds() -> UserError:
    return UserError("some of the images are grey and some are in colours; save all of them in one way")


def _as_values(rasters: Sequence[Raster]) -> list[Raster]:
    """The rasters unchanged if their labels have the same values; otherwise labels are replaced by their values."""
    if len({raster.values for raster in rasters}) == 1:
        return list(rasters)
    return [
        replace(raster, array=np.asarray(raster.values)[raster.array], values=None) if _ours(raster) else raster
        for raster in rasters
    ]


def _ours(raster: Raster) -> bool:
    """Whether the array is labels written by this package; some of them may not occur."""
    return raster.values is not None and bool(np.isin(raster.array, np.arange(len(raster.values))).all())


def _phases(
    rasters: Sequence[Raster], segment: int | None, merge_rare: float, max_phases: int
) -> tuple[list[np.ndarray], tuple[float, ...], tuple[float, ...], list[tuple[str, ...]]]:
    """Labels of each raster, value of each label, thresholds (empty if not segmented), and remarks on each raster."""
    no_remarks: list[tuple[str, ...]] = [()] * len(rasters)
    colours = {raster.colours for raster in rasters}
    greys_of_colours = any(raster.indices is not None for raster in rasters)
    if len(colours) > 1 or (greys_of_colours and any(raster.indexed for raster in rasters)):
        raise _of_two_kinds()
    if segment is not None:
        return *_segmented(rasters, segment, merge_rare), no_remarks
    if all(map(_ours, rasters)) and len({raster.values for raster in rasters}) == 1 and not merge_rare:
        return [raster.array.astype(np.uint8) for raster in rasters], rasters[0].values or (), (), no_remarks
    arrays = [raster.array for raster in _as_values(rasters)]
    try:
        labelled = label(arrays, max_phases=max_phases, merge_rare=merge_rare, colours=True in colours)
    except UserError as error:
        bars = [data_bar(array) for array in arrays if array.ndim == 2]
        hint = next((f" ({bar})" for bar in bars if bar), "")
        raise UserError(f"{error}{hint}") from None
    if True in colours:
        labelled = _by_brightness(labelled)
    return labelled.labels, labelled.values, (), _by_raster(labelled)


def _by_raster(found: Labelled) -> list[tuple[str, ...]]:
    """Remarks for each raster: the one on rare or merged values goes to the first raster that holds such values."""
    remarks: list[tuple[str, ...]] = [()] * len(found.labels)
    if len(remarks) == 1 or not found.where:
        return [found.remarks, *remarks[1:]]
    remarks[0] = found.remarks[:-1]
    count = f"; {len(found.where)} of {len(remarks)} images {'has' if len(found.where) == 1 else 'have'} such values"
    remarks[found.where[0]] += (found.remarks[-1] + count,)
    return remarks


def _segmented(
    rasters: Sequence[Raster], segment: int, merge_rare: float
) -> tuple[list[np.ndarray], tuple[float, ...], tuple[float, ...]]:
    """Labels, values and thresholds of grey images, segmented with common thresholds."""
    if merge_rare:
        raise UserError("--merge-rare is for images with one value a phase, --segment for grey ones; leave one out")
    if any(raster.colours for raster in rasters):
        raise UserError("a colour image cannot be segmented by its grey levels; save it as grey (one channel)")
    grey = np.concatenate([raster.array.ravel() for raster in rasters])
    labels, thresholds = multi_otsu_labels(grey, segment)
    ends = np.cumsum([raster.array.size for raster in rasters])[:-1]
    each = [part.reshape(r.array.shape) for part, r in zip(np.split(labels, ends), rasters, strict=True)]
    return each, mean_levels(grey, labels, segment), thresholds


def _by_brightness(found: Labelled) -> Labelled:
    """Labels of colours 0xRRGGBB in order of brightness; their values are the luma, the grey level of each colour."""
    packed = np.array(found.values, int)
    brightness = (packed[:, None] >> np.array([16, 8, 0]) & 255) @ _LUMINANCE / 1000
    order = np.argsort(brightness, kind="stable")
    if np.unique(brightness).size < brightness.size:
        raise UserError("two of its colours are equally bright; save it as labels with one value a phase")
    rank = np.argsort(order).astype(np.uint8)
    named = ", ".join(f"{place} = {colour(found.values[number])}" for place, number in enumerate(order))
    remark = f"colours are read as phases from the darkest: {named}"
    values = tuple(float(brightness[number]) for number in order)
    return Labelled([rank[labels] for labels in found.labels], values, (remark, *found.remarks), found.where)


def _one_size(sizes: Sequence[tuple[float | None, str | None]]) -> tuple[float | None, str | None]:
    """The common voxel size of all images and its unit; sizes are compared across units (0.05 um is 50 nm)."""
    first, unit = sizes[0]
    for size, own in sizes:
        if (size, own) != (first, unit) and not (size and first and same_length(size, own, first, unit)):
            known = ", ".join(sorted({f"{size or 'unknown'} {unit or ''}".strip() for size, unit in sizes}))
            raise UserError(f"the images have different voxel sizes ({known}); give one with --voxel-size and --unit")
    return first, unit


def _factors(
    raster: Raster, voxel_size: float | None, unit: str | None, edge: str
) -> tuple[tuple[float, ...], float, str | None, tuple[str, ...]]:
    """New edge over old edge along each axis; new voxel size, its unit, and remarks."""
    if voxel_size is not None:
        size, own, remarks = _calibration(raster, voxel_size, unit)
        spacing: tuple[float, ...] = (size or 1.0,) * raster.array.ndim
    else:
        own, remarks = plain_unit(unit) if raster.unit is None else raster.unit, raster.size_remarks
        remarks = remarks if unit is None else ()
        spacing = raster.spacing or ()
    if not spacing or any(not 0 < old < np.inf for old in spacing):
        raise UserError("the file does not state all edges of its voxels, so that it cannot be resampled to others")
    new, new_unit = quantity(edge)
    factor = 1.0 if new_unit is None else ratio(new_unit, own)
    if factor is None:
        raise UserError(f"--resample {edge}: the voxels are in {own or 'no unit'}; give the edge in a unit of length")
    factors = tuple(new * factor / old for old in spacing)
    shape = [edge / old for edge, old in zip(raster.array.shape, factors, strict=True)]
    if min(shape) < 1 or np.prod(shape) > _MOST_VOXELS:
        edges = " x ".join(f"{max(old, 0):.0f}" for old in shape)
        raise UserError(f"--resample {edge} would make {edges} voxels; expected 1 to {_MOST_VOXELS:.0e} of them")
    return factors, new * factor, own, remarks


def _resampled(
    labels: Sequence[np.ndarray], phases: int, factors: Sequence[tuple[float, ...]]
) -> tuple[list[np.ndarray], str]:
    """Labels on the new grids, and a remark on the change of volume fractions."""
    new_labels = [resampled(each, phases, by) for each, by in zip(labels, factors, strict=True)]
    shares = [
        [np.bincount(a.ravel(), minlength=phases) / a.size for a in pair]
        for pair in zip(labels, new_labels, strict=True)
    ]
    largest_change = max(float(np.abs(before - after).max()) for before, after in shares)
    shape = " x ".join(map(str, new_labels[0].shape))
    return new_labels, f"resampled to {shape} voxels; volume fractions moved by at most {largest_change:.4f}"


def _calibration(
    raster: Raster, voxel_size: float | None, unit: str | None
) -> tuple[float | None, str | None, tuple[str, ...]]:
    """Voxel size, its unit, and remarks."""
    if voxel_size is not None:
        unit = plain_unit(unit) or raster.unit
        if unit is None:
            raise UserError(f"voxel size {voxel_size:g} given without a unit; give both (--voxel-size and --unit)")
        return float(voxel_size), unit, ()
    if unit is not None and (raster.spacing is None or raster.unit is not None):
        raise UserError(f"unit {unit} given without a voxel size; give both (--voxel-size and --unit)")
    size, own = raster.voxel_size, plain_unit(unit) or raster.unit
    return size, None if size is None else own, raster.size_remarks if unit is None else ()
