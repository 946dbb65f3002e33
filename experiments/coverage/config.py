"""Which media, how many images of each, how large, and up to which distance."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CoverageConfig:
    """Many independent images of a medium, or sections of a true volume."""

    images: int = 100  # of each synthetic medium
    edge: int = 128  # of the images, pixels
    cahn_hilliard_steps: int = 100  # of the simulation
    sections: int = 20  # of a true volume normal to each axis, evenly spaced
    section_edge: int = 160  # of the crops of sections, pixels
    r_max: int = 12  # largest distance of the curves, pixels


def smoke() -> CoverageConfig:
    """A few small images."""
    return CoverageConfig(images=4, edge=48, cahn_hilliard_steps=20, sections=2, section_edge=48, r_max=8)
