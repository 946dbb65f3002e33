"""Corruptions of segmented images, and the likelihood of what is seen.

A corruption turns labels "*n h w" (images, or the slices of a volume) into labels of the same shape. Its likelihood is
that of each pixel by itself: log P(seen | true phase), up to a number that is the same for all phases of the pixel. A
pixel of which nothing is known has zeros.

Salt and pepper, grid and rings are those of P-DVAE section III.A, carried over to any number of phases: labels count as
grey values and are rounded as its threshold of 1/2 does. `data.artefacts` has what electron micrographs have.
"""

import abc
import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxmicro.phases import one_hot

Labels = UInt8[Array | np.ndarray, "*n h w"]
Likelihood = Float[Array, "*n h w p"]
IMPOSSIBLE = 1e-4  # least probability of what is seen: an estimated corruption is never exactly that of the image
_DISTANCES = 4  # classes of the distance to an interface, 1 to 4 pixels and beyond, in `simulated_log_likelihood`


@dataclass(frozen=True, kw_only=True)
class Corruption(abc.ABC):
    """What happens to a segmented image on its way to the user."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool | tuple) or value is None:
                continue
            if not np.isfinite(value) or (value < 0 and field.name != "rotation"):
                raise ValueError(f"{field.name} is {value}, expected a number that is not negative")
            if field.name in ("probability", "share", "strength", "intensity") and value > 1:
                raise ValueError(f"{field.name} is {value}, expected 0 to 1")

    @abc.abstractmethod
    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """Corrupted labels."""

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """log P(seen | true phase) of each pixel.

        Args:
            clean: images of the same material, "*m h w", for corruptions whose likelihood is found by applying them
                (`simulated_log_likelihood`); by default what is seen, which changes less than a clean image would.
        """
        return simulated_log_likelihood(self, seen, seen if clean is None else clean, phases=phases)


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper(Corruption):
    """Each pixel independently has another phase, all others equally likely."""

    probability: float = 0.15

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        flips, shifts = jax.random.split(key)
        other = (labels + jax.random.randint(shifts, labels.shape, 1, max(phases, 2))) % phases
        return jnp.where(jax.random.bernoulli(flips, self.probability, labels.shape), other, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact."""
        other = self.probability / max(phases - 1, 1)
        same = one_hot(seen, phases)
        return jnp.log(jnp.maximum(same * (1 - self.probability) + (1 - same) * other, IMPOSSIBLE))


@dataclass(frozen=True, kw_only=True)
class Grid(Corruption):
    """A pattern of sines added to the labels: where it exceeds 1/2, phases change to the next."""

    frequency: float = 10.0  # periods along an edge of the image
    amplitude: float = 0.8
    rotation: float = 0.0  # degrees

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        return _rounded(labels + self._pattern(labels.shape), phases)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact: phases that would be seen as this label, all equally likely."""
        pattern = self._pattern(seen.shape)
        as_seen = [_rounded(true + pattern, phases) == seen for true in range(phases)]
        return jnp.log(jnp.where(jnp.stack(as_seen, axis=-1), 1.0, IMPOSSIBLE))

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
    """Rings of the spectrum suppressed, and labels again where the result is nearest to one."""

    rings: int = 5
    intensity: float = 0.9  # by which the amplitudes in a ring are reduced
    width: float = 0.1  # of a ring, as a share of the largest frequency

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        spectrum = jnp.fft.fft2(jnp.asarray(labels, jnp.float32))
        filtered = jnp.fft.ifft2(spectrum * on_grid(labels.shape, self._mask(labels.shape[-2:]))).real
        return _rounded(jnp.clip(filtered, 0, phases - 1), phases)

    def _mask(self, shape: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
        y, x = (np.arange(edge) - edge // 2 for edge in shape)
        distance = np.hypot(*np.meshgrid(y, x, indexing="ij"))
        distance /= max(distance.max(), 1)
        centres = (np.arange(self.rings) + 1) / (self.rings + 1)
        inside = (np.abs(distance[..., None] - centres) < self.width / 2).any(axis=-1)
        return np.fft.ifftshift(np.where(inside, 1 - self.intensity, 1.0))


def simulated_log_likelihood(
    corruption: Corruption, seen: Labels, clean: Labels, *, phases: int, key: jax.Array | None = None
) -> Likelihood:
    """log P(seen | true phase) for each label and distance to an interface, as often as a corruption of clean images
    leads to it: for corruptions that act on neighbourhoods."""
    corrupted = corruption.apply(clean, phases=phases, key=jax.random.key(0) if key is None else key)
    counts = jnp.zeros((_DISTANCES + 1, phases, phases))  # by distance, label seen, true phase
    counts = counts.at[interface_distance(corrupted, _DISTANCES) - 1, corrupted, clean].add(1.0)
    every = counts.sum(axis=0, keepdims=True)
    counts = counts + 1e-2 * every / (every.sum(axis=1, keepdims=True) + 1)  # few pixels: as at all distances
    given_true = counts / jnp.maximum(counts.sum(axis=(0, 1), keepdims=True), 1e-9)
    return jnp.log(jnp.maximum(given_true[interface_distance(seen, _DISTANCES) - 1, seen], IMPOSSIBLE**2))


def on_grid(shape: tuple[int, ...], values: Array | np.ndarray | float) -> Array:
    """Values of the last axes on the whole grid."""
    return jnp.broadcast_to(jnp.asarray(values), shape)


def _rounded(values: Float[Array | np.ndarray, "*n h w"], phases: int) -> Labels:
    """The nearest label, of two equally near ones the lower: a threshold of 1/2 for two phases."""
    return jnp.clip(jnp.ceil(values - 0.5), 0, phases - 1).astype(jnp.uint8)


def interface_distance(labels: Labels, most: int) -> Array:
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
