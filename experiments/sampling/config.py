"""One change at a time from a base, all at the same cost unless said otherwise."""

from dataclasses import dataclass, replace
from pathlib import Path

from jaxmicro.reconstruct import SamplingConfig

# Written out, so that the study stays the same when the defaults change.
BASE = SamplingConfig(
    steps=40, harmonise=1, mode="alternate", couple=0.12, steer_gain=4.0, steer_max=0.8, steer_from=-2.0,
    sampler="ddim", eta=1.0, times="log_snr", log_snr_range=(-5.5, 2.5),
)  # fmt: skip
ALONE = replace(BASE, steer_gain=0.0)  # the weight of the other axes stays as it is


def variants() -> dict[str, SamplingConfig]:
    """Name -> sampling. Every volume costs 80 evaluations of all planes of one axis, but for the last two."""
    return {
        "base": BASE,
        # steps against harmonising
        "80 steps, n_h 0": replace(BASE, steps=80, harmonise=0),
        "27 steps, n_h 2": replace(BASE, steps=27, harmonise=2),
        "8 steps, n_h 9": replace(BASE, steps=8, harmonise=9),
        # how the three axes are joined
        "not steered, couple 0.12": ALONE,
        "not steered, couple 0": replace(ALONE, couple=0.0),
        "not steered, couple 0.5": replace(ALONE, couple=0.5),
        "couple 0.3": replace(BASE, couple=0.3),
        "average, 13 steps, n_h 1": replace(BASE, mode="average", steps=13),
        # sampler and noise
        "second order": replace(BASE, sampler="dpm"),
        "second order, 80 steps, n_h 0": replace(BASE, sampler="dpm", steps=80, harmonise=0),
        "eta 0.5": replace(BASE, eta=0.5),
        "eta 0": replace(BASE, eta=0.0),
        # times
        "times of linear beta": replace(BASE, times="ddpm"),
        "log SNR -5.5 to 4.5": replace(BASE, log_snr_range=(-5.5, 4.5)),
        # cost
        "a third of the cost: 13 steps": replace(BASE, steps=13),
        "twice the cost: 80 steps": replace(BASE, steps=80),
    }


@dataclass(frozen=True, kw_only=True)
class SamplingStudyConfig:
    """On what the variants are tried."""

    materials: tuple[str, ...] = ("sofc", "carbonate")
    names: tuple[str, ...] = tuple(variants())
    volumes: int = 1  # of each variant and material
    base_volumes: int = 3  # of the base, to know the scatter between volumes
    shape: tuple[int, int, int] = (64, 64, 64)
    seed: int = 0
    r_max: int = 32  # largest distance of the curves, voxels
    out: Path = Path("runs/sampling")


def smoke(out: Path) -> SamplingStudyConfig:
    """Two variants on tiny volumes."""
    return SamplingStudyConfig(
        materials=("carbonate",), names=("base", "average, 13 steps, n_h 1"), base_volumes=2, shape=(16, 16, 16),
        r_max=6, out=out,
    )  # fmt: skip
