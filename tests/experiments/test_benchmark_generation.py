"""The benchmark of generation checks its networks, takes turns, and scores what was asked; nothing is timed here."""

import json
import sys

import jax
import numpy as np
import pytest

from benchmarks import generation
from jaxmicro import pipeline
from jaxmicro.collection import Collection, Feature
from jaxmicro.models import PriorConfig, UNetConfig, VAEConfig
from jaxmicro.pipeline import Material, Prior, conditions_of

UNET = UNetConfig(dims=3, patch=1, widths=(32,), embedding=16)
VAE = VAEConfig(phases=2, patch=8, dims=3, fold=2, encoder=(8,), decoder=(8,))
LATENT = PriorConfig(
    phases=2, shape=(8, 8, 8), conditions=("phi", "chi"), prediction="epsilon", levels="ddpm",
    log_snr_range=(-10.0, 9.0), unet=UNET, vae=VAE,
)  # fmt: skip


@pytest.mark.parametrize("case", ["evaluate-1", "decode", "volume-any"])
def test_a_case_says_its_sizes_and_gives_times_each_time(case: str, monkeypatch: pytest.MonkeyPatch):
    """`evaluate-1` compares the network with XLA's own convolutions, which it does not use at this size on a CPU."""
    monkeypatch.setattr(pipeline.generation, "VOXELS_TOGETHER", 1)
    about, once = generation.prepare(case, LATENT)
    assert about["parameters"] > 0
    assert all(np.isfinite(value) and value > 0 for value in once().values())


def test_random_weights_are_those_of_the_network_and_none_of_a_layer_is_zero():
    params = generation.random_params(LATENT)
    for leaf in jax.tree.leaves(params):
        assert leaf.ndim < 2 or 0.3 < float(np.std(leaf)) * np.sqrt(np.prod(leaf.shape[:-1])) < 2


def test_the_ratio_is_the_median_over_turns():
    """Two processes of which one says that its calls take 1, 2, 3 seconds, and the other always 1."""
    script = (
        "import json, sys; print(json.dumps({'parameters': 2000000}), flush=True)\n"
        "for n, _ in enumerate(sys.stdin):\n"
        "    print(json.dumps({'s': 1 + n * SLOPE, 'cpu_s': 1, 'peak_mb': 7}), flush=True)"
    )
    commands = {
        by: [sys.executable, "-c", script.replace("SLOPE", slope)] for by, slope in {"jaxmicro": "0", "it": "1"}.items()
    }
    rows = generation.in_turns(commands, 3)
    assert rows["it"]["times_ours"] == "2 (1 to 3)" and rows["jaxmicro"]["times_ours"] == "1"
    assert rows["it"]["s"] == 2 and rows["it"]["ns_per_parameter"] == 1000 and rows["it"]["peak_mb"] == 7
    json.dumps(rows)


def test_a_volume_of_theirs_is_its_evaluations_and_a_decoding():
    rows = [
        {"case": "volume-paper", "by": "jaxmicro", "s": "10", "cpu_s": "20"},
        {"case": "evaluate-1", "by": "MicroGen3D", "s": "2", "cpu_s": "3", "evaluations": "998"},
        {"case": "decode", "by": "MicroGen3D", "s": "4", "cpu_s": "5"},
    ]
    (row,) = generation.their_volume([{**row, "device": "A"} for row in rows])
    assert (row["s"], row["cpu_s"], row["times_ours"]) == (2000, 2999, "200")
    assert not list(generation.their_volume([{**row, "device": by} for row, by in zip(rows, "ABC", strict=True)]))


def test_a_process_that_ends_is_named():
    with pytest.raises(SystemExit, match="jaxmicro ended with status 3"):
        generation.in_turns({"jaxmicro": [sys.executable, "-c", "raise SystemExit(3)"]}, 1)


def test_imposed_fractions_are_met_by_an_untrained_network():
    """Imposed on the probabilities of every step, they are those of the labels where these are certain: at the end of
    eight steps, less so of four."""
    fraction = np.linspace(0.25, 0.75, 6)
    height = np.arange(8)[None, :, None, None]
    labels = np.broadcast_to(height < 8 * fraction[:, None, None, None], (6, 8, 8, 8)).astype(np.uint8)
    features = (Feature("volume_fraction.0"), Feature("volume_fraction.1"))
    table = np.stack([1 - fraction, fraction], axis=1)
    every = Collection(labels, features, table, np.arange(6), (0.0, 1.0))
    unet = UNetConfig(dims=3, patch=2, widths=(8, 8), embedding=16)
    config = PriorConfig(phases=2, shape=(8, 8, 8), conditions=("volume_fraction.0", "volume_fraction.1"), unet=unet)
    prior = Prior(
        config, generation.random_params(config), Material((0.0, 1.0), (0.5, 0.5)), {"held_out_origins": [1, 4]},
        conditions_of(every),
    )  # fmt: skip
    rows = [row for some in generation.steps_against_r2(prior, every, [4, 8], 4) for row in some]
    assert [row["steps"] for row in rows] == ["4", "4", "8", "8"] and {row["n"] for row in rows} == {2}
    assert all(row["not connected"] == 0 for row in rows)
    assert all(few["R2"] <= more["R2"] and more["R2"] > 0.999 for few, more in zip(rows[:2], rows[2:], strict=True))
