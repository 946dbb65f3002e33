"""Claim: on one accelerator a volume of 64^3 takes less than half a second, and 256^3 voxels are solved in a tenth.

    python -m benchmarks.device                              # all steps on the default device, 15 minutes at most
    python -m benchmarks.device --steps ceilings solver      # some of them
    python -m benchmarks.device --toy                        # every step at toy size: minutes on a CPU
    python -m benchmarks.device --write                      # device.csv and the tables of benchmarks/README.md

Steps run in order of worth, each in a process of its own with its own time limit; a step that fails or runs out of time
costs only itself, and what it has measured by then is kept. Rows go to `--out` (JSON lines) as they are measured; a run
that is started again with the same folder goes on with what is missing.

Networks have their real sizes; their weights are those of the bundled electrode where a volume is made, else untrained,
which costs the same. Times are medians with the device waited for; compilation is a column of its own. "Of the ceiling"
compares with what the same device does in the step `ceilings`: bytes moved against a copy, operations against a matrix
product of the same precision.
"""

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.latent import operations
from benchmarks.reconstruction import peak_memory
from experiments.machine import describe
from experiments.tables import markdown_table, replace_rows, write_table
from jaxmicro import models, pipeline
from jaxmicro.descriptors import label_clusters, spanning
from jaxmicro.devices import jit_network
from jaxmicro.diffusion import diffuse
from jaxmicro.models import PriorConfig, UNetConfig
from jaxmicro.models.prior import likelihood_logits, noise_levels, spread
from jaxmicro.models.unet import UNet
from jaxmicro.physics import SolverConfig, solve
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.train import TrainConfig, init_state, make_update

HERE = Path(__file__).parent
Row = dict[str, Any]
Cases = Iterator[tuple[str, Callable[[], Row | list[Row]]]]
"""Name of a case, and what measures it: one row, or several with names of their own under "case"."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large everything is; the defaults are those of the claim."""

    matrix: int = 8192  # edge of the matrix products
    copied: int = 2**30  # bytes of the array that is copied
    edges: tuple[int, ...] = (64, 128, 256)  # of reconstructed cubes, voxels
    largest: int = 512  # edge of the largest cube that is reconstructed
    together: tuple[int, ...] = (1, 8, 32)  # volumes of the first edge at once
    planes: tuple[int, ...] = (32, 64)  # in the network at once
    latent_volumes: tuple[int, ...] = (1, 8)  # at once
    latent_steps: int = 1000  # of the paper's sampler
    paper: bool = True  # latent networks of the paper's size; else small ones
    solver: tuple[int, ...] = (64, 128, 256, 512)  # edges of the solved cubes
    batches: tuple[int, ...] = (32, 256)  # crops of an update
    updates: int = 20  # timed
    fine_tuning: int | None = None  # updates of a whole training; None: the default of `train`
    design_edge: int = 64  # voxels
    designs: int = 3  # volumes
    slices: int = 64  # guided at once


