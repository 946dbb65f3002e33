"""The four cases of P-Micro3Diff and its harmonising sweep."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxmicro.reconstruct import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class Case:
    """One of the paper's cases."""

    prior: str  # recipe of experiments.weights
    phase: int  # the phase the paper measures: inclusions, boundaries, active material, pores
    dimensions: int  # 3: against a volume; 2: against images
    paper_s2: float  # error rate of the paper, %
    paper_lineal_path: float


CASES = {
    "spheres": Case(prior="spheres", phase=1, dimensions=3, paper_s2=1.88, paper_lineal_path=4.56),
    "grains": Case(prior="grains", phase=1, dimensions=2, paper_s2=6.43, paper_lineal_path=5.88),
    "nmc": Case(prior="nmc3d", phase=1, dimensions=3, paper_s2=4.56, paper_lineal_path=1.26),
    "carbonate": Case(prior="carbonate", phase=1, dimensions=2, paper_s2=9.21, paper_lineal_path=6.31),
}


@dataclass(frozen=True, kw_only=True)
class Micro3DiffConfig:
    """How many volumes, and the sweep of its Figs. 2 and 3."""

    cases: tuple[str, ...] = tuple(CASES)
    variants: tuple[str, ...] = ("calibrated", "free")  # volume fractions held (the paper cannot); left to the prior
    volumes: int = 8  # of each case and variant (the paper: 25)
    shape: tuple[int, int, int] = (64, 64, 64)
    seed: int = 0
    r_max: int = 32  # largest distance of the curves, voxels
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    sweep_case: str = "spheres"
    sweep_harmonise: tuple[int, ...] = (0, 1, 2, 5, 10)  # n_h of Fig. 3
    sweep_couple: tuple[float, ...] = (0.0, SamplingConfig().couple)  # the paper's way, and ours
    sweep_volumes: int = 2  # the first carries the compilation, so the time is that of the last
    out: Path = Path("runs/micro3diff")


def smoke(out: Path) -> Micro3DiffConfig:
    """One case, tiny volumes, three steps; the sweep shares their compiled program."""
    sampling = SamplingConfig(steps=3, harmonise=1)
    return Micro3DiffConfig(
        cases=("spheres",), variants=("free",), volumes=1, shape=(16, 16, 16), r_max=6, sampling=sampling,
        sweep_harmonise=(1,), sweep_couple=(sampling.couple,), sweep_volumes=1, out=out,
    )  # fmt: skip
