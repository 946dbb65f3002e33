"""The recipes run, go on where they stopped, and keep what is tested on out of training."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import materials
from experiments.tables import read_rows
from experiments.weights.config import RECIPES, smoke
from experiments.weights.media import data_of
from experiments.weights.run import main, trained
from jaxmicro import pipeline

CONFIG, TINY = smoke()


@pytest.mark.slow  # an experiment as a whole
def test_a_recipe_trains_what_it_starts_from_and_is_not_trained_twice(tmp_path):
    main(["grains", "--smoke", "--out", str(tmp_path)])
    rows = {row["model"]: row for row in read_rows(tmp_path / "results.csv")}
    assert list(rows) == ["prior2", "grains"]
    assert float(rows["grains"]["validation_loss"]) > 0
    assert rows["grains"]["start"] == "prior2" and rows["grains"]["steps"] == "2"
    written = (tmp_path / "grains" / "weights.safetensors").stat().st_mtime_ns
    main(["grains", "--smoke", "--out", str(tmp_path)])
    assert (tmp_path / "grains" / "weights.safetensors").stat().st_mtime_ns == written


@pytest.mark.slow  # an experiment as a whole
def test_a_micrograph_is_trained_by_the_pipeline_and_its_fractions_are_remembered(tmp_path):
    prior = trained("carbonate", CONFIG, TINY, tmp_path, tmp_path / "results.csv")
    expected = materials.micrograph("carbonate").volume_fractions
    assert pipeline.load_prior(tmp_path / "carbonate").material.volume_fractions == pytest.approx(expected)
    assert prior.config.phases == 2


@pytest.mark.slow  # an experiment as a whole
def test_a_model_is_tuned_again_without_training(tmp_path):
    before = trained("carbonate", CONFIG, TINY, tmp_path, tmp_path / "results.csv")
    bare = replace(before.material, covariance=(), lineal_path=(), held_covariance=(), held_lineal_path=())
    pipeline.save_prior(tmp_path / "carbonate" / "weights.safetensors", replace(before, material=bare))
    main(["prior2", "carbonate", "--smoke", "--tune", "--out", str(tmp_path)])  # a general prior is passed over
    after = pipeline.load_prior(tmp_path / "carbonate")
    assert pipeline.state.fingerprint(after.params) == pipeline.state.fingerprint(before.params)
    assert after.material.covariance == before.material.covariance
    assert len(after.material.held_lineal_path) == 2
    rows = {row["model"]: row for row in read_rows(tmp_path / "results.csv")}
    assert list(rows) == ["prior2", "carbonate"] and "/" in rows["carbonate"]["tuning"]


def test_the_halves_of_a_true_volume_share_no_plane():
    volume = materials.whole_volume("berea3d")
    first, last = materials.training_half(volume), materials.test_half(volume)
    assert np.array_equal(np.concatenate([first.labels, last.labels]), volume.labels)
    assert last.shape[0] == materials.TEST_DEPTH
    assert materials.BEREA_SLICE < first.shape[0]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_data_of_its_number_of_phases(name):
    recipe = RECIPES[name]
    train, validation, disjoint, whole, weights = data_of(recipe, CONFIG).sources
    assert disjoint and len(train) == len(validation) == len(weights or train)
    assert all(stack.size for stack in train + validation + whole)
    assert max(int(stack.max()) for stack in train) == recipe.phases - 1
    assert recipe.start is None or RECIPES[recipe.start].phases == recipe.phases


def test_the_crops_of_a_general_prior_are_weighted_as_stated():
    data = data_of(RECIPES["prior3"], CONFIG).sources
    assert sum(data.weights) == pytest.approx(1.0)
    assert data.weights[0] == CONFIG.synthetic_share
