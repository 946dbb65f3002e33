"""Which true volumes, and what is generated against them."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxmicro.reconstruct import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class True3dConfig:
    """Two materials whose models saw planes of the first part only."""

    materials: tuple[str, ...] = ("berea3d", "nmc3d")
    volumes: int = 2  # generated, of each material
    edge: int = 128  # of the generated cubes and of the true sub-volumes, voxels
    seed: int = 0
    r_max: int = 48  # largest distance of the curves, voxels
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    out: Path = Path("runs/true3d")


def smoke(out: Path) -> True3dConfig:
    """One material, cubes of 16^3, three steps."""
    return True3dConfig(
        materials=("berea3d",), edge=16, volumes=1, r_max=6, sampling=SamplingConfig(steps=3, harmonise=0), out=out
    )
