"""Voxel sizes stated in image files: OME, ImageJ, FEI and Zeiss metadata, and the resolution of TIFF, PNG and JPEG."""

import math
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tifffile

from jaxmicro.errors import UserError
from jaxmicro.units import in_one_unit, plain_unit, readable

INCH = 0.0254
_METRES_OF_TAG = {2: INCH, 3: 1e-2}  # ResolutionUnit: inch, centimetre
_PRINT = (72, 96, 100, 120, 144, 150, 180, 200, 240, 254, 300, 350, 360, 400, 600, 720, 1200, 1440, 2400)  # dots/inch
_COARSEST = 254.0  # pixels per inch: 0.1 mm; coarser resolutions are those of screens and printers
_FINEST_INCH = 5080.0  # pixels per inch: 5 um; up to here a resolution stated in inches is that of a scan or print


class Calibration(NamedTuple):
    """Edges of a voxel in array order (NaN along an axis for which none is stated), their unit, and remarks for the
    user."""

    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    remarks: tuple[str, ...] = ()


def tiff_calibration(tiff: tifffile.TiffFile, ndim: int) -> Calibration:
    """Voxel edges that a TIFF states, from the most explicit of its metadata.

    Args:
        ndim: axes of the array that was read: (h, w) or (z, y, x).
    """
    try:
        return _stated(tiff, ndim)
    except UserError as error:  # units that cannot be compared; the user can still give the voxel size
        return Calibration(remarks=(str(error),))


def _stated(tiff: tifffile.TiffFile, ndim: int) -> Calibration:
    if tiff.is_ome and tiff.ome_metadata:
        return _from_ome(tiff.ome_metadata, ndim)
    tags = tiff.pages[0].tags  # type: ignore[union-attr]
    pixel_edges = [_edge(tags.valueof(name)) for name in ("YResolution", "XResolution")]
    if tiff.is_imagej:
        return _from_imagej(tiff.imagej_metadata or {}, pixel_edges, ndim)
    microscope = _from_fei(tiff.fei_metadata) or _from_zeiss(tiff.sem_metadata)
    if microscope is not None:
        edges, unit = in_one_unit(*microscope)
        return _in_plane(edges, unit, ndim)
    if None in pixel_edges:
        return Calibration()
    return density_calibration(pixel_edges, _METRES_OF_TAG.get(int(tags.valueof("ResolutionUnit", 1))), ndim)


def info_text(tiff: tifffile.TiffFile) -> str:
    """The text that ImageJ or OME-XML attaches to an image."""
    if tiff.is_ome and tiff.ome_metadata:
        nodes = ElementTree.fromstring(tiff.ome_metadata).iter()
        return next((node.text or "" for node in nodes if node.tag.endswith("Description")), "")
    return str((tiff.imagej_metadata or {}).get("Info", ""))


def density_calibration(edges: Any, metres: float | None, ndim: int) -> Calibration:
    """Calibration from the resolution of an image: a pixel size, or only whether the pixels are square.

    Image editors write 72, 96 or 300 dots per inch into every file, which is the size of a print, not of the specimen.

    Args:
        edges: height and width of a pixel in the unit of the resolution.
        metres: that unit in metres; None when the file does not state it.
        ndim: axes of the array.
    """
    height, width = edges
    square = abs(height - width) <= 1e-3 * width
    if metres is None:
        return Calibration() if square else _in_plane((height / width, 1.0), None, ndim)
    if _is_print(INCH / (width * metres), metres) or _is_print(INCH / (height * metres), metres):
        if not square:
            return _in_plane((height / width, 1.0), None, ndim)
        dots = INCH / (width * metres)
        size, unit = readable(width * metres)
        remark = (
            f"its resolution of {dots:.4g} pixels per inch is that of a screen, scan or print and is not taken for a "
            f"pixel size; if it is one, add --voxel-size {size:.6g} --unit {unit}"
        )
        return Calibration(remarks=(remark,))
    size, unit = readable(width * metres)
    calibration = _in_plane((float(f"{size * height / width:.12g}") if not square else size, size), unit, ndim)
    remark = f"pixel size {size:.6g} {unit} from the resolution in the file"
    return calibration._replace(remarks=(*calibration.remarks, remark)) if square and ndim == 2 else calibration


def _is_print(dots: float, metres: float) -> bool:
    """Whether a resolution of `dots` pixels per inch, stated per `metres`, is that of a screen, scan or print."""
    standard = any(abs(dots / value - 1) < 2e-3 for value in _PRINT)
    return dots <= _COARSEST or standard or (metres == INCH and dots <= _FINEST_INCH)


