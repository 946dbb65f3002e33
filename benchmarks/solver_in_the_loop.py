"""Claim: D_eff of 64 slices of 64 x 64 and its gradient in one call, far cheaper than a dense or JAX-FEM solve of each.

    python -m benchmarks.solver_in_the_loop --write         # a table on standard output, and into README.md
    python -m benchmarks.solver_in_the_loop --slices 8      # fewer slices

Side by side in one run, seconds per slice, value and gradient: ours cold and warm-started in float32 and float64; a
dense solve differentiated by JAX; SciPy's sparse direct solve (value only; its gradient is the energy at each voxel);
JAX-FEM's residual as the operator of our conjugate gradients. All are finite elements of the same media, porosity 0.5,
contrast 1e3. Before timing, the answers are compared.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import linalg

from experiments.machine import describe
from experiments.tables import markdown_table, write_table
from jaxmicro.physics import SolverConfig, solve
from jaxmicro.physics.jaxfem import element_stiffness

HERE = Path(__file__).parent
EDGE = 64
REPEATS = 3  # the median of as many calls is reported
CONFIG = SolverConfig(tolerance=1e-3)  # 1e-6 in D_eff
CONTRAST = 1e-3


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--edge", type=int, default=EDGE)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    rows = measured(options.slices, options.edge)
    cold = next(seconds for name, seconds, _ in rows if name == "ours, float32, cold")
    heading = f"{options.slices} slices of {options.edge} x {options.edge}; {describe()['device']}.\n\n"
    columns = ("Solver", "ms / slice", "times ours (float32, cold)")
    shown = [(name, f"{1e3 * seconds:.2f}", f"{seconds / cold:.2g}") for name, seconds, _ in rows]
    table = heading + markdown_table([dict(zip(columns, row, strict=True)) for row in shown], {c: c for c in columns})
    print(table)
    if options.write:
        write_table(HERE / "README.md", "loop", table)


def measured(slices: int, edge: int) -> list[tuple[str, float, float]]:
    """Name, seconds per slice, D_eff of the first slice."""
    rows = []
    with jax.enable_x64(True):
        kappa = media(slices, edge)
        for dtype in (np.float32, np.float64):
            rows += ours(kappa.astype(dtype))
        one = jnp.asarray(kappa[0])
        rows.append(timed("dense solve, autodiff", jax.jit(jax.value_and_grad(dense_diffusivity)), one, 1))
        rows.append(timed("JAX-FEM residual as operator", jax.jit(jax.value_and_grad(by_jax_fem)), one, 1))
        rows.append(timed("scipy spsolve, value and gradient", direct_diffusivity, kappa[0], 1))
    exact = rows[-1][2]
    for name, _, value in rows:
        np.testing.assert_allclose(value, exact, rtol=2e-4, err_msg=name)
    return rows


def media(slices: int, edge: int) -> np.ndarray:
    """Smoothed noise cut at porosity 0.5."""
    noise = np.random.default_rng(0).normal(size=(slices, edge, edge))
    smooth = np.stack([ndimage.gaussian_filter(plane, 2.0, mode="wrap") for plane in noise])
    return np.where(smooth > np.median(smooth, axis=(1, 2), keepdims=True), 1.0, CONTRAST)


def ours(kappa: np.ndarray) -> list[tuple[str, float, float]]:
    """All slices in one call; warm: from the fields of slightly other media."""

    def d_eff(kappa, guess=None):
        solution = solve(kappa, axis=0, discretisation="q1", config=CONFIG, guess=guess)
        return solution.d_eff, solution.concentration

    single = jax.value_and_grad(d_eff, has_aux=True)
    cold = jax.jit(lambda k: jax.lax.map(single, k))
    warm = jax.jit(lambda k, guess: jax.lax.map(lambda pair: single(*pair), (k, guess)))
    fields = cold(kappa * (1 + 0.01 * np.sin(np.arange(kappa.shape[-1]))).astype(kappa.dtype))[0][1]
    kind = str(kappa.dtype)
    return [
        timed(f"ours, {kind}, cold", lambda k: (cold(k)[0][0], 0), kappa, len(kappa)),
        timed(f"ours, {kind}, warm", lambda k: (warm(k, fields)[0][0], 0), kappa, len(kappa)),
    ]


def by_jax_fem(kappa):
    return solve(kappa, axis=0, discretisation="q1", config=CONFIG, backend="jaxfem").d_eff


def entries(edge: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and coefficient of each element's stiffness, "cell node node"."""
    stiffness, corners = element_stiffness(2)
    number = np.arange((edge + 1) ** 2).reshape(edge + 1, edge + 1)
    cells = np.stack([number[i : i + edge, j : j + edge].ravel() for i, j in corners], axis=-1)
    rows = np.broadcast_to(cells[:, :, None], (edge**2, 4, 4))
    return rows, np.swapaxes(rows, 1, 2), np.broadcast_to(stiffness, rows.shape)


def dense_diffusivity(kappa):
    """D_eff by a dense solve of all nodes, differentiated by JAX: what the reference implementation does."""
    edge = kappa.shape[0]
    rows, columns, coefficients = entries(edge)
    size = (edge + 1) ** 2
    matrix = jnp.zeros((size, size)).at[rows, columns].add(kappa.reshape(-1, 1, 1) * coefficients)
    inner = slice(edge + 1, size - edge - 1)
    b = -jnp.sum(matrix[inner, : edge + 1], axis=1)
    u = jnp.concatenate([jnp.ones(edge + 1), jnp.linalg.solve(matrix[inner, inner], b), jnp.zeros(edge + 1)])
    return u @ matrix @ u


def direct_diffusivity(kappa: np.ndarray) -> tuple[float, np.ndarray]:
    """D_eff and its gradient, the energy density at each voxel."""
    edge = kappa.shape[0]
    rows, columns, coefficients = entries(edge)
    size = (edge + 1) ** 2
    data = (kappa.reshape(-1, 1, 1) * coefficients).ravel()
    matrix = sparse.csc_matrix((data, (rows.ravel(), columns.ravel())), shape=(size, size))
    inner = slice(edge + 1, size - edge - 1)
    u = np.concatenate([np.ones(edge + 1), np.zeros(size - edge - 1)])
    u[inner] = linalg.spsolve(matrix[inner, inner], -(matrix @ u)[inner])
    of_cells = u[rows[:, :, 0]]
    gradient = np.einsum("ci,cij,cj->c", of_cells, coefficients, of_cells).reshape(kappa.shape)
    return float(u @ (matrix @ u)), gradient


def timed(name: str, function: Callable, kappa, slices: int) -> tuple[str, float, float]:
    """Median of REPEATS calls after one that compiles."""
    value = float(np.ravel(jax.block_until_ready(function(kappa))[0])[0])
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(function(kappa))
        times.append(time.perf_counter() - began)
    return name, float(np.median(times)) / slices, value


if __name__ == "__main__":
    main()
