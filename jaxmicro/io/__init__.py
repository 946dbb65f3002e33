"""Reading micrographs and volumes, writing calibrated volumes. Checkpoints are in `jaxmicro.io.checkpoint`."""

from jaxmicro.io.formats import write
from jaxmicro.io.images import read_raster
from jaxmicro.io.raster import FileLayout, Raster, replacing
from jaxmicro.io.structures import read, read_images, read_rasters
from jaxmicro.io.volumes import write_npz, write_tiff, write_zarr
from jaxmicro.io.vtk import write_vti

__all__ = [
    "FileLayout",
    "Raster",
    "read",
    "read_images",
    "read_raster",
    "read_rasters",
    "replacing",
    "write",
    "write_npz",
    "write_tiff",
    "write_vti",
    "write_zarr",
]
