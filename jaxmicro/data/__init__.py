"""Crops of micrographs for training, and synthetic media with known answers."""

from jaxmicro.data.batches import (
    CropConfig,
    Sources,
    crop_batches,
    crop_dataset,
    training_sources,
    volume_planes,
)
from jaxmicro.data.prior_media import prior_media
from jaxmicro.data.synthetic import (
    discs,
    gaussian_field,
    gaussian_field_two_point,
    labyrinth,
    laguerre_grain_images,
    laguerre_grains,
    laminate,
    overlapping_spheres,
    overlapping_spheres_two_point,
    pack_spheres,
    polydisperse_spheres,
    sphere_density,
    tessellation,
    voronoi_grains,
)

__all__ = [
    "CropConfig",
    "Sources",
    "crop_batches",
    "crop_dataset",
    "discs",
    "gaussian_field",
    "gaussian_field_two_point",
    "labyrinth",
    "laguerre_grain_images",
    "laguerre_grains",
    "laminate",
    "overlapping_spheres",
    "overlapping_spheres_two_point",
    "pack_spheres",
    "polydisperse_spheres",
    "prior_media",
    "sphere_density",
    "tessellation",
    "training_sources",
    "volume_planes",
    "voronoi_grains",
]
