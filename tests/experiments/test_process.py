"""The study from process to structure and back runs end to end, and its scores are those of their definition."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from experiments.materials import whole_volume
from experiments.process.bundle import bundle
from experiments.process.config import smoke
from experiments.process.run import TABLES, r2, run_smoke, scores
from experiments.process.tomography import CATHODE, crops, run
from jaxmicro import pipeline
from jaxmicro.io.collections import read_collection
from jaxmicro.types import Microstructure
from tests.test_generate import films, untrained


@pytest.mark.slow  # compiles the whole chain
def test_every_table_has_rows(tmp_path: Path):
    found = run_smoke(tmp_path)
    assert set(found) == set(TABLES) and all(found.values())
    exact = [row for row in found["asked"] if str(row["method"]).endswith("exact")]
    assert len(exact) == len(found["asked"]) // 2 and all("voxels changed" in row for row in exact)
    assert {row["parameter"] for row in found["parameters"]} == {"phi", "chi", "time"}


def test_scores_of_what_was_asked_are_perfect_and_lost_connections_are_counted():
    asked = np.array([[0.3, 2.0], [0.5, 1.5], [0.6, 1.2]])
    names = ("volume_fraction.0", "tortuosity.0.z")
    assert all(row["R2"] == 1 and row["mean absolute error"] == 0 for row in scores("x", names, asked, asked, 1.0))
    lost = asked.copy()
    lost[0, 1] = np.inf
    _, row = scores("x", names, asked, lost, 1.0)
    assert row["not connected"] == 1 and row["R2"] == 1
    assert row["R2 of the reciprocal"] == pytest.approx(1 - 0.25 / 3 / np.var(1 / asked[:, 1]))
    assert r2(np.array([0.0, 2.0]), np.array([1.0, 1.0])) == 0


def test_what_is_bundled_are_weights_in_bytes_and_films_of_training_runs(tmp_path: Path):
    held_out = dataclasses.replace(untrained(), record={"held_out_origins": [1]})
    pipeline.save_prior(model := tmp_path / "model.safetensors", held_out)
    bundle(model, films(), tmp_path / "package")
    kept = read_collection(tmp_path / "package" / "assets" / "opv.zarr")
    assert set(kept.origin.tolist()) == {0, 2, 3} and len(kept) == 9
    assert (kept.grid, kept.periodic) == (films().grid, films().periodic)
    weights = tmp_path / "package" / "weights" / "opv.safetensors"
    assert pipeline.load_prior(weights).config == held_out.config
    assert weights.stat().st_size < model.stat().st_size


def test_crops_of_different_slabs_have_no_voxel_in_common():
    slab = np.indices((24, 24, 24)) // 12
    volume = Microstructure((4 * slab[0] + 2 * slab[1] + slab[2]).astype(np.uint8), tuple(map(float, range(8))))
    found = crops(volume, edge=5, slab=12)
    assert found.grid == (5, 5, 5) and len(found) == 8 * 2**3
    assert np.all(np.asarray(found.labels) == found.origin[:, None, None, None])


@pytest.mark.slow  # trains
def test_the_other_half_is_asked_for(tmp_path: Path):
    cathode = whole_volume("nmc3d")
    first, second = (
        dataclasses.replace(cathode, labels=np.ascontiguousarray(cathode.labels[start : start + 96 : 4, :96:4, :96:4]))
        for start in (0, 128)
    )
    config = dataclasses.replace(smoke(tmp_path), features=CATHODE.features[:1])
    rows = run(config, first, second, edge=8, slab=12)
    assert {row["feature"] for row in rows} == {f"volume_fraction.{phase}" for phase in range(3)}
