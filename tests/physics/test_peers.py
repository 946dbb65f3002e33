"""Agreement with codes that share nothing with ours but the equation: TauFactor, PoreSpy, pyamg, JAX-FEM's solver.

Peers come with the extra `benchmark`; a test of one that is not installed is skipped. Media as in benchmarks/solvers: a
thresholded Gaussian field of porosity 0.4, the other phase exactly blocked.
"""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.solvers import assembled, medium
from jaxmicro.physics import SolverConfig, solve

# What a peer warns of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
EDGES = [pytest.param(24), pytest.param(64, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)]
TIGHT = SolverConfig(tolerance=1e-5)  # 1e-10 in D_eff


@pytest.fixture(scope="module", params=EDGES)
def phase(request: pytest.FixtureRequest) -> np.ndarray:
    return medium(request.param, 0.4)


@pytest.fixture(scope="module")
def finite_volumes(phase: np.ndarray) -> float:
    with jax.enable_x64(True):
        solution = solve(jnp.asarray(phase, float), axis=0, config=TIGHT)
    assert solution.converged
    return float(solution.d_eff)


def test_finite_volumes_agree_with_algebraic_multigrid(phase: np.ndarray, finite_volumes: float):
    pyamg = pytest.importorskip("pyamg")
    matrix, b, inlet = assembled(phase)
    u = pyamg.ruge_stuben_solver(matrix).solve(b, tol=1e-12, accel="cg")
    flux = 2 * np.sum(1 - u[inlet])
    assert finite_volumes == pytest.approx(flux * phase.shape[0] / phase[0].size, rel=1e-6)


def test_finite_volumes_agree_with_taufactor(phase: np.ndarray, finite_volumes: float):
    """Its criterion bounds the relative spread of the flux over the planes; the mean flux is better than that."""
    taufactor = pytest.importorskip("taufactor")
    for spread in (1e-2, 1e-4):  # its default, and about what single precision reaches
        solver = taufactor.Solver(phase.astype(np.uint8), device="cpu")
        solver.solve(verbose=False, conv_crit=spread, iter_limit=100_000)
        assert float(np.ravel(solver.D_eff)[0]) == pytest.approx(finite_volumes, rel=spread)


def test_finite_volumes_are_close_to_porespy(phase: np.ndarray, finite_volumes: float):
    """It fixes the concentration at the centres of the first and last voxels, we at their outer faces: the samples
    differ by one voxel of n, and the numbers by what that voxel resists."""
    pytest.importorskip("openpnm")
    pytest.importorskip("pyamg")
    import porespy

    found = porespy.simulations.tortuosity_fd(phase, axis=0, ftol=1e-6)
    theirs = float(found.effective_porosity / found.tortuosity)
    assert theirs == pytest.approx(finite_volumes, rel=2 / phase.shape[0])


@pytest.mark.slow
def test_elements_agree_with_jax_fems_residual_as_operator_at_full_size():
    """Value and gradient at 64^3, phases 1 and 1e-3 apart."""
    kappa = np.where(medium(64, 0.4), 1.0, 1e-3)
    with jax.enable_x64(True):

        def value_and_gradient(backend: str):
            def d_eff(kappa):
                return solve(kappa, axis=0, discretisation="q1", backend=backend, config=TIGHT).d_eff

            return jax.value_and_grad(d_eff)(jnp.asarray(kappa))

        (ours, our_gradient), (theirs, their_gradient) = value_and_gradient("xla"), value_and_gradient("jaxfem")
    assert float(ours) == pytest.approx(float(theirs), rel=1e-8)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-6, atol=1e-6 * np.abs(their_gradient).max())


@pytest.mark.parametrize("shape, axis", [((12, 9), 1), ((5, 6, 4), 0)], ids=["2d", "3d"])
@pytest.mark.parametrize("contrast", [1e-3, 1e-6])
def test_elements_agree_with_jax_fems_own_solver(shape: tuple[int, ...], axis: int, contrast: float, tmp_path: Path):
    """Its assembly, its elimination of the boundary rows, SciPy's direct solver."""
    kappa = contrast ** np.random.default_rng(0).random(shape)
    np.save(tmp_path / "kappa.npy", kappa)
    script = [sys.executable, "-W", "ignore", Path(__file__).with_name("host_solver.py")]
    done = subprocess.run(
        [*script, tmp_path / "kappa.npy", str(axis), tmp_path / "nodes.npy"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with jax.enable_x64(True):
        solution = solve(jnp.asarray(kappa), axis=axis, discretisation="q1", config=SolverConfig(tolerance=1e-9))
    np.testing.assert_allclose(solution.concentration, np.load(tmp_path / "nodes.npy"), atol=1e-8)
