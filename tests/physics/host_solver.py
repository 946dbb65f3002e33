"""JAX-FEM's own solver on one medium: `python host_solver.py KAPPA.npy AXIS RESULT.npy`. A process of its own, because
its import switches the whole process to 64-bit numbers.

It keeps its matrix in petsc4py, of which it needs three methods when SciPy's direct solver is chosen; where petsc4py is
not installed (it comes as source only), a SciPy matrix stands in for them.
"""

import sys
import types

import numpy as np
from scipy import sparse

from jaxmicro.physics.jaxfem import voxel_diffusion


class Matrix:
    """Of `petsc4py.PETSc.Mat`, what JAX-FEM calls."""

    def createAIJ(self, size, csr):  # noqa: N802  (theirs)
        indptr, indices, data = csr
        self.matrix = sparse.csr_matrix((data, indices, indptr), shape=size)
        return self

    def zeroRows(self, rows):  # noqa: N802
        keep = np.ones(self.matrix.shape[0])
        keep[rows] = 0
        self.matrix = sparse.diags(keep) @ self.matrix + sparse.diags(1 - keep)

    def getValuesCSR(self):  # noqa: N802
        matrix = self.matrix.tocsr()
        return matrix.indptr, matrix.indices, matrix.data

    def getSize(self):  # noqa: N802
        return self.matrix.shape


def main(kappa_file: str, axis: str, result: str) -> None:
    """Write the concentration at the nodes."""
    try:
        from petsc4py import PETSc  # noqa: F401
    except ImportError:
        petsc = types.SimpleNamespace(Mat=Matrix, IntType=np.int32)
        sys.modules["petsc4py"] = types.ModuleType("petsc4py")
        sys.modules["petsc4py"].PETSc = petsc
    from jax_fem.solver import solver

    kappa = np.load(kappa_file)
    problem = voxel_diffusion(kappa.shape, int(axis))
    problem.internal_vars = [np.repeat(kappa.reshape(-1, 1), problem.fes[0].num_quads, axis=1)]
    (nodes,) = solver(problem, {"umfpack_solver": {}, "tol": 1e-12, "rel_tol": 1e-12})
    np.save(result, np.asarray(nodes).reshape([edge + 1 for edge in kappa.shape]))


if __name__ == "__main__":
    main(*sys.argv[1:])
