"""Table of file formats: the reader and the writer for each ending of a file name."""

from collections.abc import Callable
from pathlib import Path

from jaxmicro.errors import UserError
from jaxmicro.io import exports, hdf5, itk, ome_zarr, volumes, vtk
from jaxmicro.io.raster import FileLayout, Raster
from jaxmicro.types import Microstructure

READERS: dict[str, Callable[[Path, FileLayout], Raster]] = {
    ".npy": lambda path, layout: volumes.read_numpy(path, layout.dataset),
    ".npz": lambda path, layout: volumes.read_numpy(path, layout.dataset),
    ".vti": lambda path, layout: vtk.read_vti(path, layout.dataset),
    ".vtk": lambda path, layout: vtk.read_vtk(path, layout.dataset),
    **dict.fromkeys((".mha", ".mhd"), lambda path, layout: itk.read_metaimage(path)),
    **dict.fromkeys((".nrrd", ".nhdr"), lambda path, layout: itk.read_nrrd(path)),
    **dict.fromkeys((".nii", ".nii.gz"), lambda path, layout: itk.read_nifti(path)),
    **dict.fromkeys((".raw", ".bin", ".dat"), lambda path, layout: itk.read_raw(path, layout.shape, layout.dtype)),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".dream3d"), lambda path, layout: hdf5.read_hdf5(path, layout.dataset)),
}
WRITERS: dict[str, Callable[[str | Path, Microstructure], None]] = {
    ".tif": volumes.write_tiff,
    ".tiff": volumes.write_tiff,
    ".ome.tif": volumes.write_ome_tiff,
    ".ome.tiff": volumes.write_ome_tiff,
    ".vti": vtk.write_vti,
    ".npz": volumes.write_npz,
    ".npy": exports.write_npy,
    ".zarr": volumes.write_zarr,
    ".ome.zarr": ome_zarr.write_ome_zarr,
    ".mha": itk.write_metaimage,
    ".nrrd": itk.write_nrrd,
    ".h5": hdf5.write_hdf5,
    ".hdf5": hdf5.write_hdf5,
    ".png": exports.write_png,
    ".stl": exports.write_stl,
}


def ending(path: str | Path) -> str:
    """The ending that determines the format, in lower case; of two parts for .ome.tif, .nii.gz and the like.

    >>> ending("a.b.OME.TIF"), ending("a.nii.gz"), ending("volume.2.tif"), ending("none")
    ('.ome.tif', '.nii.gz', '.tif', '')
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    double = "".join(suffixes[-2:])
    return double if double in WRITERS or double in READERS else (suffixes or [""])[-1]


def write(path: str | Path, microstructure: Microstructure, *, phase: int | None = None) -> None:
    """Write a microstructure in the format of the file ending, see `WRITERS`.

    Args:
        phase: whose surface is written, for STL.
    Raises:
        UserError: unknown ending, no space left on the disk, or no permission; no incomplete file is left.
    """
    name = ending(path)
    if name not in WRITERS:
        raise UserError(f"cannot write {path}: the suffix must be one of {', '.join(WRITERS)}")
    if name == ".stl":
        exports.write_stl(path, microstructure, phase)
    else:
        WRITERS[name](path, microstructure)
