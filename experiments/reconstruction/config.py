"""What is reconstructed, how often and how."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxmicro.reconstruct import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """Five materials, with volume fractions held and scattered as in the material, held, and free."""

    materials: tuple[str, ...] = ("sofc", "nmc", "carbonate", "berea", "composite")
    # volume fractions held at the micrograph's while sampling; together, with natural scatter; left to the prior
    variants: tuple[str, ...] = ("calibrated", "scattered", "free")
    volumes: int = 8  # of each material and variant
    shape: tuple[int, int, int] = (64, 64, 64)
    seed: int = 0
    r_max: int = 32  # largest distance of the curves, voxels
    patches: int = 24  # searched for in the micrograph (memorisation)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    out: Path = Path("runs/reconstruction")


def smoke(out: Path) -> ReconstructionConfig:
    """One material, two tiny volumes, three steps."""
    return ReconstructionConfig(
        materials=("carbonate",), volumes=2, shape=(16, 16, 16), r_max=6, patches=0, out=out,
        sampling=SamplingConfig(steps=3, harmonise=1),
    )  # fmt: skip
