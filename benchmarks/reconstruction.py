"""Claim: reconstruction costs (n_h + 1) x steps x voxels, whatever the size, at a bounded memory; compiled once.

    python -m benchmarks.reconstruction                     # every case, each in a process of its own (peak memory)
    python -m benchmarks.reconstruction --case edge=64      # one case, as one line of JSON
    python -m benchmarks.reconstruction --write             # and write the tables of benchmarks/README.md

The network has the default size and untrained weights: they do not change the speed. Volumes are held to what the
bundled prior of the electrode knows, as users have it. A case times four stretches of the reverse process, evenly
spaced over it (what is held changes with the noise); edges of 64 and 128 also run whole.
Before timing, the answer is checked: stretches joined give the volume of one run, and the volume fractions are held.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.machine import describe
from experiments.tables import markdown_table, replace_rows, write_table
from jaxmicro import models, pipeline
from jaxmicro.devices import jit_network
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline import Material, Prior
from jaxmicro.pipeline.target_statistics import target_statistics
from jaxmicro.reconstruct import SamplingConfig, SamplingState, TargetStatistics, advance, init_state, labels_of

HERE = Path(__file__).parent
PLACES = (0.0, 0.25, 0.5, 0.75)  # of the stretches, in parts of the process
REPEATS = 3  # of each; the median is reported


@dataclass(frozen=True, kw_only=True)
class Case:
    """One measurement."""

    edge: int = 64  # of the cube, voxels
    harmonise: int = SamplingConfig().harmonise
    steps: int = 2  # time steps of a stretch
    whole: bool = False  # also time the whole process

    @property
    def name(self) -> str:
        """As --case takes it."""
        whole = ",whole=1" if self.whole else ""
        return f"edge={self.edge},harmonise={self.harmonise},steps={self.steps}{whole}"


SIZES = (
    Case(edge=64, whole=True),
    Case(edge=96),
    Case(edge=128, whole=True),
    Case(edge=192, steps=1),
    Case(edge=256, steps=1),
)
HARMONISE = tuple(Case(harmonise=n) for n in (0, 1, 2, 5, 10) if n != Case().harmonise)
SIZE_COLUMNS = {
    "edge": "Edge", "compile_s": "Compile (s)", "evaluation_s": "Evaluation (s)", "volume_s": "Volume (s)",
    "whole_s": "measured whole (s)", "voxels_per_s": "Voxels / s", "peak_mb": "Peak memory (MB)", "device": "On",
}  # fmt: skip
HARMONISE_COLUMNS = {"harmonise": "n_h", "evaluation_s": "Evaluation (s)", "volume_s": "Volume (s)"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one case, or every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", type=parse_case, help="edge=64,harmonise=2,steps=2,whole=0; what is left out is default"
    )
    parser.add_argument("--largest", type=int, default=128, help="leave out larger cubes (default 128; there are 256)")
    parser.add_argument("--no-whole", action="store_true", help="time no whole process (minutes at 128)")
    parser.add_argument("--write", action="store_true", help="write results.csv and the tables of README.md")
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(options.case)))
        return
    cases = [case for case in (*SIZES, *HARMONISE) if case.edge <= options.largest]
    if options.no_whole:
        cases = [replace(case, whole=False) for case in cases]
    rows = []
    for case in cases:
        rows.append(in_own_process(case))
        print(json.dumps(rows[-1]), flush=True)
    if options.write:
        write(rows)


def parse_case(text: str) -> Case:
    """A case from edge=64,harmonise=2,steps=2,whole=0."""
    values = {name: int(value) for name, value in (item.split("=") for item in text.split(","))}
    return Case(**{**values, "whole": bool(values.get("whole", 0))})


def in_own_process(case: Case) -> dict:
    """Measure in a fresh process, so that peak memory is that of the case alone."""
    command = [sys.executable, "-m", "benchmarks.reconstruction", "--case", case.name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=HERE.parent)
    return json.loads(done.stdout.splitlines()[-1])


def known_of(material: Material, prior: PriorConfig, sampling: SamplingConfig) -> TargetStatistics:
    """What volumes of a material with its own fractions are held to."""
    several = target_statistics(Prior(prior, {}, material), sampling, [material.volume_fractions])
    return jax.tree.map(lambda leaf: leaf[0], several)


def measure(case: Case, *, prior: PriorConfig | None = None, check: bool = True) -> dict:
    """Compile and run times in seconds, peak memory in MB, of one case."""
    material = pipeline.load_prior("sofc").material
    assert material is not None
    prior = prior or PriorConfig(phases=len(material.volume_fractions))
    sampling = SamplingConfig(shape=(case.edge,) * 3, harmonise=case.harmonise)
    params, key = models.init(prior, jax.random.key(0)), jax.random.key(1)
    held = known_of(material, prior, sampling)

    @jit_network
    def run(params, state, start, stop):
        model = models.plane_model(prior, params)
        return advance(model, state, start, stop, config=sampling, key=key, constraints=held)

    state = jax.block_until_ready(init_state(sampling, prior.phases, key=key))
    began = time.perf_counter()
    compiled = run.lower(params, state, jnp.int32(0), jnp.int32(1)).compile()
    compile_s = time.perf_counter() - began

    def stretch(state: SamplingState, start: int, stop: int) -> tuple[SamplingState, float]:
        began = time.perf_counter()
        after = jax.block_until_ready(compiled(params, state, jnp.int32(start), jnp.int32(stop)))
        return after, time.perf_counter() - began

    length = case.steps * (case.harmonise + 1)
    if check:
        check_answer(stretch, state, length, material.volume_fractions)
    starts = [int(place * sampling.evaluations) for place in PLACES]
    times = np.array([[stretch(state, start, start + length)[1] for _ in range(REPEATS)] for start in starts])
    evaluation = float(np.median(times, axis=1).mean()) / length
    whole = stretch(state, 0, sampling.evaluations)[1] if case.whole else None
    volume = evaluation * sampling.evaluations
    return {
        "edge": case.edge,
        "harmonise": case.harmonise,
        "steps": sampling.steps,
        "evaluations": sampling.evaluations,
        "compile_s": round(compile_s, 2),
        "evaluation_s": float(f"{evaluation:.4g}"),
        "evaluation_spread_s": float(f"{np.ptp(times, axis=1).max() / length:.2g}"),
        "volume_s": float(f"{volume:.4g}"),
        "whole_s": whole and float(f"{whole:.4g}"),
        "voxels_per_s": round(case.edge**3 / volume),
        "peak_mb": round(peak_memory() / 1e6),
        **describe(),
    }


def check_answer(stretch, state: SamplingState, length: int, fractions: Sequence[float]) -> None:
    """Two stretches equal one, to rounding, and the fractions of the prediction are those asked for."""
    joined, _ = stretch(state, 0, length)
    half, _ = stretch(state, 0, length // 2)
    rest, _ = stretch(half, length // 2, length)
    np.testing.assert_allclose(np.asarray(rest.x_t), np.asarray(joined.x_t), atol=1e-4)
    held = (np.asarray(joined.x0_hat).mean(axis=(0, 1, 2)) + 1) / 2
    np.testing.assert_allclose(held, fractions, atol=0.02)
    assert labels_of(joined).shape == state.x_t.shape[:3]


def peak_memory() -> float:
    """Bytes: of the device where it counts them, else of this process."""
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return float(statistics["peak_bytes_in_use"])
    scale = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)


def write(rows: Sequence[dict]) -> None:
    """Write results.csv and the tables of the README."""
    kept = replace_rows(HERE / "results.csv", rows, key=["edge", "harmonise", "device"])
    default = str(SamplingConfig().harmonise)
    sizes = [row for row in kept if row["harmonise"] == default]
    sweep = [row for row in kept if row["edge"] == "64"]
    by_edge = sorted(sizes, key=lambda row: (row["device"], int(row["edge"])))
    write_table(HERE / "README.md", "sizes", markdown_table(by_edge, SIZE_COLUMNS))
    by_harmonise = sorted(sweep, key=lambda row: (row["device"], int(row["harmonise"])))
    write_table(HERE / "README.md", "harmonise", markdown_table(by_harmonise, HARMONISE_COLUMNS | {"device": "On"}))


if __name__ == "__main__":
    main()