def _in_plane(edges: tuple[float, ...], unit: str | None, ndim: int) -> Calibration:
    """Calibration from height and width of a pixel; in a volume the distance of the slices is unknown (NaN)."""
    if ndim == 2:
        return Calibration(edges, unit)
    remark = "the file does not say how far apart its slices are, so the voxel size is unknown"
    hint = f" if they are as far apart as pixels, add --voxel-size {edges[-1]:.6g} --unit {unit}" if unit else ""
    return Calibration((math.nan, *edges), unit, (f"{remark};{hint}" if hint else remark,))


def _from_imagej(metadata: dict[str, Any], pixel_edges: list[float | None], ndim: int) -> Calibration:
    """ImageJ: resolution tags in `unit` (`yunit`, `zunit` may differ), slice distance as `spacing`, 1 if left out."""
    unit = plain_unit(str(metadata.get("unit", "")))
    if unit is None and "spacing" not in metadata:
        return Calibration() if None in pixel_edges else density_calibration(pixel_edges, None, ndim)
    if None in pixel_edges:
        return Calibration()
    depth = float(metadata.get("spacing", 1.0))
    if unit == "inch":  # ImageJ keeps the dots per inch of the file that it opened
        return density_calibration(pixel_edges, INCH, ndim)
    units = [str(metadata.get(name, unit or "")) for name in ("zunit", "yunit")] + [unit]
    # resolution tags are fractions of 32-bit integers, `spacing` is exact: it is taken for all axes where they agree
    edges, unit = in_one_unit((depth, *pixel_edges)[-ndim:], units[-ndim:])  # type: ignore[arg-type]
    if ndim == 2:
        exact, _ = in_one_unit((depth, *pixel_edges), units)  # type: ignore[arg-type]
        return Calibration((depth, depth) if "spacing" in metadata and len(set(exact)) == 1 else edges, unit)
    return Calibration((depth,) * 3 if len(set(edges)) == 1 and units[0] == units[-1] else edges, unit)


def _edge(resolution: tuple[int, int] | None) -> float | None:
    """Edge of a pixel from the TIFF fraction (pixels, units)."""
    return None if not resolution or 0 in resolution else resolution[1] / resolution[0]


def _from_ome(xml: str, ndim: int) -> Calibration:
    """OME-XML: sizes along x, y and z, each with its unit; the default of the schema is micrometres."""
    pixels = next((node for node in ElementTree.fromstring(xml).iter() if node.tag.endswith("Pixels")), None)
    if pixels is None or any(f"PhysicalSize{axis}" not in pixels.attrib for axis in "YX"):
        return Calibration()
    axes = "ZYX" if ndim == 3 and "PhysicalSizeZ" in pixels.attrib else "YX"
    edges, unit = in_one_unit(
        [float(pixels.attrib[f"PhysicalSize{axis}"]) for axis in axes],
        [pixels.get(f"PhysicalSize{axis}Unit", "um") for axis in axes],
    )
    if unit is None and len(set(edges)) == 1 and len(axes) == ndim:
        return Calibration()  # sizes in pixels
    return Calibration(edges, unit) if len(axes) == ndim else _in_plane(edges, unit, ndim)


def _from_fei(metadata: dict[str, Any] | None) -> tuple[list[float], list[str]] | None:
    """Thermo Fisher (FEI): PixelHeight and PixelWidth in metres."""
    for part in ("Scan", "EScan", "IScan"):
        scan = (metadata or {}).get(part, {})
        try:
            edges = [float(scan["PixelHeight"]), float(scan["PixelWidth"])]
        except (KeyError, TypeError, ValueError):
            continue
        if min(edges) > 0:
            unit = readable(edges[1])[1]
            scale = edges[1] / readable(edges[1])[0]
            return [float(f"{edge / scale:.12g}") for edge in edges], [unit, unit]
    return None


def _from_zeiss(metadata: dict[str, Any] | None) -> tuple[list[float], list[str]] | None:
    """Zeiss SmartSEM: "Image Pixel Size", the pixel of the image, or else "Pixel Size", that of the scan."""
    for name in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = (metadata or {}).get(name)
        if isinstance(entry, tuple) and len(entry) == 3 and isinstance(entry[1], int | float) and entry[1] > 0:
            return [float(entry[1])] * 2, [str(entry[2])] * 2
    return None
