"""Artefacts of electron micrographs as corruptions: curtaining, charging, scale bars, mislabelled rims."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxmicro.data.corruption import (
    LEAST_PROBABILITY,
    Corruption,
    Labels,
    Likelihood,
    OtherLabels,
    check_share,
    interface_distance,
    on_grid,
)
from jaxmicro.phases import one_hot


@dataclass(frozen=True, kw_only=True)
class Curtaining(Corruption):
    """Columns that milling with an ion beam leaves: each is struck with probability `share`, and `strength` of its
    pixels are labelled as `phase`."""

    share: float = 0.1
    strength: float = 0.8
    phase: int = 0

    def __post_init__(self) -> None:
        check_share(share=self.share, strength=self.strength)

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        columns, pixels = jax.random.split(key)
        struck = jax.random.bernoulli(columns, self.share, (*labels.shape[:-2], 1, labels.shape[-1]))
        struck = struck & jax.random.bernoulli(pixels, self.strength, labels.shape)
        return _written(labels, struck, self.phase, phases)

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """Exact for each pixel alone."""
        return _overwritten(observed, phases, self.phase, self.share * self.strength)


@dataclass(frozen=True, kw_only=True)
class ChargingStreaks(Corruption):
    """Segments of rows that charging brightens: each row has one with probability `share`, labelled as `phase`, which
    begins anywhere and whose length is up to `length`."""

    share: float = 0.1
    length: float = 0.5  # of the width of the image
    phase: int = 1

    def __post_init__(self) -> None:
        check_share(share=self.share, length=self.length)
        if self.length == 0:
            raise ValueError("length is 0, expected a share of the width above 0")

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        rows, begins, lengths = jax.random.split(key, 3)
        one, width = (*labels.shape[:-1], 1), labels.shape[-1]
        begin = jax.random.randint(begins, one, 0, width)
        end = begin + jax.random.uniform(lengths, one, maxval=self.length * width)
        at = on_grid(labels.shape, np.arange(width))
        struck = (at >= begin) & (at < end) & jax.random.bernoulli(rows, self.share, one)
        return _written(labels, struck, self.phase, phases)

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """Exact for each pixel alone."""
        width = observed.shape[-1]
        begin, at = np.arange(width)[:, None], np.arange(width)
        reaches = np.clip(1 - (at - begin) / (self.length * width), 0, 1) * (at >= begin)
        return _overwritten(observed, phases, self.phase, self.share * reaches.mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class ScaleBar(Corruption):
    """A rectangle in the lower right corner that is labelled as `phase`."""

    height: float = 0.03  # of the image
    width: float = 0.25
    margin: float = 0.03  # of the shorter edge
    phase: int = 1

    def __post_init__(self) -> None:
        check_share(height=self.height, width=self.width, margin=self.margin)

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        return _written(labels, on_grid(labels.shape, self._hidden(labels.shape[-2:])), self.phase, phases)

    def log_likelihood(self, observed: Labels, *, phases: int, clean: OtherLabels | None = None) -> Likelihood:
        """Exact: nothing is known of what lies below."""
        return _unless(on_grid(observed.shape, self._hidden(observed.shape[-2:])), observed, phases)

    def _hidden(self, shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
        margin = round(self.margin * min(shape))
        (top, bottom), (left, right) = (
            (edge - margin - max(1, round(share * edge)), edge - margin)
            for edge, share in zip(shape, (self.height, self.width), strict=True)
        )
        y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
        return (y >= top) & (y < bottom) & (x >= left) & (x < right)


@dataclass(frozen=True, kw_only=True)
class Rim(Corruption):
    """Pixels at an interface that are labelled as `phase`, as where grey values of two phases are blurred to that of a
    third: those with another phase within `reach` pixels along an axis, with `probability`. Its likelihood is found by
    applying it, because a rim may hide the interface that it lies along."""

    probability: float = 0.5
    reach: int = 1
    phase: int = 1

    def __post_init__(self) -> None:
        check_share(probability=self.probability)
        if self.reach < 1:
            raise ValueError(f"reach is {self.reach}, expected at least 1 pixel")

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        struck = interface_distance(labels, self.reach) <= self.reach
        struck = struck & jax.random.bernoulli(key, self.probability, labels.shape)
        return _written(labels, struck, self.phase, phases)


def _written(labels: Labels, struck: Bool[Array, "*n h w"], phase: int, phases: int) -> Labels:
    """Labels with a phase written over the struck pixels."""
    if not 0 <= phase < phases:
        raise ValueError(f"phase is {phase}, expected one of the labels 0 to {phases - 1}")
    return jnp.where(struck, phase, labels).astype(jnp.uint8)


def _overwritten(observed: Labels, phases: int, by: int, probability: Float[np.ndarray, "*b"] | float) -> Likelihood:
    """Likelihood where a pixel is overwritten by a phase with some probability."""
    p = on_grid(observed.shape, probability)[..., None]
    same, written = one_hot(observed, phases), (observed == by)[..., None]
    return jnp.log(jnp.maximum(same * (1 - p) + written * p, LEAST_PROBABILITY))


def _unless(hidden: Bool[Array, "*b"], observed: Labels, phases: int) -> Likelihood:
    """Likelihood where what is observed is true, unless it is hidden."""
    exact = jnp.log(jnp.maximum(one_hot(observed, phases), LEAST_PROBABILITY))
    return jnp.where(hidden[..., None], 0.0, exact)
