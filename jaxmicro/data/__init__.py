"""Crops of micrographs for training, and synthetic media with known answers."""

from jaxmicro.data.batches import (
    Box,
    CropConfig,
    Sources,
    Split,
    crop_batches,
    crop_dataset,
    split,
    training_sources,
    volume_planes,
)

__all__ = [
    "Box",
    "CropConfig",
    "Sources",
    "Split",
    "crop_batches",
    "crop_dataset",
    "split",
    "training_sources",
    "volume_planes",
]
