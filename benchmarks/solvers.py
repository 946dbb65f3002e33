"""Claim: D_eff of a volume to 1e-6 costs no more than voxel codes need for their default tolerance.

    python -m benchmarks.solvers                            # 64^3, porosity 0.2, 0.4, 0.6
    python -m benchmarks.solvers --edge 128 --porosity 0.4  # one size
    python -m benchmarks.solvers --no-peers                 # ours and the memory traffic only

A thresholded Gaussian field, one phase blocked (exactly 0), flux along the first axis. Side by side in one run: our
finite volumes and elements, TauFactor and PoreSpy at their default tolerance, pyamg on the assembled finite volumes. A
peer that is not installed is named and left out. PoreSpy puts the concentration at the centres of the first and last
voxels and so solves for a sample one voxel shorter: its number differs by a few per cent, its time is comparable.
Our answers are compared with pyamg's before a row is printed (without pyamg only with each other). Times are those of
warm calls; the first, which compiles, is left out. Bandwidth: what an iteration must at least read and write
(see `traffic`), against a triad a = b + s c measured in the same run.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, sparse

from experiments.machine import describe
from jaxmicro.descriptors import percolating_clusters
from jaxmicro.physics import SolverConfig, solve

REPEATS = 3  # the median of as many calls is reported
CONFIG = SolverConfig(tolerance=1e-3)  # 1e-6 in D_eff


def main(arguments: Sequence[str] | None = None) -> None:
    """Every porosity, every solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--porosity", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args(arguments)
    triad = triad_bandwidth()
    print(describe(), f"triad {triad / 1e9:.1f} GB/s")
    print(f"{'porosity':>8} {'solver':28} {'seconds':>9} {'D_eff':>10} {'iterations':>10} {'of triad':>8}")
    for porosity in options.porosity:
        phase = medium(options.edge, porosity)
        rows = [ours(phase, scheme, dtype) for scheme in ("finite_volume", "q1") for dtype in ("float32", "float64")]
        if not options.no_peers:
            rows += [row for peer in (by_pyamg, by_taufactor, by_porespy) for row in peer(phase)]
        check(rows)
        for name, seconds, value, iterations, moved in rows:
            share = f"{moved / seconds / triad:8.0%}" if moved else " " * 8
            print(f"{porosity:8.1f} {name:28} {seconds:9.3f} {value:10.6f} {iterations or '':>10} {share}", flush=True)


Row = tuple[str, float, float, int | None, float | None]  # name, seconds, D_eff, iterations, bytes


