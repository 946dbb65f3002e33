"""Synthetic media with known statistics: spheres, level sets of Gaussian fields, grains.

All lengths are in voxels. Voxel i covers i ... i + 1 along an axis and is sampled at its centre, so that the point
statistics named here (fractions, two-point correlation) hold on the grid without discretisation error. A shape is "h w"
or "z y x". The same seed gives the same medium.

One file: the media share grids, seeds, periodic images and rasterisation.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial import KDTree
from scipy.special import ndtri

from jaxmicro.errors import UserError

Grid = UInt8[np.ndarray, "*grid"]
Real = float | int


def overlapping_spheres(shape: Sequence[int], *, radius: Real, density: Real, seed: int, periodic: bool = True) -> Grid:
    """Fully penetrable spheres (discs in 2D) with Poisson centres: phase 1 in a matrix of phase 0.

    With v the volume and s the cross-section of a sphere, and phi the fraction of the matrix:
    phi = exp(-density v); S2 of the matrix at r: exp(-density u), u the volume of the union of two spheres r apart; its
    lineal path exp(-density (v + s r));
    surface per volume density phi dv/dradius. Source: Torquato (2002), chapters 5 and 6.

    Args:
        density: mean number of centres per voxel volume; see `sphere_density`.
        periodic: wrap at the faces; otherwise spheres outside reach in. The statistics above hold in both cases.
    """
    rng = np.random.default_rng(seed)
    margin = 0.0 if periodic else radius
    extent = np.asarray(shape, dtype=float) + 2 * margin
    count = rng.poisson(density * extent.prod())
    centres = rng.uniform(size=(count, len(shape))) * extent - margin
    return _rasterised(shape, centres, np.full(count, float(radius)), periodic=periodic).astype(np.uint8)


def sphere_density(fraction: Real, *, radius: Real, dimensions: int) -> float:
    """Centres per voxel volume for which overlapping spheres fill `fraction` of space on average, 0 <= fraction < 1."""
    return -math.log1p(-fraction) / _ball_volume(radius, dimensions)


def discs(
    shape: Sequence[int],
    centres: Float[np.ndarray, "n d"],
    radii: Float[np.ndarray, " n"],
    *,
    periodic: bool = True,
) -> Grid:
    """The given discs or spheres as phase 1 in a matrix of phase 0; a voxel is phase 1 if its centre is inside."""
    return _rasterised(shape, centres, radii, periodic=periodic).astype(np.uint8)


def gaussian_field(
    shape: Sequence[int],
    *,
    correlation_length: Real | Sequence[Real],
    fractions: Sequence[Real],
    seed: int,
    periodic: bool = True,
    exact_fractions: bool = False,
) -> Grid:
    """Level sets of a Gaussian field with autocovariance exp(-r^2 / (2 l^2)).

    Phase 0 is where the field is lowest, the last phase where it is highest. S2 of phase 0: `gaussian_field_two_point`.

    Args:
        correlation_length: l, or one per axis.
        fractions: expected volume fraction of each phase; they are scaled to sum to 1.
        periodic: wrap at the faces (the covariance then is the periodic sum); otherwise cut from a larger field.
        exact_fractions: use quantiles of this field as thresholds, so that this medium has exactly these fractions.
    """
    lengths = np.broadcast_to(np.asarray(correlation_length, dtype=float), (len(shape),))
    edges = _enlarged(shape, np.ceil(6 * lengths), periodic)
    spectrum = np.ones((1,) * len(shape))
    for axis, (edge, length) in enumerate(zip(edges, lengths, strict=True)):
        lag = np.arange(edge)[:, None] + edge * np.arange(-8, 9)
        covariance = np.exp(-0.5 * (lag / length) ** 2).sum(axis=1)
        power = np.maximum(np.fft.fft(covariance / covariance[0]).real, 0.0)
        spectrum = spectrum * np.expand_dims(power, _others(len(shape), axis))
    return _level_sets(_coloured_noise(shape, spectrum, seed), fractions, exact_fractions)


def labyrinth(
    shape: Sequence[int],
    *,
    wavelength: Real,
    fractions: Sequence[Real],
    seed: int,
    bandwidth: Real = 0.15,
    periodic: bool = True,
    exact_fractions: bool = False,
) -> Grid:
    """Level sets of isotropic band-passed Gaussian noise: winding lamellae as in a block copolymer (Cahn 1965).

    Args:
        wavelength: mean period of the lamellae.
        bandwidth: standard deviation of the wave number over its mean; small values give long straight lamellae.
        fractions, periodic, exact_fractions: as in `gaussian_field`.
    Raises:
        UserError: no wave of this length fits a periodic grid of this shape.
    """
    edges = _enlarged(shape, np.full(len(shape), math.ceil(3 * wavelength / bandwidth)), periodic)
    axes = np.meshgrid(*(np.fft.fftfreq(edge) for edge in edges), indexing="ij", sparse=True)
    wave_number = np.sqrt(sum(k**2 for k in axes))
    power = np.exp(-0.5 * ((wave_number * wavelength - 1) / bandwidth) ** 2)
    power.flat[0] = 0.0
    if power.sum() == 0:
        raise UserError(
            f"no wave of length {wavelength} fits a periodic grid of {tuple(shape)}; use a shorter wavelength"
        )
    # the covariance at lag zero is the mean of the spectrum: scaled to unit variance
    return _level_sets(_coloured_noise(shape, power / power.mean(), seed), fractions, exact_fractions)


class Tessellation(NamedTuple):
    """Cells of weighted points on a grid."""

    cell: Int[np.ndarray, "*grid"]  # index of the point whose cell contains the voxel centre
    wall_distance: Float[np.ndarray, "*grid"]  # from the voxel centre to the nearest wall of its cell, voxels


def tessellation(
    shape: Sequence[int],
    points: Float[np.ndarray, "n d"],
    *,
    weights: Float[np.ndarray, " n"] | None = None,
    periodic: bool = True,
    plane: Real | None = None,
) -> Tessellation:
    """Laguerre (power) cells: x is in the cell of the point of least |x - p|^2 - weight. Equal weights: Voronoi cells.

    Args:
        points: positions, voxels. With `plane` they have an additional first coordinate.
        weights: squared radii, voxels^2; a point beside one of large weight may have no cell.
        periodic: wrap at the faces.
        plane: first coordinate of a section of a (d + 1)-dimensional tessellation (not periodic along it).
    """
    centres = np.stack(np.meshgrid(*(np.arange(edge) + 0.5 for edge in shape), indexing="ij"), -1).reshape(
        -1, len(shape)
    )
    if plane is not None:
        centres = np.concatenate([np.full((len(centres), 1), plane), centres], axis=1)
    owners, images = _periodic_images(points, shape if periodic else ())
    lift = np.zeros(len(points)) if weights is None else weights.max() - weights
    # |x - p|^2 + lift is a squared distance in one dimension more, so that a search tree finds the nearest
    lifted = np.concatenate([images, np.sqrt(lift[owners])[:, None]], axis=1)
    neighbours = min(6, len(lifted))
    power, index = KDTree(lifted).query(np.pad(centres, ((0, 0), (0, 1))), k=neighbours)
    power, index = power.reshape(-1, neighbours) ** 2, index.reshape(-1, neighbours)
    apart = np.linalg.norm(images[index[:, 1:]] - images[index[:, :1]], axis=-1)
    walls = (power[:, 1:] - power[:, :1]) / (2 * np.maximum(apart, 1e-12))
    nearest = walls.min(axis=1, initial=np.inf)
    return Tessellation(owners[index[:, 0]].reshape(shape), nearest.reshape(shape))


class Packing(NamedTuple):
    """Spheres in a periodic box."""

    centres: Float[np.ndarray, "n d"]  # voxels
    radii: Float[np.ndarray, " n"]  # voxels, largest first
    overlap: float  # largest penetration of two spheres, voxels; 0 if none overlap


def pack_spheres(shape: Sequence[Real], radii: Float[np.ndarray, " n"], *, seed: int, attempts: int = 2000) -> Packing:
    """Random sequential addition in a periodic box, largest sphere first.

    If none of `attempts` random positions of a sphere is free, the one with the least penetration is taken, so that the
    packing always ends; `Packing.overlap` is the largest penetration.
    """
    rng, box = np.random.default_rng(seed), np.asarray(shape, dtype=float)
    radii = np.sort(radii)[::-1]
    centres, overlap = np.zeros((len(radii), len(shape))), 0.0
    for i, radius in enumerate(radii):
        best, best_gap, tried = centres[i], -np.inf, 0
        while best_gap < 0 and tried < attempts:
            trial = rng.uniform(size=(100, len(shape))) * box
            apart = trial[:, None] - centres[:i]
            apart -= box * np.round(apart / box)
            gap = (np.linalg.norm(apart, axis=-1) - radii[:i]).min(axis=1, initial=np.inf) - radius
            free = gap >= 0
            k = int(np.argmax(free)) if free.any() else int(np.argmax(gap))
            if gap[k] > best_gap:
                best, best_gap = trial[k], gap[k]
            tried += 100
        centres[i], overlap = best, max(overlap, -best_gap)
    return Packing(centres, radii, float(overlap))


def polydisperse_spheres(
    shape: Sequence[int] = (300, 64, 64),
    *,
    mean_diameter: Real = 15.0,
    std_diameter: Real = 4.0,
    fraction: Real = 0.3,
    seed: int,
) -> Grid:
    """Packed spheres of diameters N(mean, std), without overlap where possible: phase 1 in phase 0, periodic.

    The defaults are case I of Micro3Diff (Lee and Yun 2024): 300 planes of 64 x 64 normal to z. The paper does not give
    the volume fraction. Without overlaps the fraction is exact up to one sphere and the discretisation.
    """
    rng = np.random.default_rng(seed)
    volume_left, diameters = fraction * float(np.prod(shape)), []
    while volume_left > 0:
        diameter = rng.normal(mean_diameter, std_diameter)
        if diameter >= 1.0:
            diameters.append(diameter)
            volume_left -= _ball_volume(diameter / 2, len(shape))
    packing = pack_spheres(shape, np.array(diameters) / 2, seed=int(rng.integers(2**32)))
    return _rasterised(shape, packing.centres, packing.radii, periodic=True).astype(np.uint8)


def laguerre_grain_images(
    count: int = 300,
    shape: Sequence[int] = (64, 64),
    *,
    sizes: Sequence[Real] = (6.0, 9.0, 12.0),
    boundary: Real = 1.0,
    seed: int,
) -> UInt8[np.ndarray, "n h w"]:
    """Independent periodic images of Laguerre grains (0) and their boundaries (1), with an equal area of each size.

    The defaults are case II of Micro3Diff (Lee and Yun 2024). The paper does not give the thickness of the boundaries.

    Args:
        sizes: equivalent diameters of the grains, pixels.
        boundary: thickness of the boundaries, pixels.
    """
    images = [laguerre_grains(shape, sizes=sizes, seed=s).wall_distance < boundary / 2 for s in _seeds(seed, count)]
    return np.stack(images).astype(np.uint8)


def laguerre_grains(shape: Sequence[int], *, sizes: Sequence[Real], seed: int) -> Tessellation:
    """The cells of one image of `laguerre_grain_images`, numbered from the largest size to the smallest."""
    area = float(np.prod(shape)) / len(sizes)
    radii = np.concatenate([np.full(max(round(area / _ball_volume(d / 2, 2)), 1), d / 2) for d in sizes])
    # discs cannot fill the plane: reduced discs are packed, and their cells fill the gaps
    packing = pack_spheres(shape, _PACKED_SIZE * radii, seed=seed, attempts=500)
    return tessellation(shape, packing.centres, weights=(packing.radii / _PACKED_SIZE) ** 2)


_PACKED_SIZE = 0.8  # of the diameters; covers 0.64 of the area, slightly more than random addition reaches


def _rasterised(
    shape: Sequence[int], centres: Float[np.ndarray, "n d"], radii: Float[np.ndarray, " n"], *, periodic: bool
) -> Bool[np.ndarray, "*grid"]:
    """Voxels whose centre lies in one of the spheres."""
    inside = np.zeros(tuple(shape), dtype=bool)
    for centre, radius in zip(centres, radii, strict=True):
        offsets, indices = [], []
        for axis, (x, edge) in enumerate(zip(centre, shape, strict=True)):
            index = np.arange(math.ceil(x - radius - 0.5), math.floor(x + radius - 0.5) + 1)
            if not periodic:
                index = index[(index >= 0) & (index < edge)]
            offsets.append(np.expand_dims((index + 0.5 - x) ** 2, _others(len(shape), axis)))
            indices.append(index % edge)
        ball = np.nonzero(sum(offsets) <= radius**2)
        inside[tuple(index[hit] for index, hit in zip(indices, ball, strict=True))] = True
    return inside


def _coloured_noise(shape: Sequence[int], spectrum: np.ndarray, seed: int) -> Float[np.ndarray, "*grid"]:
    """Gaussian field whose periodic covariance is the inverse Fourier transform of the spectrum, cropped to `shape`."""
    white = np.random.default_rng(seed).standard_normal(spectrum.shape)
    field = np.fft.ifftn(np.sqrt(spectrum) * np.fft.fftn(white)).real
    return field[tuple(slice(edge) for edge in shape)]


def _level_sets(field: Float[np.ndarray, "*grid"], fractions: Sequence[Real], exact: bool) -> Grid:
    shares = np.asarray(fractions, dtype=float)
    if len(shares) < 2 or shares.min() <= 0:
        raise UserError(f"volume fractions must be positive and at least two, found {tuple(fractions)}")
    below = np.cumsum(shares / shares.sum())[:-1]
    levels = np.quantile(field, below) if exact else ndtri(below)
    return np.digitize(field, levels).astype(np.uint8)


def _enlarged(shape: Sequence[int], margin: np.ndarray, periodic: bool) -> tuple[int, ...]:
    return tuple(int(edge) if periodic else int(edge + extra) for edge, extra in zip(shape, margin, strict=True))


def _periodic_images(points: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Periodic images: index of the point of each, and positions, shifted by -1, 0, 1 periods along the last axes."""
    shifts = np.zeros((1, points.shape[1]))
    for axis, edge in enumerate(shape, start=points.shape[1] - len(shape)):
        step = np.zeros(points.shape[1])
        step[axis] = edge
        shifts = np.concatenate([shifts - step, shifts, shifts + step])
    return np.tile(np.arange(len(points)), len(shifts)), (shifts[:, None] + points).reshape(-1, points.shape[1])


def _ball_volume(radius: Real, dimensions: int) -> float:
    return math.pi * radius**2 if dimensions == 2 else 4 / 3 * math.pi * radius**3


def _others(dimensions: int, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(dimensions) if other != axis % dimensions)


def _seeds(seed: int, count: int) -> list[int]:
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count, np.uint32)]
