"""Statistics of the planes of a volume, of an image, and of a volume in 3D, one compiled program for each shape.

All curves are given at r = 0..r_max voxels. Their estimators do not depend on the size of the grid, so planes of
64 x 64 and a micrograph of 1024 x 1024 estimate the same quantity. In a periodic grid all pairs of voxels at a distance
are averaged, also across its faces; in a window the pairs inside it, which estimates the same quantity with the
additional scatter of the position of the window. S2 is the covariance about the mean of the grid plus phi^2
(`descriptors.centred`), so that the two phases of a two-phase medium have one covariance, as in a volume.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmicro.descriptors import centred, directional_two_point, lineal_path, radial_two_point, relative_surface_area
from jaxmicro.phases import one_hot

_PLANES_AT_ONCE = 16  # bounds the memory of the Fourier transforms: one stack of planes per axis, 16 at a time

Labels2 = Integer[np.ndarray, "h w"] | Integer[Array, "h w"]
Labels3 = Integer[np.ndarray, "z y x"] | Integer[Array, "z y x"]


class PlaneStatistics(NamedTuple):
    """Means over the planes normal to each axis `a` (one for an image, three for a volume), and means along each
    direction `d` of the grid."""

    volume_fraction: Float[Array, " p"]
    two_point: Float[Array, "a p r"]  # radial S2 in the planes normal to axis a
    lineal_path: Float[Array, "a p r"]  # mean over the two directions in those planes
    boundary_length: Float[Array, "a p"]  # pixel edges between the phase and the rest, per pixel
    relative_area: Float[Array, "a p"]  # share of each phase in the interface, P-MicroLad section 3.7
    two_point_along: Float[Array, "d p r"]
    lineal_path_along: Float[Array, "d p r"]


class VolumeStatistics(NamedTuple):
    """Statistics of a volume in 3D."""

    two_point: Float[Array, "p r"]  # radial S2 in 3D
    lineal_path: Float[Array, "p r"]  # mean over the three axes
    boundary_area: Float[Array, " p"]  # voxel faces between the phase and the rest, per voxel


def slice_statistics(
    labels: Labels3, phases: int, r_max: int, *, periodic: bool = False
) -> dict[int, dict[str, np.ndarray]]:
    """S2 and lineal path of the planes of a volume, averaged over the planes normal to its three axes.

    Args:
        labels: phase labels 0..phases-1.
        phases: number of phases.
        r_max: largest distance in voxels, below the shortest edge; at most half of it when periodic.
        periodic: whether the volume is periodic.
    Returns:
        phase -> {"two_point", "lineal_path": curve at r = 0..r_max}; dimensionless, S2(0) = L(0) = phi.
    Source: P-MicroLad section 3.7 (slice-wise S2 over three axes), P-Micro3Diff eqs. 22 and 23.
    """
    planes = plane_statistics(labels, phases=phases, r_max=r_max, periodic=periodic)
    s2, path = np.asarray(planes.two_point).mean(0), np.asarray(planes.lineal_path).mean(0)
    return {p: {"two_point": s2[p], "lineal_path": path[p]} for p in range(phases)}


@partial(jax.jit, static_argnames=("phases", "r_max", "periodic"))
def plane_statistics(labels: Labels3, *, phases: int, r_max: int, periodic: bool = False) -> PlaneStatistics:
    """Statistics of the planes of a volume, for each orientation of the planes."""
    fractions = jnp.moveaxis(one_hot(labels, phases), -1, 0)
    planes = [jnp.moveaxis(fractions, axis + 1, 0) for axis in range(3)]
    # of the volume: about the mean of each plane the covariance is too small
    mean = jnp.mean(fractions, axis=(1, 2, 3))
    about_mean = [jnp.moveaxis(fractions - mean[:, None, None, None], axis + 1, 0) for axis in range(3)]
    path_along = _lineal_path_along(fractions, r_max, periodic)
    edges_along = _unlike_neighbours(fractions, periodic)
    radial = jax.vmap(partial(radial_two_point, r_max=r_max, periodic=periodic))
    relative_area = partial(_relative_area, periodic=periodic)
    in_plane = np.array([[1, 2], [0, 2], [0, 1]])  # the two directions of the planes normal to each axis
    return PlaneStatistics(
        volume_fraction=mean,
        two_point=jnp.stack([_mean_over_planes(radial, stack) for stack in about_mean]) + mean[None, :, None] ** 2,
        # all lines of one direction have the same length, so the mean over planes is that over the volume
        lineal_path=jnp.mean(path_along[in_plane], axis=1),
        boundary_length=jnp.sum(edges_along[in_plane], axis=1),
        relative_area=jnp.stack([_mean_over_planes(relative_area, stack) for stack in planes]),
        two_point_along=_two_point_along(fractions, r_max, periodic),
        lineal_path_along=path_along,
    )


@partial(jax.jit, static_argnames=("phases", "r_max"))
def image_statistics(labels: Labels2, *, phases: int, r_max: int) -> PlaneStatistics:
    """The statistics of `plane_statistics` for one image, with one orientation of planes."""
    fractions = jnp.moveaxis(one_hot(labels, phases), -1, 0)
    path_along = _lineal_path_along(fractions, r_max)
    return PlaneStatistics(
        volume_fraction=jnp.mean(fractions, axis=(1, 2)),
        two_point=_radial(fractions, r_max=r_max)[None],
        lineal_path=jnp.mean(path_along, axis=0, keepdims=True),
        boundary_length=jnp.sum(_unlike_neighbours(fractions), axis=0, keepdims=True),
        relative_area=_relative_area(fractions)[None],
        two_point_along=_two_point_along(fractions, r_max),
        lineal_path_along=path_along,
    )


@partial(jax.jit, static_argnames=("phases", "r_max"))
def image_covariance(labels: Labels2, *, phases: int, r_max: int) -> Float[Array, "p r"]:
    """Radial covariance S2 - phi^2 = <(I(x) - phi)(I(x + r) - phi)> of each phase."""
    fractions = jnp.moveaxis(one_hot(labels, phases), -1, 0)
    return _radial(fractions - jnp.mean(fractions, axis=(1, 2), keepdims=True), r_max=r_max)


def mean_lineal_path(images: Sequence[np.ndarray], phases: int, *, r_max: int = 32) -> Float[np.ndarray, "p r"]:
    """Lineal path of each phase in images "h w" and stacks of images "n h w" of one material, weighted by their number
    of pixels.

    Args:
        r_max: largest distance in pixels, lowered to what the smallest image allows.
    Returns:
        L at r = 0, 1, ... pixels, mean over both directions of the images, dimensionless.
    """
    stacks = [image.reshape(-1, *image.shape[-2:]) for image in images]
    r_max = min(r_max, *(min(stack.shape[1:]) - 1 for stack in stacks))
    means = [
        np.mean(_block_paths(jnp.asarray(stack), phases=phases, r_max=r_max), axis=0, dtype=float) for stack in stacks
    ]
    return np.average(means, axis=0, weights=[stack.size for stack in stacks])


@partial(jax.jit, static_argnames=("phases", "r_max"))
def _block_paths(blocks: Integer[Array, "n h w"], *, phases: int, r_max: int) -> Float[Array, "n p r"]:
    def path(block: Array) -> Array:
        fractions = jnp.moveaxis(one_hot(block, phases), -1, 0)
        return jnp.mean(_lineal_path_along(fractions, r_max), axis=0)

    return jax.lax.map(path, blocks)


@partial(jax.jit, static_argnames=("phases", "r_max"))
def block_curves(
    blocks: Integer[np.ndarray, "n h w"] | Integer[Array, "n h w"], *, phases: int, r_max: int
) -> tuple[Float[Array, "n p r"], Float[Array, "n p r"]]:
    """S2 and lineal path of each of several images of one size."""

    def curves(block: Array) -> tuple[Array, Array]:
        fractions = jnp.moveaxis(one_hot(block, phases), -1, 0)
        return _radial(fractions, r_max=r_max), jnp.mean(_lineal_path_along(fractions, r_max), axis=0)

    return jax.lax.map(curves, jnp.asarray(blocks))


@partial(jax.jit, static_argnames=("phases", "r_max", "periodic"))
def volume_statistics(labels: Labels3, *, phases: int, r_max: int, periodic: bool = False) -> VolumeStatistics:
    """S2, lineal path and interface area of a volume in 3D, one phase at a time to save memory."""

    def of_phase(phase: Array) -> VolumeStatistics:
        field = (jnp.asarray(labels) == phase).astype(jnp.float32)
        path = [lineal_path(field, axis=axis, r_max=r_max, periodic=periodic) for axis in range(3)]
        return VolumeStatistics(
            centred(radial_two_point)(field, r_max=r_max, periodic=periodic),
            jnp.mean(jnp.stack(path), axis=0),
            _unlike_neighbours(field[None], periodic).sum(),
        )

    return jax.lax.map(of_phase, jnp.arange(phases))


def _radial(fractions: Float[Array, "p h w"], *, r_max: int) -> Float[Array, "p r"]:
    return jax.vmap(partial(centred(radial_two_point), r_max=r_max))(fractions)


def _relative_area(fractions: Float[Array, "p h w"], *, periodic: bool = False) -> Float[Array, " p"]:
    return relative_surface_area(jnp.moveaxis(fractions, 0, -1), periodic=periodic)


def _mean_over_planes(measure, planes: Float[Array, "n p h w"]) -> Array:
    return jnp.mean(jax.lax.map(measure, planes, batch_size=min(_PLANES_AT_ONCE, planes.shape[0])), axis=0)


def _two_point_along(fractions: Float[Array, "p ..."], r_max: int, periodic: bool = False) -> Float[Array, "d p r"]:
    def along(axis: int) -> Array:
        estimate = partial(centred(directional_two_point), axis=axis, r_max=r_max, periodic=periodic)
        return jax.vmap(estimate)(fractions)

    return jnp.stack([along(axis) for axis in range(fractions.ndim - 1)])


def _lineal_path_along(fractions: Float[Array, "p ..."], r_max: int, periodic: bool = False) -> Float[Array, "d p r"]:
    def along(axis: int) -> Array:
        return jax.vmap(partial(lineal_path, axis=axis, r_max=r_max, periodic=periodic))(fractions)

    return jnp.stack([along(axis) for axis in range(fractions.ndim - 1)])


def _unlike_neighbours(fractions: Float[Array, "p ..."], periodic: bool = False) -> Float[Array, "d p"]:
    """Share of the pairs of neighbours along each direction that the boundary of the phase separates.

    In a window it is the share of the pairs inside it which, unlike faces per voxel, does not depend on its size.
    """
    grid = tuple(range(1, fractions.ndim))

    def change(axis: int) -> Array:
        return jnp.diff(fractions, axis=axis, append=fractions.take(jnp.array([0]), axis) if periodic else None)

    return jnp.stack([jnp.mean(jnp.abs(change(axis)), axis=grid) for axis in grid])
