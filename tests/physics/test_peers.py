"""Agreement with independent codes for the same equation: TauFactor, PoreSpy, pyamg, JAX-FEM's solver.

Peers come with the extra `benchmark`; a test of one that is not installed is skipped. What is compared and the
tolerances are those of benchmarks/agreement, which also runs 64^3 and 128^3 and writes them down.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.agreement import PEERS, TIGHT, with_jaxfem
from benchmarks.solvers import finite_volumes_at, medium
from jaxmicro.physics import SolverConfig, solve

# warnings of other packages are not errors here
pytestmark = pytest.mark.filterwarnings("ignore")
EDGES = [pytest.param(24), pytest.param(64, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=EDGES)
def phase(request: pytest.FixtureRequest) -> np.ndarray:
    return medium(request.param, 0.4)


@pytest.fixture(scope="module")
def finite_volumes(phase: np.ndarray) -> float:
    solution = finite_volumes_at(phase, TIGHT)
    assert solution.converged
    return float(solution.d_eff)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.__name__)
def test_finite_volumes_agree_with(peer: Callable, phase: np.ndarray, finite_volumes: float):
    for package in PEERS[peer]:
        pytest.importorskip(package)
    for found in peer(phase, finite_volumes):
        assert found.difference < found.allowed, found


@pytest.mark.parametrize("edge", EDGES[1:])
def test_elements_agree_with_jax_fems_residual_as_operator(edge: int):
    for found in with_jaxfem(medium(edge, 0.4)):
        assert found.difference < found.allowed, found


@pytest.mark.parametrize("shape, axis", [((12, 9), 1), ((5, 6, 4), 0)], ids=["2d", "3d"])
@pytest.mark.parametrize("contrast", [pytest.param(1e-3, marks=pytest.mark.slow), 1e-6])
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
