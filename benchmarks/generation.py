"""Claim: an evaluation of the paper-size network takes no longer than MicroGen3D's, and a volume a tenth of its time.

    python -m benchmarks.generation                                           # ours alone
    python -m benchmarks.generation --microgen3d CHECKOUT --python PYTHON     # and MicroGen3D's own code beside it
    python -m benchmarks.generation --model MODEL --collection C --steps 8 16 32 64 250      # R^2 against steps

Networks of P-CondLDM's size for 128 x 128 x 64 voxels and three phases (`latent_collection(paper=True)`), random
weights, four features given. "evaluate-N": an evaluation and a step of the sampler, N volumes at once; a few of them
are timed in one call. "decode": a code to phases. Checked first: the network's output is that of XLA's own
convolutions. Each case and each side is a fresh process, whose largest resident set is its memory; both compile or warm
up, and then take turns. Medians; the ratio is the median over the turns, with the least and the most. "CPU (s)": of all
threads, which other work on the machine changes less. A volume of MicroGen3D's is its evaluations times one, and one
decoding: nobody waits for 998. "volume": `generate_labels` as `jaxmicro generate` calls it, default number of steps;
compilation is its first call less a later one. The two networks are not the same one: sizes are columns.

--steps: features of volumes drawn for held-out conditions, steered as usual, against those asked, with each number of
evaluations (experiments/process has the scores).
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reconstruction import peak_memory
from experiments.machine import describe
from experiments.process.config import ProcessConfig
from experiments.process.run import conditions, held_out_part, measured, scores, table_of
from experiments.tables import as_text, markdown_table, replace_rows, write_rows, write_table
from jaxmicro import io, models, pipeline
from jaxmicro.collection import Collection, Feature
from jaxmicro.devices import jit_network
from jaxmicro.generate import GenerationConfig, generate
from jaxmicro.models import PriorConfig, layers, winograd
from jaxmicro.pipeline import Material, Prior
from jaxmicro.pipeline.generation import samples_together

HERE = Path(__file__).parent
SHAPE = (128, 128, 64)
FEATURES = ("volume_fraction.0", "volume_fraction.1", "tortuosity.0.z", "tortuosity.1.z")
STEPS = {1: 3, 8: 2}  # volumes at once -> evaluations that are timed in one call, as in microgen3d.py
BESIDE = ("evaluate-1", "evaluate-8", "decode")
VOLUMES = ("volume-pixel-32", "volume-pixel-64", "volume-paper")
COLUMNS = {
    "case": "Case", "by": "By", "s": "Time (s)", "cpu_s": "CPU (s)", "compile_s": "Compile (s)", "peak_mb": "Peak (MB)",
    "parameters": "Parameters (10^6)", "ns_per_parameter": "ns / parameter", "code": "Code",
    "evaluations": "Evaluations of a volume", "note": "Note",
    "times_ours": "Times ours", "device": "On",
}  # fmt: skip
Row = dict[str, Any]
Once = Callable[[], Mapping[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--microgen3d", type=Path, metavar="CHECKOUT", help="its code; default: ours alone")
    parser.add_argument("--python", default=sys.executable, help="a Python that has PyTorch; default: this one")
    parser.add_argument("--case", nargs="+", choices=(*BESIDE, *VOLUMES), default=[*BESIDE, *VOLUMES])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64, 250], help="with --model")
    parser.add_argument("--model", help="a trained model: measures R^2 against steps, and nothing else")
    parser.add_argument("--collection", type=Path, help="what it was trained on, or its held-out part")
    parser.add_argument("--conditions", type=int, default=64, help="of held-out runs, a volume each")
    parser.add_argument("--write", action="store_true", help="write CSV files and the tables of README.md")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.collection is None):
        parser.error("expected --model and --collection together")
    if options.serve:
        serve(options.serve)
    elif options.model:
        prior, collection = pipeline.load_prior(options.model), io.read_collection(options.collection)
        rows = []
        for more in steps_against_r2(prior, collection, options.steps, options.conditions):
            rows += more
            report_steps(rows, write=options.write)
    else:
        peer = None if options.microgen3d is None else (options.python, options.microgen3d)
        rows = []
        for row in compared(options.case, peer, options.turns):  # what is measured is kept if the rest takes too long
            rows.append(row)
            report([row], write=options.write)
        print(table(rows))


def compared(cases: Sequence[str], peer: tuple[str, Path] | None, turns: int) -> Iterator[Row]:
    """Rows of each case, ours and MicroGen3D's."""
    for case in cases:
        sides = {"jaxmicro": [sys.executable, "-m", "benchmarks.generation", "--serve", case]}
        if peer is not None and case in BESIDE:
            script = str(HERE / "microgen3d.py")
            sides["MicroGen3D"] = [peer[0], script, str(peer[1].resolve()), case, str(len(os.sched_getaffinity(0)))]
        for by, row in in_turns(sides, min(turns, 2) if case == "volume-paper" else turns).items():
            yield {"case": case, "by": by, **row, **describe()}


