"""Micrograph to prior to volumes to report, end to end on a tiny network."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.errors import UserError
from jaxmicro.evaluate import report_html
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline import Prior
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.train import TrainConfig
from jaxmicro.types import Microstructure
from tests.cli.conftest import TINY, blobs, tiny_prior

QUICK = SamplingConfig(steps=2, harmonise=0)
TRAINING = TrainConfig(steps=3, batch=2, warmup=1)
SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def micrograph() -> Microstructure:
    return Microstructure(blobs(), (0.0, 255.0), 65.0, "nm", "blobs.png")


@pytest.fixture(scope="module")
def trained(micrograph: Microstructure) -> Prior:
    network = PriorConfig(phases=2, patch=16, unet=TINY)
    return pipeline.train(micrograph, start=None, prior_config=network, config=TRAINING)


def labels(prior: Prior, **options) -> list[np.ndarray]:
    made = pipeline.reconstruct(prior, **{"shape": SHAPE, "sampling": QUICK, **options})
    return [volume.labels for volume in made]


def test_a_micrograph_becomes_volumes_and_a_report(micrograph: Microstructure, trained: Prior):
    volumes = pipeline.reconstruct(trained, shape=SHAPE, volumes=2, sampling=QUICK)
    assert [volume.shape for volume in volumes] == [SHAPE, SHAPE]
    assert {(volume.voxel_size, volume.unit, volume.values) for volume in volumes} == {(65.0, "nm", (0.0, 255.0))}
    report = pipeline.evaluate(volumes, micrograph)
    assert len(report["phases"]) == 2
    assert report_html(report, {}).startswith("<!")


def test_training_records_what_it_did_and_remembers_the_material(micrograph: Microstructure, trained: Prior):
    assert trained.record["steps"] == 3
    assert np.isfinite(trained.record["validation_loss"])
    assert trained.record["disjoint_validation"]
    assert trained.material is not None
    assert trained.material.volume_fractions == micrograph.volume_fractions
    assert trained.material.source == "blobs.png"


def test_training_changes_every_parameter_of_its_start_and_leaves_the_start_as_it_was(
    micrograph: Microstructure,
):
    start = tiny_prior()
    before = jax.tree.map(np.array, start.params)
    after = pipeline.train(micrograph, start=start, config=TRAINING).params
    assert jax.tree.all(jax.tree.map(np.array_equal, before, start.params))
    changed = jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after))
    assert np.mean(changed) > 0.1  # the zero-initialised last layers learn first


def test_a_prior_read_back_is_the_same(trained: Prior, tmp_path: Path):
    pipeline.save_prior(tmp_path / "prior.safetensors", trained)
    again = pipeline.load_prior(tmp_path / "prior.safetensors")
    assert (again.config, again.material, again.record) == (trained.config, trained.material, trained.record)
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, trained.params))


def test_a_seed_fixes_a_volume_whatever_the_number_of_volumes(trained: Prior):
    one, two = labels(trained, seed=5, volumes=2)
    assert np.array_equal(one, labels(trained, seed=5)[0])
    assert np.array_equal(two, labels(trained, seed=5, volumes=2, skip=[0])[0])
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, labels(trained, seed=6)[0])


def test_volumes_made_together_are_those_made_one_by_one(trained: Prior):
    """Up to rounding, which can flip the label of a voxel that is undecided."""
    apart, together = labels(trained, volumes=2), labels(trained, volumes=2, together=2)
    assert np.mean(np.stack(apart) != np.stack(together)) < 0.01


def test_given_fractions_are_held(trained: Prior):
    """The mean of the predicted fractions is held exactly; taking the likeliest phase of each voxel moves it."""
    free, held = labels(trained, fractions=None)[0], labels(trained, fractions=(0.9, 0.1))[0]
    assert abs(np.mean(held == 0) - 0.9) < 0.1 < abs(np.mean(free == 0) - 0.9)


def test_edges_that_the_network_cannot_take_are_cut_from_a_larger_volume(trained: Prior):
    bounded = dataclasses.replace(QUICK, periodic=False)
    assert labels(trained, shape=(13, 16, 9), sampling=bounded)[0].shape == (13, 16, 9)
    with pytest.raises(UserError, match="multiples of 8"):
        labels(trained, shape=(13, 16, 16))


def test_images_drawn_from_a_prior_have_its_phases(trained: Prior):
    images = pipeline.sample_images(trained, count=3, steps=2)
    assert images.shape == (3, 16, 16)
    assert set(np.unique(images)) <= {0, 1}


def test_all_phases_of_a_measurement_sum_to_one(micrograph: Microstructure):
    numbers = pipeline.measure(micrograph, r_max=8)
    assert sum(phase["volume_fraction"] for phase in numbers["phases"]) == pytest.approx(1.0)
    assert sum(phase["relative_surface_area"] for phase in numbers["phases"]) == pytest.approx(1.0, abs=1e-5)
    for phase in numbers["phases"]:
        assert phase["two_point"][0] == pytest.approx(phase["volume_fraction"], abs=1e-6)


@pytest.mark.parametrize("name", sorted(pipeline.bundled()))
def test_a_bundled_prior_fits_its_network_and_says_where_it_comes_from(name: str):
    prior = pipeline.load_prior(name)
    assert prior.record
    if prior.material is not None:
        assert len(prior.material.volume_fractions) == prior.config.phases
        assert sum(prior.material.volume_fractions) == pytest.approx(1.0, abs=1e-6)


def test_the_bundled_priors_are_small():
    assert sum(path.stat().st_size for path in pipeline.bundled().values()) <= 20e6
