"""The collection, the training, and how many conditions each table has."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxmicro.pipeline import DENOISER, PREDICTOR
from jaxmicro.pipeline.simulation_config import SimulationConfig
from jaxmicro.train import TrainConfig


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """Films that separate between walls: their fractions and tortuosity factors are asked for."""

    simulation: SimulationConfig = field(
        default_factory=lambda: SimulationConfig(shape=(32, 32, 32), runs=400, times=20, no_flux=("z",))
    )
    features: tuple[str, ...] = ("volume_fraction", "tortuosity.0.z", "tortuosity.1.z", "surface_area.0")
    asked: tuple[str, ...] = ("volume_fraction", "tortuosity")  # beginnings of the names of what is asked for
    most_tortuous: float = 10.0  # asked tortuosity factors are below; a phase that hardly connects has any above
    training: TrainConfig = DENOISER
    predictor: TrainConfig = PREDICTOR
    conditions: int = 1000  # of held-out runs, a volume each
    costly: int = 100  # of these conditions, those with exact features: seconds a volume
    repeated: int = 8  # conditions of the table of spread
    volumes: int = 8  # for each of these
    again: int = 32  # sets of predicted process parameters that are simulated
    seed: int = 0
    out: Path = Path("runs/process")


def smoke(out: Path) -> ProcessConfig:
    """The same with cubes of 8^3 and a few updates."""
    training = TrainConfig(steps=4, batch=4, warmup=1, optimiser="muon", learning_rate=0.02, save_every=4)
    return ProcessConfig(
        simulation=SimulationConfig(shape=(8, 8, 8), runs=6, times=4, kappa=1.0, no_flux=("z",)), training=training,
        predictor=training, conditions=4, costly=2, repeated=2, volumes=3, again=2, most_tortuous=100.0,
        out=out,
    )  # fmt: skip
