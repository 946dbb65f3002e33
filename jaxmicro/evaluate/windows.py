"""Statistics of square windows of images: Euler density, clusters, triple points, contacts, chords, correlations.

Functions take windows "n h w" and return one value for each, from which the scatter between windows is estimated.
"""

import itertools
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from jaxmicro.descriptors import (
    chord_length_distribution,
    chord_lengths,
    euler_density,
    interface_areas,
    label_clusters,
    mean_chord_length,
    radial_two_point,
)
from jaxmicro.phases import one_hot
from jaxmicro.types import Microstructure

MAX_WINDOWS = 256  # upper bound of the number of crops, and of windows per volume and orientation
_MIN_CROPS = 8  # of the micrograph: with fewer, the edge of the windows is halved
_MIN_EDGE = 16  # of windows, pixels: it is not halved below this
_MIN_SPECK = 4  # pixels: lower bound of `speck_pixels`, however fine the material

Windows = Integer[np.ndarray, "n h w"]
Masks = Bool[np.ndarray, "n h w"]


def windows_of(
    volumes: Sequence[Microstructure], reference: Microstructure
) -> tuple[int, Integer[np.ndarray, "n e e"]]:
    """Edge of the windows in pixels, and disjoint crops of the reference; a volume is cropped in planes half an edge
    apart."""

    def crops(edge: int) -> Integer[np.ndarray, "n e e"]:
        stacks = [reference.labels[None]]
        if reference.labels.ndim == 3:
            apart = max(edge // 2, 1)
            stacks = [np.moveaxis(reference.labels, axis, 0)[apart // 2 :: apart] for axis in range(3)]
        return evenly(np.concatenate([tiled(s, edge).reshape(-1, edge, edge) for s in stacks]), MAX_WINDOWS)

    edge = min(min(m.labels.shape) for m in (*volumes, reference))
    while len(crops(edge)) < _MIN_CROPS and edge // 2 >= _MIN_EDGE:
        edge //= 2
    return edge, crops(edge)


def tiled(stack: Windows, edge: int) -> Integer[np.ndarray, "n tiles e e"]:
    """Disjoint square windows of each of several images, in rows and columns from the first pixel."""
    n, rows, columns = len(stack), stack.shape[1] // edge, stack.shape[2] // edge
    tiles = stack[:, : rows * edge, : columns * edge].reshape(n, rows, edge, columns, edge).swapaxes(2, 3)
    return tiles.reshape(n, rows * columns, edge, edge)


def thinned(stack: Windows, edge: int) -> Integer[np.ndarray, "m h w"]:
    """Every k-th image, with the smallest k for which there are at most MAX_WINDOWS windows."""
    windows = stack.size // edge**2
    return stack[:: -(-windows // MAX_WINDOWS)]


def evenly(windows: np.ndarray, max_count: int) -> np.ndarray:
    """At most `max_count` of the windows, evenly spaced.

    >>> evenly(np.arange(9), 3)
    array([0, 4, 8])
    """
    return windows[np.unique(np.linspace(0, len(windows) - 1, max_count).round().astype(int))]


def chord_ends(phase: Masks) -> Float[np.ndarray, " n"]:
    """Share of the pairs of neighbours in each window that differ, mean of both directions.

    >>> chord_ends(np.array([[[True, False], [True, False]]])).tolist()
    [0.5]
    """
    return np.mean([np.diff(phase, axis=axis).mean(axis=(1, 2)) for axis in (1, 2)], axis=0)


def speck_pixels(phase: Masks) -> int:
    """Smallest number of pixels of a cluster that is no speck: the area of a square whose edge is a quarter of the mean
    chord, at least _MIN_SPECK."""
    chord = np.mean([mean_chord_length(phase, axis=axis) for axis in (1, 2)])
    return max(_MIN_SPECK, int((min(chord, phase.shape[1]) / 4) ** 2))


@jax.jit
def euler_densities(phase: Masks | Bool[Array, "n h w"]) -> Float[Array, " n"]:
    """Euler characteristic per pixel of each window, without bias by its border (`descriptors.euler_density`)."""
    return jax.vmap(euler_density)(jnp.asarray(phase))


def cluster_counts(phase: Masks, *, below: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Number of clusters in each window, and of those with fewer than `below` pixels that do not touch its border."""
    apart = np.pad(phase, ((0, 0), (1, 1), (1, 1)))  # all windows are labelled as one image, separated by borders
    clusters = label_clusters(apart.reshape(-1, apart.shape[2])).reshape(apart.shape)
    sizes = np.bincount(clusters.ravel())
    window = np.zeros(len(sizes), int)
    window[clusters.ravel()] = np.repeat(np.arange(len(phase)), apart[0].size)
    cut = np.zeros(len(sizes), bool)
    for border in (clusters[:, 1], clusters[:, -2], clusters[:, :, 1], clusters[:, :, -2]):
        cut[border] = True
    small = (sizes < below) & ~cut
    return np.bincount(window[1:], minlength=len(phase)), np.bincount(window[1:][small[1:]], minlength=len(phase))


def triple_points(labels: Windows) -> np.ndarray:
    """Share of the corners of pixels inside each window at which three or more phases meet.

    >>> triple_points(np.array([[[0, 1], [2, 2]]])).tolist()
    [1.0]
    """
    four = np.sort([labels[:, :-1, :-1], labels[:, 1:, :-1], labels[:, :-1, 1:], labels[:, 1:, 1:]], axis=0)
    return (np.sum(np.diff(four, axis=0) != 0, axis=0) >= 2).mean(axis=(1, 2))


@partial(jax.jit, static_argnames="phases")
def contacts(labels: Windows | Array, *, phases: int) -> Float[Array, "n p p"]:
    """Number of pixel edges between each pair of phases, per pixel."""
    return jax.vmap(lambda window: interface_areas(one_hot(window, phases)))(jnp.asarray(labels))


@partial(jax.jit, static_argnames=("phases", "r_max"))
def cross_correlation(labels: Windows | Array, *, phases: int, r_max: int) -> Float[Array, "n q r"]:
    """Cross-correlation of each pair of phases q: half the probability that of two points at the distance r one is in
    the first phase and one in the second."""
    pairs = np.array(list(itertools.combinations(range(phases), 2)))

    def of_window(window: Array) -> Array:
        fractions = jnp.moveaxis(one_hot(window, phases), -1, 0)
        alone = jax.vmap(partial(radial_two_point, r_max=r_max))(fractions)
        union = jax.vmap(partial(radial_two_point, r_max=r_max))(fractions[pairs].sum(axis=1))
        return (union - alone[pairs].sum(axis=1)) / 2

    return jax.lax.map(of_window, jnp.asarray(labels))


def chord_counts(phase: Masks, r_max: int) -> np.ndarray:
    """Chord length distribution of windows at 0 to r_max pixels times the number of chords, sum of both directions."""
    lines = [phase.reshape(-1, phase.shape[2]), phase.swapaxes(1, 2).reshape(-1, phase.shape[1])]
    counts = np.array([len(chord_lengths(each, axis=1)) for each in lines])
    return counts @ np.stack([chord_length_distribution(each, axis=1, r_max=r_max) for each in lines])
