"""Claim: D_eff of a volume to 1e-6 costs less than voxel codes need for their default tolerance.

    python -m benchmarks.solvers --write                        # 64^3, porosity 0.2, 0.4, 0.6; into README.md
    python -m benchmarks.solvers --edge 128 --porosity 0.4      # one size
    python -m benchmarks.solvers --edge 256 --no-peers          # ours and the memory traffic only
    python -m benchmarks.solvers --scaling 64 128 256           # cost per voxel against size

A thresholded Gaussian field, one phase blocked (exactly 0), flux along the first axis. Side by side in one run: our
finite volumes and elements, TauFactor (all cores) and PoreSpy at their default tolerance, pyamg on the assembled finite
volumes. A peer that is not installed (extra `benchmark`) is named and left out. Times are medians of warm calls; what
compiles is a column of its own. Error: against pyamg's answer at a residual of 1e-10, or without it against our finite
volumes in double precision at 1e-10; PoreSpy fixes the concentration at the centres of the first and last voxels and so
solves for a sample one voxel shorter, which its error shows. Bandwidth: what an iteration must at least read and write
(see `traffic`) against a triad a = b + s c on arrays beyond every cache, measured in the same run. Memory: all buffers
of the compiled solve.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage, sparse

from experiments.machine import describe
from experiments.tables import markdown_table, write_table
from jaxmicro.descriptors import percolating_clusters
from jaxmicro.physics import DiffusionSolution, SolverConfig, solve

HERE = Path(__file__).parent
REPEATS = 3  # the median of as many calls is reported
CONFIG = SolverConfig(tolerance=1e-3)  # 1e-6 in D_eff


def main(arguments: Sequence[str] | None = None) -> None:
    """Every porosity, every solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--porosity", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--scaling", type=int, nargs="+", metavar="EDGE", help="cost per voxel, at these edges")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    name, heading, found = "scaling", "", scaling(options.scaling or [])
    if not options.scaling:
        triad = triad_bandwidth()
        name, found = f"solvers-{options.edge}", compared(options, triad)
        heading = f"{options.edge}^3; triad {triad / 1e9:.1f} GB/s; {describe()['device']}.\n\n"
    rows = []
    for row in found:
        print(", ".join(row.values()), file=sys.stderr, flush=True)
        rows.append(row)
    table = heading + markdown_table(rows, {column: column for column in rows[0]})
    print(table)
    if options.write:
        write_table(HERE / "README.md", name, table)


def compared(options: argparse.Namespace, triad: float) -> Iterator[dict[str, str]]:
    """Our solver and its peers, as the rows of a table; `triad` in bytes per second."""
    peers = (
        [] if options.no_peers else [peer for peer in (by_pyamg, by_taufactor, by_porespy) if installed(PEERS[peer])]
    )
    for porosity in options.porosity:
        phase = medium(options.edge, porosity)
        rows = [ours(phase, scheme, dtype) for scheme in ("finite_volume", "q1") for dtype in ("float32", "float64")]
        np.testing.assert_allclose(rows[2].d_eff, rows[3].d_eff, rtol=1e-5)  # elements, single and double precision
        rows += [peer(phase) for peer in peers]
        reference = [row.d_eff for row in rows if row.name.startswith("pyamg")]
        exact = reference[0] if reference else float(finite_volumes_at(phase, 1e-5).d_eff)
        for row in rows:
            error = abs(row.d_eff / exact - 1)
            allowed = {"jaxmicro finite_volume float32": 2e-6, "jaxmicro finite_volume float64": 1e-6}.get(row.name, 1)
            assert error < allowed, f"{row.name} misses {exact:.8f} by {error:.1e}"
            assert row.d_eff > exact or "q1" not in row.name, f"{row.name} is below finite volumes"
            shown = {
                "Porosity": f"{porosity}",
                "Solver": row.name,
                "Time (ms)": f"{1e3 * row.seconds:.0f}",
                "Error": "" if "q1" in row.name else f"{error:.0e}",
            }
            each = row.seconds / max(row.iterations, 1)
            own = {
                "Iterations": str(row.iterations),
                "ms each": f"{1e3 * each:.2f}",
                "Of triad": f"{row.traffic * phase.size / each / triad:.0%}",
                "MiB": f"{row.memory / 2**20:.0f}",
                "Compiles (s)": f"{row.compiles:.1f}",
            }
            yield shown | (own if row.iterations else dict.fromkeys(own, ""))


def scaling(edges: Sequence[int]) -> Iterator[dict[str, str]]:
    """Time of an iteration and of what is done once, per voxel, from two numbers of iterations in turns; what an
    iteration moves at least against the triad, measured before and after (the faster counts)."""
    for edge in edges:
        kappa = jnp.asarray(medium(edge, 0.4), jnp.float32)
        caps, calls = (5, 25), []
        for cap in caps:
            config = SolverConfig(tolerance=1e-12, max_iterations=cap)
            calls.append(jax.jit(lambda k, config=config: solve(k, axis=0, config=config)).lower(kappa).compile())
            assert int(calls[-1](kappa).iterations) == cap, "converged before the cap: choose a larger edge"
        bandwidth = triad_bandwidth()
        runs = [[timed(lambda c=c, k=kappa: jax.block_until_ready(c(k)), 1)[0] for c in calls] for _ in range(7)]
        few, many = np.median(runs, axis=0) / kappa.size * 1e9
        each = (many - few) / (caps[1] - caps[0])
        memory = buffers(calls[0]) / kappa.size
        bandwidth = max(bandwidth, triad_bandwidth())
        moved = traffic("finite_volume", "float32") / each * 1e9
        yield {
            "Edge": str(edge),
            "ns / voxel and iteration": f"{each:.2f}",
            "GB / s": f"{moved / 1e9:.1f}",
            "Triad, GB / s": f"{bandwidth / 1e9:.1f}",
            "Of triad": f"{moved / bandwidth:.0%}",
            "ns / voxel, once": f"{few - caps[0] * each:.1f}",
            "Memory (bytes / voxel)": f"{memory:.0f}",
        }


