"""Modes of a box: Fourier along periodic axes, cosines along axes with walls that no flux crosses.

Cosine transforms are matrix products along each axis, which for the edges of a microstructure take about as long as
the transposes that a fast transform would need. Each mode is even or odd about the middle of the box, so that two
products with half the edge suffice on long axes.
"""

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

FOLDED_EDGE = 96  # from which the smaller products repay the folding, measured on two cores

# Real and imaginary parts along a first axis where any axis is periodic: XLA does not vectorise complex arithmetic on
# CPUs.
Modes = Float[Array, "*mode"]


class Box(NamedTuple):
    """A grid of cells with its boundary conditions; all of it static.

    Attributes:
        shape: cells along each axis.
        spacing: edge of a cell along each axis.
        no_flux: axes with walls; the others are periodic.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    no_flux: tuple[int, ...]

    @property
    def cell_volume(self) -> float:
        """Product of the spacings."""
        return math.prod(self.spacing)

    @property
    def periodic(self) -> tuple[int, ...]:
        """Axes without walls."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.no_flux)

    def modes(self, field: Float[Array, "*grid"]) -> Modes:
        """Amplitudes of a field. Cosines are orthonormal; FFT is not normalised."""
        for axis in self.no_flux:
            field = _to_modes(field, axis)
        if not self.periodic:
            return field
        modes = jnp.fft.rfftn(field, axes=self.periodic)
        return jnp.stack([modes.real, modes.imag])

    def field(self, modes: Modes) -> Float[Array, "*grid"]:
        """The field with these amplitudes; the inverse of `modes`."""
        if self.periodic:
            modes = lax.complex(modes[0], modes[1])
            modes = jnp.fft.irfftn(modes, s=[self.shape[axis] for axis in self.periodic], axes=self.periodic)
        for axis in self.no_flux:
            modes = _to_field(modes, axis)
        return modes

    def resampled(self, modes: Modes, other: "Box") -> Float[Array, "*other_mode"]:
        """The same field on another grid of the same box, without the modes that either lacks, and Nyquist's."""
        for axis, (old, new) in enumerate(zip(self.shape, other.shape, strict=True)):
            along, kept, walls = axis + bool(self.periodic), min(old, new) // 2, axis in self.no_flux
            if old == new:
                continue
            if not walls and axis == self.periodic[-1]:
                parts = [_fitted(modes, new // 2 + 1, kept, along)]
            else:
                long, short = jnp.split(modes, [(old + 1) // 2], along)  # even and odd cosines, or k >= 0 and k < 0
                short = _fitted(short, new // 2, kept, along) if walls else _fitted(short, new // 2, 1 - kept, along)
                parts = [_fitted(long, (new + 1) // 2, kept, along), short]
            modes = jnp.concatenate(parts, along) * (math.sqrt(new / old) if walls else new / old)
        return modes

    def outside(self, shares: tuple[float, ...], dtype: Any) -> Float[Array, "*mode"]:
        """1 for each mode whose wave is shorter along an axis than a share of that axis's shortest; else 0."""
        inside = jnp.ones((), dtype)
        for axis, share in enumerate(shares):
            along = [1] * len(self.shape)
            along[axis] = -1
            k = self._wave_numbers(axis) * self.spacing[axis] / math.pi
            inside = inside * jnp.asarray(k < share - 1e-9, dtype).reshape(along)
        return 1 - (inside[None] if self.periodic else inside)

    def squared_wave_number(self, dtype: Any) -> Float[Array, "*mode"]:
        """k^2 of each mode, in 1 / spacing^2; broadcasts against `Modes`."""
        total = jnp.zeros((), dtype)
        for axis in range(len(self.shape)):
            along = [1] * len(self.shape)
            along[axis] = -1
            total = total + jnp.asarray(self._wave_numbers(axis) ** 2, dtype).reshape(along)
        return total[None] if self.periodic else total

    def squared_sum(self, modes: Modes) -> Float[Array, ""]:
        """Sum over the cells of the square of the field with these amplitudes (Parseval)."""
        if self.periodic:
            last = self.periodic[-1]
            edge = self.shape[last]
            along = [1] * (1 + len(self.shape))
            along[1 + last] = -1
            twice = np.full(edge // 2 + 1, 2.0)  # all but the first, and Nyquist's, stand for two conjugate modes
            twice[0] = 1.0
            if edge % 2 == 0:
                twice[-1] = 1.0
            weight = np.sqrt(twice / math.prod(self.shape[axis] for axis in self.periodic))
            modes = modes * jnp.asarray(weight, modes.dtype).reshape(along)
        return total(modes, modes)

    def gradient(self, field: Float[Array, "*grid"], axis: int) -> Float[Array, "*grid"]:
        """Derivative of a field along an axis at the cell centres, exact for every mode but Nyquist's, which has none.

        Along an axis with walls the derivative is odd about them.
        """
        matrix = jnp.asarray(_derivative(self.shape[axis], axis in self.no_flux) / self.spacing[axis], field.dtype)
        return _along(matrix, field, axis)

    def divergence(self, flux: Float[Array, "*grid"], axis: int) -> Float[Array, "*grid"]:
        """Derivative along an axis of a flux, which is odd about walls: minus the transpose of `gradient`."""
        matrix = jnp.asarray(-_derivative(self.shape[axis], axis in self.no_flux).T / self.spacing[axis], flux.dtype)
        return _along(matrix, flux, axis)

    def differentiable(self, dtype: Any) -> Float[Array, "*mode"]:
        """1 for each mode with a derivative, 0 for the mean and for Nyquist's along a periodic axis of even edge."""
        keep = jnp.ones((), dtype)
        for axis, edge in enumerate(self.shape):
            if axis not in self.no_flux and edge % 2 == 0:
                along = [1] * len(self.shape)
                along[axis] = -1
                nyquist = np.isclose(self._wave_numbers(axis) * self.spacing[axis], math.pi)
                keep = keep * jnp.asarray(~nyquist, dtype).reshape(along)
        keep = keep[None] if self.periodic and keep.ndim else keep
        return keep * (self.squared_wave_number(dtype) > 0)

    def _wave_numbers(self, axis: int) -> Float[np.ndarray, " k"]:
        """|k| along an axis, in the order of the amplitudes."""
        edge, spacing = self.shape[axis], self.spacing[axis]
        if axis in self.no_flux:
            return _cosines(edge)[1] / spacing
        if axis == self.periodic[-1]:
            return 2 * math.pi * np.fft.rfftfreq(edge, spacing)
        return 2 * math.pi * np.abs(np.fft.fftfreq(edge, spacing))


def total(a: Array, b: Array) -> Float[Array, ""]:
    """Sum of a product, as a call of the linear algebra library: XLA would do all that leads to a and b within the sum,
    which it does not vectorise on CPUs."""
    return jnp.vdot(a.ravel(), b.ravel(), precision=lax.Precision.HIGHEST)


def _fitted(part: Array, length: int, kept: int, axis: int) -> Array:
    """The first amplitudes along an axis, or the last where `kept` is negative, beside zeros up to a length."""
    room = [(0, 0)] * part.ndim
    room[axis] = (0, length - kept) if kept >= 0 else (length + kept, 0)
    edge = part.shape[axis]
    return jnp.pad(
        lax.slice_in_dim(part, 0 if kept >= 0 else edge + kept, kept if kept >= 0 else edge, axis=axis), room
    )


@functools.cache
def _cosines(edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal cosines "k x" at cell centres, those even about the middle first, and their k for a spacing of 1."""
    k = math.pi * np.concatenate([np.arange(0, edge, 2), np.arange(1, edge, 2)]) / edge
    rows = np.cos(k[:, None] * (np.arange(edge) + 0.5)) * np.sqrt(np.where(k > 0, 2, 1) / edge)[:, None]
    return rows, k


@functools.cache
def _derivative(edge: int, walls: bool) -> np.ndarray:
    """Matrix of the derivative at the cell centres of a sum of modes, for a spacing of 1."""
    if walls:
        rows, k = _cosines(edge)
        sines = np.sin(k[:, None] * (np.arange(edge) + 0.5)) * np.sqrt(np.where(k > 0, 2, 1) / edge)[:, None]
        return (-k[:, None] * sines).T @ rows
    k = 2 * math.pi * np.fft.fftfreq(edge)
    k[np.isclose(k, -math.pi)] = 0  # Nyquist's mode has its extremes at the cell centres
    return np.fft.ifft(1j * k[:, None] * np.fft.fft(np.eye(edge), axis=0), axis=0).real


def _to_modes(field: Array, axis: int) -> Array:
    """Amplitudes of the cosines along an axis."""
    edge = field.shape[axis]
    rows = jnp.asarray(_cosines(edge)[0], field.dtype)
    if edge % 2 or edge < FOLDED_EDGE:
        return _along(rows, field, axis)
    half = edge // 2
    first = lax.slice_in_dim(field, 0, half, axis=axis)
    last = jnp.flip(lax.slice_in_dim(field, half, None, axis=axis), axis)
    even, odd = (_along(rows[part, :half], x, axis) for part, x in _parts(half, first + last, first - last))
    return jnp.concatenate([even, odd], axis)


def _to_field(modes: Array, axis: int) -> Array:
    """Sum of the cosines along an axis; the transpose, and so the inverse, of `_to_modes`."""
    edge = modes.shape[axis]
    rows = jnp.asarray(_cosines(edge)[0], modes.dtype)
    if edge % 2 or edge < FOLDED_EDGE:
        return _along(rows.T, modes, axis)
    half = edge // 2
    halves = (lax.slice_in_dim(modes, 0, half, axis=axis), lax.slice_in_dim(modes, half, None, axis=axis))
    even, odd = (_along(rows[part, :half].T, x, axis) for part, x in _parts(half, *halves))
    return jnp.concatenate([even + odd, jnp.flip(even - odd, axis)], axis)


def _parts(half: int, even: Array, odd: Array) -> tuple[tuple[slice, Array], tuple[slice, Array]]:
    """Rows of the even and of the odd modes, each with what they are multiplied with."""
    return (slice(0, half), even), (slice(half, None), odd)


def _along(matrix: Array, array: Array, axis: int) -> Array:
    """Product of a matrix with an array along one axis, in full precision on every device."""
    letters = "abc"[: array.ndim]
    into = letters.replace(letters[axis], "k")
    return jnp.einsum(f"k{letters[axis]},{letters}->{into}", matrix, array, precision=lax.Precision.HIGHEST)
