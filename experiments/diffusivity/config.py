"""Which volumes, and how large the sub-volumes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DiffusivityConfig:
    """Two measured volumes in cubes, disjoint and spread over the volume."""

    materials: tuple[str, ...] = ("nmc3d", "berea3d")
    edges: tuple[int, ...] = (64, 128)  # of the cubes, voxels
    most: int = 8  # cubes of each edge
    whole: bool = False  # the whole volumes too: minutes


def smoke() -> DiffusivityConfig:
    """Two tiny cubes of one material."""
    return DiffusivityConfig(materials=("berea3d",), edges=(12,), most=2)
