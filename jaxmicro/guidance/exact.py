"""Exact values of quantities on labels: blocked phases have diffusivity 0, and only percolating clusters conduct.

The same numbers as `measure` reports, not differentiable. Diffusivities are solved in double precision by finite
volumes (fluxes by harmonic means of neighbouring voxels): of the periodic medium with periodic conditions along all
axes, or between two opposite faces with u = 1 and u = 0 there and insulated sides.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Integer

from jaxmicro.descriptors import label_clusters, spanning, winding
from jaxmicro.guidance.quantities import QUANTITIES, boundary_conditions
from jaxmicro.phases import one_hot
from jaxmicro.physics import SolverConfig, conducted, solve

Labels = Integer[np.ndarray, "*grid"]
SCHEME = "finite_volume"
_SOLVER = SolverConfig(tolerance=1e-3)  # of the field; the error of the diffusivity, an energy, is its square: 1e-6


def exact_value(
    quantity: str, labels: Labels, phases: int, phase: int, axis: int | None = None, *, periodic: bool = False
) -> float:
    """A quantity of an image "h w" or a volume "z y x" of labels; quantities of slices are means over the planes normal
    to all axes. The tortuosity factor of a phase that does not percolate is infinite.

    Args:
        axis: 0, 1, 2 for z, y, x; None: the mean over the axes.
        periodic: diffusivity and tortuosity factor of the medium repeated periodically, not those between two faces.
    Raises:
        ValueError: when the quantity exists in 3D only and `labels` is an image.

    >>> exact_value("volume_fraction", np.eye(2, dtype=int), 2, 1)
    0.5
    """
    if quantity == "diffusivity":
        axes = range(labels.ndim) if axis is None else [axis]
        return float(np.mean([_diffusivity(labels == phase, a, periodic) for a in axes]))
    if quantity == "tortuosity":
        d_eff = exact_value("diffusivity", labels, phases, phase, axis, periodic=periodic)
        return float(np.mean(labels == phase)) / d_eff if d_eff else math.inf
    if quantity == "slice_diffusivity":
        planes = [labels[None]] if labels.ndim == 2 else [np.moveaxis(labels, a, 0) for a in range(3)]
        return float(np.mean([exact_values_of_planes(quantity, stack, phases, phase).mean() for stack in planes]))
    entry = QUANTITIES[quantity]
    if labels.ndim == 2:
        if entry.of_plane is None:
            raise ValueError(f"{quantity} exists in 3D only")
        return float(entry.of_plane(one_hot(jnp.asarray(labels), phases), phase))
    return float(entry.measure(one_hot(jnp.asarray(labels), phases), phase, axis))


def exact_values_of_planes(quantity: str, planes: Labels, phases: int, phase: int) -> np.ndarray:
    """A quantity of each plane of labels "n h w".

    Raises:
        ValueError: when the quantity exists in 3D only.
    """
    if QUANTITIES[quantity].of_plane is None:
        raise ValueError(f"{quantity} exists in 3D only")
    if quantity == "slice_diffusivity":
        return _plane_diffusivities(planes == phase)
    return np.asarray(_of_planes(jnp.asarray(planes), quantity, phases, phase))


@functools.partial(jax.jit, static_argnames=("quantity", "phases", "phase"))
def _of_planes(planes, quantity: str, phases: int, phase: int):
    of_plane = QUANTITIES[quantity].of_plane
    assert of_plane is not None, quantity
    return jax.lax.map(lambda plane: of_plane(one_hot(plane, phases), phase), planes)


def _diffusivity(phase: np.ndarray, axis: int, periodic: bool) -> float:
    if periodic:
        clusters, winds = winding(phase)
        conducting = winds[:, axis][clusters]
    else:
        conducting = _percolating(phase, axis)
    if not conducting.any():
        return 0.0
    with jax.enable_x64(True):
        along_first = jnp.asarray(np.moveaxis(conducting, axis, 0), float)  # so that it is compiled once
        return float(conducted(_solve(along_first, periodic=periodic), True))


def _plane_diffusivities(planes: np.ndarray) -> np.ndarray:
    """D_eff / D_0 of each plane "n h w", mean over both directions."""
    along_first = [np.stack([_percolating(plane.T if axis else plane, 0) for plane in planes]) for axis in range(2)]
    values = []
    with jax.enable_x64(True):
        for stack in along_first:
            percolates = np.array([plane.any() for plane in stack])
            # planes that do not percolate are solved as wholly conducting ones, which is cheap, and set to 0
            kappa = np.where(percolates[:, None, None], stack, True)
            d_eff = np.asarray(_solve_all(jnp.asarray(kappa, float)))
            values.append(np.where(percolates, d_eff, 0.0))
    return np.mean(values, axis=0)


def _percolating(phase: np.ndarray, axis: int) -> np.ndarray:
    """The clusters of a phase that connect the two faces normal to an axis."""
    clusters = label_clusters(phase)
    return np.isin(clusters, spanning(clusters, axis))


@functools.partial(jax.jit, static_argnames="periodic")
def _solve(kappa, *, periodic: bool):
    return solve(kappa, axis=0, discretisation=SCHEME, config=_SOLVER, **boundary_conditions(periodic))


@jax.jit
def _solve_all(kappa):
    return jax.lax.map(
        lambda plane: conducted(solve(plane, axis=0, discretisation=SCHEME, config=_SOLVER), True), kappa
    )
