"""Time of phase separation to the same error, beside other codes that solve the same equation.

    python -m benchmarks.cahn_hilliard --write            # 256^2, 64^3, 128 x 128 x 64; into cahn_hilliard.csv
    python -m benchmarks.cahn_hilliard --grid 64x64x64    # one size

The same equation, start, end time and error for all: f = phi^2 (1 - phi)^2, kappa 2, periodic, from a mixture whose
noise has no short waves, up to t = 60, when domains have formed. Mobility 1, or for evoxels, which has no other,
phi (1 - phi). Error: root mean square over that of phi - mean. Ours and exponax share their modes, and are compared
with our solver in double precision at a hundredth of the tolerance; codes of finite differences with their own solution
at a quarter of the step, in which their spatial error (a column of its own) cancels. Steps of a peer are halved until
it is as exact as ours at the default tolerance, and then lengthened by bisection to the largest that still are (a
spectral peer is unstable not far beyond them); or until a run takes longer than `LIMIT`: then their number follows
from its order, and the row says "extrapolated". py-pde is explicit, and takes the largest stable step. FiPy's time is
that of one step times our number of steps: a lower bound, for it is of first order. Times are without compilation,
which is a column, and of runs in turns with ours; the ratio is the median over turns, with the least and
the most. A peer that is not installed is named and left out:

    pip install exponax evoxels torch py-pde fipy
"""

import argparse
import dataclasses
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.machine import describe
from experiments.tables import as_text, write_rows
from jaxmicro.simulate import CahnHilliardConfig, Evolution, Polynomial, evolve

HERE = Path(__file__).parent
GRIDS = ((256, 256), (64, 64, 64), (128, 128, 64))
ENERGY, KAPPA, END = Polynomial(1.0, 0.0, 1.0), 2.0, 60.0
LIMIT = 25.0  # seconds of one run of a peer; longer ones are extrapolated
REPEATS = 3
TURNS = 9  # of a peer and ours, for their ratio

Run = Callable[[int], np.ndarray]  # number of steps -> phi at the end


class Peer(NamedTuple):
    """A way to solve the equation: its name, its order in time, whether it is of finite differences, and how to run."""

    name: str
    order: int
    differences: bool
    prepare: Callable[[np.ndarray], Run]


def main(arguments: Sequence[str] | None = None) -> None:
    """Every grid, every solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", nargs="+", default=["x".join(map(str, grid)) for grid in GRIDS])
    parser.add_argument("--write", action="store_true", help="put the rows into cahn_hilliard.csv")
    options = parser.parse_args(arguments)
    missing = [name for name in ("exponax", "evoxels", "torch", "pde", "fipy") if not importlib.util.find_spec(name)]
    print("missing: " + (", ".join(missing) or "none"), file=sys.stderr)
    rows = []
    for grid in options.grid:
        for row in compared(tuple(int(edge) for edge in grid.split("x")), missing):
            print(", ".join(f"{key} {as_text(value)}" for key, value in row.items()), flush=True)
            rows.append({**row, **describe()})
    if options.write:
        write_rows(HERE / "cahn_hilliard.csv", rows)


def compared(shape: tuple[int, ...], missing: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Ours with both mobilities, and after each the peers that have it."""
    initial = mixture(shape)
    peers = {"constant": [], "degenerate": []}
    if "exponax" not in missing and len(set(shape)) == 1:
        peers["constant"] += [Peer(f"exponax, order {n}", n, False, lambda x, n=n: by_exponax(x, n)) for n in (2, 4)]
    if "evoxels" not in missing:
        backends = ["jax"] + ["torch"] * ("torch" not in missing)
        peers["degenerate"] += [Peer(f"evoxels, {b}", 1, True, lambda x, b=b: by_evoxels(x, b)) for b in backends]
    for mobility in ("constant", "degenerate"):
        row, own, exact = ours(initial, mobility)
        yield row
        for peer in peers[mobility]:
            yield beside(peer, initial, own, row, exact)
        if mobility == "constant":
            for name, by in (("pde", by_py_pde), ("fipy", by_fipy)):
                if name not in missing and (name, len(shape)) != ("fipy", 3):
                    yield lower_bound(name, by(initial), own, row, shape)


def mixture(shape: tuple[int, ...]) -> np.ndarray:
    """Mean 1/2 and noise of standard deviation 0.05 without short waves, so that all conventions of grids agree."""
    k2 = sum(np.meshgrid(*[(2 * np.pi * np.fft.fftfreq(n)) ** 2 for n in shape], indexing="ij"))
    noise = np.fft.ifftn(np.fft.fftn(np.random.default_rng(0).standard_normal(shape)) * np.exp(-2 * k2)).real
    noise -= noise.mean()
    return 0.5 + 0.05 * noise / noise.std()


