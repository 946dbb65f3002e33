"""Claim: where the time of a latent volume of 64^3 goes, at the paper's size and with our default.

    python -m benchmarks.latent                  # both, a table
    python -m benchmarks.latent --write          # and into benchmarks/README.md
    python -m benchmarks.latent --volumes 4      # a batch of volumes at once

Three phases, untrained weights, which do not change the speed. The paper's case is P-MicroLad eqs. 23 to 36: 1000 steps
of ancestral DDPM, one axis per step, then decoding along three axes and K = 5 rounds of refinement. Its steps are all
alike: a stretch of them is timed and multiplied, and so is a round of refinement. Of ours all evaluations are timed.
FLOPs are those of XLA's cost analysis of the networks (a multiplication and an addition are two) with plain
convolutions; those of Winograd are fewer. "Cores in use": time of all threads over wall time; where other work took a
part of the machine these are few and the times are too long.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reconstruction import known_of
from experiments.machine import describe
from experiments.tables import markdown_table, replace_rows, write_table
from jaxmicro import models, pipeline
from jaxmicro.devices import jit_network
from jaxmicro.models import PriorConfig, winograd
from jaxmicro.pipeline.sampling import match_target_statistics
from jaxmicro.reconstruct import (
    SamplingConfig,
    advance,
    decode_volume,
    init_state,
    labels_of_fractions,
    refine,
)

HERE = Path(__file__).parent
EDGE = 64
PAPER = SamplingConfig(
    shape=(16, 16, 16), steps=1000, harmonise=0, couple=0.0, times="ddpm", periodic=False, refine=5
)  # fmt: skip
COLUMNS = {
    "case": "Case", "volumes": "Volumes", "stage": "Stage", "calls": "Times", "each_s": "each (s)",
    "total_s": "in all (s)", "cores": "Cores in use", "gflop": "GFLOP each", "gflops": "GFLOP/s",
    "measured": "Measured", "device": "On",
}  # fmt: skip


def cases() -> dict[str, tuple[PriorConfig, SamplingConfig, int]]:
    """Name -> networks, sampling, and the steps of the stretch that is timed."""
    ours = models.latent_small(3)
    sampling = dataclasses.replace(pipeline.default_sampling(ours), shape=(16, 16, 16))
    return {"paper": (models.latent_paper(3), PAPER, 20), "ours": (ours, sampling, sampling.evaluations)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write where told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("paper", "ours"), help="default: both")
    parser.add_argument("--volumes", type=int, default=1, help="sampled at once")
    parser.add_argument("--steps", type=int, help="of the stretch of denoising that is timed")
    parser.add_argument("--write", action="store_true", help="write latent.csv and the table of README.md")
    options = parser.parse_args(arguments)
    rows = []
    for name, (prior, sampling, stretch) in cases().items():
        if options.case in (None, name):
            rows += measure(name, prior, sampling, stretch=options.steps or stretch, volumes=options.volumes)
    print(markdown_table([{key: str(value) for key, value in row.items()} for row in rows], COLUMNS))
    if options.write:
        kept = replace_rows(HERE / "latent.csv", rows, key=["case", "volumes", "stage", "device"])
        write_table(HERE / "README.md", "latent", markdown_table(kept, COLUMNS))


def measure(
    name: str, prior: PriorConfig, sampling: SamplingConfig, *, stretch: int, volumes: int = 1
) -> list[dict[str, Any]]:
    """One row per stage: denoising, decoding, refinement, and all of it."""
    params = jax.jit(models.init, static_argnums=0)(prior, jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), volumes)
    states = jax.vmap(lambda key: init_state(sampling, prior.channels, key=key))(keys)
    model, codec = models.plane_model, models.codec

    def each(function: Callable) -> Callable:
        """Of several volumes; of a single one without batching rules."""
        if volumes > 1:
            return jax.vmap(function)
        return lambda *arrays: jax.tree.map(lambda x: x[None], function(*jax.tree.map(lambda x: x[0], arrays)))

    @jit_network
    def denoise(params, states, keys, stop):
        return each(lambda s, k: advance(model(prior, params), s, 0, stop, config=sampling, key=k))(states, keys)

    @jit_network
    def decode(params, latents):
        return each(lambda z: decode_volume(codec(prior, params), z, batch=sampling.batch))(latents)

    @jit_network
    def one_round(params, decoded):
        return each(lambda x: refine(codec(prior, params), x, 1, batch=sampling.batch))(decoded)

    state = denoise(params, states, keys, jnp.int32(1))  # compiles
    check_answer(denoise(params, state, keys, jnp.int32(0)), state)
    denoising = seconds(lambda: denoise(params, states, keys, jnp.int32(stretch))) / stretch
    decoded = decode(params, state.x0_hat)
    decoding = seconds(lambda: decode(params, state.x0_hat))
    one_round(params, decoded)
    refining = seconds(lambda: one_round(params, decoded))
    flops = network_flops(prior, params)
    stages = {
        "one evaluation of 16 planes": (sampling.evaluations, denoising, 16 * flops["denoise"], stretch),
        "decode 192 slices": (1, decoding, 192 * flops["decode"], 1),
        "refine 192 slices": (sampling.refine, refining, 192 * (flops["decode"] + flops["encode"]), 1),
    }
    if name == "ours":  # the last stage of our volumes, none of the paper's
        material = pipeline.load_prior("sofc").material
        assert material is not None
        held = known_of(material, prior, sampling)

        @jax.jit
        def correct(decoded):
            labels = jax.vmap(lambda x: labels_of_fractions(x, held.fractions))(decoded)
            return each(lambda one: match_target_statistics(one, held))(labels)

        correct(decoded)
        stages["move interfaces"] = (1, seconds(lambda: correct(decoded)), math.nan, 1)
    row = {"case": name, "volumes": volumes}
    rows = [
        row
        | {
            "stage": stage,
            "calls": calls,
            "each_s": float(f"{time_each:.3g}"),
            "total_s": float(f"{calls * time_each:.4g}"),
            "cores": float(f"{cpu / time_each:.2g}"),
            "gflop": None if math.isnan(flop) else float(f"{volumes * flop / 1e9:.4g}"),
            "gflops": None if math.isnan(flop) else float(f"{volumes * flop / 1e9 / time_each:.3g}"),
            "measured": f"{taken} of {calls}",
            **describe(),
        }
        for stage, (calls, (time_each, cpu), flop, taken) in stages.items()
    ]
    total = sum(each["total_s"] for each in rows)
    return [*rows, row | {"stage": "all", "total_s": float(f"{total:.4g}"), **describe()}]


def network_flops(prior: PriorConfig, params) -> dict[str, float]:
    """Floating-point operations of one plane in each network with plain convolutions, as XLA counts them."""
    codec, model = models.codec(prior, params), models.plane_model(prior, params)
    x, z = (
        jnp.zeros((1, EDGE, EDGE, prior.phases)),
        jnp.zeros((1, EDGE // prior.cell, EDGE // prior.cell, prior.channels)),
    )
    programs = {"denoise": (model.evidence, z, jnp.zeros(1)), "decode": (codec.decode, z), "encode": (codec.encode, x)}
    return {name: operations(*program) for name, program in programs.items()}


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Floating-point operations of a call with plain convolutions, as XLA counts them (a multiplication and an addition
    are two). Counted for a CPU: other compilers hand convolutions to libraries, where XLA does not see them."""
    host = jax.devices("cpu")[0]
    with jax.default_device(host), mock.patch.object(winograd, "suits", lambda *_: False):
        return float(jax.jit(function).lower(*jax.device_put(arguments, host)).cost_analysis()["flops"])


def seconds(program: Callable[[], Any]) -> np.ndarray:
    """Wall time of one call, of the fastest of four, and the time of all its threads on their cores."""

    def once() -> tuple[float, float]:
        began = time.perf_counter(), time.process_time()
        jax.block_until_ready(program())
        return time.perf_counter() - began[0], time.process_time() - began[1]

    return np.array(min(once() for _ in range(4)))


def check_answer(unmoved, state) -> None:
    """No evaluation changes nothing, and what one gives is finite."""
    for a, b in zip(unmoved, state, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.isfinite(np.asarray(b)).all()


if __name__ == "__main__":
    main()
