"""Reading micrographs and volumes, writing calibrated volumes. Checkpoints are in `jaxmicro.io.checkpoint`."""

from jaxmicro.io.collection_store import (
    CollectionWriter,
    add_features,
    create_collection,
    is_collection,
    remove_features,
    stored_digest,
)
from jaxmicro.io.collections import collection_digest, read_collection, write_collection
from jaxmicro.io.formats import write
from jaxmicro.io.images import read_raster
from jaxmicro.io.raster import FileLayout, Raster, replacing
from jaxmicro.io.structures import read, read_images, read_rasters
from jaxmicro.io.volumes import write_npz, write_tiff, write_zarr
from jaxmicro.io.vtk import write_vti

__all__ = [
    "CollectionWriter",
    "FileLayout",
    "Raster",
    "add_features",
    "collection_digest",
    "create_collection",
    "is_collection",
    "read",
    "read_collection",
    "read_images",
    "read_raster",
    "read_rasters",
    "remove_features",
    "replacing",
    "stored_digest",
    "write",
    "write_collection",
    "write_npz",
    "write_tiff",
    "write_vti",
    "write_zarr",
]
