"""Crops of micrographs and samples of collections for training, synthetic media with known statistics, corruptions."""

from jaxmicro.data.artefacts import ChargingStreaks, Curtaining, Rim, ScaleBar
from jaxmicro.data.batches import (
    CropConfig,
    Sources,
    crop_batches,
    crop_dataset,
    training_sources,
    volume_planes,
)
from jaxmicro.data.corruption import Corruption, FrequencyRings, Grid, SaltAndPepper, simulated_log_likelihood
from jaxmicro.data.prior_media import prior_media
from jaxmicro.data.samples import (
    SampleConfig,
    Symmetries,
    is_plain,
    sample_batches,
    sample_dataset,
    sample_symmetries,
)
from jaxmicro.data.synthetic import (
    discs,
    gaussian_field,
    labyrinth,
    laguerre_grain_images,
    laguerre_grains,
    overlapping_spheres,
    pack_spheres,
    polydisperse_spheres,
    sphere_density,
    tessellation,
)

__all__ = [
    "ChargingStreaks",
    "Corruption",
    "CropConfig",
    "Curtaining",
    "FrequencyRings",
    "Grid",
    "Rim",
    "SaltAndPepper",
    "SampleConfig",
    "ScaleBar",
    "Sources",
    "Symmetries",
    "crop_batches",
    "crop_dataset",
    "discs",
    "gaussian_field",
    "is_plain",
    "labyrinth",
    "laguerre_grain_images",
    "laguerre_grains",
    "overlapping_spheres",
    "pack_spheres",
    "polydisperse_spheres",
    "prior_media",
    "sample_batches",
    "sample_dataset",
    "sample_symmetries",
    "simulated_log_likelihood",
    "sphere_density",
    "tessellation",
    "training_sources",
    "volume_planes",
]
