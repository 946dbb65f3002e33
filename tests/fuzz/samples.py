"""Small valid files of every format that the package reads. A new format is one more line in SAMPLES."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorstore
import tifffile
from PIL import Image

from jaxmicro.io import write
from jaxmicro.io.formats import WRITERS
from jaxmicro.types import Microstructure
from tests.cli.conftest import blobs

VOLUME = Microstructure(blobs(12, ndim=3, phases=3), (0.0, 127.0, 255.0), 65.0, "nm", periodic=True)
IMAGE = Microstructure(blobs(24), (0.0, 255.0), 0.5, "um")
GREY = blobs(24) * np.uint8(255)
STACK = blobs(12, ndim=3) * np.uint8(255)


def _ours(structure: Microstructure, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name, structure)
        return folder / name

    return make


def _pillow(name: str, image: Callable[[], Image.Image], **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image().save(folder / name, **options)
        return folder / name

    return make


def _tiff(name: str, array: np.ndarray, **options: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tifffile.imwrite(folder / name, array, **options)  # type: ignore[arg-type]
        return folder / name

    return make


def _palette() -> Image.Image:
    image = Image.fromarray(blobs(24, phases=3))
    image.putpalette([200, 30, 30, 30, 200, 30, 30, 30, 200])
    return image


def _npy(folder: Path) -> Path:
    np.save(folder / "stack.npy", STACK)
    return folder / "stack.npy"


def _npz(folder: Path) -> Path:
    np.savez_compressed(folder / "stack.npz", labels=STACK, voxel_size=[2.0, 2.0, 2.0], unit="um")
    return folder / "stack.npz"


def _zarr_2(folder: Path) -> Path:
    path = folder / "two.zarr"
    metadata = {"shape": STACK.shape, "chunks": [8, 8, 8], "dtype": "|u1", "compressor": {"id": "zlib", "level": 1}}
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata, "create": True}
    tensorstore.open(spec).result().write(STACK).result()
    return path


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _nifti(folder: Path) -> Path:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(STACK, np.diag([2.0, 2.0, 2.0, 1.0])), folder / "brain.nii.gz")  # type: ignore[attr-defined]
    return folder / "brain.nii.gz"


def _header_and_raw(name: str, header: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(header)
        (folder / "pixels.raw").write_bytes(STACK.tobytes())
        return folder / name

    return make


_NUMBERS = " ".join(map(str, STACK.ravel().tolist()))
_LEGACY = f"""# vtk DataFile Version 3.0
legacy
ASCII
DATASET STRUCTURED_POINTS
DIMENSIONS 12 12 12
ORIGIN 0 0 0
SPACING 2 2 2
POINT_DATA 1728
SCALARS phase unsigned_char 1
LOOKUP_TABLE default
{_NUMBERS}
"""
_ASCII_VTI = f"""<?xml version="1.0"?>
<VTKFile type="ImageData" version="0.1" byte_order="LittleEndian">
<ImageData WholeExtent="0 12 0 12 0 12" Origin="0 0 0" Spacing="2 2 2">
<Piece Extent="0 12 0 12 0 12"><CellData Scalars="phase">
<DataArray type="UInt8" Name="phase" format="ascii">{_NUMBERS}</DataArray>
</CellData></Piece>
</ImageData>
</VTKFile>
"""
_META = """ObjectType = Image
NDims = 3
DimSize = 12 12 12
ElementType = MET_UCHAR
ElementSpacing = 2 2 2
ElementDataFile = pixels.raw
"""
_NRRD = """NRRD0004
type: uint8
dimension: 3
sizes: 12 12 12
spacings: 2 2 2
encoding: raw
data file: pixels.raw
"""


def _prior(folder: Path) -> Path:
    from jaxmicro import pipeline
    from tests.cli.conftest import tiny_prior

    prior = tiny_prior()
    pipeline.save_prior(folder / "prior.safetensors", prior)
    return folder / "prior.safetensors"


SAMPLES: dict[str, Callable[[Path], Path]] = {
    **{f"our volume {end}": _ours(VOLUME, f"volume{end}") for end in WRITERS if end not in (".stl", ".png")},
    **{f"our image {end}": _ours(IMAGE, f"image{end}") for end in (".tif", ".vti", ".zarr", ".png", ".ome.zarr")},
    "PNG": _pillow("grey.png", lambda: Image.fromarray(GREY), dpi=(300, 300)),
    "PNG of one bit": _pillow("bit.png", lambda: Image.fromarray(GREY).convert("1")),
    "PNG with a palette": _pillow("palette.png", _palette),
    "PNG of colours": _pillow("colours.png", lambda: Image.fromarray(GREY).convert("RGBA")),
    "BMP": _pillow("grey.bmp", lambda: Image.fromarray(GREY)),
    "TIFF": _tiff("plain.tif", STACK, photometric="minisblack"),
    "TIFF of tiles": _tiff("tiles.tif", GREY, tile=(16, 16), compression="zlib"),
    "TIFF compressed": _tiff("deflate.tif", STACK, compression="zlib", predictor=True),
    "TIFF of LZW": _pillow("lzw.tif", lambda: Image.fromarray(GREY), compression="tiff_lzw"),
    "TIFF of fax lines": _pillow("fax.tif", lambda: Image.fromarray(GREY).convert("1"), compression="group4"),
    "BigTIFF": _tiff("big.tif", STACK, bigtiff=True),
    "OME-TIFF": _tiff("ome.ome.tif", STACK, metadata={"axes": "ZYX", "PhysicalSizeX": 2.0, "PhysicalSizeXUnit": "um",
                      "PhysicalSizeY": 2.0, "PhysicalSizeYUnit": "um", "PhysicalSizeZ": 2.0,
                      "PhysicalSizeZUnit": "um"}),
    "NPY": _npy,
    "NPZ": _npz,
    "Zarr 2": _zarr_2,
    "legacy VTK": _text("legacy.vtk", _LEGACY),
    "VTI of text": _text("ascii.vti", _ASCII_VTI),
    "MetaImage of two files": _header_and_raw("two.mhd", _META),
    "NRRD of two files": _header_and_raw("two.nhdr", _NRRD),
    "prior": _prior,
}  # fmt: skip
if importlib.util.find_spec("nibabel"):
    SAMPLES["NIfTI"] = _nifti
if importlib.util.find_spec("imagecodecs"):
    SAMPLES["TIFF of ZSTD"] = _tiff("zstd.tif", STACK, compression="zstd")
