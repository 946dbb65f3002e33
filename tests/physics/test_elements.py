"""Our elements equal those of JAX-FEM."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.physics import SolverConfig, jaxfem, jaxfem_elements, solve
from jaxmicro.physics.elements import Elements

SHAPES = [(6, 9), (4, 7, 5)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["2d", "3d"])
TIGHT = SolverConfig(tolerance=1e-9)


def medium(shape: tuple[int, ...], contrast: float) -> np.ndarray:
    return contrast ** np.random.default_rng(0).random(shape)


@every_shape
def test_residual_equals_that_of_jax_fem_on_the_whole_grid(shape: tuple[int, ...], float64: None):
    kappa, nodes = medium(shape, 1e-6), np.random.default_rng(1).random([edge + 1 for edge in shape])
    problem = jaxfem.voxel_diffusion(shape)
    ours = jax.jit(Elements(("insulated",) * len(shape)).residual)(kappa, nodes)
    # 1e-12: rounding of sums of some tens of terms of size 1.
    np.testing.assert_allclose(ours, jax.jit(problem.residual)(kappa, nodes), atol=1e-12)


@every_shape
def test_the_residual_of_jax_fem_is_the_same_by_slabs(shape: tuple[int, ...], float64: None, monkeypatch):
    kappa = jnp.asarray(medium(shape, 1e-6))
    nodes = jnp.asarray(np.random.default_rng(1).random([edge + 1 for edge in shape]))
    elements = jaxfem_elements.JaxFemElements(("insulated",) * len(shape))
    whole = elements.residual(kappa, nodes)
    # slabs of three planes: the last one is not full
    monkeypatch.setattr(jaxfem_elements, "LARGEST_PROBLEM", 3 * kappa[0].size)
    np.testing.assert_allclose(elements.residual(kappa, nodes), whole, atol=1e-14)


@every_shape
def test_derivatives_and_batches_of_the_residual_equal_those_of_jax_fem(shape: tuple[int, ...], float64: None):
    problem = jaxfem.voxel_diffusion(shape)
    kappa = np.stack([medium(shape, 1e-3), medium(shape, 1e-1)])
    nodes = np.random.default_rng(1).random([2] + [edge + 1 for edge in shape])
    of = [lambda k, u, f=f: jnp.sum(f(k, u) ** 2) for f in (problem.residual, Elements(("insulated",) * 3).residual)]
    if len(shape) == 2:
        of[1] = lambda k, u: jnp.sum(Elements(("insulated",) * 2).residual(k, u) ** 2)
    theirs, ours = (jax.jit(jax.vmap(jax.grad(f, argnums=(0, 1))))(kappa, nodes) for f in of)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


@every_shape
@pytest.mark.parametrize("axis", [0, 1])
def test_fixed_values_sit_on_jax_fems_dirichlet_nodes(shape: tuple[int, ...], axis: int):
    sides = tuple("fixed" if a == axis else "insulated" for a in range(len(shape)))
    drops = tuple(float(a == axis) for a in range(len(shape)))
    elements = Elements(sides)
    field = np.asarray(elements.field(jnp.full(elements.unknowns(shape), 0.5), drops)).ravel()
    first, last = jaxfem.voxel_diffusion(shape, axis).fixed_nodes
    np.testing.assert_array_equal(np.flatnonzero(field == 1), first)
    np.testing.assert_array_equal(np.flatnonzero(field == 0), last)


@pytest.mark.parametrize("sides", [pytest.param("insulated", marks=pytest.mark.slow), "periodic"])
def test_solution_equals_a_solve_with_jax_fems_residual_as_operator(sides, float64: None):
    kappa = medium((10, 9), 1e-3)

    def value_and_gradient(backend):
        def d_eff(kappa):
            return solve(kappa, axis=1, discretisation="q1", sides=sides, backend=backend, config=TIGHT).d_eff

        return jax.value_and_grad(d_eff)(kappa)

    (ours, our_gradient), (theirs, their_gradient) = value_and_gradient("xla"), value_and_gradient("jaxfem")
    assert ours == pytest.approx(float(theirs), rel=1e-8)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-6)


def test_the_element_is_read_in_double_precision_also_while_another_function_is_traced():
    """JAX-FEM 0.0.12 keeps JAX arrays, by default in single precision. Trilinear: K_00 is 1/3, K_06 -1/12."""
    script = """
import jax
import jax.numpy as jnp
from jaxmicro.physics import solve
assert abs(jax.jit(lambda k: solve(k, axis=0, discretisation="q1").d_eff)(jnp.full((4, 4, 4), 2.0)) - 2) < 1e-5
from jaxmicro.physics.jaxfem import element_stiffness
stiffness, _ = element_stiffness(3)
assert abs(stiffness[0, 0] - 1 / 3) < 1e-15 and abs(stiffness[0, 6] + 1 / 12) < 1e-15 and stiffness.dtype == "float64"
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_import_of_jax_fem_has_no_side_effects():
    """No banner, no logging, NumPy prints as before, 64-bit numbers stay off, and the solver module is not loaded."""
    script = """
import logging, sys
import numpy as np
before = np.get_printoptions(), logging.getLogger("jax").level
import jax
from jaxmicro.physics import jaxfem
jaxfem.element_stiffness(3)
assert (np.get_printoptions(), logging.getLogger("jax").level) == before
assert "jax_fem.solver" not in sys.modules and not jax.config.jax_enable_x64
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_survives_a_missing_gmsh():
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "gmsh":
            raise OSError("libGLU.so.1: cannot open shared object file")
sys.meta_path.insert(0, Missing())
from jaxmicro.physics import jaxfem
assert jaxfem.element_stiffness(2)[0].shape == (4, 4) and "gmsh" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
