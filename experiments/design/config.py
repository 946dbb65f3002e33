"""What is designed: the targets of P-MicroLad's Table 1, Figs. 5 to 7 and Table 2, and some that it cannot have."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxmicro.guidance import DistillationConfig
from jaxmicro.reconstruct import SamplingConfig


@dataclass(frozen=True, kw_only=True)
class Case:
    """One set of targets for one material."""

    material: str
    targets: tuple[str, ...]
    method: str = "guided"
    release: tuple[str, ...] = ()  # what is not held: the interface of a phase is what the slope of its S2 says


def _of_phases(*texts: str, release: tuple[str, ...] = ()) -> dict[str, Case]:
    """The same targets for each of the three phases of the electrode: 0 pore, 1 YSZ, 2 nickel."""
    cases = [tuple(text.replace("PHASE", str(phase)) for text in texts) for phase in range(3)]
    return {targets[0]: Case(material="sofc", targets=targets, release=release) for targets in cases}


CASES = {
    # Table 1, lower half: the correlation of the micrograph, all phases at once
    "two_point sofc": Case(material="sofc", targets=tuple(f"two_point.{p}=micrograph" for p in range(3))),
    "two_point carbonate": Case(material="carbonate", targets=("two_point.1=micrograph",)),
    # Figs. 5 to 7: the largest number over crops of the micrograph
    **_of_phases("volume_fraction.PHASE=max"),
    **_of_phases("relative_surface_area.PHASE=max", release=("two_point",)),
    # the best conducting crop is also rich in its phase: no medium of the mean fraction conducts as well in slices, and
    # twice that (Fig. C.7) takes still more of it: the fractions at which volumes of the prior conduct about so well
    **{
        f"slice_diffusivity.{phase}={value}": Case(
            material="sofc", targets=(f"slice_diffusivity.{phase}={value}", f"volume_fraction.{phase}={fraction}")
        )
        for phase, value, fraction in (
            (0, "max", "max"),
            (1, "max", 0.64),
            (2, "max", 0.58),
            (0, "2*max", 0.76),
            (1, "2*max", 0.78),
            (2, "2*max", 0.7),
        )
    },
    # Table 2 and Fig. 9, which the paper can only reach through slices: 3D diffusivity itself, along an axis
    **_of_phases("diffusivity.PHASE.z=+30%"),
    "diffusivity.0.z=-20%": Case(material="sofc", targets=("diffusivity.0.z=-20%",)),
    "tortuosity.0.y=-20%": Case(material="sofc", targets=("tortuosity.0.y=-20%",)),
    # more interface has another S2 near r = 0: it is not held
    "two at once": Case(
        material="sofc", targets=("diffusivity.0.z=+25%", "surface_area.0=+5%"), release=("two_point",)
    ),
    "sds volume_fraction.0=+20%": Case(material="sofc", targets=("volume_fraction.0=+20%",), method="sds"),
    "sds diffusivity.0.z=+30%": Case(material="sofc", targets=("diffusivity.0.z=+30%",), method="sds"),
}


@dataclass(frozen=True, kw_only=True)
class DesignConfig:
    """How many volumes, and how."""

    cases: tuple[str, ...] = tuple(CASES)
    volumes: int = 8  # of each case
    shape: tuple[int, int, int] = (64, 64, 64)
    seed: int = 0
    rounds: int = 4
    tolerance: float = 0.02
    r_max: int = 32  # largest distance of the curves, voxels
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    out: Path = Path("runs/design")


def smoke(out: Path) -> DesignConfig:
    """Two cases, one tiny volume each, three steps."""
    return DesignConfig(
        cases=("sds volume_fraction.0=+20%", "diffusivity.0.z=-20%"), volumes=1, shape=(16, 16, 16), rounds=1, r_max=6,
        out=out, sampling=SamplingConfig(steps=3, harmonise=0),
    )  # fmt: skip
