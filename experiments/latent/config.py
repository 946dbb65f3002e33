"""Which latent priors, how they are trained, and what is made of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from jaxmicro import pipeline
from jaxmicro.train import TrainConfig

TRUE_VOLUMES = {"berea": "berea3d"}  # what a micrograph is a plane of


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """P-MicroLad Tables A.1, 1 (upper half), B.1 and 3 on our data, with networks for a CPU."""

    materials: tuple[str, ...] = ("sofc", "carbonate", "berea")
    patch: int = 64  # edge of the crops, pixels
    latent_sizes: tuple[int, ...] = (16, 8, 4)  # edge of the code of a crop; volumes are made with the first
    autoencoder: TrainConfig = replace(pipeline.AUTOENCODER, steps=1500, batch=16)
    coarse_steps: int = 400  # updates of the autoencoders that are only reconstructed with
    prior: TrainConfig = replace(pipeline.FROM_SCRATCH, steps=1000, batch=16)
    seed: int = 0
    crops: int = 256  # held-out crops that reconstruction is measured on
    volumes: int = 8
    shape: tuple[int, int, int] = (64, 64, 64)
    r_max: int = 32  # largest distance of S2, voxels
    pixel_steps: int = 20  # of the pixel path, fewer than its 40: chosen for the wall time of the latent one
    out: Path = Path("runs/latent")


def smoke(out: Path) -> LatentConfig:
    """One material, tiny crops and volumes, one code size, two updates and steps."""
    short = TrainConfig(steps=2, batch=2, warmup=1)
    return LatentConfig(
        materials=("berea",), patch=32, latent_sizes=(8,), autoencoder=short, prior=short, crops=2, volumes=1,
        shape=(32, 32, 32), r_max=6, pixel_steps=2, out=out,
    )  # fmt: skip
