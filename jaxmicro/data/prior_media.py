"""Synthetic images of many kinds, on which a general prior is trained, without any micrograph.

A two-phase image is from one of the families below, with random lengths and fractions. Images of more phases are level
sets of one field, or one of their phases is divided again: by a shell along its boundary (core-shell particles, films),
or by an independent medium inside it. Labels are then permuted at random, so that a prior cannot learn which phase is
the matrix.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import distance_transform_edt

from jaxmicro.data import synthetic
from jaxmicro.errors import UserError

Image = UInt8[np.ndarray, "h w"]
Generator = np.random.Generator


class _Limits(NamedTuple):
    """Ranges of the random parameters of an image; lengths in pixels, whose logarithm is distributed uniformly."""

    correlation_length: tuple[float, float] = (1.5, 10.0)
    wavelength: tuple[float, float] = (5.0, 28.0)
    radius: tuple[float, float] = (2.5, 14.0)
    grain: tuple[float, float] = (7.0, 28.0)
    boundary: tuple[float, float] = (1.5, 5.0)
    shell: tuple[float, float] = (1.5, 6.0)
    fraction: tuple[float, float] = (0.08, 0.92)  # of phase 1 in two phases
    least_fraction: float = 0.02  # of any phase in a finished image


_LIMITS = _Limits()
_TRIALS = 20  # parameter sets that are tried until every phase has at least `least_fraction`


def prior_media(phases: int, count: int, size: int, seed: int) -> UInt8[np.ndarray, "n h w"]:
    """Independent synthetic images of size x size pixels, each with all phases.

    Image i depends only on (phases, size, seed, i).

    Args:
        phases: number of phases, 2 or more.
        size: edge, pixels; a few times the longest feature (about 30 pixels) or more.
    Raises:
        UserError: fewer than two phases, or more than `least_fraction` allows.
    """
    most = int(0.25 / _LIMITS.least_fraction)
    if not 2 <= phases <= most:
        raise UserError(f"synthetic media have 2 to {most} phases, found {phases}")
    return np.stack([_image(phases, size, np.random.default_rng([seed, i])) for i in range(count)])


def _image(phases: int, size: int, rng: Generator) -> Image:
    for _ in range(_TRIALS):
        labels = _compose(phases, size, rng)
        fractions = np.bincount(labels.ravel(), minlength=phases) / labels.size
        if fractions.min() >= _LIMITS.least_fraction:
            return rng.permutation(phases).astype(np.uint8)[labels]
    return synthetic.gaussian_field(
        (size, size), correlation_length=4.0, fractions=[1.0] * phases, seed=_seed(rng), exact_fractions=True
    )


def _compose(phases: int, size: int, rng: Generator) -> Image:
    if phases > 2 and rng.random() < 0.3:
        return _levels(phases, size, rng)
    labels = _two_phases(size, rng)
    for new in range(2, phases):
        divided = rng.choice(new, p=np.bincount(labels.ravel(), minlength=new) / labels.size)
        inside = labels == divided
        part = _shell(inside, rng) if rng.random() < 0.5 else _two_phases(size, rng) == 1
        labels = np.where(inside & part, np.uint8(new), labels)
    return labels


def _two_phases(size: int, rng: Generator) -> Image:
    families: list[Callable[[int, Generator], Image]] = [
        _field, _field, _film, _two_scales, _labyrinth, _overlapping, _packed, _boundaries, _mosaic,
    ]  # fmt: skip
    return families[rng.integers(len(families))](size, rng)


def _field(size: int, rng: Generator) -> Image:
    """Level set of a Gaussian field; one in three is stretched along an axis by a factor up to six (laminar)."""
    lengths = [_log_uniform(rng, _LIMITS.correlation_length)] * 2
    if rng.random() < 1 / 3:
        lengths[rng.integers(2)] *= rng.uniform(1.5, 6)
    share = rng.uniform(*_LIMITS.fraction)
    return synthetic.gaussian_field(
        (size, size), correlation_length=lengths, fractions=(1 - share, share), seed=_seed(rng)
    )


def _film(size: int, rng: Generator) -> Image:
    """The middle of three level sets of a Gaussian field: curved films and necks."""
    film = rng.uniform(0.1, 0.5)
    below = rng.uniform(0.2, 0.8) * (1 - film)
    labels = synthetic.gaussian_field(
        (size, size),
        correlation_length=_log_uniform(rng, _LIMITS.correlation_length),
        fractions=(below, film, 1 - film - below),
        seed=_seed(rng),
    )
    return (labels == 1).astype(np.uint8)


def _two_scales(size: int, rng: Generator) -> Image:
    """Union of a coarse and a fine level set."""
    fine = _log_uniform(rng, _LIMITS.correlation_length) / 2 + 0.75
    coarse = fine * rng.uniform(2.5, 5)
    shares = rng.uniform(0.1, 0.5, 2)
    layers = [
        synthetic.gaussian_field((size, size), correlation_length=length, fractions=(1 - share, share), seed=_seed(rng))
        for length, share in zip((fine, coarse), shares, strict=True)
    ]
    return layers[0] | layers[1]


def _labyrinth(size: int, rng: Generator) -> Image:
    share = rng.uniform(0.25, 0.75)
    return synthetic.labyrinth(
        (size, size),
        wavelength=_log_uniform(rng, _LIMITS.wavelength),
        bandwidth=rng.uniform(0.08, 0.4),
        fractions=(1 - share, share),
        seed=_seed(rng),
    )


def _overlapping(size: int, rng: Generator) -> Image:
    """Plane through overlapping spheres of random radii: Poisson discs of radius sqrt(R^2 - h^2)."""
    radius, spread = _log_uniform(rng, _LIMITS.radius), rng.uniform(0, 0.4)
    density = -np.log(rng.uniform(*_LIMITS.fraction)) / (np.pi * radius**2 * 2 / 3)  # mean section: 2/3 of the largest
    count = rng.poisson(density * size**2)
    # a plane intersects a sphere with a probability proportional to its radius; a lognormal so weighted is lognormal
    spheres = radius * np.exp(spread * rng.standard_normal(count))
    return synthetic.discs((size, size), rng.uniform(0, size, (count, 2)), _sections(spheres, rng))


def _packed(size: int, rng: Generator) -> Image:
    """Plane through spheres that do not overlap, packed in a slab as thick as the largest diameter."""
    radius, spread = _log_uniform(rng, (4.0, _LIMITS.radius[1])), rng.uniform(0, 0.3)
    thickness, fraction = 2 * radius * (1 + spread), rng.uniform(0.1, 0.4)
    count = max(round(fraction * size**2 * thickness / (4 / 3 * np.pi * radius**3)), 1)
    radii = np.minimum(radius * np.exp(spread * rng.standard_normal(count)), thickness / 2)
    packing = synthetic.pack_spheres((thickness, float(size), float(size)), radii, seed=_seed(rng), attempts=300)
    height = np.abs(packing.centres[:, 0] - thickness / 2)
    cut = height < packing.radii
    return synthetic.discs((size, size), packing.centres[cut, 1:], np.sqrt(packing.radii[cut] ** 2 - height[cut] ** 2))


def _boundaries(size: int, rng: Generator) -> Image:
    spacing = _log_uniform(rng, _LIMITS.grain)
    thickness = min(_log_uniform(rng, _LIMITS.boundary), spacing / 3)
    return (_grains(size, spacing, rng).wall_distance < thickness / 2).astype(np.uint8)


def _mosaic(size: int, rng: Generator) -> Image:
    """Grains, each of a random phase."""
    cell = _grains(size, _log_uniform(rng, _LIMITS.grain), rng).cell
    return (rng.random(cell.max() + 1) < rng.uniform(0.15, 0.85)).astype(np.uint8)[cell]


def _levels(phases: int, size: int, rng: Generator) -> Image:
    """Level sets of one Gaussian field, one for each phase, from its lowest to its highest values."""
    return synthetic.gaussian_field(
        (size, size),
        correlation_length=_log_uniform(rng, _LIMITS.correlation_length),
        fractions=(rng.dirichlet(np.full(phases, 3.0)) + _LIMITS.least_fraction).tolist(),
        seed=_seed(rng),
    )


def _shell(inside: np.ndarray, rng: Generator) -> np.ndarray:
    """Flags of the part of a region within a random distance of its boundary."""
    if inside.all():
        return inside
    return np.asarray(distance_transform_edt(inside)) < _log_uniform(rng, _LIMITS.shell)


def _grains(size: int, spacing: float, rng: Generator) -> synthetic.Tessellation:
    """Plane through three-dimensional Voronoi grains."""
    thickness = 4 * spacing  # cells that the plane intersects, and their neighbours, have their points in this slab
    count = max(round(size**2 * thickness / spacing**3), 2)
    points = rng.uniform(size=(count, 3)) * np.array([thickness, size, size])
    return synthetic.tessellation((size, size), points, plane=thickness / 2)


def _sections(radii: Float[np.ndarray, " n"], rng: Generator) -> Float[np.ndarray, " n"]:
    """Radii of the sections of the spheres with a plane at a random height."""
    return radii * np.sqrt(1 - rng.uniform(-1, 1, len(radii)) ** 2)


def _log_uniform(rng: Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**32))
