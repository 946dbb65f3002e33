"""Covariance of the errors of the statistics of one micrograph against its material, from the micrograph alone.

Each statistic is a mean over the image of a local quantity e(x), so the variance of its error is the spectral density
of e at frequency zero divided by the area. It is estimated at the lowest non-zero frequencies of the image, by sums of
e(x) b(x) with cosines b, which are orthogonal to the mean (so that subtracting the mean of e changes nothing) and
nearly independent of each other. With a fixed number of cosines the error divided by its estimated standard deviation
has Student's t distribution. The only assumption on the correlation of the phases is that it decays within a part of
the image.

Source: Phillips, Econometric Theory 21 (2005) 116; Lazarus et al., J. Bus. Econ. Stat. 36 (2018) 541 (cosines, t).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer
from scipy.fft import next_fast_len

from jaxmicro.phases import one_hot

# Number of cosines, of up to two half periods along each edge of a square image. Fewer cosines have lower frequencies,
# and a smaller bias where an image is only a few correlation lengths wide; 8 determine a standard deviation only within
# 25 %, which Student's t accounts for.
CONTRASTS = 8


class Contrasts(NamedTuple):
    """Contrasts of the statistics between halves, quarters, ... of an image, one for each cosine `b`.

    The covariance of the errors of any two statistics is the mean over b of the products of their contrasts.
    """

    volume_fraction: Float[Array, "b p"]
    two_point: Float[Array, "b p r"]  # radial
    lineal_path: Float[Array, "b p r"]  # mean of the two directions
    boundary_length: Float[Array, "b p"]
    two_point_difference: Float[Array, "b p r"]  # along the first axis minus along the second
    lineal_path_difference: Float[Array, "b p r"]


@partial(jax.jit, static_argnames=("phases", "r_max"))
def contrasts(labels: Integer[np.ndarray, "h w"] | Integer[Array, "h w"], *, phases: int, r_max: int) -> Contrasts:
    """Contrasts of the statistics of an image (`statistics.image_statistics`), up to the distance r_max in pixels."""
    waves = _frequencies(labels.shape)
    fractions = jnp.moveaxis(one_hot(labels, phases), -1, 0)
    mean = jnp.mean(fractions, axis=(1, 2))
    centred = fractions - mean[:, None, None]
    of_fraction = _project(centred, waves, 0.0, 0.0) / labels.size  # b p
    radial, along = _covariance_contrasts(centred, waves, r_max)
    radial += 2 * (mean[None] * of_fraction)[..., None]  # S2 = C + phi^2
    path = [_path_contrasts(fractions, waves, axis, r_max) for axis in (0, 1)]
    edges = [_edge_contrasts(fractions, waves, axis) for axis in (0, 1)]
    return Contrasts(
        of_fraction, radial, (path[0] + path[1]) / 2, edges[0] + edges[1], along[0] - along[1], path[0] - path[1]
    )  # fmt: skip


def _frequencies(shape: tuple[int, ...]) -> np.ndarray:
    """Half periods (j, k) along the two axes of the CONTRASTS cosines of lowest frequency, without (0, 0)."""
    j, k = (grid.ravel() for grid in np.meshgrid(*2 * [np.arange(CONTRASTS + 1)], indexing="ij"))
    order = np.argsort((j / shape[0]) ** 2 + (k / shape[1]) ** 2, kind="stable")
    return np.stack([j, k], axis=1)[order[1 : CONTRASTS + 1]]


def _cosines(count: int, edge: int, offset: float | Array, halves: np.ndarray) -> Float[Array, "b x"]:
    """Cosines of unit mean square over an edge, at the centres of `count` pixels that start at `offset`."""
    place = (jnp.arange(count)[None] + 0.5 + offset) / edge
    norm = np.where(halves > 0, np.sqrt(2), 1.0).astype(np.float32)
    return jnp.asarray(norm)[:, None] * jnp.cos(np.pi * halves.astype(np.float32)[:, None] * place)


def _project(
    field: Float[Array, "p h w"],
    waves: np.ndarray,
    down: float | Array,
    right: float | Array,
    edges: tuple[int, ...] | None = None,
) -> Float[Array, "b p"]:
    """Sums over a field of its product with each cosine; `edges` are those of the image (None: of the field), in which
    the first pixel of the field is at `down`, `right`."""
    height, width = edges or field.shape[1:]
    rows = _cosines(field.shape[1], height, down, waves[:, 0])
    columns = _cosines(field.shape[2], width, right, waves[:, 1])
    return jnp.einsum("phw,bh,bw->bp", field, rows, columns, optimize="optimal")


def _covariance_contrasts(
    centred: Float[Array, "p h w"], waves: np.ndarray, r_max: int
) -> tuple[Float[Array, "b p r"], list[Float[Array, "b p r"]]]:
    """Contrasts of the radial covariance, and of the covariances along the two axes."""
    shape = centred.shape[1:]
    size = [int(next_fast_len(n + r_max, real=True) or n) for n in shape]
    ring = _rings(r_max)
    near = np.arange(-r_max, r_max + 1)
    pairs = np.outer(*(edge - np.abs(near) for edge in shape)).astype(np.float32)
    count = np.einsum("qrl,l->qr", ring, pairs.ravel())[:, None]
    window = jnp.sum(centred, axis=0, keepdims=True) + 1  # ones
    fields = jnp.concatenate([centred, window])
    spectrum = jnp.fft.rfft2(fields, size)
    covariance = _binned(_lags(jnp.abs(spectrum[:-1]) ** 2, size, r_max), ring) / count

    def of_cosine(along: tuple[Array, Array]) -> Array:
        weighed = jnp.fft.rfft2(fields * (along[0][:, None] * along[1][None, :])[None], size)
        sums = _binned(_lags(weighed * jnp.conj(spectrum), size, r_max), ring)  # q p r
        return (sums[:, :-1] - covariance * sums[:, -1:]) / count

    cosines = tuple(_cosines(edge, edge, 0.0, halves) for edge, halves in zip(shape, waves.T, strict=True))
    radial, first, second = jnp.moveaxis(jax.lax.map(of_cosine, cosines), 1, 0)
    return radial, [first, second]


def _rings(r_max: int) -> np.ndarray:
    """Indicators "q r lag" of the lags of each distance r: in all directions, along the first and the second axis."""
    d = np.arange(-r_max, r_max + 1)
    r = np.arange(r_max + 1)[:, None, None]
    around = np.floor(np.hypot(d[:, None], d) + 0.5) == r
    first = (np.abs(d[:, None]) == r) & (d == 0)
    return np.stack([around, first, first.swapaxes(1, 2)]).reshape(3, r_max + 1, -1).astype(np.float32)


def _binned(lags: Float[Array, "p y x"], ring: np.ndarray) -> Float[Array, "q p r"]:
    return jnp.einsum("qrl,pl->qpr", ring, lags.reshape(len(lags), -1), precision="highest")


def _lags(spectrum: Array, size: list[int], r_max: int) -> Float[Array, "p y x"]:
    """Lags from -r_max to r_max of the correlation with this spectrum."""
    full = jnp.roll(jnp.fft.irfft2(spectrum, size), (r_max, r_max), (1, 2))
    return full[:, : 2 * r_max + 1, : 2 * r_max + 1]


def _path_contrasts(
    fractions: Float[Array, "p h w"], waves: np.ndarray, axis: int, r_max: int
) -> Float[Array, "b p r"]:
    """Contrasts of the lineal path along an axis; a segment has the weight of the cosine at its midpoint."""
    field = fractions if axis == 0 else fractions.swapaxes(1, 2)
    waves = waves if axis == 0 else waves[:, ::-1]
    height, width = field.shape[1:]
    extended = jnp.pad(field, ((0, 0), (0, r_max), (0, 0)))

    def lengthen(segments: Array, r: Array) -> tuple[Array, Array]:
        segments = segments * jax.lax.dynamic_slice_in_dim(extended, r, height, axis=1)
        fits = (jnp.arange(height) + r < height)[None, :, None] * jnp.ones((1, 1, width))
        count = (height - r) * width
        path = jnp.sum(segments, axis=(1, 2)) / count
        sums = _project(jnp.concatenate([segments, fits]), waves, r / 2, 0.0)
        return segments, (sums[:, :-1] - path[None] * sums[:, -1:]) / count

    _, by_length = jax.lax.scan(lengthen, field, jnp.arange(r_max + 1))
    return jnp.moveaxis(by_length, 0, -1)


def _edge_contrasts(fractions: Float[Array, "p h w"], waves: np.ndarray, axis: int) -> Float[Array, "b p"]:
    """Contrasts of the share of pairs of neighbours along an axis that the boundary of the phase separates."""
    edges = jnp.abs(jnp.diff(fractions, axis=axis + 1))
    edges -= jnp.mean(edges, axis=(1, 2), keepdims=True)
    offset = (0.5, 0.0) if axis == 0 else (0.0, 0.5)
    return _project(edges, waves, *offset, edges=fractions.shape[1:]) / edges[0].size


def student_weights(errors: int, draws: int, *, seed: int = 0) -> Float[np.ndarray, "e n b"]:
    """Weights of the contrasts in samples of independent errors. The sum over b of weight times contrast has the
    multivariate t distribution, with one chi-square variable for all errors of a sample, because one estimate of the
    covariance serves all of them.

    Args:
        errors: number of independent errors e in a sample.
        draws: number of samples n.
        seed: of the random numbers.
    """
    normal, chi = jax.random.split(jax.random.key(seed))
    z = jax.random.normal(normal, (errors, draws, CONTRASTS))
    return np.asarray(z / jnp.sqrt(jax.random.chisquare(chi, float(CONTRASTS), shape=(1, draws, 1))), float)
