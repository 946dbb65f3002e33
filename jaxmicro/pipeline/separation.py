"""What theory says of a phase separation before it is simulated: interfaces, the beginning, and how domains grow.

Lengths are in cells, times in those of the equation with mobility M0 = 1.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from jaxmicro.simulate import FreeEnergy, coexisting

# L^3 = GROWTH tension mobility t / difference^2, L half the mean wavelength. Measured with constant mobility in boxes
# of 128 x 128 and 48^3 at chi 2.6 to 4: 3 to 9 where L lies between an eighth and a quarter of the box.
GROWTH = 6.0
BEGUN = 0.5  # share of the final root mean square at which separation is called begun
_COMPOSITIONS = 257  # of the profile of an interface
_BINS = 4096  # of the wave numbers of large boxes


class Theory(NamedTuple):
    """Of mixtures with gradient coefficient 1, one number for each.

    Attributes:
        poor, rich: the compositions that coexist, to a few per cent of their distance from the ends.
        curvature: f'' of the mixture; it separates where this is negative.
        steepness: slope of an interface in its middle.
        tension: energy per area of an interface.
        mobility: M / M0 while domains grow, if it is degenerate: half of that in interfaces, and half of that between.
    """

    poor: Float[np.ndarray, " r"]
    rich: Float[np.ndarray, " r"]
    curvature: Float[np.ndarray, " r"]
    steepness: Float[np.ndarray, " r"]
    tension: Float[np.ndarray, " r"]
    mobility: Float[np.ndarray, " r"]

    @property
    def difference(self) -> Float[np.ndarray, " r"]:
        """Rich less poor."""
        return self.rich - self.poor

    def width(self, kappa: float) -> Float[np.ndarray, " r"]:
        """Width of an interface: difference over its steepest slope."""
        return self.difference * math.sqrt(kappa) / np.maximum(self.steepness, 1e-12)


def theory(energies: FreeEnergy, phi: Float[np.ndarray, " r"]) -> Theory:
    """Theory of each mixture; the numbers of `energies` are arrays "r"."""

    def of(pair: tuple[FreeEnergy, jax.Array]) -> tuple[jax.Array, ...]:
        energy, mean = pair
        poor, rich = coexisting(energy, mean)
        profile = poor + (rich - poor) * jnp.linspace(0.0, 1.0, _COMPOSITIONS)
        f = energy.value(profile)
        above = jnp.maximum(f - f[0] - (f[-1] - f[0]) * jnp.linspace(0.0, 1.0, _COMPOSITIONS), 0.0)
        slope = jnp.sqrt(2 * above)  # of the flat interface between them, kappa = 1
        mobility = profile * (1 - profile)
        mobility = (jnp.mean(mobility) + (mobility[0] + mobility[-1]) / 2) / 2
        tension = jnp.mean(slope) * (rich - poor)
        return poor, rich, energy.curvature(mean), jnp.max(slope), tension, mobility

    arrays = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (energies, phi))
    found = jax.jit(lambda pairs: jax.lax.map(of, pairs))(arrays)
    return Theory(*(np.asarray(x, np.float64) for x in found))


def squared_wave_numbers(shape: Sequence[int], no_flux: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """k^2 of the modes of a box but the mean, increasing, and the number of modes with each; similar ones are joined.

    Args:
        shape: cells along each axis.
        no_flux: axes with walls.
    """
    k2, counts = np.zeros(1), np.ones(1)
    for axis, edge in enumerate(shape):
        k = math.pi * np.arange(edge) / edge if axis in no_flux else 2 * math.pi * np.fft.fftfreq(edge)
        own, times = np.unique(np.round(k**2, 12), return_counts=True)
        k2, counts = _binned((k2[:, None] + own).ravel(), (counts[:, None] * times).ravel())
    return k2[1:], counts[1:]


def _binned(k2: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Increasing wave numbers, the first of them 0, in at most `_BINS` narrow bins."""
    if k2.size > _BINS:
        edges = np.concatenate([[0.0], np.geomspace(k2[k2 > 0].min() * (1 - 1e-9), k2.max() * (1 + 1e-9), _BINS)])
        number = np.histogram(k2, edges, weights=counts)[0]
        total = np.histogram(k2, edges, weights=counts * k2)[0]
        k2, counts = total[number > 0] / number[number > 0], number[number > 0]
    order = np.argsort(k2)
    return k2[order], counts[order]


def onset(
    modes: tuple[np.ndarray, np.ndarray],
    *,
    curvature: float,
    kappa: float,
    mobility: float,
    amplitude: float,
    end: float,
) -> float:
    """Time at which a mixture with small fluctuations has begun to separate, by linear theory; inf if no mode grows.

    Args:
        modes: as `squared_wave_numbers` gives them.
        curvature: f'' of the mixture.
        mobility: of the mixture.
        amplitude: standard deviation of the white noise that it starts with.
        end: root mean square of phi - mean of the separated mixture.
    """
    k2, counts = modes
    rate = -mobility * k2 * (curvature + kappa * k2)
    fastest = float(rate.max())
    if fastest <= 0:
        return math.inf

    def missing(time: float) -> float:
        grown = 2 * time * (rate - fastest)
        size = 2 * time * fastest + math.log(float(np.sum(counts * np.exp(grown)) / (np.sum(counts) + 1)))
        return size + 2 * math.log(amplitude / (BEGUN * end))

    latest = (math.log(BEGUN * end / amplitude) + math.log(np.sum(counts) + 1) / 2 + 1) / fastest
    if latest <= 0 or missing(latest) < 0:
        return max(latest, 1 / fastest)
    # the noise that decays first may be larger than what is sought
    times = np.linspace(0, latest, 65)
    last = int(np.flatnonzero(np.array([missing(t) for t in times]) < 0).max(initial=-1))
    if last < 0:
        return 1 / fastest
    root: Any = brentq(missing, times[last], times[last + 1])
    return float(root)
