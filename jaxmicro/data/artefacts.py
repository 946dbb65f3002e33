"""Artefacts of electron micrographs as corruptions: curtains, charging, scale bars, mislabelled rims, lost slices."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxmicro.data.corruption import IMPOSSIBLE, Corruption, Labels, Likelihood, interface_distance, on_grid
from jaxmicro.phases import one_hot


@dataclass(frozen=True, kw_only=True)
class Curtains(Corruption):
    """Columns that milling with an ion beam leaves: each is struck with probability `share`, and `strength` of its
    pixels are labelled as `phase`."""

    share: float = 0.1
    strength: float = 0.8
    phase: int = 0

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        columns, pixels = jax.random.split(key)
        struck = jax.random.bernoulli(columns, self.share, (*labels.shape[:-2], 1, labels.shape[-1]))
        struck = struck & jax.random.bernoulli(pixels, self.strength, labels.shape)
        return jnp.where(struck, self.phase, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact for each pixel alone."""
        return _overwritten(seen, phases, self.phase, self.share * self.strength)


@dataclass(frozen=True, kw_only=True)
class ChargingStreaks(Corruption):
    """Segments of rows that charging brightens: each row has one with probability `share`, labelled as `phase`, which
    begins anywhere and whose length is up to `length`."""

    share: float = 0.1
    length: float = 0.5  # of the width of the image
    phase: int = 1

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        rows, begins, lengths = jax.random.split(key, 3)
        one, width = (*labels.shape[:-1], 1), labels.shape[-1]
        begin = jax.random.randint(begins, one, 0, width)
        end = begin + jax.random.uniform(lengths, one, maxval=self.length * width)
        at = on_grid(labels.shape, np.arange(width))
        struck = (at >= begin) & (at < end) & jax.random.bernoulli(rows, self.share, one)
        return jnp.where(struck, self.phase, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact for each pixel alone."""
        width = seen.shape[-1]
        begin, at = np.arange(width)[:, None], np.arange(width)
        reaches = np.clip(1 - (at - begin) / (self.length * width + 1e-12), 0, 1) * (at >= begin)
        return _overwritten(seen, phases, self.phase, self.share * reaches.mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class ScaleBar(Corruption):
    """A rectangle in the lower right corner that is labelled as `phase`."""

    height: float = 0.03  # of the image
    width: float = 0.25
    margin: float = 0.03  # of the shorter edge
    phase: int = 1

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`; nothing is random."""
        return jnp.where(on_grid(labels.shape, self._hidden(labels.shape[-2:])), self.phase, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact: nothing is known of what lies below."""
        return _unless(on_grid(seen.shape, self._hidden(seen.shape[-2:])), seen, phases)

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
    third: those with another phase within `reach` pixels along an axis, with `probability`."""

    probability: float = 0.5
    reach: int = 1
    phase: int = 1

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        struck = interface_distance(labels, self.reach) <= self.reach
        struck &= jax.random.bernoulli(key, self.probability, labels.shape)
        return jnp.where(struck, self.phase, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Of a pixel that is near to an interface in what is seen."""
        near = interface_distance(seen, self.reach) <= self.reach
        return _overwritten(seen, phases, self.phase, self.probability * near)


@dataclass(frozen=True, kw_only=True)
class LostSlices(Corruption):
    """Images of a stack (the first axis) that are missing: each with `probability`, or those numbered; they are seen as
    phase 0."""

    probability: float = 0.1
    numbers: tuple[int, ...] | None = None

    def apply(self, labels: Labels, *, phases: int, key: jax.Array) -> Labels:
        """As `Corruption.apply`."""
        lost = jax.random.bernoulli(key, self.probability, labels.shape[:1])
        if self.numbers is not None:
            lost = jnp.isin(jnp.arange(len(labels)), jnp.asarray(self.numbers, int))
        return jnp.where(lost.reshape(-1, *[1] * (labels.ndim - 1)), 0, labels).astype(jnp.uint8)

    def log_likelihood(self, seen: Labels, *, phases: int, clean: Labels | None = None) -> Likelihood:
        """Exact: nothing is known of slices that are numbered, or else of those that are phase 0 throughout."""
        lost = (seen == 0).all(axis=tuple(range(1, seen.ndim)))
        if self.numbers is not None:
            lost = jnp.isin(jnp.arange(len(seen)), jnp.asarray(self.numbers, int))
        return _unless(lost.reshape(-1, *[1] * (seen.ndim - 1)), seen, phases)


def _overwritten(
    seen: Labels, phases: int, by: int, probability: Float[Array, "*b"] | np.ndarray | float
) -> Likelihood:
    """Likelihood where a pixel is overwritten by a phase with some probability."""
    p = on_grid(seen.shape, probability)[..., None]
    same, written = one_hot(seen, phases), (seen == by)[..., None]
    return jnp.log(jnp.maximum(same * (1 - p) + written * p, IMPOSSIBLE))


def _unless(hidden: Bool[Array, "*b"] | np.ndarray, seen: Labels, phases: int) -> Likelihood:
    """Likelihood where what is seen is true, unless it is hidden."""
    exact = jnp.log(jnp.maximum(one_hot(seen, phases), IMPOSSIBLE))
    return jnp.where(jnp.asarray(hidden)[..., None], 0.0, exact)
