"""JAX-FEM: the weak form of steady diffusion on voxels. The only module that imports it.

The import of JAX-FEM prints a banner, changes NumPy's print options, logs to standard output, and needs gmsh (whose
system libraries minimal installations lack), but only for meshes that we do not use. This module suppresses all that.
The solver module of JAX-FEM is never imported: it enables 64-bit numbers in the whole process and needs petsc4py.
"""

import contextlib
import importlib
import io
import logging
import sys
import types
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def _import_quietly():
    """The modules `jax_fem.problem` and `jax_fem.generate_mesh`, imported without their side effects."""
    absent = "gmsh" not in sys.modules
    jax_level = logging.getLogger("jax").level
    with contextlib.redirect_stdout(io.StringIO()), np.printoptions():
        try:
            importlib.import_module("gmsh")
        except (ImportError, OSError):  # OSError: gmsh is installed without its X11 or OpenGL libraries
            sys.modules["gmsh"] = types.ModuleType("gmsh")
        try:
            problem = importlib.import_module("jax_fem.problem")
            mesh = importlib.import_module("jax_fem.generate_mesh")
        finally:
            if absent and not hasattr(sys.modules["gmsh"], "__file__"):
                del sys.modules["gmsh"]  # so that no other package takes the placeholder for gmsh
    logging.getLogger("jax_fem").setLevel(logging.WARNING)  # its import sets DEBUG
    logging.getLogger("jax").setLevel(jax_level)
    return problem, mesh


_problem, _mesh = _import_quietly()

ELEMENT = {2: "QUAD4", 3: "HEX8"}
# Corners of a square or cube in the order of JAX-FEM's elements: around the first face, then around the opposite one.
_SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
CORNERS = {2: _SQUARE, 3: tuple((*corner, level) for level in (0, 1) for corner in _SQUARE)}


class VoxelDiffusion(_problem.Problem):
    """-div(kappa grad u) = 0 on a box of unit voxels, one bilinear (trilinear) element each; u = 1 and 0 on two faces.

    Defines our finite elements: weak form, basis, quadrature and Dirichlet nodes are those of JAX-FEM. For another flux
    law (anisotropic, nonlinear) override `get_tensor_map`; `kappa` is then the parameter of the law in each voxel.
    """

    def get_tensor_map(self) -> Callable:
        """Flux of the weak form, int flux(grad u, kappa) . grad v = 0."""
        return lambda u_grad, kappa: kappa * u_grad

    def residual(self, kappa: Float[Array, "*cells"], nodes: Float[Array, "*nodes"]) -> Float[Array, "*nodes"]:
        """int kappa grad u . grad v for the basis function v of every node, without boundary conditions. Pure JAX.

        Args:
            kappa: diffusivity of each voxel.
            nodes: u at the corners of the voxels, one more than voxels along each axis.
        """
        quadrature_points = self.fes[0].num_quads
        per_point = jnp.repeat(kappa.reshape(-1, 1), quadrature_points, axis=1)
        residuals = self.compute_residual_vars([nodes.reshape(-1, 1)], [per_point], self.internal_vars_surfaces)
        return residuals[0].reshape(nodes.shape)

    @property
    def fixed_nodes(self) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " last"]]:
        """Numbers of the nodes with u = 1 and with u = 0."""
        first, last = self.fes[0].node_inds_list
        return first, last


@lru_cache(maxsize=8)
def voxel_diffusion(shape: tuple[int, ...], axis: int = 0) -> VoxelDiffusion:
    """The problem on a grid of `shape` voxels with flux along `axis`. Set-up on the host takes seconds at 64^3."""
    points = np.indices([edge + 1 for edge in shape]).reshape(len(shape), -1).T.astype(float)
    numbers = np.arange(len(points)).reshape([edge + 1 for edge in shape])
    cells = np.stack([_corner(numbers, corner).ravel() for corner in CORNERS[len(shape)]], axis=-1)
    ends = [lambda point: jnp.isclose(point[axis], 0.0), lambda point: jnp.isclose(point[axis], float(shape[axis]))]
    values = [lambda point: 1.0, lambda point: 0.0]
    with (
        jax.ensure_compile_time_eval()
    ):  # this may run while another function is traced, and the problem must not hold tracers
        return VoxelDiffusion(
            _mesh.Mesh(points, cells, ELEMENT[len(shape)]),
            vec=1,
            dim=len(shape),
            ele_type=ELEMENT[len(shape)],
            dirichlet_bc_info=[ends, [0, 0], values],
        )


@lru_cache
def element_stiffness(dimensions: int) -> tuple[Float[np.ndarray, "node node"], Int[np.ndarray, "node axis"]]:
    """Stiffness K_ij = int grad N_i . grad N_j of a unit voxel, and the corner at which each local node i lies.

    From the basis, quadrature and mesh of JAX-FEM on a grid of two voxels along each axis, in NumPy float64. From
    version 0.0.12 on JAX-FEM holds JAX arrays, which must have double precision here and must not be tracers.
    """
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        problem = voxel_diffusion.__wrapped__((2,) * dimensions)  # not cached: other callers have another precision
        grads, weights = np.asarray(problem.shape_grads[0]), np.asarray(problem.JxW[0, 0])  # "q node axis", "q"
        element = problem.fes[0]
        corners = np.asarray(element.points)[np.asarray(element.cells)[0]]
    stiffness = np.einsum("q,qia,qja->ij", weights, grads, grads)
    return stiffness, np.round(corners - corners.min(axis=0)).astype(int)


def _corner(nodes: Int[np.ndarray, "*nodes"], corner: tuple[int, ...]) -> Int[np.ndarray, "*cells"]:
    """The node at one corner of each voxel."""
    return nodes[tuple(slice(at, edge - 1 + at) for at, edge in zip(corner, nodes.shape, strict=True))]