def their_volume(rows: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """MicroGen3D's time of a volume, where its parts and our volume have been measured on the same device."""
    for device in sorted({row["device"] for row in rows}):
        found = {(row["case"], row["by"]): row for row in rows if row["device"] == device}
        ours, *parts = [
            found.get(of)
            for of in (("volume-paper", "jaxmicro"), ("evaluate-1", "MicroGen3D"), ("decode", "MicroGen3D"))
        ]
        if ours is None or not all(parts):
            continue
        step, decode = parts
        times = {key: int(step["evaluations"]) * float(step[key]) + float(decode[key]) for key in ("s", "cpu_s")}
        ratio = f"{times['s'] / float(ours['s']):.3g}"
        row = {"case": "volume-paper", "by": "MicroGen3D", **times, "evaluations": step["evaluations"]}
        yield {**row, "note": "multiplied", "times_ours": ratio, "device": device}


def in_turns(sides: Mapping[str, Sequence[str]], turns: int) -> dict[str, Row]:
    """Row of each command line: what it says of itself, and medians of its times, taken in turns."""
    with contextlib.ExitStack() as ending:
        processes: dict[str, subprocess.Popen] = {}
        for by, command in sides.items():
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            processes[by] = ending.enter_context(subprocess.Popen(command, **pipes, text=True, cwd=HERE.parent))
            ending.callback(processes[by].kill)
        rows: dict[str, Row] = {by: answer(process, by) for by, process in processes.items()}

        def ask(by: str) -> Mapping[str, float]:
            print(file=processes[by].stdin, flush=True)
            return answer(processes[by], by)

        taken = [{by: ask(by) for by in processes} for _ in range(turns)]
    return {by: row | summary(by, row, taken) for by, row in rows.items()}


def summary(by: str, row: Row, taken: Sequence[Mapping[str, Mapping[str, float]]]) -> Row:
    """Medians over the turns, and the ratio to ours."""
    times = {key: float(np.median([turn[by][key] for turn in taken])) for key in ("s", "cpu_s")}
    ratios = sorted(turn[by]["s"] / turn["jaxmicro"]["s"] for turn in taken)
    if "first_s" in row:  # of all that are made together
        row["compile_s"] = row["first_s"] - row["together"] * times["s"]
    size = row.get("parameters")
    return {
        **times,
        "compile_s": row.get("compile_s"),
        "peak_mb": round(max(turn[by]["peak_mb"] for turn in taken)),
        "parameters": None if size is None else round(size / 1e6, 1),
        "ns_per_parameter": None if size is None or "together" in row else 1e9 * times["s"] / size,
        "times_ours": f"{np.median(ratios):.3g} ({ratios[0]:.3g} to {ratios[-1]:.3g})" if by != "jaxmicro" else "1",
    }


def answer(process: subprocess.Popen, by: str) -> Any:
    """The next line of a process; ends with what happened if there is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{by} ended with status {process.wait()}; its message is above")
    return json.loads(line)


def serve(case: str) -> None:
    """A line of sizes, then one of times for each line of the standard input."""
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is measured
    about, once = prepare(case)
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        print(json.dumps(once()), flush=True)


def prepare(case: str, config: PriorConfig | None = None) -> tuple[Row, Once]:
    """Sizes and compilation of a case of ours, checked, and a call that times it once.

    Args:
        config: other networks than those that the case stands for.
    """
    kind, _, which = case.partition("-")
    if kind == "volume":
        return of_volume(config or networks(which))
    config = config or networks("paper")
    params = random_params(config)
    cells = tuple(edge // config.cell for edge in config.sample_shape)
    about: Row = {
        "code": " x ".join(map(str, (config.channels, *cells))),
        "evaluations": pipeline.default_generation(config).steps,
    }
    if kind == "decode":
        z = jax.random.normal(jax.random.key(0), (1, *cells, config.channels))
        program, times = jit_network(lambda params, z: models.codec(config, params).decode(z)), 1
        inputs = (params, z)
        about["parameters"] = layers.parameter_count(params["vae"]["decoder"])
    else:
        together = int(which)
        times = STEPS[together]
        generation = dataclasses.replace(pipeline.default_generation(config), steps=times)
        condition = jax.random.normal(jax.random.key(2), (together, len(config.conditions)))
        inputs = (params, condition, jax.random.split(jax.random.key(0), together))
        program = jit_network(functools.partial(sampled, config=config, generation=generation))
        about["parameters"] = layers.parameter_count(models.network_params(config, params))
        if together == 1:
            check_network(config, params, cells)
    began = time.perf_counter()
    compiled = program.lower(*inputs).compile()
    about["compile_s"] = time.perf_counter() - began
    if not bool(jnp.isfinite(compiled(*inputs)).all()):
        raise SystemExit(f"{case} has numbers that are not finite")
    return about, functools.partial(timed, lambda: compiled(*inputs), times)


def sampled(params, condition, keys, *, config: PriorConfig, generation: GenerationConfig) -> jax.Array:
    """Codes from noise, as `generate_labels` draws them."""
    shape = (*(edge // config.cell for edge in config.sample_shape), config.channels)
    return generate(models.denoiser(config, params, condition), shape, config=generation, keys=keys)


def check_network(config: PriorConfig, params, cells: tuple[int, ...]) -> None:
    """The output of an evaluation is that of XLA's own convolutions."""
    x_t = jax.random.normal(jax.random.key(1), (1, *cells, config.channels))

    def evaluated() -> jax.Array:
        return jit_network(lambda params, x_t: models.denoiser(config, params)(x_t, jnp.zeros(())))(params, x_t)

    ours = evaluated()
    with mock.patch.object(winograd, "suits", lambda *_: False), mock.patch.object(layers, "FEW_VOXELS", 0):
        plain = evaluated()
    off = float(jnp.abs(ours - plain).max() / jnp.abs(plain).max())
    if not off < 1e-3:  # rounding through some twenty layers
        raise SystemExit(f"the network is {off:.1e} off with the convolutions that are timed")


def of_volume(config: PriorConfig) -> tuple[Row, Once]:
    """As `prepare`, of `generate_labels`: as many volumes as it takes at once by default, time of one."""
    prior = untrained(config)
    assert prior.conditions is not None
    together = samples_together(config.sample_shape)
    rows = np.repeat(prior.conditions.natural(np.zeros((1, len(config.conditions)))), together, axis=0)
    parts = timed(lambda: pipeline.generate_labels(prior, rows), together)
    about = {
        "evaluations": pipeline.default_generation(config).steps,
        "parameters": layers.parameter_count(models.network_params(config, prior.params)),
        "first_s": together * parts["s"],
        "together": together,
        "note": f"{together} at once",
    }
    return about, functools.partial(timed, lambda: pipeline.generate_labels(prior, rows, seed=1), together)


def untrained(config: PriorConfig) -> Prior:
    """A prior with random weights, of a collection whose features are random."""
    labels = np.zeros((4, *config.sample_shape), np.uint8)
    table = np.random.default_rng(0).uniform(0.3, 0.7, (4, len(config.conditions)))
    features = tuple(Feature(name) for name in config.conditions)
    values = tuple(map(float, range(config.phases)))
    of = pipeline.conditions_of(Collection(labels, features, table, np.arange(4), values))
    material = Material(values, (1 / config.phases,) * config.phases)
    return Prior(config, random_params(config), material, {}, of)


def networks(which: str) -> PriorConfig:
    """The networks of P-CondLDM's size ("paper"), or our default ones for a cube ("pixel-EDGE")."""
    if which == "paper":
        return models.latent_collection(3, SHAPE, FEATURES, paper=True)
    return models.pixel_collection(2, (int(which.removeprefix("pixel-")),) * 3, FEATURES)


def random_params(config: PriorConfig) -> Any:
    """Weights that keep the variance, where fresh ones are zero in the last layer; made leaf by leaf, to be the most
    that the memory ever holds."""
    rng = np.random.default_rng(0)

    def leaf(like: jax.ShapeDtypeStruct) -> jax.Array:
        if len(like.shape) < 2:
            return jnp.ones(like.shape)
        return jnp.asarray(rng.standard_normal(like.shape, np.float32) / np.sqrt(np.prod(like.shape[:-1])))

    return jax.tree.map(leaf, jax.eval_shape(functools.partial(models.init, config), jax.random.key(0)))


def timed(call: Callable[[], Any], times: int) -> dict[str, float]:
    """Seconds of one of the `times` that are in a call, and what the process has needed so far."""
    began = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"s": wall / times, "cpu_s": cpu / times, "peak_mb": peak_memory() / 1e6}


