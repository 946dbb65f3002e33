"""Effective diffusivities of images and volumes: connectivity decides whether a phase conducts, a solver how much."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmicro import descriptors, evaluate, physics
from jaxmicro.descriptors import winding
from jaxmicro.evaluate.rounding import mean_and_spread
from jaxmicro.guidance import exact_value
from jaxmicro.pipeline.progress import Progress
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
    concentration: np.ndarray  # "*grid" from 1 at the first face to 0 at the last; NaN outside the conducting voxels
    flux: np.ndarray  # "*grid d", -grad u per voxel edge, in units of D_0; components in the order of the axes


def transport(
    structure: Microstructure,
    *,
    tensor: bool = True,
    on_field: Callable[[TransportField], None] | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Effective diffusivity and tortuosity factor of every phase, all others blocked, in double precision.

    Finite volumes bound D_eff of the voxel geometry from below, bilinear elements from above. The error of the voxel
    geometry itself is not bounded; a wide bracket indicates that the voxels are coarse.

    Args:
        tensor: also the effective tensor of the medium repeated periodically, by finite volumes: three more solves.
        on_field: called with the fields of each phase along each axis along which it percolates, as they are solved.
        progress: called after each axis, and after each tensor.
    Returns:
        For each phase {"label", "axes": {axis: {"percolates", "finite_volume", "q1", "mean", "tortuosity_factor",
        "converged", "flux_balance", "iterations"}}, "tensor_periodic", "wiener_bounds", "hashin_shtrikman_bounds"}. All
        diffusivities are relative to that of the phase, dimensionless. Along an axis along
        which the phase does not percolate they are 0 and tau is infinite; where a solve did not converge they are NaN.
        "tortuosity_factor" is that of finite volumes. The diagonal of "tensor_periodic" differs from the values along
        the axes, which are those of a sample between two faces with insulated sides: a phase may percolate across the
        periodic boundary only, or between the faces only. For a periodic structure each axis also has
        "finite_volume_periodic" and "tortuosity_factor_periodic", which belong to the periodic medium; the values
        between two faces depend on where the faces lie.
    """
    axes = "zyx"[-structure.labels.ndim :]
    done, total = 0, structure.phases * (len(axes) + tensor)

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("diffusivity", done, total, "")

    results = []
    for label in range(structure.phases):
        phase, along = structure.labels == label, {}
        for number, axis in enumerate(axes):
            along[axis], field = _along(phase, number, return_field=on_field is not None)
            if field is not None and on_field is not None:
                on_field(TransportField(label, axis, *field))
            step()
        of_phase = {"label": label, "axes": along, **_bounds(phase)}
        if tensor:
            of_phase["tensor_periodic"] = tensor_periodic = _tensor(phase)
            if structure.periodic:
                for number, axis in enumerate(axes):
                    along[axis] |= _periodic(tensor_periodic[number][number], float(phase.mean()))
            step()
        results.append(of_phase)
    return results


