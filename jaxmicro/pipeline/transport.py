"""From images and volumes to diffusivities: connectivity decides whether a phase conducts, a solver how well."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmicro import descriptors, physics
from jaxmicro.pipeline.prior import Progress
from jaxmicro.types import Microstructure

SCHEMES = ("finite_volume", "q1")


class TransportField(NamedTuple):
    """Diffusion through one phase along one axis, all other phases blocked."""

    label: int
    axis: str  # of the imposed gradient: "z", "y" or "x"
    concentration: np.ndarray  # "*grid", 1 at the first face, 0 at the last; NaN outside what conducts
    flux: np.ndarray  # "*grid d", -grad u in D_0 per voxel edge, components in the order of the axes


def transport(structure: Microstructure, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Effective diffusivity and tortuosity factor of every phase, all others blocked, in double precision.

    Both discretisations are solved: finite volumes (two-point flux; the default of this package and what other voxel
    codes give) and bilinear elements (an upper bound). The truth of a voxel image that resolves its features lies
    between, mostly near their mean; a wide bracket says that the voxels are too coarse.

    Args:
        progress: called after each solve.
    Returns:
        For each phase {"label", "axes": {axis: {"percolates", "finite_volume", "q1", "mean", "tortuosity_factor",
        "converged", "flux_balance", "iterations"}}, "tensor", "wiener_bounds", "hashin_shtrikman_bounds"}. All
        diffusivities are relative to that of the phase, dimensionless. Along an axis that the phase does not connect
        they are 0 and tau is infinite; one that did not converge is NaN. "tortuosity_factor" is that of finite volumes.
        "tensor" is of the medium repeated periodically, by finite volumes.
    """
    axes = "zyx"[-structure.labels.ndim :]
    done, total = 0, structure.phases * len(axes)
    found = []
    for label in range(structure.phases):
        phase = structure.labels == label
        along = {}
        for axis, name in enumerate(axes):
            along[name] = _along(phase, axis)
            done += 1
            if progress is not None:
                progress("diffusivity", done, total, "")
        found.append({"label": label, "axes": along, **_whole(phase, any(a["percolates"] for a in along.values()))})
    return found


def transport_field(structure: Microstructure, *, label: int, axis: str) -> TransportField:
    """The steady field of concentration and flux in one phase, by finite volumes; see `TransportField`."""
    number = "zyx"[-structure.labels.ndim :].index(axis)
    phase = descriptors.percolating_clusters(structure.labels == label, axis=number)
    with jax.enable_x64(True):
        kappa = phase.astype(np.float64)
        solution = physics.solve(kappa, axis=number)
        flux = np.asarray(physics.flux_field(kappa, solution.concentration, axis=number), np.float32)
        concentration = np.where(phase, np.asarray(solution.concentration), np.nan).astype(np.float32)
    return TransportField(label, axis, concentration, flux)


def _along(phase: np.ndarray, axis: int) -> dict[str, Any]:
    conducting = descriptors.percolating_clusters(phase, axis=axis)  # what is cut off carries no flux
    if not conducting.any():
        none = dict.fromkeys((*SCHEMES, "mean"), 0.0)
        return {"percolates": False, **none, "tortuosity_factor": float("inf"), "converged": True,
                "flux_balance": 0.0, "iterations": 0}  # fmt: skip
    kappa = np.moveaxis(conducting, axis, 0).astype(np.float64)  # always along the first axis: a cube compiles once
    with jax.enable_x64(True):
        solved = {s: physics.solve(kappa, axis=0, discretisation=s) for s in SCHEMES}
        d_eff = {s: float(physics.conducted(solution, True)) for s, solution in solved.items()}
        tau = float(physics.tortuosity_factor(np.float64(d_eff["finite_volume"]), float(phase.mean())))
    return {
        "percolates": True,
        **d_eff,
        "mean": float(np.mean(list(d_eff.values()))),
        "tortuosity_factor": tau,
        "converged": all(bool(solution.converged) for solution in solved.values()),
        "flux_balance": max(abs(float(solution.flux_balance)) for solution in solved.values()),
        "iterations": max(int(solution.iterations) for solution in solved.values()),
    }


def _whole(phase: np.ndarray, conducts: bool) -> dict[str, Any]:
    """What belongs to no axis."""
    phi, d = np.array([1 - phase.mean(), phase.mean()]), np.array([0.0, 1.0])
    with jax.enable_x64(True):
        tensor = physics.effective_tensor(phase.astype(np.float64)) if conducts else np.zeros((phase.ndim,) * 2)
        return {
            "tensor": np.asarray(tensor).tolist(),
            "wiener_bounds": [float(bound) for bound in physics.wiener_bounds(phi, d)],
            "hashin_shtrikman_bounds": [
                float(bound) for bound in physics.hashin_shtrikman_bounds(phi, d, dimensions=phase.ndim)
            ],
        }
