"""Claim: D_eff is that of independent codes, each to its own tolerance.

    python -m benchmarks.agreement --write                # 64^3 and 128^3, porosity 0.4; into README.md
    python -m benchmarks.agreement --edge 64              # one size

A thresholded Gaussian field. Finite volumes, the other phase exactly blocked: pyamg on the assembled matrix at a
residual of 1e-12; TauFactor at its default criterion and at a hundredth of it; PoreSpy, whose sample is one voxel
shorter. Elements, the other phase at 1e-3: the same conjugate gradients with JAX-FEM's residual as the operator, from
our solution and then to a criterion of 1e-14, value and gradient. A peer that is not installed (extra `benchmark`) is
named and left out.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.solvers import assembled, finite_volumes_at, installed, medium
from experiments.tables import markdown_table, write_table
from jaxmicro.physics import SolverConfig, solve

TIGHT = 1e-5  # 1e-10 in D_eff
TIGHTER = SolverConfig(tolerance=1e-7)  # for the gradient, whose error is of first order in that of the field
CONTRAST = 1e-3  # of the elements' medium


class Agreement(NamedTuple):
    """What was compared, how far apart the two are and how far they may be, relative to theirs."""

    quantity: str
    difference: float
    allowed: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Every edge, every peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    rows = []
    for edge in options.edge:
        phase = medium(edge, 0.4)
        d_eff = float(finite_volumes_at(phase, TIGHT).d_eff)
        for found in compared(phase, d_eff):
            row = {
                "Edge": str(edge),
                "Quantity": found.quantity,
                "Difference": f"{found.difference:.1e}",
                "Allowed": f"{found.allowed:.0e}",
            }
            print(", ".join(row.values()), file=sys.stderr, flush=True)
            assert found.difference < found.allowed, row
            rows.append(row)
    table = markdown_table(rows, {column: column for column in rows[0]})
    print(table)
    if options.write:
        write_table(Path(__file__).with_name("README.md"), "agreement", table)


def compared(phase: np.ndarray, d_eff: float) -> Iterator[Agreement]:
    """All peers that are installed, and JAX-FEM."""
    for peer, packages in PEERS.items():
        if installed(packages):
            yield from peer(phase, d_eff)
    yield from with_jaxfem(phase)


def with_pyamg(phase: np.ndarray, d_eff: float) -> Iterator[Agreement]:
    """Algebraic multigrid on the assembled matrix."""
    import pyamg

    matrix, b, inlet = assembled(phase)
    u = pyamg.ruge_stuben_solver(matrix).solve(b, tol=1e-12, accel="cg")
    theirs = 2 * np.sum(1 - u[inlet]) * phase.shape[0] / phase[0].size
    yield Agreement("D_eff, finite volumes, pyamg", abs(d_eff / theirs - 1), 1e-6)


def with_taufactor(phase: np.ndarray, d_eff: float) -> Iterator[Agreement]:
    """Its criterion bounds the relative spread of the flux over the planes; the mean flux is better than that."""
    import taufactor

    for spread in (1e-2, 1e-4):  # its default, and about what single precision reaches
        solver = taufactor.Solver(phase.astype(np.uint8), device="cpu")
        solver.solve(verbose=False, conv_crit=spread, iter_limit=100_000)
        theirs = float(np.ravel(solver.D_eff)[0])
        yield Agreement(f"D_eff, finite volumes, TauFactor at {spread:.0e}", abs(d_eff / theirs - 1), spread)


def with_porespy(phase: np.ndarray, d_eff: float) -> Iterator[Agreement]:
    """It fixes the concentration at the centres of the first and last voxels, we at their outer faces: the samples
    differ by one voxel of n, and the numbers by what that voxel resists."""
    import porespy

    found = porespy.simulations.tortuosity_fd(phase, axis=0, ftol=1e-6)
    theirs = float(found.effective_porosity / found.tortuosity)
    yield Agreement("D_eff, finite volumes, PoreSpy (one voxel shorter)", abs(d_eff / theirs - 1), 2 / phase.shape[0])


def with_jaxfem(phase: np.ndarray) -> Iterator[Agreement]:
    """Our elements, and a solve with JAX-FEM's residual as the operator, from our field."""
    with jax.enable_x64(True):
        kappa = jnp.where(jnp.asarray(phase), 1.0, CONTRAST)

        def value_and_gradient(backend: str, guess: jax.Array | None):
            def d_eff(kappa):
                found = solve(kappa, axis=0, discretisation="q1", backend=backend, config=TIGHTER, guess=guess)
                return found.d_eff, found

            (_, found), gradient = jax.value_and_grad(d_eff, has_aux=True)(kappa)
            assert found.converged
            return found, np.asarray(gradient)

        ours, our_gradient = value_and_gradient("xla", None)
        theirs, gradient = value_and_gradient("jaxfem", ours.concentration)
    yield Agreement("D_eff, elements, JAX-FEM's residual", abs(float(ours.d_eff / theirs.d_eff) - 1), 1e-8)
    largest = float(np.abs(our_gradient - gradient).max() / np.abs(gradient).max())
    yield Agreement("its gradient: largest difference over largest entry", largest, 1e-6)


PEERS: dict[Callable[[np.ndarray, float], Iterator[Agreement]], list[str]] = {
    with_pyamg: ["pyamg"],
    with_taufactor: ["taufactor"],
    with_porespy: ["porespy", "openpnm", "pyamg"],
}


if __name__ == "__main__":
    main()
