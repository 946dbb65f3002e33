"""Physics: steady diffusion on voxels in XLA, and the transport properties that follow. Lengths are in voxels.

JAX-FEM defines the finite elements (`jaxmicro.physics.jaxfem`, imported only when elements are used); the solver and
its derivatives are our own. All functions take one sample: map over a batch with `jax.vmap`.
"""

from jaxmicro.physics.bounds import hashin_shtrikman_bounds, wiener_bounds
from jaxmicro.physics.homogenize import (
    conducted,
    diffusivity_of_phases,
    effective_diffusivity,
    effective_tensor,
    flux_field,
    tortuosity_factor,
)
from jaxmicro.physics.steady_diffusion import DiffusionSolution, Sides, SolverConfig, solve

__all__ = [
    "DiffusionSolution",
    "Sides",
    "SolverConfig",
    "conducted",
    "diffusivity_of_phases",
    "effective_diffusivity",
    "effective_tensor",
    "flux_field",
    "hashin_shtrikman_bounds",
    "solve",
    "tortuosity_factor",
    "wiener_bounds",
]
