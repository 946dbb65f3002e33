"""Modes of a box: Fourier along periodic axes, cosines along axes with walls that no flux crosses.

Short axes are transformed by matrix products, in which each mode is even or odd about the middle of the box, so that
two products with half the edge suffice. Long periodic axes are transformed by FFT.
"""

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Inexact

MATRIX_EDGE = 64  # the longest periodic axis for which products are faster than FFT, measured on two cores

Modes = Inexact[Array, "*mode"]  # complex where an axis is transformed by FFT


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
    def fft_axes(self) -> tuple[int, ...]:
        """Axes that are transformed by FFT: all periodic ones, if one of them is long."""
        periodic = tuple(axis for axis in range(len(self.shape)) if axis not in self.no_flux)
        return periodic if any(self.shape[axis] > MATRIX_EDGE for axis in periodic) else ()

    def modes(self, field: Float[Array, "*grid"]) -> Modes:
        """Amplitudes of a field. Along axes without FFT the modes are orthonormal; FFT is not normalised."""
        for axis in self._matrix_axes():
            field = _to_modes(field, self._matrix(axis), axis)
        return jnp.fft.rfftn(field, axes=self.fft_axes) if self.fft_axes else field

    def field(self, modes: Modes) -> Float[Array, "*grid"]:
        """The field with these amplitudes; the inverse of `modes`."""
        if self.fft_axes:
            modes = jnp.fft.irfftn(modes, s=[self.shape[axis] for axis in self.fft_axes], axes=self.fft_axes)
        for axis in self._matrix_axes():
            modes = _to_field(modes, self._matrix(axis), axis)
        return modes

    def squared_wave_number(self, dtype: Any) -> Float[Array, "*mode"]:
        """k^2 of each mode, in 1 / spacing^2."""
        total = jnp.zeros((), dtype)
        for axis in range(len(self.shape)):
            along = [1] * len(self.shape)
            along[axis] = -1
            total = total + jnp.asarray(self._wave_numbers(axis) ** 2, dtype).reshape(along)
        return total

    def inner(self, a: Modes, b: Modes) -> Float[Array, ""]:
        """Sum over the cells of the product of two real fields, from their amplitudes (Parseval)."""
        product = a.real * b.real + a.imag * b.imag if jnp.iscomplexobj(a) else a * b
        if not self.fft_axes:
            return jnp.sum(product)
        last = self.fft_axes[-1]
        edge = self.shape[last]
        along = [1] * len(self.shape)
        along[last] = -1
        twice = np.full(edge // 2 + 1, 2.0)  # all but the first, and Nyquist's, stand for two conjugate modes
        twice[0] = 1.0
        if edge % 2 == 0:
            twice[-1] = 1.0
        weight = twice / math.prod(self.shape[axis] for axis in self.fft_axes)
        return jnp.sum(product * jnp.asarray(weight, product.dtype).reshape(along))

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
        return keep * (self.squared_wave_number(dtype) > 0)

    def _matrix_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.fft_axes)

    def _matrix(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        return _halves(self.shape[axis], axis in self.no_flux)

    def _wave_numbers(self, axis: int) -> Float[np.ndarray, " k"]:
        """|k| along an axis, in the order of the amplitudes."""
        edge, spacing = self.shape[axis], self.spacing[axis]
        if axis not in self.fft_axes:
            return _even_and_odd(edge, axis in self.no_flux)[1] / spacing
        if axis == self.fft_axes[-1]:
            return 2 * math.pi * np.fft.rfftfreq(edge, spacing)
        return 2 * math.pi * np.abs(np.fft.fftfreq(edge, spacing))


@functools.cache
def _even_and_odd(edge: int, walls: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Orthonormal modes "k x" at cell centres, the even ones about the middle first; their |k| for a spacing of 1; and
    the number of even ones."""
    x = np.arange(edge) + 0.5
    if walls:
        k = math.pi * np.concatenate([np.arange(0, edge, 2), np.arange(1, edge, 2)]) / edge
        rows, even = np.cos(k[:, None] * x), (edge + 1) // 2
    else:
        half = 2 * math.pi * np.arange(1, edge // 2 + 1) / edge
        cosines = np.concatenate([[0.0], half if edge % 2 else half[:-1]])  # Nyquist's cosine is 0 at all centres
        k, even = np.concatenate([cosines, half]), len(cosines)
        rows = np.concatenate([np.cos(cosines[:, None] * x), np.sin(half[:, None] * x)])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), k, even


@functools.cache
def _halves(edge: int, walls: bool) -> tuple[np.ndarray, np.ndarray]:
    """The even and the odd modes on the first half of the axis; the middle cell of an odd edge counts half."""
    rows, _, even = _even_and_odd(edge, walls)
    half = (edge + 1) // 2
    return rows[:even, :half].copy(), rows[even:, :half].copy()


@functools.cache
def _derivative(edge: int, walls: bool) -> np.ndarray:
    """Matrix of the derivative at the cell centres of a sum of modes, for a spacing of 1."""
    rows, k, even = _even_and_odd(edge, walls)
    x = np.arange(edge) + 0.5
    if walls:
        return (-np.sin(k[:, None] * x) * k[:, None] * np.sqrt(np.where(k > 0, 2, 1) / edge)[:, None]).T @ rows
    derived = np.concatenate([-np.sin(k[:even, None] * x), np.cos(k[even:, None] * x)]) * k[:, None]
    derived = derived * np.sqrt(np.where(k > 0, 2, 1) / edge)[:, None]
    if edge % 2 == 0:
        derived[-1] = 0.0
    return derived.T @ rows


def _to_modes(field: Array, halves: tuple[np.ndarray, np.ndarray], axis: int) -> Array:
    even, odd = (jnp.asarray(matrix, field.dtype) for matrix in halves)
    first, last = _folded(field, axis)
    if even.shape[1] > last.shape[axis]:  # the middle cell of an odd edge is its own mirror image
        last = jnp.concatenate([last, jnp.zeros_like(lax.slice_in_dim(first, 0, 1, axis=axis))], axis)
    return jnp.concatenate([_along(even, first + last, axis), _along(odd, first - last, axis)], axis)


def _to_field(modes: Array, halves: tuple[np.ndarray, np.ndarray], axis: int) -> Array:
    even, odd = (jnp.asarray(matrix.T, modes.dtype) for matrix in halves)
    count = even.shape[1]
    a = _along(even, lax.slice_in_dim(modes, 0, count, axis=axis), axis)
    b = _along(odd, lax.slice_in_dim(modes, count, None, axis=axis), axis)
    last = lax.slice_in_dim(a - b, 0, modes.shape[axis] // 2, axis=axis)
    return jnp.concatenate([a + b, jnp.flip(last, axis)], axis)


def _folded(field: Array, axis: int) -> tuple[Array, Array]:
    """The first half of an axis (with the middle cell), and the other half seen from its end."""
    half = (field.shape[axis] + 1) // 2
    return lax.slice_in_dim(field, 0, half, axis=axis), jnp.flip(lax.slice_in_dim(field, half, None, axis=axis), axis)


def _along(matrix: Array, array: Array, axis: int) -> Array:
    """Product of a matrix with an array along one axis, in full precision on every device."""
    product = lax.dot_general(matrix, array, (((1,), (axis,)), ((), ())), precision=lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)
