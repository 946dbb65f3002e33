"""Finite elements with the residual of JAX-FEM as operator, to check the structured kernel of `elements.py`."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxmicro.physics.elements import Elements
from jaxmicro.physics.grid import Drops
from jaxmicro.physics.jaxfem import voxel_diffusion

LARGEST_PROBLEM = 2**15  # voxels of one JAX-FEM problem; larger grids are divided into slabs


@dataclass(frozen=True)
class JaxFemElements(Elements):
    """`Elements` whose operator and energy are the residual of `VoxelDiffusion` itself.

    Tens to hundreds of times slower than the structured kernel; for checks, and as a start for other flux laws.
    """

    def residual(self, kappa: Float[Array, "*cells"], nodes: Float[Array, "*nodes"]) -> Float[Array, "*nodes"]:
        """int kappa grad u . grad v for the basis function v of every node.

        JAX-FEM holds two kilobytes of shape gradients for each voxel. So a large grid is divided into slabs that share
        one problem; the forces on the nodes between two slabs are the sum of the contributions of both.
        """
        n, voxels = kappa.shape[0], math.prod(kappa.shape[1:])
        thickness = min(n, max(1, LARGEST_PROBLEM // voxels))
        problem = voxel_diffusion((thickness, *kappa.shape[1:]))
        if thickness == n:
            return problem.residual(kappa, nodes)
        slabs = -(-n // thickness)
        rest = [(0, slabs * thickness - n), *[(0, 0)] * (kappa.ndim - 1)]  # blocked voxels exert no force
        cells = jnp.pad(kappa, rest).reshape(slabs, thickness, *kappa.shape[1:])
        rows = np.add.outer(thickness * np.arange(slabs), np.arange(thickness + 1))
        forces = lax.map(lambda slab: problem.residual(*slab), (cells, jnp.pad(nodes, rest)[rows]))
        return jnp.zeros_like(jnp.pad(nodes, rest)).at[rows].add(forces)[: n + 1]

    def haloed(self, u: Float[Array, "*unknown"]) -> Float[Array, "*unknown"]:
        """The unknowns; no planes around them are needed."""
        return u

    def interior(self, haloed: Float[Array, "*unknown"]) -> Float[Array, "*unknown"]:
        """The unknowns."""
        return haloed

    def stencil(self, material: Float[Array, "*cells"]) -> Float[Array, "*cells"]:
        """Coefficients of `product`: the diffusivity itself."""
        return material

    def product(self, stencil: Float[Array, "*cells"], haloed: Float[Array, "*unknown"]) -> Float[Array, "*unknown"]:
        """K u."""
        return self.forces(stencil, haloed, (0.0,) * stencil.ndim)

    def diagonal(self, stencil: Float[Array, "*cells"]) -> Float[Array, "*unknown"]:
        """Not available from JAX-FEM, and not needed: the preconditioner is that of `Elements`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the diagonal is that of Elements, which preconditions")

    def preconditioner(self) -> Elements:
        """The structured kernel: the solution does not depend on it, and coarse grids need no JAX-FEM problem."""
        return Elements(self.sides)

    def energy(self, kappa: Float[Array, "*cells"], u: Float[Array, "*unknown"], drops: Drops) -> Float[Array, ""]:
        """int kappa |grad u|^2."""
        nodes = self.field(u, drops)
        return jnp.vdot(nodes, self.residual(kappa, nodes))