def steps_against_r2(prior: Prior, collection: Collection, steps: Sequence[int], count: int) -> Iterator[list[Row]]:
    """Scores of every asked feature for each number of steps, of the same conditions with the same noise."""
    assert prior.conditions is not None
    names, samples = conditions(ProcessConfig(), prior, held_out_part(prior, collection), count)
    asked = table_of(samples, names)
    rows = np.stack([prior.conditions.row(dict(zip(names, row, strict=True))) for row in asked])
    batch = min(len(rows) // 2, samples_together(prior.config.sample_shape))
    for number in steps:
        config = dataclasses.replace(pipeline.default_generation(prior.config), steps=number)
        ended: list[float] = []
        labels = pipeline.generate_labels(
            prior, rows, config=config, together=batch, on_sample=lambda *_, e=ended: e.append(time.perf_counter())
        )
        seconds = (ended[-1] - ended[batch - 1]) / (len(rows) - batch)  # the first batch compiles
        some = scores(str(number), names, asked, measured(prior, labels, names), seconds)
        yield [{"steps": row.pop("method"), **row, **describe()} for row in some]


def report(rows: Sequence[Row], *, write: bool) -> None:
    """Rows as text; with `write` into generation.csv, where rows of other cases and devices stay, and README.md."""
    text = [as_strings({name: row.get(name) for name in COLUMNS}) for row in rows]
    print(*(", ".join(filter(None, row.values())) for row in text), sep="\n", flush=True)
    if write:
        kept = replace_rows(HERE / "generation.csv", text, key=["case", "by", "device"])
        derived = [as_strings({name: row.get(name) for name in COLUMNS}) for row in their_volume(kept)]
        kept = replace_rows(HERE / "generation.csv", derived, key=["case", "by", "device"]) if derived else kept
        write_table(HERE / "README.md", "generation", markdown_table(kept, COLUMNS))


def report_steps(rows: Sequence[Row], *, write: bool) -> None:
    """R^2 against steps, without rows of before."""
    text = [as_strings(row) for row in rows]
    found = markdown_table(text, {key: key for key in rows[0] if key not in describe()})
    print(found, flush=True)
    if write:
        write_rows(HERE / "generation_steps.csv", text)
        write_table(HERE / "README.md", "generation-steps", found)


def table(rows: Sequence[Row]) -> str:
    """All rows, and what follows from them."""
    every = [*rows, *their_volume(rows)]
    return markdown_table([as_strings({name: row.get(name) for name in COLUMNS}) for row in every], COLUMNS)


def as_strings(row: Row) -> dict[str, str]:
    """Numbers with three figures."""
    return {key: f"{value:.3g}" if isinstance(value, float) else as_text(value) for key, value in row.items()}


if __name__ == "__main__":
    main()
