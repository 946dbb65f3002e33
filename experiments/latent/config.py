"""Which latent priors, how they are trained, and what is made of them."""

from dataclasses import dataclass, replace
from pathlib import Path

from jaxmicro import pipeline
from jaxmicro.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """P-MicroLad Tables A.1, 1 (upper half), B.1 and 3 on our data, with networks for a CPU."""

    materials: tuple[str, ...] = ("sofc", "carbonate")
    latent_sizes: tuple[int, ...] = (16, 8, 4)  # edge of the code of a 64 x 64 crop; volumes are made with the first
    autoencoder: TrainConfig = replace(pipeline.AUTOENCODER, steps=1500, batch=16)
    coarse_steps: int = 500  # updates of the autoencoders that are only reconstructed with
    prior: TrainConfig = replace(pipeline.FROM_SCRATCH, steps=1000, batch=16)
    seed: int = 0
    crops: int = 256  # held-out crops that reconstruction is measured on
    volumes: int = 8
    shape: tuple[int, int, int] = (64, 64, 64)
    r_max: int = 32  # largest distance of S2, voxels
    out: Path = Path("runs/latent")