def ours(initial: np.ndarray, mobility: str) -> tuple[dict[str, Any], Callable[[], Any], np.ndarray]:
    """The row of our solver, a call that times it again, and the reference."""
    with jax.enable_x64():
        exact = simulate(mobility, tolerance=1e-5)(jnp.asarray(initial)).fields[0]
        exact = np.asarray(exact)
    field = jnp.asarray(initial, jnp.float32)
    begin = time.perf_counter()
    program = simulate(mobility).lower(field).compile()
    compiles = time.perf_counter() - begin
    seconds, found = timed(lambda: program(field), REPEATS)
    steps = int(found.accepted[0] + found.rejected[0])
    config = CahnHilliardConfig(shape=initial.shape, mobility=mobility)
    box = config.box
    pair = jax.jit(lambda x: lax.fori_loop(0, 10, lambda _, x: box.field(box.modes(x)), x))
    transforms = timed(lambda: pair(field), REPEATS)[0] / 10
    # on the grid itself, without coarser ones, steps of one length
    whole = jax.jit(
        lambda x: evolve(x, jnp.array([20.0]), ENERGY, kappa=KAPPA, config=dataclasses.replace(config, step=0.5))
    )
    whole_step = timed(lambda: whole(field), REPEATS)[0] / 40
    row = {
        "grid": "x".join(map(str, initial.shape)),
        "mobility": mobility,
        "solver": "jaxmicro",
        "seconds": seconds,
        "steps": steps,
        "ms_per_step": 1e3 * seconds / steps,
        "error": distance(np.asarray(found.fields[0]), exact),
        "times_ours": 1.0,
        "compile_s": compiles,
        "two_transforms_ms": 1e3 * transforms,
        "ms_per_step_of_this_grid": 1e3 * whole_step,
        "share_of_transforms": transforms * (1.0 if mobility == "constant" else 1.5) / whole_step,
        "bytes_per_voxel": program.memory_analysis().temp_size_in_bytes / field.size,
    }
    return row, lambda: program(field), exact


def simulate(mobility: str, tolerance: float = 1e-3) -> Any:
    """Our solver as a compiled function of the start."""

    def run(field: jax.Array) -> Evolution:
        config = CahnHilliardConfig(shape=field.shape, mobility=mobility, tolerance=tolerance)
        return evolve(field, jnp.array([END]), ENERGY, kappa=KAPPA, config=config)

    return jax.jit(run)


def beside(
    peer: Peer, initial: np.ndarray, own: Callable[[], Any], row: dict[str, Any], exact: np.ndarray
) -> dict[str, Any]:
    """A peer with the largest steps with which it is as exact as ours."""
    run = peer.prepare(initial)
    begin = time.perf_counter()
    run(1)
    first = time.perf_counter() - begin
    each = timed(lambda: run(3), 2)[0] / 3
    errors: dict[int, float] = {}

    def exact_enough(steps: int) -> bool:
        truth = run(4 * steps) if peer.differences else exact
        errors[steps] = distance(run(steps), truth) * (1 if not peer.differences else 1 / (1 - 4.0**-peer.order))
        return errors[steps] <= row["error"]

    steps, longest = 30, LIMIT / each / (5 if peer.differences else 1)
    while steps < longest and not exact_enough(steps):
        steps *= 2
    stable = {n: error for n, error in errors.items() if error < 0.5}
    if not stable:
        return {**label(row, peer.name), "ms_per_step": 1e3 * each, "note": f"no stable run within {LIMIT:g} s"}
    steps = max(stable)
    short = stable[steps] > row["error"]
    needed = steps * (stable[steps] / row["error"]) ** (1 / peer.order)
    note = f"extrapolated from {steps} steps of error {stable[steps]:.1e}"
    if not short:
        few = steps // 2
        while steps - few > 1:
            middle = (steps + few) // 2
            few, steps = (few, middle) if exact_enough(middle) else (middle, steps)
        needed, note = steps, f"error {errors[steps]:.1e}; with one step less {errors.get(steps - 1, math.nan):.1e}"
    pairs = [(timed(own, 1)[0], timed(lambda: run(min(steps, 20)), 1)[0] / min(steps, 20)) for _ in range(TURNS)]
    each = np.median([other for _, other in pairs])
    ratios = [other * needed / one for one, other in pairs]  # of runs next to each other: the machine may be shared
    spatial = distance(run(steps), exact) if peer.differences else None
    return {
        **label(row, peer.name),
        "seconds": float(each * needed),
        "steps": round(needed),
        "ms_per_step": float(1e3 * each),
        "error": row["error"],
        "times_ours": float(np.median(ratios)),
        "times_ours_least": min(ratios),
        "times_ours_most": max(ratios),
        "compile_s": max(first - each, 0),
        "with_spatial_error": spatial,
        "note": note,
    }