TOY = Sizes(
    matrix=64, copied=2**16, edges=(16,), largest=24, together=(1, 2), planes=(32,), latent_volumes=(1,),
    latent_steps=4, paper=False, solver=(8, 16), batches=(4,), updates=2, fine_tuning=2, design_edge=16, designs=1,
    slices=4,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the steps, each in a process of its own, and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--minutes", type=float, default=15, help="for all steps together")
    parser.add_argument("--toy", action="store_true", help="toy sizes, to try the script")
    parser.add_argument("--out", type=Path, default=Path("runs/device"), help="folder of rows, logs and volumes")
    parser.add_argument("--write", action="store_true", help="write device.csv and the tables of README.md")
    parser.add_argument("--inside", choices=STEPS, help=argparse.SUPPRESS)  # one step, in this process
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.inside:
        run_step(options.inside, TOY if options.toy else Sizes(), options.out)
        return
    end = time.monotonic() + 60 * options.minutes
    for name in options.steps:
        left = min(STEPS[name].limit, end - time.monotonic())
        print(f"{name}: {in_own_process(name, left, options) if left > 5 else 'no time left'}", flush=True)
    rows = kept_rows(options.out)
    for name, group in tables(rows).items():
        print(f"\n{name}\n{group}")
    if options.write:
        kept = replace_rows(HERE / "device.csv", rows, key=["step", "case", "device"])
        for name, table in tables(kept).items():
            write_table(HERE / "README.md", f"device-{name}", table)


def in_own_process(name: str, limit: float, options: argparse.Namespace) -> str:
    """Run one step; how it ended."""
    command = [sys.executable, "-m", "benchmarks.device", "--inside", name, "--out", str(options.out)]
    began = time.monotonic()
    with (options.out / f"{name}.log").open("w") as log:
        try:
            process = subprocess.run(
                command + ["--toy"] * options.toy, stdout=log, stderr=subprocess.STDOUT, timeout=limit, cwd=HERE.parent
            )
            ended = "done" if process.returncode == 0 else f"failed, see {name}.log"
        except subprocess.TimeoutExpired:
            ended = f"stopped at its limit of {limit:.0f} s"
    return f"{ended} ({time.monotonic() - began:.0f} s)"


def run_step(name: str, sizes: Sizes, out: Path) -> None:
    """Measure what is missing of one step in this process; each row is on disk before the next case is begun."""
    known = {(row["step"], row["group"]) for row in kept_rows(out)}
    with (out / "rows.jsonl").open("a") as file:
        for group, measure in STEPS[name].cases(sizes, out):
            if (name, group) in known:
                continue
            found = measure()
            about = {"peak_mb": round(peak_memory() / 1e6), **describe()}
            for row in found if isinstance(found, list) else [{"case": group, **found}]:
                line = json.dumps({"step": name, "group": group, **row, **about})
                print(line, flush=True)
                file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def kept_rows(out: Path) -> list[Row]:
    """All rows of a folder, the last of each case."""
    path = out / "rows.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return list({(row["step"], row["case"]): row for row in map(json.loads, lines)}.values())


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """One table a step."""
    found = {}
    for name in STEPS:
        own = [{k: _shown(v) for k, v in row.items()} for row in rows if row["step"] == name]
        if own:
            columns = [
                c for row in own for c in row if c not in ("step", "group", "python", "jaxmicro") and row[c] != ""
            ]
            found[name] = markdown_table(own, {c: c for c in dict.fromkeys(columns)})
    return found


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Seconds of the first call less those of a later one (compilation and set-up), and the median of later ones."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    later = float(np.median(times[1:]))
    return max(times[0] - later, 0.0), later


# ---- the device itself


PRECISIONS = {"float32": ("float32", jnp.float32), "tf32": ("tensorfloat32", jnp.float32), "bf16": (None, jnp.bfloat16)}


def ceilings(sizes: Sizes, out: Path) -> Cases:
    """Bytes per second of a copy, operations per second of a matrix product."""
    yield "copy", lambda: copied(sizes.copied)
    for name in PRECISIONS:
        yield f"matrix product, {name}", functools.partial(multiplied, sizes.matrix, name)


def copied(size: int) -> Row:
    """An array of `size` bytes, read and written."""
    x = jnp.arange(size // 4, dtype=jnp.float32)
    copy = jax.jit(lambda x: x + 1)
    _, each = timed(lambda: copy(x), 10)
    return {"each_s": each, "gb_per_s": 2 * x.nbytes / each / 1e9}


def multiplied(edge: int, name: str) -> Row:
    """A product of two square matrices."""
    precision, dtype = PRECISIONS[name]
    a = jax.random.normal(jax.random.key(0), (edge, edge), dtype)
    product = jax.jit(functools.partial(jnp.matmul, precision=precision))
    _, each = timed(lambda: product(a, a), 10)
    return {"each_s": each, "tflops": 2 * edge**3 / each / 1e12}


def ceiling(out: Path, case: str, column: str) -> float | None:
    """What the step `ceilings` of the same run found."""
    return next((row[column] for row in kept_rows(out) if (row["step"], row["case"]) == ("ceilings", case)), None)


def share(value: float, whole: float | None) -> float | None:
    """Part of a ceiling in percent, where that is known."""
    return None if whole is None else 100 * value / whole


# ---- volumes


def reconstruction(sizes: Sizes, out: Path) -> Cases:
    """The bundled electrode with our default sampling: single volumes, several together, several planes at once."""
    prior = pipeline.load_prior("sofc")
    first, *others = sizes.edges
    cases = [(first, together, sizes.planes[0]) for together in sizes.together]
    cases += [(first, 1, planes) for planes in sizes.planes[1:]]
    cases += [(edge, 1, sizes.planes[-1]) for edge in others]
    for edge, together, planes in cases:
        name = f"{edge}^3, {together} at once, {planes} planes"
        yield name, functools.partial(reconstructed, prior, edge, together, planes, out)


def largest(sizes: Sizes, out: Path) -> Cases:
    """The largest cube."""
    prior, planes = pipeline.load_prior("sofc"), sizes.planes[-1]
    name = f"{sizes.largest}^3, 1 at once, {planes} planes"
    yield name, functools.partial(reconstructed, prior, sizes.largest, 1, planes, out, repeats=1)


def reconstructed(prior: pipeline.Prior, edge: int, together: int, planes: int, out: Path, *, repeats: int = 2) -> Row:
    """Seconds per volume; the last volume is kept, for its statistics are looked at elsewhere."""
    sampling = SamplingConfig(batch=planes)
    seeds = iter(range(100))
    made: list[Any] = []

    def call() -> Any:
        made[:] = pipeline.reconstruct(
            prior, shape=(edge,) * 3, volumes=together, together=together, sampling=sampling, seed=next(seeds)
        )
        return made[0].labels

    compiles, each = timed(call, repeats)
    labels = made[0].labels
    np.savez_compressed(out / f"volume_{edge}_{together}_{planes}.npz", labels=labels[tuple(slice(256) for _ in "zyx")])
    assert prior.material is not None
    fractions = np.bincount(labels.ravel(), minlength=prior.config.phases) / labels.size
    return {
        "compile_s": compiles,
        "volume_s": each / together,
        "voxels_per_s": together * edge**3 / each,
        "evaluation_s": each / sampling.evaluations,
        "fraction_off": float(np.abs(fractions - prior.material.volume_fractions).max()),
    }


def latent(sizes: Sizes, out: Path) -> Cases:
    """P-MicroLad's volume of 64^3: all its steps, decoding, five rounds of refinement."""
    for volumes in sizes.latent_volumes:
        yield f"{volumes} at once", functools.partial(latent_volumes, sizes, volumes, out)


def latent_volumes(sizes: Sizes, volumes: int, out: Path) -> list[Row]:
    """The stages of several volumes at once, and all of them."""
    from benchmarks.latent import PAPER, measure

    prior = models.latent_paper(3) if sizes.paper else models.latent_small(3)
    sampling = PAPER if sizes.paper else dataclasses.replace(PAPER, log_snr_range=prior.log_snr_range, shape=(4, 4, 4))
    sampling = dataclasses.replace(sampling, steps=sizes.latent_steps)
    found = []
    for row in measure("paper", prior, sampling, stretch=sizes.latent_steps, volumes=volumes):
        tflops = row["gflops"] / 1e3 if row.get("gflops") else None
        percent = tflops and share(tflops, ceiling(out, "matrix product, tf32", "tflops"))
        stage = {"case": f"{row['stage']}, {volumes} at once", "times": row.get("calls"), "each_s": row.get("each_s")}
        found.append(stage | {"volume_s": row["total_s"] / volumes, "tflops": tflops, "of_tf32_percent": percent})
    return found


# ---- physics


def porous(edge: int, porosity: float = 0.4, *, seed: int = 0) -> np.ndarray:
    """Conducting voxels of a thresholded Gaussian field (width 2 voxels), cut off clusters taken out."""
    noise = jax.random.normal(jax.random.key(seed), (edge,) * 3)
    k = [jnp.fft.fftfreq(edge), jnp.fft.fftfreq(edge), jnp.fft.rfftfreq(edge)]
    squared = k[0][:, None, None] ** 2 + k[1][None, :, None] ** 2 + k[2][None, None, :] ** 2
    smooth = jnp.fft.irfftn(jnp.fft.rfftn(noise) * jnp.exp(-2 * (jnp.pi * 2.0) ** 2 * squared), s=noise.shape)
    smooth = np.asarray(smooth)
    phase = smooth > np.quantile(smooth[:: max(edge // 128, 1)], 1 - porosity)
    clusters = label_clusters(phase)
    return np.isin(clusters, spanning(clusters, 0))


def solver(sizes: Sizes, out: Path) -> Cases:
    """D_eff along one axis, finite volumes and elements, single precision; of smaller cubes the gradient, too."""
    for edge in sizes.solver:
        kappa = functools.cache(lambda edge=edge: jnp.asarray(porous(edge), jnp.float32))
        for scheme in ("finite_volume", "q1"):
            yield f"{edge}^3, {scheme}", functools.partial(solved, kappa, scheme, out)
        if edge <= 256:
            yield f"{edge}^3, q1, value and gradient", functools.partial(differentiated, kappa)


def solved(medium: Callable[[], jax.Array], scheme: str, out: Path) -> Row:
    """One solve with blocked voxels, as `measure` has it."""
    from benchmarks.solvers import traffic

    kappa = medium()
    assert kappa.any(), "no path through the medium"
    call = jax.jit(functools.partial(solve, axis=0, discretisation=scheme, config=SolverConfig()))
    compiles, each = timed(lambda: call(kappa).d_eff)
    found = call(kappa)
    moved = traffic(scheme, "float32") * kappa.size * int(found.iterations) / each / 1e9
    return {
        "compile_s": compiles,
        "each_s": each,
        "iterations": int(found.iterations),
        "d_eff": float(found.d_eff),
        "converged": bool(found.converged),
        "flux_balance": float(found.flux_balance),
        "gb_per_s": moved,
        "of_copy_percent": share(moved, ceiling(out, "copy", "gb_per_s")),
    }


def differentiated(medium: Callable[[], jax.Array]) -> Row:
    """What a design does: leaking phases (contrast 1e3), elements."""
    kappa = 1e-3 + (1 - 1e-3) * medium()
    config = SolverConfig()
    call = jax.jit(jax.value_and_grad(lambda k: solve(k, axis=0, discretisation="q1", config=config).d_eff))
    compiles, each = timed(lambda: call(kappa))
    value, gradient = call(kappa)
    return {
        "compile_s": compiles,
        "each_s": each,
        "d_eff": float(value),
        "euler_off": float(jnp.abs(jnp.vdot(gradient, kappa) / value - 1)),  # D_eff is homogeneous of degree one
    }


# ---- design


def design(sizes: Sizes, out: Path) -> Cases:
    """Whole designs, reconstruction and exact measurements included; then steps of guidance of all slices at once."""
    target = "diffusivity.0.z=+30%" if sizes.design_edge >= 64 else "volume_fraction.0=+5%"
    yield f"{sizes.design_edge}^3, {target}", functools.partial(designed, sizes, target)
    for network in ("default", "paper") if sizes.paper else ("default",):
        for quantity in ("volume_fraction", "slice_diffusivity"):
            yield f"slices, {network}, {quantity}", functools.partial(guided, network, quantity, sizes)


def designed(sizes: Sizes, target: str) -> Row:
    """Volumes one after the other; the first compiles."""
    prior = pipeline.load_prior("sofc")
    times, off = [], []
    for seed in range(sizes.designs):
        began = time.perf_counter()
        (found,) = pipeline.design(prior, [target], shape=(sizes.design_edge,) * 3, seed=seed)
        times.append(time.perf_counter() - began)
        off.append(100 * abs(found.targets[0].deviation(found.achieved[0])))
    later = float(np.median(times[1:])) if times[1:] else None
    return {"first_s": times[0], "later_s": later, "percent_off": max(off)}


def guided(network: str, quantity: str, sizes: Sizes) -> Row:
    """Gradient of score loss and misfit of all slices, beside a plain loop over them."""
    from benchmarks.guidance import compared

    row = compared(network, quantity, sizes.slices, 64 if sizes.paper else 16, 3)
    ours, plain = row["Ours (slice-steps / s)"], row["Plain loop"]
    return {"slice_steps_per_s": float(ours), "plain_loop_per_s": float(plain)}


# ---- training


def training(sizes: Sizes, out: Path) -> Cases:
    """Updates per second by precision and batch, for the default network and a larger one, and a whole fine-tuning."""
    yield "fine-tuning", functools.partial(fine_tuned, sizes, tune=False)
    networks = {"default": PriorConfig(phases=3)}
    if sizes.paper:
        networks["widths 128 256 512"] = PriorConfig(phases=3, unet=UNetConfig(widths=(128, 256, 512), blocks=2))
    for batch in sizes.batches:
        for name, network in networks.items():
            for precision in PRECISIONS:
                case = f"{name}, batch {batch}, {precision}"
                yield case, functools.partial(updates, network, batch, precision, sizes.updates, out)
    if sizes.paper:
        yield "fine-tuning, with the statistics to hold tuned", functools.partial(fine_tuned, sizes, tune=True)


def fine_tuned(sizes: Sizes, *, tune: bool) -> Row:
    """The whole of `train` on the bundled micrograph, compilation included."""
    config = pipeline.FINE_TUNING
    if sizes.fine_tuning is not None:
        config = dataclasses.replace(config, steps=sizes.fine_tuning, warmup=1)
    began = time.perf_counter()
    prior = pipeline.train(pipeline.bundled_micrograph(pipeline.load_prior("sofc")), config=config, tune=tune)
    seconds = time.perf_counter() - began
    return {"updates": config.steps, "all_s": seconds, "validation_loss": prior.record.get("validation_loss")}


def updates(network: PriorConfig, batch: int, precision: str, count: int, out: Path) -> Row:
    """One optimiser step on a batch that is already there; Muon, as `train` has it."""
    matmul, dtype = PRECISIONS[precision]
    config = TrainConfig(batch=batch, optimiser="muon", learning_rate=0.02, warmup=1, steps=1000)
    loss = functools.partial(models.loss if dtype == jnp.float32 else half_precision_loss, network)
    with jax.default_matmul_precision(matmul or "default"):
        state = init_state(jax.jit(models.init, static_argnums=0)(network, jax.random.key(0)), config)
        labels = jax.random.randint(jax.random.key(1), (batch, network.patch, network.patch), 0, network.phases)
        update = jit_network(make_update(loss, config), donate_argnums=0)
        began = time.perf_counter()
        compiled = update.lower(state, labels).compile()
        compiles = time.perf_counter() - began
        state, _ = compiled(state, labels)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(count):
                state, metrics = compiled(state, labels)
            assert np.isfinite(float(metrics["loss"]))
            times.append((time.perf_counter() - began) / count)
    each = float(np.median(times))
    flops = operations(make_update(functools.partial(models.loss, network), config), state, labels)
    return {
        "compile_s": compiles,
        "each_s": each,
        "crops_per_s": batch / each,
        "tflops": flops / each / 1e12,
        "of_ceiling_percent": share(flops / each / 1e12, ceiling(out, f"matrix product, {precision}", "tflops")),
    }


def half_precision_loss(config: PriorConfig, params, batch: jax.Array, key: jax.Array):
    """`models.loss` of a categorical prior with a network in bfloat16; parameters and the loss stay in float32."""
    time_key, noise_key = jax.random.split(key)
    log_snr = noise_levels(config, batch.shape[0], time_key)
    x = 2 * jax.nn.one_hot(batch, config.phases) - 1
    level = spread(log_snr, x.ndim)
    x_t = diffuse(x, level, jax.random.normal(noise_key, x.shape))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, x_t, log_snr))
    context = UNet(config.unet, config.channels).apply({"params": half[0]}, half[1], half[2])
    logits = jnp.asarray(context, jnp.float32) + likelihood_logits(x_t, level)
    value = -jnp.mean(jnp.sum(jax.nn.log_softmax(logits, axis=-1) * (x + 1) / 2, axis=-1))
    return value, {"cross_entropy": value}


@dataclass(frozen=True)
class Step:
    """What is measured, and for how many seconds at most."""

    cases: Callable[[Sizes, Path], Cases]
    limit: float


STEPS = {
    "ceilings": Step(ceilings, 60),
    "reconstruction": Step(reconstruction, 240),
    "latent": Step(latent, 180),
    "solver": Step(solver, 120),
    "design": Step(design, 180),
    "largest": Step(largest, 120),
    "training": Step(training, 240),
}


if __name__ == "__main__":
    main()