def diffusivities(
    volumes: Sequence[Microstructure],
    *,
    truth: Microstructure | None = None,
    held: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Effective diffusivity D_eff / D_0 and tortuosity factor of each phase along each axis, all other phases blocked.

    By finite volumes, between opposite faces with insulated sides as in `transport`, for periodic volumes also of the
    periodic medium: two compiled programs for volumes of one shape, all phases and all axes of a cube.

    Args:
        truth: volume of the real material; its disjoint parts of the size of the volumes are solved, too.
        held: names of the constraints and targets of the volumes ("diffusivity.0.z"); None: not known.
        progress: called after each solve.
    Returns:
        {"sub_volumes": number of parts of the true volume, "phases": [per phase {"phase", "axes": {axis:
        {"diffusivity", "tortuosity_factor", "diffusivity_periodic", "tortuosity_factor_periodic", "target"}}}]}, where
        each number is {"mean", "std", "volumes"}, between faces with a true volume also "reference" and "parts"; those
        of the periodic medium are None unless all volumes are periodic. Dimensionless; the tortuosity factor of a phase
        that does not percolate is infinite. "target": whether one of these numbers was a target; None if not known.
    """
    shape = np.min([v.labels.shape for v in volumes], axis=0)
    parts = [] if truth is None else evaluate.sub_volumes(truth.labels, shape)
    grids = [*(v.labels for v in volumes), *([] if truth is None else [truth.labels]), *parts]
    phases, count = volumes[0].phases, len(volumes)
    periodic = all(v.periodic for v in volumes)
    total = (len(grids) + count * periodic) * phases * 3
    done = itertools.count(1)

    def solved(grids: Sequence[np.ndarray], *, periodic: bool) -> np.ndarray:
        """D_eff / D_0 by grid, phase and axis."""
        d_eff = np.zeros((len(grids), phases, 3))
        for grid, p, axis in np.ndindex(d_eff.shape):
            d_eff[grid, p, axis] = exact_value("diffusivity", grids[grid], phases, p, axis, periodic=periodic)
            if progress is not None:
                progress("diffusivity", next(done), total, "")
        return d_eff

    between_faces = solved(grids, periodic=False)
    tau = _tortuosity_factors(between_faces, grids)
    of_medium = solved(grids[:count], periodic=True) if periodic else None
    tau_of_medium = None if of_medium is None else _tortuosity_factors(of_medium, grids[:count])

    def summary(values: np.ndarray) -> dict[str, Any]:
        statistics = mean_and_spread(values[:count])
        if truth is not None:
            statistics |= {"reference": float(values[count]), "parts": values[count + 1 :].tolist()}
        return statistics

    def is_target(p: int, axis: str) -> bool | None:
        names = {f"{kind}.{p}{ending}" for kind in ("diffusivity", "tortuosity") for ending in ("", f".{axis}")}
        return None if held is None else bool(names & set(held))

    return {
        "sub_volumes": len(parts),
        "phases": [
            {
                "phase": p,
                "axes": {
                    axis: {
                        "diffusivity": summary(between_faces[:, p, a]),
                        "tortuosity_factor": summary(tau[:, p, a]),
                        "diffusivity_periodic": None if of_medium is None else mean_and_spread(of_medium[:, p, a]),
                        "tortuosity_factor_periodic": None
                        if tau_of_medium is None
                        else mean_and_spread(tau_of_medium[:, p, a]),
                        "target": is_target(p, axis),
                    }
                    for a, axis in enumerate("zyx")
                },
            }
            for p in range(phases)
        ],
    }


def _tortuosity_factors(d_eff: np.ndarray, grids: Sequence[np.ndarray]) -> np.ndarray:
    """phi D_0 / D_eff of each grid, phase and axis; infinite where D_eff is 0, NaN where a solve did not converge."""
    fractions = np.array([[np.mean(grid == p) for p in range(d_eff.shape[1])] for grid in grids])[..., None]
    return np.where(d_eff == 0, np.inf, fractions / np.where(d_eff == 0, 1.0, d_eff))


def _along(
    phase: np.ndarray, axis: int, *, return_field: bool
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray] | None]:
    """The numbers along one axis, and concentration and flux with `return_field` if the solve converged."""
    conducting = descriptors.percolating_clusters(phase, axis=axis)  # other clusters carry no flux
    if not conducting.any():
        return dict(BLOCKED), None
    kappa = conducting.astype(np.float64)
    field = None
    with jax.enable_x64(True):
        solved = {s: physics.solve(kappa, axis=axis, discretisation=s) for s in SCHEMES}
        d_eff = {s: float(physics.conducted(solution, True)) for s, solution in solved.items()}
        volumes = solved["finite_volume"]
        tau = float(physics.tortuosity_factor(physics.conducted(volumes, True), float(phase.mean())))
        if return_field and volumes.converged:
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
    conducting = np.any(winds, axis=1)[clusters]  # clusters that percolate along no axis of the medium carry no flux
    if not conducting.any():
        return np.zeros((phase.ndim,) * 2).tolist()
    with jax.enable_x64(True):
        tensor = np.asarray(physics.effective_tensor(conducting.astype(np.float64), percolates=np.any(winds, axis=0)))
        return np.where(np.abs(tensor) < 1e-12, 0.0, tensor).tolist()  # rounding errors, where clusters do not connect


def _periodic(d_eff: float, volume_fraction: float) -> dict[str, float]:
    with jax.enable_x64(True):
        tau = float(physics.tortuosity_factor(jnp.asarray(d_eff), volume_fraction))
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
