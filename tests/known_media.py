"""Media and two-point correlations with closed forms."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from jaxmicro.data import tessellation
from jaxmicro.data.synthetic import Grid, Real, _ball_volume
from jaxmicro.errors import UserError


def laminate(shape: Sequence[int], *, thicknesses: Sequence[int], axis: int = 0) -> Grid:
    """Layers 0, 1, 2, ... of the given thicknesses, repeated along `axis`.

    Over whole periods the volume fraction of layer k is thicknesses[k] / sum(thicknesses), S2 across the layers is a
    sum of triangles, and S2 along the layers is constant.

    >>> laminate((5, 2), thicknesses=(2, 1))[:, 0].tolist()
    [0, 0, 1, 0, 0]
    """
    if min(thicknesses) < 1:
        raise UserError(f"layers must be at least one voxel thick, found {tuple(thicknesses)}")
    period = np.repeat(np.arange(len(thicknesses), dtype=np.uint8), thicknesses)
    profile = period[np.arange(shape[axis]) % len(period)]
    return np.broadcast_to(profile.reshape([-1 if a == axis else 1 for a in range(len(shape))]), tuple(shape)).copy()


def overlapping_spheres_two_point(
    r: Float[np.ndarray, " r"], *, radius: Real, density: Real, dimensions: int
) -> Float[np.ndarray, " r"]:
    """Two-point correlation of the matrix between overlapping spheres: S2(r) = exp(-density v2(r)).

    v2 is the volume of the union of two spheres with centres r apart. The spheres have 1 - 2 phi + S2, phi = S2(0).
    Source: Torquato (2002), chapter 5.
    """
    x = np.minimum(r / (2 * radius), 1.0)
    if dimensions == 2:
        common = (2 / np.pi) * (np.arccos(x) - x * np.sqrt(1 - x**2))
    else:
        common = 1 - 1.5 * x + 0.5 * x**3
    return np.exp(-density * _ball_volume(radius, dimensions) * (2 - common))


def gaussian_field_two_point(
    r: Float[np.ndarray, " r"], *, correlation_length: Real, fraction: Real
) -> Float[np.ndarray, " r"]:
    """Two-point correlation of phase 0 of `gaussian_field`: P(Z(0) < t, Z(r) < t) with P(Z < t) = fraction.

    S2 = fraction^2 + 1/(2 pi) int_0^arcsin(rho) exp(-t^2 / (1 + sin a)) da with rho = exp(-r^2 / (2 l^2)).
    Source: Teubner, Europhys. Lett. 14 (1991) 403; for fraction 1/2 this is 1/4 + arcsin(rho) / (2 pi).
    """
    t = ndtri(fraction)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    upper = np.arcsin(np.exp(-0.5 * (r / correlation_length) ** 2))[:, None]
    angle = upper * (nodes + 1) / 2
    integral = (upper / 2 * weights * np.exp(-(t**2) / (1 + np.sin(angle)))).sum(axis=1)
    return fraction**2 + integral / (2 * np.pi)


def voronoi_grains(shape: Sequence[int], *, grains: int, boundary: Real, seed: int, periodic: bool = True) -> Grid:
    """Voronoi grains of uniformly random points: phase 0 is grain, phase 1 the boundary of the given thickness.

    With n points per volume the boundaries have 2 n^(1/2) of length per area in 2D and 2.910 n^(1/3) of area per volume
    in 3D (Okabe et al., Spatial Tessellations, 2000). Their fraction is that times a thickness much below the grains'.
    """
    points = np.random.default_rng(seed).uniform(size=(grains, len(shape))) * np.asarray(shape)
    cells = tessellation(shape, points, periodic=periodic)
    return (cells.wall_distance < boundary / 2).astype(np.uint8)
