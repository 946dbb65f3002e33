"""What is static in a Cahn-Hilliard simulation."""

import math
from dataclasses import dataclass

from jaxmicro.errors import UserError
from jaxmicro.simulate.spectral import Box

MOBILITIES = ("constant", "degenerate")


@dataclass(frozen=True, kw_only=True)
class CahnHilliardConfig:
    """What is static in a simulation: another value compiles another program.

    Attributes:
        shape: cells along each axis, "h w" or "z y x".
        spacing: edge of a cell along each axis, in the unit of length; empty: 1.
        no_flux: axes whose ends are walls without flux and wetting (phi is even about them); others are periodic.
        mobility: "constant", M = M0; or "degenerate", M = M0 phi (1 - phi).
        noise: whether thermal noise is added.
        tolerance: error of one step, root mean square relative to that of phi - mean; with noise, which renews the
            shortest waves in each step, its square root.
        step: a fixed step of time instead, without control of error and energy; None: adaptive.
        max_steps: steps, taken or taken back, after which the run is given up.
    Raises:
        UserError: a value is out of range.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] = ()
    no_flux: tuple[int, ...] = ()
    mobility: str = "constant"
    noise: bool = False
    tolerance: float = 1e-3
    step: float | None = None
    max_steps: int = 100_000

    def __post_init__(self):
        if len(self.shape) not in (2, 3) or min(self.shape) < 2:
            raise UserError(f"shape {self.shape} is not that of an image or a volume; give 2 or 3 edges of at least 2")
        if self.spacing and (len(self.spacing) != len(self.shape) or not all(0 < s < math.inf for s in self.spacing)):
            raise UserError(f"spacing {self.spacing} is not a positive length for each of {len(self.shape)} axes")
        if not set(self.no_flux) <= set(range(len(self.shape))):
            raise UserError(f"no_flux {self.no_flux} names no axes of {len(self.shape)}; axes count from 0")
        if self.mobility not in MOBILITIES:
            raise UserError(f"mobility {self.mobility!r} is unknown; expected one of {', '.join(MOBILITIES)}")
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance {self.tolerance} is not between 0 and 1")
        if self.step is not None and not 0 < self.step < math.inf:
            raise UserError(f"step {self.step} is not a positive time; give None for adaptive steps")
        if self.max_steps < 1:
            raise UserError(f"max_steps {self.max_steps} allows no step; give at least 1")

    @property
    def uncontrolled(self) -> bool:
        """Whether every step is taken."""
        return self.noise or self.step is not None

    @property
    def box(self) -> Box:
        """The grid with its boundary conditions."""
        return Box(self.shape, self.spacing or (1.0,) * len(self.shape), tuple(sorted(set(self.no_flux))))
