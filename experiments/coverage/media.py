"""Media of known truth: images "n h w" of each, and which of them share one truth."""

from collections.abc import Callable, Iterator

import numpy as np

from experiments.coverage.config import CoverageConfig
from experiments.materials import whole_volume
from jaxmicro.data import synthetic

Images = tuple[np.ndarray, np.ndarray | None]
"""Images of one orientation, and the planes of the volume that they are cut from: the truth. None: their own mean."""


def images(name: str, config: CoverageConfig) -> list[Images]:
    """Stacks "n h w" of images with one truth each."""
    if name in VOLUMES:
        return list(_sections(whole_volume(name).labels, config))
    shape = (config.edge, config.edge)
    if name == "cahn_hilliard":
        boxes = [_cahn_hilliard(seed, shape, config.cahn_hilliard_steps) for seed in range(-(-config.images // 4))]
        return [(np.concatenate(boxes)[: config.images], None)]
    return [(np.stack([SYNTHETIC[name](shape, seed) for seed in range(config.images)]), None)]


def _gaussian(shape, seed: int) -> np.ndarray:
    return synthetic.gaussian_field(
        shape, correlation_length=2.5, fractions=(0.3, 0.7), seed=seed, periodic=False
    )  # fmt: skip


def _three_phases(shape, seed: int) -> np.ndarray:
    return synthetic.gaussian_field(
        shape, correlation_length=2.0, fractions=(0.15, 0.5, 0.35), seed=seed, periodic=False
    )  # fmt: skip


def _exponential(shape, seed: int) -> np.ndarray:
    """Level set of a Gaussian field of covariance exp(-r / 4): rough interfaces, long correlations."""
    edges = [2 * edge for edge in shape]  # the field repeats only far outside of the window
    wave = [2 * np.pi * np.fft.fftfreq(edge) for edge in edges]
    power = (1 + 16 * (wave[0][:, None] ** 2 + wave[1] ** 2)) ** -1.5
    noise = np.random.default_rng(seed).standard_normal(edges)
    field = np.fft.ifft2(np.sqrt(power / power.mean()) * np.fft.fft2(noise)).real
    return (field[: shape[0], : shape[1]] > 0.3).astype(np.uint8)


def _labyrinth(shape, seed: int) -> np.ndarray:
    return synthetic.labyrinth(shape, wavelength=9.0, bandwidth=0.25, fractions=(0.45, 0.55), seed=seed, periodic=False)


def _discs(shape, seed: int) -> np.ndarray:
    density = synthetic.sphere_density(0.2, radius=3.0, dimensions=2)
    return synthetic.overlapping_spheres(shape, radius=3.0, density=density, seed=seed, periodic=False)


def _spheres(shape, seed: int) -> np.ndarray:
    """A section of overlapping spheres of radius 5: discs of radius sqrt(25 - h^2), h uniform."""
    rng, radius = np.random.default_rng(seed), 5.0
    extent = np.array(shape) + 2 * radius
    density = synthetic.sphere_density(0.6, radius=radius, dimensions=3) * 2 * radius  # per area of the section
    count = rng.poisson(density * extent.prod())
    centres = rng.uniform(size=(count, 2)) * extent - radius
    radii = radius * np.sqrt(1 - rng.uniform(-1, 1, count) ** 2)
    return synthetic.discs(shape, centres, radii, periodic=False)


def _grains(shape, seed: int) -> np.ndarray:
    """Voronoi grains of 8 pixels on average, phase 1 their boundaries."""
    rng, margin = np.random.default_rng(seed), 32
    extent = np.array(shape) + 2 * margin
    points = rng.uniform(size=(rng.poisson(extent.prod() / 64), 2)) * extent - margin
    return (synthetic.tessellation(shape, points, periodic=False).wall_distance < 1.0).astype(np.uint8)


def _cahn_hilliard(seed: int, shape, steps: int) -> np.ndarray:
    """Four quarters of a spinodal decomposition, dc/dt = lap(c^3 - c - lap c), mean -0.2, from small noise."""
    edges = [2 * edge for edge in shape]
    wave = [2 * np.pi * np.fft.fftfreq(edges[0]), 2 * np.pi * np.fft.rfftfreq(edges[1])]
    k2 = (wave[0][:, None] ** 2 + wave[1] ** 2).astype(np.float32)
    step, stabilised = np.float32(0.5), np.float32(2.0)  # semi-implicit (Eyre): stable at any step
    c = np.fft.rfft2(-0.2 + 0.1 * np.random.default_rng(seed).standard_normal(edges))
    for _ in range(steps):
        real = np.fft.irfft2(c, edges)
        force = np.fft.rfft2(real**3 - (1 + stabilised) * real)
        c = (c - step * k2 * force) / (1 + step * k2 * (stabilised + k2))
    labels = (np.fft.irfft2(c, edges) > 0).astype(np.uint8)
    return labels.reshape(2, shape[0], 2, shape[1]).swapaxes(1, 2).reshape(4, *shape)


def _sections(volume: np.ndarray, config: CoverageConfig) -> Iterator[Images]:
    """Crops of sections, each orientation with the statistics of all planes of that orientation as the truth."""
    rng = np.random.default_rng(0)
    for axis in range(3):
        planes = np.moveaxis(volume, axis, 0)
        chosen = planes[np.linspace(0, len(planes) - 1, config.sections).round().astype(int)]
        corners = rng.integers(0, np.array(planes.shape[1:]) - config.section_edge + 1, (len(chosen), 2))
        crops = [
            plane[r : r + config.section_edge, c : c + config.section_edge]
            for plane, (r, c) in zip(chosen, corners, strict=True)
        ]
        yield np.stack(crops), planes[::8]  # neighbours are all but equal


SYNTHETIC: dict[str, Callable[[tuple[int, int], int], np.ndarray]] = {
    "gaussian": _gaussian,
    "three_phases": _three_phases,
    "exponential": _exponential,
    "labyrinth": _labyrinth,
    "discs": _discs,
    "spheres": _spheres,
    "grains": _grains,
}
VOLUMES = ("berea3d", "rock3d", "nmc3d")
MEDIA = (*SYNTHETIC, "cahn_hilliard", *VOLUMES)