class Row(NamedTuple):
    """One solver on one medium."""

    name: str
    seconds: float
    d_eff: float
    iterations: int = 0  # the rest is of ours only
    traffic: float = 0.0  # bytes per voxel and iteration
    memory: int = 0  # bytes
    compiles: float = 0.0  # seconds


def medium(edge: int, porosity: float) -> np.ndarray:
    """The conducting phase, without clusters that the flux does not reach: some peers cannot take them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(edge,) * 3), 2.0, mode="wrap")
    phase = noise > np.quantile(noise, 1 - porosity)
    conducting = percolating_clusters(phase, axis=0)
    assert conducting.any(), "the medium does not percolate"
    return conducting


def finite_volumes_at(phase: np.ndarray, tolerance: float) -> DiffusionSolution:
    """Finite volumes in double precision."""
    with jax.enable_x64(True):
        return solve(jnp.asarray(phase, float), axis=0, config=SolverConfig(tolerance=tolerance))


def ours(phase: np.ndarray, scheme: str, dtype: str) -> Row:
    """One compiled call."""
    with jax.enable_x64(dtype == "float64"):
        kappa = jnp.asarray(phase, dtype)
        began = time.perf_counter()
        call = jax.jit(lambda k: solve(k, axis=0, discretisation=scheme, config=CONFIG)).lower(kappa).compile()
        compiles = time.perf_counter() - began
        jax.block_until_ready(call(kappa))
        seconds, solution = timed(lambda: jax.block_until_ready(call(kappa)))
        assert solution.converged
        memory = buffers(call)
        iterations = int(solution.iterations)
        bytes_each = traffic(scheme, dtype)
        return Row(
            f"jaxmicro {scheme} {dtype}", seconds, float(solution.d_eff), iterations, bytes_each, memory, compiles
        )


def buffers(call: Any) -> int:
    """Bytes of all buffers of a compiled function."""
    sizes = call.memory_analysis()
    return sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes


def traffic(scheme: str, dtype: str) -> float:
    """Bytes per voxel that one iteration must move when each array is read or written once per pass.

    Conjugate gradients: product (material, p in; K p out), two dot products (z, K p; r, z), three updates (9 arrays).
    The cycle on the finest grid, in float32: first smoothing (r, 1/diagonal in; z out), residual (material, z, r in;
    out), restriction (residual in), correction (z in; out) and second smoothing (material, z, r, 1/diagonal in; out).
    Each coarser grid has an eighth of the voxels and is visited twice as often: a third more in all.
    """
    material = 3 if scheme == "finite_volume" else 1
    word = np.dtype(dtype).itemsize
    gradients = (material + 2 + 4 + 9) * word
    cycle = (2 * material + 13) * 4
    return gradients + cycle * 4 / 3


def by_pyamg(phase: np.ndarray) -> Row:
    """Algebraic multigrid with conjugate gradients to a residual of 1e-10, set-up included: the reference value."""
    import pyamg

    matrix, b, inlet = assembled(phase)

    def call():
        hierarchy = pyamg.ruge_stuben_solver(matrix)
        return hierarchy.solve(b, tol=1e-10, accel="cg")

    seconds, u = timed(call)
    flux = float(np.sum(2 * (1 - u[inlet])))
    return Row("pyamg, residual 1e-10", seconds, flux * phase.shape[0] / phase[0].size)


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


def by_taufactor(phase: np.ndarray) -> Row:
    """TauFactor on the processor, default tolerance."""
    import taufactor

    def call():
        solver = taufactor.Solver(phase.astype(np.uint8), device="cpu")
        solver.solve(verbose=False)
        return float(np.ravel(solver.D_eff)[0])

    seconds, value = timed(call)
    return Row("taufactor, default", seconds, value)


def by_porespy(phase: np.ndarray) -> Row:
    """PoreSpy's finite differences, default tolerance; needs openpnm and pyamg."""
    import porespy

    seconds, result = timed(lambda: porespy.simulations.tortuosity_fd(phase, axis=0))
    return Row("porespy, default", seconds, float(phase.mean() / result.tortuosity))


PEERS = {by_pyamg: ["pyamg"], by_taufactor: ["taufactor"], by_porespy: ["porespy", "openpnm", "pyamg"]}


def installed(packages: list[str]) -> bool:
    """Whether all can be imported; says so if not."""
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        print(f"{absent[0]} is not installed: left out (pip install 'jaxmicro[benchmark]')", file=sys.stderr)
    return not absent


def triad_bandwidth() -> float:
    """Bytes per second of a = b + s c on arrays beyond every cache, into memory that is already there."""
    a, b, c = (jnp.full(2**25, value, jnp.float32) for value in (0.0, 1.0, 2.0))
    call = jax.jit(lambda a, b, c: b + 3 * c, donate_argnums=0, keep_unused=True)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        a = jax.block_until_ready(call(a, b, c))
        times.append(time.perf_counter() - began)
    return 3 * b.nbytes / min(times)


def timed(call: Callable, repeats: int = REPEATS) -> tuple[float, Any]:
    """Median of several calls, and what the last one gave."""
    times, result = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - began)
    return float(np.median(times)), result


if __name__ == "__main__":
    main()
