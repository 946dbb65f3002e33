"""From images and volumes to diffusivities: connectivity decides whether a phase conducts, a solver how well."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmicro import descriptors, physics
from jaxmicro.clusters import winding
from jaxmicro.pipeline.prior import Progress
from jaxmicro.types import Microstructure

SCHEMES = ("finite_volume", "q1")
BLOCKED = {
    "percolates": False, "finite_volume": 0.0, "q1": 0.0, "mean": 0.0, "tortuosity_factor": float("inf"),
    "converged": True, "flux_balance": 0.0, "iterations": 0,
}  # fmt: skip


class TransportField(NamedTuple):
    """Steady diffusion through one phase along one axis, all other phases blocked, by finite volumes."""

    label: int
    axis: str  # of the imposed gradient: "z", "y" or "x"
    concentration: np.ndarray  # "*grid" from 1 at the first face to 0 at the last; NaN outside what conducts
    flux: np.ndarray  # "*grid d", -grad u per voxel edge, in units of D_0; components in the order of the axes


def transport(
    structure: Microstructure,
    *,
    tensor: bool = True,
    on_field: Callable[[TransportField], None] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Effective diffusivity and tortuosity factor of every phase, all others blocked, in double precision.

    Finite volumes bound D_eff of the voxel geometry from below, bilinear elements from above. How well the voxels
    resolve the material is another matter: a wide bracket says that they are coarse.

    Args:
        tensor: also the effective tensor of the medium repeated periodically, by finite volumes: three more solves.
        on_field: takes the fields of each phase along each axis that it connects, as they are solved.
        progress: called after each axis, and after each tensor.
    Returns:
        For each phase {"label", "axes": {axis: {"percolates", "finite_volume", "q1", "mean", "tortuosity_factor",
        "converged", "flux_balance", "iterations"}}, "tensor_periodic", "wiener_bounds", "hashin_shtrikman_bounds"}. All
        diffusivities are relative to that of the phase, dimensionless. Along an axis that the phase does not connect
        they are 0 and tau is infinite; where a solve did not converge they are NaN. "tortuosity_factor" is that of
        finite volumes. The diagonal of "tensor_periodic" differs from the values along the axes, which are those of a
        sample between two faces with tight sides: a phase may connect through the wrap alone, or through the faces.
        Of a structure that is periodic each axis has its number also as "finite_volume_periodic", with
        "tortuosity_factor_periodic": the medium has these; its numbers between two faces depend on where these lie.
    """
    axes = "zyx"[-structure.labels.ndim :]
    done, total = 0, structure.phases * (len(axes) + tensor)

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("diffusivity", done, total, "")

    found = []
    for label in range(structure.phases):
        phase, along = structure.labels == label, {}
        for number, axis in enumerate(axes):
            along[axis], field = _along(phase, number, wants_field=on_field is not None)
            if field is not None and on_field is not None:
                on_field(TransportField(label, axis, *field))
            step()
        of_phase = {"label": label, "axes": along, **_bounds(phase)}
        if tensor:
            of_phase["tensor_periodic"] = found_tensor = _tensor(phase)
            if structure.periodic:
                for number, axis in enumerate(axes):
                    along[axis] |= _periodic(found_tensor[number][number], float(phase.mean()))
            step()
        found.append(of_phase)
    return found


def _along(
    phase: np.ndarray, axis: int, *, wants_field: bool
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray] | None]:
    """The numbers along one axis, and concentration and flux where asked for and converged."""
    conducting = descriptors.percolating_clusters(phase, axis=axis)  # what is cut off carries no flux
    if not conducting.any():
        return dict(BLOCKED), None
    kappa = conducting.astype(np.float64)
    field = None
    with jax.enable_x64(True):
        solved = {s: physics.solve(kappa, axis=axis, discretisation=s) for s in SCHEMES}
        d_eff = {s: float(physics.conducted(solution, True)) for s, solution in solved.items()}
        volumes = solved["finite_volume"]
        tau = float(physics.tortuosity_factor(physics.conducted(volumes, True), float(phase.mean())))
        if wants_field and volumes.converged:
            concentration = np.where(conducting, volumes.concentration, np.nan).astype(np.float32)
            field = concentration, np.asarray(physics.flux_field(kappa, volumes.concentration, axis=axis), np.float32)
    numbers = {
        "percolates": True,
        **d_eff,
        "mean": float(np.mean(list(d_eff.values()))),
        "tortuosity_factor": tau,
        "converged": all(bool(solution.converged) for solution in solved.values()),
        "flux_balance": max(abs(float(solution.flux_balance)) for solution in solved.values()),
        "iterations": max(int(solution.iterations) for solution in solved.values()),
    }
    return numbers, field


def _tensor(phase: np.ndarray) -> list[list[float]]:
    clusters, winds = winding(phase)
    conducting = np.any(winds, axis=1)[clusters]  # what winds along no axis carries no flux
    if not conducting.any():
        return np.zeros((phase.ndim,) * 2).tolist()
    with jax.enable_x64(True):
        tensor = np.asarray(physics.effective_tensor(conducting.astype(np.float64), percolates=np.any(winds, axis=0)))
        return np.where(np.abs(tensor) < 1e-12, 0.0, tensor).tolist()  # rounding, where clusters are apart


def _periodic(d_eff: float, volume_fraction: float) -> dict[str, float]:
    with jax.enable_x64(True):
        tau = float(physics.tortuosity_factor(np.float64(d_eff), volume_fraction))  # pyright: ignore[reportArgumentType]
    return {"finite_volume_periodic": d_eff, "tortuosity_factor_periodic": tau}


def _bounds(phase: np.ndarray) -> dict[str, list[float]]:
    phi, d = np.array([1 - phase.mean(), phase.mean()]), np.array([0.0, 1.0])
    with jax.enable_x64(True):
        wiener = physics.wiener_bounds(phi, d)
        hashin_shtrikman = physics.hashin_shtrikman_bounds(phi, d, dimensions=phase.ndim)
    return {
        "wiener_bounds": [float(bound) for bound in wiener],
        "hashin_shtrikman_bounds": [float(bound) for bound in hashin_shtrikman],
    }
