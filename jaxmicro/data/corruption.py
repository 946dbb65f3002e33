"""Corruptions of segmented images, and the likelihood of what is observed.

A corruption turns labels "*n h w" (images, or the slices of a volume) into labels of the same shape. Its likelihood is
that of each pixel by itself: log P(observed | true phase), up to a number that is the same for all phases of the pixel.
A pixel of which nothing is known has zeros.

Salt and pepper, grid and rings are those of P-DVAE section III.A, carried over to any number of phases: labels count as
grey values and are rounded as its threshold of 1/2 does. `data.artefacts` has what electron micrographs have.
"""

import abc
import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxmicro.phases import one_hot

Labels = UInt8[Array | np.ndarray, "*n h w"]
OtherLabels = UInt8[Array | np.ndarray, "*m y x"]
Likelihood = Float[Array, "*n h w p"]
LEAST_PROBABILITY = 1e-4  # of what is observed: an estimated corruption is never exactly that of the image
_DISTANCES = 4  # classes of the distance to an interface, 1 to 4 pixels and beyond, in `simulated_log_likelihood`


class Corruption(abc.ABC):
    """What happens to a segmented image on its way to the user."""

    @abc.abstractmethod
    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """Corrupted labels.

        Raises:
            ValueError: the settings do not suit the shape or the number of phases.
        """

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """log P(observed | true phase) of each pixel.

        Args:
            clean: images of the same material, for corruptions whose likelihood is found by applying them
                (`simulated_log_likelihood`); by default what is observed, which changes less than a clean image would.
        Raises:
            ValueError: as `apply`.
        """
        return simulated_log_likelihood(self, observed, observed if clean is None else clean, phases=phases)


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper(Corruption):
    """Each pixel independently has another phase, all others equally likely."""

    probability: float = 0.15

    def __post_init__(self) -> None:
        check_share(probability=self.probability)

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        flips, shifts = jax.random.split(key)
        other = (labels + jax.random.randint(shifts, labels.shape, 1, max(phases, 2))) % phases
        return jnp.where(jax.random.bernoulli(flips, self.probability, labels.shape), other, labels).astype(jnp.uint8)

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """Exact."""
        other = self.probability / max(phases - 1, 1)
        same = one_hot(observed, phases)
        return jnp.log(jnp.maximum(same * (1 - self.probability) + (1 - same) * other, LEAST_PROBABILITY))


@dataclass(frozen=True, kw_only=True)
class Grid(Corruption):
    """A pattern of sines added to the labels: beyond 1/2 phases change to the next, below -1/2 to the one before."""

    frequency: float = 10.0  # periods along an edge of the image
    amplitude: float = 0.8
    rotation: float = 0.0  # degrees

    def __post_init__(self) -> None:
        check_number(frequency=self.frequency, amplitude=self.amplitude, rotation=self.rotation)

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        return _rounded(labels + self._pattern(labels.shape), phases)

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """Exact: phases that would be observed as this label, all equally likely."""
        pattern = self._pattern(observed.shape)
        as_observed = [_rounded(true + pattern, phases) == observed for true in range(phases)]
        return jnp.log(jnp.where(jnp.stack(as_observed, axis=-1), 1.0, LEAST_PROBABILITY))

    def _pattern(self, shape: tuple[int, ...]) -> Float[Array, "*n h w"]:
        y, x = (np.linspace(0, 1, edge) for edge in shape[-2:])
        y, x = np.meshgrid(y, x, indexing="ij")
        angle = np.deg2rad(self.rotation)
        if self.rotation:
            x, y = (
                np.cos(angle) * (x - 0.5) - np.sin(angle) * (y - 0.5) + 0.5,
                np.sin(angle) * (x - 0.5) + np.cos(angle) * (y - 0.5) + 0.5,
            )
        waves = 2 * np.pi * self.frequency
        return on_grid(shape, self.amplitude * np.sin(waves * x) * np.sin(waves * y)).astype(jnp.float32)