def medium(edge: int, porosity: float) -> np.ndarray:
    """The conducting phase, without clusters that the flux does not reach: some peers cannot take them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(edge,) * 3), 2.0, mode="wrap")
    phase = noise > np.quantile(noise, 1 - porosity)
    conducting = percolating_clusters(phase, axis=0)
    assert conducting.any(), "the medium does not percolate"
    return conducting


def ours(phase: np.ndarray, scheme: str, dtype: str) -> Row:
    """One compiled call."""
    with jax.enable_x64(dtype == "float64"):
        kappa = jnp.asarray(phase, dtype)
        call = jax.jit(lambda k: solve(k, axis=0, discretisation=scheme, config=CONFIG)).lower(kappa).compile()
        seconds, solution = timed(lambda: jax.block_until_ready(call(kappa)))
        assert solution.converged
        iterations = int(solution.iterations)
        moved = iterations * traffic(scheme, dtype) * phase.size
        return f"jaxmicro {scheme} {dtype}", seconds, float(solution.d_eff), iterations, moved


def traffic(scheme: str, dtype: str) -> float:
    """Bytes per voxel that one iteration must move when each array is read or written once per pass.

    Conjugate gradients: product (material, p in; K p out), two dot products (p, K p; r, z), three updates (9 arrays).
    The cycle on the finest grid, in float32: first smoothing and residual (r, 1/diagonal, material in; z, residual
    out), correction and second smoothing (z twice, r, 1/diagonal, material). Coarser grids add a seventh.
    """
    material = 3 if scheme == "finite_volume" else 1
    word = np.dtype(dtype).itemsize
    gradients = (material + 2 + 4 + 9) * word
    cycle = (2 * material + 10) * 4
    return gradients + cycle * 8 / 7


def by_pyamg(phase: np.ndarray) -> list[Row]:
    """Algebraic multigrid with conjugate gradients to a residual of 1e-10, set-up included: the reference value."""
    if missing("pyamg"):
        return []
    import pyamg

    matrix, b, inlet = assembled(phase)

    def call():
        hierarchy = pyamg.ruge_stuben_solver(matrix)
        return hierarchy.solve(b, tol=1e-10, accel="cg")

    seconds, u = timed(call)
    flux = float(np.sum(2 * (1 - u[inlet])))
    return [("pyamg, residual 1e-10", seconds, flux * phase.shape[0] / phase[0].size, None, None)]


def assembled(phase: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Finite volumes of the conducting voxels: matrix, right-hand side, unknowns at the inlet."""
    number = np.full(phase.shape, -1)
    number[phase] = np.arange(phase.sum())
    rows, columns = [], []
    for axis in range(3):
        a, b = np.moveaxis(number, axis, 0)[:-1], np.moveaxis(number, axis, 0)[1:]
        joined = (a >= 0) & (b >= 0)
        rows += [a[joined], b[joined]]
        columns += [b[joined], a[joined]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    inlet, outlet = number[0][phase[0]], number[-1][phase[-1]]
    size = int(phase.sum())
    diagonal = np.bincount(row, minlength=size).astype(float)
    diagonal[inlet] += 2
    diagonal[outlet] += 2
    off = sparse.csr_matrix((-np.ones(row.size), (row, column)), shape=(size, size))
    b = np.zeros(size)
    b[inlet] = 2
    return (off + sparse.diags(diagonal)).tocsr(), b, inlet


def by_taufactor(phase: np.ndarray) -> list[Row]:
    """TauFactor on the processor, default tolerance."""
    if missing("taufactor"):
        return []
    import taufactor

    def call():
        solver = taufactor.Solver(phase.astype(np.uint8), device="cpu")
        solver.solve(verbose=False)
        return float(np.ravel(solver.D_eff)[0])

    seconds, value = timed(call)
    return [("taufactor, default", seconds, value, None, None)]


def by_porespy(phase: np.ndarray) -> list[Row]:
    """PoreSpy's finite differences, default tolerance; needs openpnm."""
    if missing("porespy") or missing("openpnm"):
        return []
    import porespy

    seconds, result = timed(lambda: porespy.simulations.tortuosity_fd(phase, axis=0))
    return [("porespy, default", seconds, float(phase.mean() / result.tortuosity), None, None)]


def missing(package: str) -> bool:
    """Whether a peer cannot be imported; says so."""
    absent = importlib.util.find_spec(package) is None
    if absent:
        print(f"{package} is not installed: left out (pip install {package})")
    return absent


def check(rows: list[Row]) -> None:
    """Our finite volumes agree with the algebraic multigrid to 1e-5 in single and 1e-6 in double precision."""
    values = {name: value for name, _, value, _, _ in rows}
    if "pyamg, residual 1e-10" in values:
        exact = values["pyamg, residual 1e-10"]
        np.testing.assert_allclose(values["jaxmicro finite_volume float64"], exact, rtol=1e-6)
        np.testing.assert_allclose(values["jaxmicro finite_volume float32"], exact, rtol=1e-5)
    assert values["jaxmicro q1 float64"] > values["jaxmicro finite_volume float64"]


def triad_bandwidth() -> float:
    """Bytes per second of a = b + s c on arrays beyond every cache."""
    b = jnp.ones(2**25, jnp.float32)
    call = jax.jit(lambda b, c: b + 3 * c)
    jax.block_until_ready(call(b, b + 1))
    c = b + 1
    seconds, _ = timed(lambda: jax.block_until_ready(call(b, c)))
    return 3 * b.nbytes / seconds


def timed(call: Callable) -> tuple[float, object]:
    """Median of REPEATS calls, and what the last one gave."""
    times, result = [], None
    for _ in range(REPEATS):
        began = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - began)
    return float(np.median(times)), result


if __name__ == "__main__":
    main()