def lower_bound(
    name: str,
    prepared: tuple[Callable[[int], Any], int | None],
    own: Callable[[], Any],
    row: dict[str, Any],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """A slow peer: a few steps, times their number (None: as many as ours takes)."""
    run, steps = prepared
    needed = steps or row["steps"]
    begin = time.perf_counter()
    run(1)
    first = time.perf_counter() - begin
    few = 1 if first > 5 else 10
    each = first if few == 1 else timed(lambda: run(few), 1)[0] / few
    return {
        **label(row, {"pde": "py-pde", "fipy": "FiPy"}[name]),
        "seconds": each * needed,
        "steps": needed,
        "ms_per_step": 1e3 * each,
        "times_ours": each * needed / timed(own, 1)[0],
        "note": f"{few} steps timed; " + ("largest stable step" if steps else "lower bound: as many steps as ours"),
    }


def label(row: dict[str, Any], solver: str) -> dict[str, Any]:
    return {"grid": row["grid"], "mobility": row["mobility"], "solver": solver}


def by_exponax(initial: np.ndarray, order: int) -> Run:
    """exponax, in u = 2 phi - 1: du/dt = lap(u^3 - u - kappa lap u); no dealiasing, as ours."""
    import exponax

    start = jnp.asarray(2 * initial[None] - 1, jnp.float32)

    import equinox

    repeated = equinox.filter_jit(lambda stepper, u, n: lax.fori_loop(0, n, lambda _, u: stepper(u), u))
    made: dict[float, Any] = {}  # its coefficients are made once for each step, outside of the times

    def run(steps: int) -> np.ndarray:
        step = END / steps if steps >= 30 else END / 480
        if step not in made:
            made[step] = exponax.stepper.reaction.CahnHilliard(
                initial.ndim, float(initial.shape[0]), initial.shape[0], step,
                diffusivity=1.0, gamma=KAPPA, order=order, dealiasing_fraction=1.0,
            )  # fmt: skip
        return (1 + np.asarray(repeated(made[step], start, jnp.asarray(steps)))[0]) / 2

    return run


def by_evoxels(initial: np.ndarray, backend: str) -> Run:
    """evoxels, with mobility phi (1 - phi) and its semi-implicit spectral steps; an image is a volume of one layer."""
    import evoxels
    from evoxels.pdes import CahnHilliard
    from evoxels.solvers import TimeDependentSolver
    from evoxels.timesteppers import PseudoSpectralIMEX

    shape = initial.shape + (1,) * (3 - initial.ndim)
    fields = evoxels.VoxelFields(shape, domain_size=tuple(map(float, shape)))
    fields.add_field("phi", initial.reshape(shape).astype(np.float32))
    made: dict[float, Any] = {}

    def run(steps: int) -> np.ndarray:
        step = END / steps if steps >= 30 else END / 480
        solver = TimeDependentSolver(fields, "phi", backend, CahnHilliard, PseudoSpectralIMEX, device="cpu")
        options = {"eps": KAPPA / 2, "D": 1.0, "mu_hom": lambda c, lib=None: 2 * c * (1 - c) * (1 - 2 * c)}
        u = solver._init_fields()
        if step not in made:
            made[step] = solver._init_stepper(step, options, backend == "jax")
        for i in range(steps):
            u = made[step](i * step, u)
        return np.asarray(u).reshape(initial.shape)

    return run


def by_py_pde(initial: np.ndarray) -> tuple[Callable[[int], Any], int]:
    """py-pde, explicit, with compiled loops, at the largest step that is stable for the shortest waves."""
    import pde

    steps = int(np.ceil(END * KAPPA * (4 * initial.ndim) ** 2 / 2))
    grid = pde.CartesianGrid([(0, n) for n in initial.shape], initial.shape, periodic=True)
    state = pde.ScalarField(grid, 2 * initial - 1)
    equation = pde.CahnHilliardPDE(interface_width=KAPPA)
    solver = pde.ExplicitSolver(equation, backend="numba", adaptive=False)
    stepper = solver.make_stepper(state, dt=END / steps)
    return lambda n: stepper(state.copy(), 0, n * END / steps), steps


def by_fipy(initial: np.ndarray) -> tuple[Callable[[int], Any], None]:
    """FiPy, implicit and of first order, as in its example of phase separation."""
    import fipy

    mesh = fipy.PeriodicGrid2D(nx=initial.shape[1], ny=initial.shape[0])
    phi = fipy.CellVariable(mesh=mesh, value=initial.ravel())
    face = phi.arithmeticFaceValue
    equation = fipy.TransientTerm() == fipy.DiffusionTerm(coeff=2 * (1 - 6 * face * (1 - face))) - fipy.DiffusionTerm(
        coeff=(1.0, KAPPA)
    )

    def run(steps: int) -> None:
        for _ in range(steps):
            equation.solve(phi, dt=0.1)

    return run, None


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square of the difference over that of phi - mean."""
    return float(np.sqrt(np.mean((found.astype(float) - exact) ** 2)) / exact.std())


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median of the seconds of calls after one to warm up, and the last result."""
    result, seconds = jax.block_until_ready(call()), []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds)), result


if __name__ == "__main__":
    main()