@dataclass(frozen=True, kw_only=True)
class FrequencyRings(Corruption):
    """Rings of the spectrum suppressed, and labels again where the result is nearest to one.

    The result is not stretched to the range of the labels (P-DVAE says "normalized", not how): where it overshoots,
    that would move the threshold.
    """

    rings: int = 5
    intensity: float = 0.9  # by which the amplitudes in a ring are reduced
    width: float = 0.1  # of a ring, as a share of the largest frequency

    def __post_init__(self) -> None:
        check_share(intensity=self.intensity, width=self.width)
        if self.rings < 1:
            raise ValueError(f"rings is {self.rings}, expected at least 1")

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        spectrum = jnp.fft.fft2(jnp.asarray(labels, jnp.float32))
        return _rounded(jnp.fft.ifft2(spectrum * on_grid(labels.shape, self._mask(labels.shape[-2:]))).real, phases)

    def _mask(self, shape: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
        y, x = (np.arange(edge) - edge // 2 for edge in shape)
        distance = np.hypot(*np.meshgrid(y, x, indexing="ij"))
        distance /= max(distance.max(), 1)
        centres = (np.arange(self.rings) + 1) / (self.rings + 1)
        inside = (np.abs(distance[..., None] - centres) < self.width / 2).any(axis=-1)
        return np.fft.ifftshift(np.where(inside, 1 - self.intensity, 1.0))


def simulated_log_likelihood(
    corruption: Corruption, observed: Labels, clean: OtherLabels, *, phases: int
) -> Likelihood:
    """log P(observed | true phase) for each label and distance to an interface, as often as a corruption of clean
    images leads to it: for corruptions that act on neighbourhoods. Phases that are not in the clean images are as
    likely as the others are on average."""
    corrupted = corruption.apply(clean, phases=phases, key=jax.random.key(0))
    counts = jnp.zeros((_DISTANCES + 1, phases, phases), int)  # by distance, observed label, true phase
    counts = counts.at[interface_distance(corrupted, _DISTANCES) - 1, corrupted, clean].add(1).astype(jnp.float32)
    every = counts.sum(axis=0, keepdims=True)
    counts = counts + 1e-2 * every / (every.sum(axis=1, keepdims=True) + 1)  # few pixels: as at all distances
    there = every.sum(axis=1, keepdims=True)
    given_true = counts / jnp.maximum(counts.sum(axis=(0, 1), keepdims=True), 1e-9)
    usual = given_true.sum(axis=-1, keepdims=True) / jnp.sum(there > 0)
    given_true = jnp.where(there > 0, given_true, usual)
    found = given_true[interface_distance(observed, _DISTANCES) - 1, observed]
    # relative to the likeliest phase, because a class of distances may itself be rare
    return jnp.log(jnp.maximum(found / jnp.maximum(found.max(axis=-1, keepdims=True), 1e-30), LEAST_PROBABILITY))


def check_share(**settings: float) -> None:
    """Check that settings are shares or probabilities.

    Raises:
        ValueError: one is not 0 to 1.
    """
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, expected 0 to 1")


def check_number(**settings: float) -> None:
    """Check that settings are finite.

    Raises:
        ValueError: one is infinite or NaN.
    """
    for name, value in settings.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, expected a finite number")


def on_grid(shape: tuple[int, ...], values: Array | np.ndarray | float) -> Array:
    """Values of the last axes on the whole grid."""
    return jnp.broadcast_to(jnp.asarray(values), shape)


def interface_distance(labels: Labels | OtherLabels, most: int) -> Array:
    """Pixels along an axis of the image to the next other label, 1 at an interface; `most` + 1 beyond."""

    def reached(shift: int, axis: int) -> Array:
        edge = labels.shape[axis]
        near = jnp.take(labels, jnp.clip(jnp.arange(edge) + shift, 0, edge - 1), axis=axis)
        return near != labels

    found = jnp.full(labels.shape, most + 1)
    for distance in range(most, 0, -1):
        other = functools.reduce(
            jnp.logical_or, (reached(sign * distance, axis) for sign in (1, -1) for axis in (-1, -2))
        )
        found = jnp.where(other, distance, found)
    return found


def _rounded(values: Float[Array | np.ndarray, "*n h w"], phases: int) -> Labels:
    """The nearest label, of two equally near ones the lower: a threshold of 1/2 for two phases."""
    return jnp.clip(jnp.ceil(values - 0.5), 0, phases - 1).astype(jnp.uint8)
