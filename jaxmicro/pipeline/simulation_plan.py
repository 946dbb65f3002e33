"""What a simulation of phase separation will do: the parameters and output times of every run, checked beforehand."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from jaxmicro.collection import Feature
from jaxmicro.errors import UserError
from jaxmicro.pipeline.separation import GROWTH, Theory, onset, squared_wave_numbers, theory
from jaxmicro.pipeline.simulation_config import Range, SimulationConfig, Values
from jaxmicro.simulate import FloryHuggins, FreeEnergy, Polynomial

LEAST_WIDTH = 4.0  # cells across an interface that resolve it
LAST_SHARE = 1 / 3  # of the shortest edge: size of the domains at the last time, by default
LARGEST_SHARE = 1 / 2  # of it: domains that the box distorts
_LATEST = 4.0  # last time over that of the onset, at least
_HEIGHT = 5.0  # of the polynomial
_DIGITS = 4  # of the parameters, and significant ones of times


class SimulationPlan(NamedTuple):
    """The runs of a simulation.

    Attributes:
        features: the parameters that vary, and last the time.
        parameters: of each run, without time.
        times: of each run.
        kappa: gradient coefficient.
        width: of the thinnest interface, cells.
        warnings: lines for the user.
    """

    features: tuple[Feature, ...]
    parameters: Float[np.ndarray, "r f"]
    times: Float[np.ndarray, "r t"]
    kappa: float
    width: float
    warnings: tuple[str, ...]


def energies(config: SimulationConfig, chi: Float[np.ndarray, " r"], runs: int) -> FreeEnergy:
    """Free energy of each run; its numbers are arrays "r". A polynomial takes no chi."""

    def same(number: float) -> jax.Array:
        return jnp.full(runs, number, jnp.float32)

    if config.energy == "polynomial":
        return Polynomial(same(_HEIGHT), *map(same, config.wells))
    return FloryHuggins(jnp.asarray(chi, jnp.float32), *map(same, config.chain_lengths))


def plan_simulation(config: SimulationConfig) -> SimulationPlan:
    """Parameters and output times of all runs.

    Ranges are sampled by a scrambled Sobol sequence of the seed, so that the parameters of run i do not depend on the
    number of runs; values given beside a range are spread evenly. Values alone are combined.

    Raises:
        UserError: a mixture does not separate in this box, or the number of runs does not fit the combinations.
    """
    ranges = config.ranges
    names = tuple(ranges)
    parameters = _parameters(config, list(ranges.values()))
    different, row = np.unique(parameters, axis=0, return_inverse=True)
    known = theory(energies(config, different[:, -1], len(different)), different[:, 0])
    known = Theory(*(numbers[row.ravel()] for numbers in known))
    kappa = config.kappa or _least_kappa(config)
    modes = squared_wave_numbers(config.shape, config.walls)
    _check_unstable(config, parameters, known, kappa, float(modes[0][0]))
    times, last = _times(config, parameters[:, 0], known, kappa, modes)
    width = float(known.width(kappa).min())
    features = tuple(Feature(name, "process") for name in (*names, "time"))
    return SimulationPlan(features, parameters, times, kappa, width, tuple(_warnings(config, width, last)))


def run_name(config: SimulationConfig, parameters: Float[np.ndarray, "r f"], run: int) -> str:
    """A run with its parameters, as messages name it."""
    numbers = ", ".join(f"{name} {x:g}" for name, x in zip(config.ranges, parameters[run], strict=True))
    return f"run {run} ({numbers})"


def _parameters(config: SimulationConfig, ranges: Sequence[Values]) -> Float[np.ndarray, "r f"]:
    if not any(isinstance(values, Range) for values in ranges):
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*map(np.array, ranges), indexing="ij")], axis=1)
        return np.tile(grid, (config.count // len(grid), 1))
    runs = config.count
    sobol = qmc.Sobol(len(ranges), rng=config.seed).random_base2(math.ceil(math.log2(max(runs, 2))))[:runs]
    columns = []
    for values, u in zip(ranges, sobol.T, strict=True):
        if isinstance(values, Range):
            columns.append(np.round(values.low + (values.high - values.low) * u, _DIGITS))
        else:
            columns.append(np.array(values)[np.minimum((u * len(values)).astype(int), len(values) - 1)])
    return np.stack(columns, axis=1)


def _least_kappa(config: SimulationConfig) -> float:
    """The least gradient coefficient, to three digits, at which all interfaces span `LEAST_WIDTH` cells.

    Taken at the ends of the ranges, so that it does not depend on the number of runs.
    """
    phi, *others = (np.array([*values, np.mean(values)]) for values in config.ranges.values())
    grid = [axis.ravel() for axis in np.meshgrid(phi, *others)]
    known = theory(energies(config, grid[-1], len(grid[0])), grid[0])
    widths = known.width(1.0)[known.curvature < 0]
    if not widths.size:
        return 1.0  # nothing separates, as will be said
    exact = (LEAST_WIDTH / float(widths.min())) ** 2
    unit = 10.0 ** (math.floor(math.log10(exact)) - 2)
    return float(f"{math.ceil(exact / unit - 1e-3) * unit:.3g}")


def _check_unstable(
    config: SimulationConfig, parameters: Float[np.ndarray, "r f"], known: Theory, kappa: float, least_k2: float
) -> None:
    stable = known.curvature + kappa * least_k2 >= 0
    if not stable.any():
        return
    run = int(np.argmax(stable))
    name = run_name(config, parameters, run)
    if known.curvature[run] >= 0 and config.energy == "polynomial":
        raise UserError(
            f"{name} is stable against small fluctuations, so that nothing separates; take phi closer to "
            f"{sum(config.wells) / 2:g}, the middle of the wells"
        )
    if known.curvature[run] >= 0:
        chi = parameters[run, 1] + known.curvature[run] / 2
        raise UserError(
            f"{name} is stable against small fluctuations, so that nothing separates: at that phi chi must exceed "
            f"{chi:.3f} (spinodal); raise chi, or take phi closer to 0.5"
        )
    wave = 2 * math.pi * math.sqrt(kappa / -known.curvature[run])
    longest = 2 * math.pi / math.sqrt(least_k2)
    raise UserError(
        f"{name} separates into waves of at least {wave:.3g} cells, and the longest in this box has {longest:.3g}; "
        f"take a larger box, raise chi, or lower kappa ({kappa:g})"
    )


def _times(
    config: SimulationConfig, phi: np.ndarray, known: Theory, kappa: float, modes: tuple[np.ndarray, np.ndarray]
) -> tuple[Float[np.ndarray, "r t"], Float[np.ndarray, " r"]]:
    """Output times, and the size that domains will have at the last, as a share of the shortest edge."""
    degenerate = config.mobility == "degenerate"
    mobility = phi * (1 - phi) if degenerate else np.ones_like(phi)
    ends = np.sqrt(np.maximum((phi - known.poor) * (known.rich - phi), 1e-6))
    begun = np.array([
        onset(modes, curvature=f2, kappa=kappa, mobility=m, amplitude=config.amplitude, end=end)
        for f2, m, end in zip(known.curvature, mobility, ends, strict=True)
    ])  # fmt: skip
    edge = min(
        edge for axis, edge in enumerate(config.shape) if axis not in config.walls or config.walls == _all(config)
    )
    speed = GROWTH * math.sqrt(kappa) * known.tension / known.difference**2 * (known.mobility if degenerate else 1)
    wave = math.pi * np.sqrt(2 * kappa / -known.curvature)  # half the wavelength that grows fastest
    if config.time_range is None:
        first, last = begun, np.maximum((LAST_SHARE * edge) ** 3 / speed, _LATEST * begun)
    else:
        first, last = (np.full_like(begun, time) for time in config.time_range)
    share = np.linspace(0, 1, config.times) if config.times > 1 else np.ones(1)
    times = first[:, None] * (last / first)[:, None] ** share
    decimals = 10.0 ** (np.floor(np.log10(times)) + 1 - _DIGITS)
    size = np.where(last > begun, np.maximum(np.cbrt(speed * last), wave), 0)
    return np.round(times / decimals) * decimals, size / edge


def _all(config: SimulationConfig) -> tuple[int, ...]:
    return tuple(range(len(config.shape)))


def _warnings(config: SimulationConfig, width: float, last: Float[np.ndarray, " r"]) -> list[str]:
    lines = []
    if width < 0.99 * LEAST_WIDTH:
        lines.append(
            f"the thinnest interface spans {width:.2g} cells and is not resolved below {LEAST_WIDTH:g}: raise kappa"
        )
    large = int((last > LARGEST_SHARE).sum())
    if large:
        lines.append(
            f"domains of {large} of {len(last)} runs will exceed half the box, which distorts them: take a larger box, "
            "or end earlier"
        )
    return lines
