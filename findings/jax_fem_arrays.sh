#!/usr/bin/env bash
# JAX-FEM 0.0.12 keeps what it reads of the mesh and the basis as JAX arrays, where 0.0.11 kept NumPy's.
#
# Two things follow that its release does not say. (1) Where 64-bit numbers are off (JAX's default), a mesh and shape
# gradients given in double precision are silently single precision: the stiffness of a unit cube is 2e-8 off instead
# of 1e-16. (2) A finished Problem cannot be read with NumPy inside a function that is being traced: indexing one of
# its arrays there makes a tracer, and np.asarray of it raises TracerArrayConversionError; with 0.0.11 the same lines
# are constants. Both go away by building and reading it within jax.enable_x64 and jax.ensure_compile_time_eval.
#
# Needs Python 3.12 or 3.13 (PYTHON=...). Output seen, 2026-11-27, Python 3.12.1:
#   jax-fem 0.0.12 jax 0.10.2
#   type of shape_grads: ArrayImpl float32
#   K_00 - 1/3: 2.0e-08
#   reading it while tracing: TracerArrayConversionError
#   within enable_x64 and ensure_compile_time_eval: float64, K_00 - 1/3: 5.6e-17
set -euo pipefail
python=${PYTHON:-$(command -v python3.13 || command -v python3.12 || command -v python3)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
  jax==0.10.2 jax-fem==0.0.12 fenics-basix==0.11.0 meshio==5.3.5 pyfiglet==1.0.4 scipy==1.17.1 numpy==2.4.6
cat > "$folder/look.py" <<'PY'
import contextlib, importlib.metadata, io, sys, types

sys.modules["gmsh"] = types.ModuleType("gmsh")  # only its own mesh generators use it
with contextlib.redirect_stdout(io.StringIO()):
    import jax, numpy as np
    from jax_fem.generate_mesh import Mesh
    from jax_fem.problem import Problem


class Laplace(Problem):
    def get_tensor_map(self):
        return lambda gradient: gradient


def cube():
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    mesh = Mesh(np.array(corners, float), np.arange(8)[None], "HEX8")
    return Laplace(mesh, vec=1, dim=3, ele_type="HEX8")


def stiffness(problem):
    gradients, weights = np.asarray(problem.shape_grads[0]), np.asarray(problem.JxW[0, 0])
    return np.einsum("q,qia,qja->ij", weights.astype(float), gradients.astype(float), gradients.astype(float))


problem = cube()
print("jax-fem", importlib.metadata.version("jax-fem"), "jax", jax.__version__)
print("type of shape_grads:", type(problem.shape_grads).__name__, problem.shape_grads.dtype)
off = abs(stiffness(problem)[0, 0] - 1 / 3)
print(f"K_00 - 1/3: {off:.1e}")
assert not isinstance(problem.shape_grads, np.ndarray) and problem.shape_grads.dtype == np.float32 and off > 1e-10
try:
    jax.jit(lambda x: x * stiffness(problem)[0, 0])(1.0)
    raise SystemExit("changed: it can be read while a function is traced")
except jax.errors.TracerArrayConversionError as error:
    print("reading it while tracing:", type(error).__name__)


def traced(x):
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        inside = cube()
        exact = stiffness(inside)[0, 0]
        print(f"within enable_x64 and ensure_compile_time_eval: {inside.shape_grads.dtype}, "
              f"K_00 - 1/3: {abs(exact - 1 / 3):.1e}")
    assert abs(exact - 1 / 3) < 1e-14
    return x * exact


jax.jit(traced)(1.0)
PY
"$folder/venv/bin/python" "$folder/look.py"
