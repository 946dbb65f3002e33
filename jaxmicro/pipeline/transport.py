"""From images and volumes to diffusivities: connectivity decides whether a phase conducts, a solver how well."""

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


def diffusivities(
    volumes: Sequence[Microstructure],
    *,
    truth: Microstructure | None = None,
    held: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Effective diffusivity D_eff / D_0 and tortuosity factor of each phase along each axis, all other phases blocked.

    By finite volumes, between opposite faces with tight sides as `transport`, of periodic volumes also of the medium
    repeated periodically: two compiled programs for volumes of one shape, all phases and all axes of a cube.

    Args:
        truth: volume of the real material, and with it its disjoint parts of the size of the volumes.
        held: what was aimed at when the volumes were made: "diffusivity.0.z" is the target of a design.
        progress: called after each solve.
    Returns:
        {"sub_volumes": number of parts of the true volume, "phases": [per phase {"phase", "axes": {axis:
        {"diffusivity", "tortuosity_factor", "diffusivity_periodic", "tortuosity_factor_periodic", "target"}}}]}, where
        numbers are {"mean", "std", "volumes"}, between faces with a true volume also "reference" and "parts"; the
        periodic ones None unless all volumes are. Dimensionless; the tortuosity factor of what does not connect is
        infinite.
        "target" says whether one of them was aimed at; None where that is not known.
    """
    shape = np.min([v.labels.shape for v in volumes], axis=0)
    parts = [] if truth is None else evaluate.sub_volumes(truth.labels, shape)
    grids = [*(v.labels for v in volumes), *([] if truth is None else [truth.labels]), *parts]
    phases, made = volumes[0].phases, len(volumes)
    periodic = all(v.periodic for v in volumes)
    total = (len(grids) + made * periodic) * phases * 3
    done = itertools.count(1)

    def solved(grids: Sequence[np.ndarray], *, periodic: bool) -> np.ndarray:
        """By grid, phase and axis."""
        found = np.zeros((len(grids), phases, 3))
        for grid, p, axis in np.ndindex(found.shape):
            found[grid, p, axis] = exact_value("diffusivity", grids[grid], phases, p, axis, periodic=periodic)
            if progress is not None:
                progress("diffusivity", next(done), total, "")
        return found

    def tortuosity(diffusivity: np.ndarray, grids: Sequence[np.ndarray]) -> np.ndarray:
        fractions = np.array([[np.mean(grid == p) for p in range(phases)] for grid in grids])[..., None]
        # NaN, where a solve did not converge, stays NaN
        return np.where(diffusivity == 0, np.inf, fractions / np.where(diffusivity == 0, 1.0, diffusivity))

    between = solved(grids, periodic=False)
    tau = tortuosity(between, grids)
    repeated = solved(grids[:made], periodic=True) if periodic else None
    tau_repeated = None if repeated is None else tortuosity(repeated, grids[:made])

    def stated(values: np.ndarray) -> dict[str, Any]:
        found = mean_and_spread(values[:made])
        if truth is not None:
            found |= {"reference": float(values[made]), "parts": values[made + 1 :].tolist()}
        return found

    def aimed_at(p: int, axis: str) -> bool | None:
        names = {f"{kind}.{p}{ending}" for kind in ("diffusivity", "tortuosity") for ending in ("", f".{axis}")}
        return None if held is None else bool(names & set(held))

    return {
        "sub_volumes": len(parts),
        "phases": [
            {
                "phase": p,
                "axes": {
                    axis: {
                        "diffusivity": stated(between[:, p, a]),
                        "tortuosity_factor": stated(tau[:, p, a]),
                        "diffusivity_periodic": None if repeated is None else mean_and_spread(repeated[:, p, a]),
                        "tortuosity_factor_periodic": None
                        if tau_repeated is None
                        else mean_and_spread(tau_repeated[:, p, a]),
                        "target": aimed_at(p, axis),
                    }
                    for a, axis in enumerate("zyx")
                },
            }
            for p in range(phases)
        ],
    }


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
