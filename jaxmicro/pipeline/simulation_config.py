"""Settings of simulated phase separation, and what is wrong with them."""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxmicro.errors import UserError
from jaxmicro.simulate import CahnHilliardConfig
from jaxmicro.types import AXES, Microstructure

_FIELDS = 20  # beside the output, that a step keeps of a run
_COMPRESSION = 10  # voxels to a byte, at least: separated phases are smooth


class Range(NamedTuple):
    """An interval that parameters are drawn from."""

    low: float
    high: float


Values = Range | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """Settings of a set of simulated phase separations.

    Attributes:
        shape: cells along each axis, "h w" or "z y x".
        phi: mean composition: a range to draw from, or values. None: 0.35 to 0.65, or the middle of the wells.
        chi: interaction parameter of Flory-Huggins, as `phi`. None: 2.6 to 4.
        runs: their number. None: 64, or every combination of given values once.
        times: snapshots of each run.
        time_range: first and last time of all runs, in units of cell^2 / (M0 kT per cell); between them times are
            geometric. None: of each run its own, from the onset of separation to domains of a third of the box.
        energy: "flory-huggins", f / kT = phi ln(phi) / n1 + (1 - phi) ln(1 - phi) / n2 + chi phi (1 - phi); or
            "polynomial", f = 5 (phi - low)^2 (high - phi)^2.
        chain_lengths: n1 and n2.
        wells: low and high of the polynomial.
        mobility: "constant", M0; or "degenerate", M0 phi (1 - phi). M0 is 1.
        kappa: gradient coefficient, kT per cell x cell^2. None: the least at which all interfaces span 4 cells.
        noise: temperature of the thermal noise, kT in units of f x cell; 0: none.
        amplitude: standard deviation of the white noise that a mixture starts with.
        no_flux: letters of the axes that end at walls without flux, such as "z" of a film; others are periodic.
        phases: 2, poor and rich; or 3, with the mixed interface between.
        thresholds: compositions between the phases, increasing. Empty: 0.5, or 0.3 and 0.7 of the way between the
            pure components or the wells.
        voxel_size, unit: edge of a cell; None when unknown.
        together: runs computed at once.
        seed: of the parameters, the initial mixtures and the noise.
        max_steps: of time, after which a run is given up.
    Raises:
        UserError: a value is out of range, or settings exclude each other.
    """

    shape: tuple[int, ...] = (64, 64, 64)
    phi: Values | None = None
    chi: Values | None = None
    runs: int | None = None
    times: int = 50
    time_range: tuple[float, float] | None = None
    energy: Literal["flory-huggins", "polynomial"] = "flory-huggins"
    chain_lengths: tuple[float, float] = (1.0, 1.0)
    wells: tuple[float, float] = (0.3, 0.7)
    mobility: Literal["constant", "degenerate"] = "constant"
    kappa: float | None = None
    noise: float = 0.0
    amplitude: float = 0.01
    no_flux: tuple[str, ...] = ()
    phases: Literal[2, 3] = 2
    thresholds: tuple[float, ...] = ()
    voxel_size: float | None = None
    unit: str | None = None
    together: int = 1
    seed: int = 0
    max_steps: int = 200_000

    def __post_init__(self):
        _check_box(self)
        _check_numbers(self)
        _check_composition(self)
        Microstructure(np.zeros((1, 1), np.uint8), (0.0, 255.0), self.voxel_size, self.unit)  # raises on a bad edge
        self.solver()

    @property
    def walls(self) -> tuple[int, ...]:
        """Axes with walls, as numbers."""
        letters = AXES[-len(self.shape) :]
        return tuple(sorted({letters.index(letter) for letter in self.no_flux}))

    @property
    def between(self) -> tuple[float, ...]:
        """Compositions between the phases."""
        if self.thresholds:
            return self.thresholds
        low, high = self.bounds
        return tuple(low + (high - low) * share for share in ((0.5,) if self.phases == 2 else (0.3, 0.7)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Compositions within which a mixture can lie."""
        return (0.0, 1.0) if self.energy == "flory-huggins" else self.wells

    @property
    def ranges(self) -> dict[str, Values]:
        """Name and values of each parameter that varies between runs."""
        low, high = self.bounds
        if self.energy == "polynomial":
            middle = Range(low + 0.3 * (high - low), low + 0.7 * (high - low))
            return {"phi": self.phi or middle}
        return {"phi": self.phi or Range(0.35, 0.65), "chi": self.chi or Range(2.6, 4.0)}

    def solver(self) -> CahnHilliardConfig:
        """The static part of the simulation."""
        return CahnHilliardConfig(
            shape=self.shape,
            no_flux=self.walls,
            mobility=self.mobility,
            noise=self.noise > 0,
            max_steps=self.max_steps,
        )

    @property
    def count(self) -> int:
        """Number of runs.

        Raises:
            UserError: it is no multiple of the number of combinations of given values.
        """
        lists = [values for values in self.ranges.values() if not isinstance(values, Range)]
        if len(lists) < len(self.ranges):
            return self.runs or 64
        combinations = math.prod(map(len, lists))
        if (self.runs or combinations) % combinations:
            raise UserError(
                f"{self.runs} runs do not divide among {combinations} combinations of the given values; give a "
                f"multiple of {combinations} as the number of runs, or ranges such as 0.35:0.65"
            )
        return self.runs or combinations


def check_room(config: SimulationConfig, out: Path) -> None:
    """Check that memory and disk suffice, roughly.

    Raises:
        UserError: with what is needed and what is there.
    """
    cells, samples = math.prod(config.shape), config.count * config.times
    memory = 4 * cells * config.together * (2 * config.times + _FIELDS)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory > there:
        raise UserError(
            f"{config.together} runs of {config.times} snapshots of {cells:.3g} cells take about {memory / 1e9:.3g} GB "
            f"of memory, and there are {there / 1e9:.3g}; take fewer runs together, fewer times, or a smaller box"
        )
    folder = next(parent for parent in (out.absolute(), *out.absolute().parents) if parent.exists())
    disk, free = samples * cells / _COMPRESSION, shutil.disk_usage(folder).free
    if disk > free:
        raise UserError(
            f"{samples} snapshots of {cells:.3g} cells take about {disk / 1e9:.3g} GB of disk, and {free / 1e9:.3g} "
            "are free; take fewer runs, fewer times, or a smaller box"
        )


def _check_box(config: SimulationConfig) -> None:
    if len(config.shape) not in (2, 3) or min(config.shape) < 2:
        raise UserError(
            f"the size {' x '.join(map(str, config.shape))} is that of no image or volume; give 2 or 3 edges, each of "
            "at least 2 cells"
        )
    letters = AXES[-len(config.shape) :]
    for letter in config.no_flux:
        if letter not in letters:
            raise UserError(f"no axis {letter!r} for no-flux walls; the box has the axes {', '.join(letters)}")
    if config.phases not in (2, 3):
        raise UserError(f"{config.phases} phases; expected 2 (poor, rich) or 3 (with the interface between)")


def _check_numbers(config: SimulationConfig) -> None:
    for name in ("runs", "times", "together", "max_steps"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; expected 1 or more")
    for name, least in (("kappa", True), ("amplitude", True), ("noise", False)):
        value = getattr(config, name)
        if value is not None and not (0 <= value < math.inf and (value > 0 or not least)):
            raise UserError(f"{name} is {value}; expected a {'positive' if least else 'non-negative'} number")
    if config.time_range is not None and not 0 < config.time_range[0] < config.time_range[1] < math.inf:
        first, last = config.time_range
        raise UserError(f"the times run from {first:g} to {last:g}; expected two positive times, the earlier first")


def _check_composition(config: SimulationConfig) -> None:
    low, high = config.wells
    if not -math.inf < low < high < math.inf:
        raise UserError(f"the wells are at {low:g} and {high:g}; expected two compositions, the lower first")
    if config.mobility == "degenerate" and not 0 <= low < high <= 1:
        raise UserError(f"the wells {low:g} and {high:g} reach out of 0 to 1, where phi (1 - phi) is no mobility")
    if not all(0 < n < math.inf for n in config.chain_lengths):
        raise UserError(f"chain lengths {config.chain_lengths} are not positive")
    if config.energy == "polynomial" and config.chi is not None:
        raise UserError("chi is a parameter of the Flory-Huggins energy; leave it out with the polynomial")
    low, high = config.bounds
    for name, values in config.ranges.items():
        if isinstance(values, Range) and not values.low < values.high:
            raise UserError(f"{name} {values.low:g}:{values.high:g} is no range; give the smaller number first")
        if not values or not all(math.isfinite(x) for x in values):
            raise UserError(f"{name} {values} is no list of numbers")
    if not all(low < x < high for x in config.ranges["phi"]):
        raise UserError(
            f"phi {':'.join(f'{x:g}' for x in config.ranges['phi'])} reaches {low:g} or {high:g}; a mixture has a "
            f"composition between {low:g} and {high:g}"
        )
    between = config.between
    if len(between) != config.phases - 1:
        raise UserError(
            f"{len(between)} thresholds for {config.phases} phases; two phases take one, three a band of two"
        )
    if not all(low < x < high for x in between) or list(between) != sorted(set(between)):
        raise UserError(
            f"thresholds {' '.join(f'{x:g}' for x in between)}: expected compositions between {low:g} and {high:g}, "
            "the lower first"
        )
