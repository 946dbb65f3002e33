"""Micrograph to prior to volumes to report, end to end on a tiny network."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from media import level_cut

from jaxmicro import pipeline
from jaxmicro.descriptors import centred, radial_two_point
from jaxmicro.errors import UserError
from jaxmicro.evaluate import fraction_covariance, mean_lineal_path, phase_covariance, report_html
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline import Material, Prior, tuning
from jaxmicro.pipeline.prior import rounded_curves
from jaxmicro.pipeline.target_statistics import target_statistics
from jaxmicro.pipeline.tuning import SEED
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
    volumes = pipeline.reconstruct(prior, **{"shape": SHAPE, "sampling": QUICK, **options})
    return [volume.labels for volume in volumes]


def test_a_micrograph_becomes_volumes_and_a_report(micrograph: Microstructure, trained: Prior):
    volumes = pipeline.reconstruct(trained, shape=SHAPE, volumes=2, sampling=QUICK)
    assert [volume.shape for volume in volumes] == [SHAPE, SHAPE]
    assert {(volume.voxel_size, volume.unit, volume.values) for volume in volumes} == {(65.0, "nm", (0.0, 255.0))}
    report = pipeline.evaluate(volumes, micrograph)
    assert len(report["phases"]) == 2
    assert report["periodic"] == [True, True]
    assert report_html(report, {}).startswith("<!")


def test_training_records_steps_and_losses_and_stores_the_material(micrograph: Microstructure, trained: Prior):
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
    after = pipeline.train(micrograph, start=start, config=TRAINING, tune=False).params
    assert jax.tree.all(jax.tree.map(np.array_equal, before, start.params))
    changed = jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after))
    assert np.mean(changed) > 0.1  # the zero-initialised last layers learn first


def test_a_prior_that_is_saved_and_loaded_is_the_same(trained: Prior, tmp_path: Path):
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


def test_volumes_sampled_together_are_those_sampled_one_by_one(trained: Prior):
    """Up to rounding, which can change the label of an undecided voxel."""
    apart, together = labels(trained, volumes=2), labels(trained, volumes=2, together=2)
    assert np.mean(np.stack(apart) != np.stack(together)) < 0.01


def test_volumes_are_constrained_to_given_fractions(trained: Prior):
    """The mean of the predicted fractions is met exactly; taking the most probable phase of each voxel changes it."""
    free, constrained = labels(trained, fractions=None)[0], labels(trained, fractions=(0.9, 0.1))[0]
    assert abs(np.mean(constrained == 0) - 0.9) < 0.1 < abs(np.mean(free == 0) - 0.9)


def scattered(
    prior: Prior, volumes: int, *, fractions: tuple[float, ...] | None = (0.5, 0.5), seed: int = 0
) -> np.ndarray:
    return np.array(pipeline.scattered_fractions(prior, fractions, shape=SHAPE, volumes=volumes, seed=seed))


def test_fractions_scatter_like_those_of_pieces_of_the_material(trained: Prior):
    assert trained.material is not None
    expected = fraction_covariance(np.asarray(trained.material.covariance), SHAPE)
    found = scattered(trained, 512)
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.mean(axis=0) == pytest.approx(0.5, abs=1e-9)
    assert np.cov(found, rowvar=False) == pytest.approx(expected, rel=0.02)  # evenly spread: closer than at random
    assert np.var(scattered(trained, 8)[:, 0]) == pytest.approx(expected[0, 0], rel=0.5)


def test_scattered_fractions_come_in_opposite_pairs_and_do_not_depend_on_how_many_there_are(trained: Prior):
    eight = scattered(trained, 8)
    assert eight[0::2] + eight[1::2] == pytest.approx(1.0, abs=1e-9)  # twice the target fractions, 0.5
    for fewer in (1, 2, 5):
        assert np.array_equal(scattered(trained, fewer), eight[:fewer])
    assert not np.allclose(scattered(trained, 8, seed=1), eight)


def test_scattered_fractions_of_each_phase_are_above_zero(trained: Prior):
    found = scattered(trained, 64, fractions=(0.99, 0.01))
    assert found.min() > 0
    assert found.mean(axis=0) == pytest.approx((0.99, 0.01), abs=1e-9)


def test_a_scattered_volume_equals_the_volume_with_its_fractions_given(trained: Prior):
    fractions = scattered(trained, 2, fractions=(0.7, 0.3))
    volumes = labels(trained, fractions=(0.7, 0.3), scatter=True, volumes=2)
    for number in (0, 1):
        alone = labels(trained, fractions=tuple(fractions[number]), volumes=2)[number]
        assert np.array_equal(volumes[number], alone)
    together = labels(trained, fractions=(0.7, 0.3), scatter=True, volumes=2, together=2)
    assert np.mean(np.stack(volumes) != np.stack(together)) < 0.01


def test_the_roughness_at_other_fractions_scales_as_that_of_independent_voxels(trained: Prior):
    """Two independent voxels of fractions 0.5, 0.5 differ with probability 0.5, of 0.9, 0.1 with 0.18."""
    config = pipeline.sampling_config(trained, shape=SHAPE, sampling=QUICK)
    roughness = target_statistics(trained, config, [(0.5, 0.5), (0.9, 0.1)]).roughness
    assert roughness is not None
    even, uneven = roughness
    np.testing.assert_allclose(uneven, even * 0.18 / 0.5, rtol=1e-5)
    assert trained.material is not None
    own = target_statistics(trained, config, [trained.material.volume_fractions, None]).roughness
    assert own is not None
    np.testing.assert_array_equal(own[0], own[1])


def test_the_lineal_path_is_constrained_to_that_of_the_micrograph_except_for_phases_far_from_their_fraction(
    trained: Prior,
):
    assert trained.material is not None and trained.material.target_lineal_path is not None
    material = dataclasses.replace(
        trained.material, volume_fractions=(0.5, 0.5), held_lineal_path=((0.5, 0.4, 0.3), (0.5, 0.3, 0.2))
    )
    prior = dataclasses.replace(trained, material=material)
    config = pipeline.sampling_config(prior, shape=SHAPE, sampling=QUICK)
    path = target_statistics(prior, config, [(0.5, 0.5), (0.55, 0.45), (0.7, 0.3)]).lineal_path
    assert path is not None
    np.testing.assert_allclose(path[0], material.held_lineal_path, rtol=1e-6)
    free = target_statistics(prior, config, [None]).lineal_path
    assert free is not None and np.isnan(free).all()
    np.testing.assert_allclose(path[1], path[0] * np.array([[1.1], [0.9]]), rtol=1e-5)  # L(0) is the fraction
    assert np.isnan(path[2]).all()
    volume = pipeline.reconstruct(prior, shape=SHAPE, sampling=SamplingConfig(steps=8), fractions=(0.7, 0.3))[0]
    assert abs(volume.volume_fractions[0] - 0.7) < 0.1
    unknown = dataclasses.replace(prior, material=dataclasses.replace(material, held_lineal_path=()))
    assert target_statistics(unknown, config, [None]).lineal_path is None


def test_fractions_cannot_scatter_if_they_are_free_or_the_prior_has_no_material(trained: Prior):
    with pytest.raises(UserError, match="free"):
        labels(trained, fractions=None, scatter=True)
    with pytest.raises(UserError, match="train it again"):
        labels(tiny_prior(), scatter=True)


def test_the_target_covariance_is_that_of_the_whole_micrograph_about_its_mean(
    micrograph: Microstructure, trained: Prior
):
    """Not the covariance of the medium: S2 at r = 0 is the fraction, the curve is that of `evaluate`, and both phases
    of two have one covariance."""
    material = trained.material
    assert material is not None and material.target_covariance is not None
    phi = np.asarray(material.volume_fractions)
    s2 = material.target_covariance + phi[:, None] ** 2
    assert s2[:, 0] == pytest.approx(phi, abs=1e-6)
    curve = np.asarray(centred(radial_two_point)(micrograph.labels == 1, r_max=16))  # what `evaluate` compares with
    assert s2[1, :17] == pytest.approx(curve, abs=1e-6)
    assert material.target_covariance[0] == pytest.approx(material.target_covariance[1], abs=1e-6)
    unknown = dataclasses.replace(material, covariance=())
    assert unknown.target_covariance is None


def test_the_bundled_prior_of_two_phases_constrains_both_to_one_covariance():
    """Before S2 was centred, their constraints differed by 9 % of the variance; no volume can meet both."""
    material = pipeline.load_prior("carbonate").material
    assert material is not None and material.target_covariance is not None
    for covariance in (material.target_covariance, np.asarray(material.held_covariance)):
        assert covariance[0] == pytest.approx(covariance[1], abs=1e-6)


def test_tuning_finds_the_constraints_under_which_volumes_have_the_correlation_of_the_micrograph(
    monkeypatch: pytest.MonkeyPatch,
):
    """With a stand-in for the sampling: a level set whose features follow the constraint, but are a fifth too large."""
    micrograph = level_cut((256, 256), fraction=0.3, sigma=3.0, seed=5).astype(np.uint8)
    covariance = phase_covariance([micrograph], 2)
    fractions = (float(np.mean(micrograph == 0)), float(np.mean(micrograph == 1)))
    path = mean_lineal_path([micrograph], 2)
    known = Material(
        (0.0, 1.0),
        fractions,
        covariance=tuple(rounded_curves(row) for row in covariance),
        lineal_path=rounded_curves(path),
    )
    prior = dataclasses.replace(tiny_prior(), config=PriorConfig(phases=2, patch=64, unet=TINY), material=known)

    def size(constraint: np.ndarray) -> float:
        return 3.0 * constraint[1, 1:12].sum() / covariance[1, 1, 1:12].sum()

    def volumes_of(prior, _, *, shape, numbers, seed, factor=1.2, **more):
        sigma = factor * size(np.asarray(prior.material.held_covariance))
        volumes = [level_cut(shape, fraction=0.3, sigma=sigma, seed=seed + number) for number in numbers]
        return [Microstructure(volume.astype(np.uint8), (0.0, 1.0)) for volume in volumes]

    monkeypatch.setattr("jaxmicro.pipeline.tuning.sample_volumes", volumes_of)
    monkeypatch.setattr(tuning, "GAINS", tuning.ALL_GAINS)  # as users have them
    monkeypatch.setattr(tuning, "VOLUMES", 2)  # of level sets of another seed each, which scatter
    tuned = pipeline.tune_correlation(prior)
    assert tuned.material is not None
    assert 1.2 * size(np.asarray(tuned.material.held_covariance)) == pytest.approx(3.0, rel=0.08)  # of two volumes
    errors = tuned.record["tuning"]
    assert errors[-1] < 0.6 * errors[0]
    # segments of the stand-in are too long, so the constraint is a shorter lineal path than that of the micrograph
    target = tuned.material.target_lineal_path
    assert target is not None and (np.asarray(tuned.material.held_lineal_path) < target)[1, 2:].all()
    monkeypatch.setattr("jaxmicro.pipeline.tuning.sample_volumes", lambda prior, config, *, seed, **more: volumes_of(
        prior, config, seed=seed, factor=1 + 0.3 * (seed - SEED), **more))  # fmt: skip
    useless = pipeline.tune_correlation(prior).material  # errors do not fall: the statistics of the micrograph
    assert useless is not None and useless.target_covariance is not None
    np.testing.assert_allclose(useless.held_covariance, useless.target_covariance, atol=1e-6)
    with pytest.raises(UserError, match="train it again"):
        pipeline.tune_correlation(tiny_prior())


def test_a_prior_is_saved_with_its_constraints(trained: Prior, tmp_path: Path):
    assert trained.material is not None
    curves = tuple(tuple(0.2 * 0.5**r for r in range(5)) for _ in range(2))
    tuned = dataclasses.replace(trained, material=dataclasses.replace(trained.material, held_covariance=curves))
    pipeline.save_prior(tmp_path / "prior.safetensors", tuned)
    again = pipeline.load_prior(tmp_path / "prior.safetensors")
    assert again.material == tuned.material
    assert not np.array_equal(labels(again)[0], labels(trained)[0])


def test_volumes_with_edges_that_do_not_fit_the_network_are_cut_from_larger_ones(trained: Prior):
    bounded = dataclasses.replace(QUICK, periodic=False)
    assert labels(trained, shape=(13, 16, 9), sampling=bounded)[0].shape == (13, 16, 9)
    with pytest.raises(UserError, match="multiples of 8"):
        labels(trained, shape=(13, 16, 16))


def test_images_sampled_from_a_prior_have_its_phases(trained: Prior):
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
def test_a_bundled_prior_fits_its_network_and_records_its_origin(name: str):
    prior = pipeline.load_prior(name)
    assert prior.record
    if prior.material is not None:
        assert len(prior.material.volume_fractions) == prior.config.phases
        assert sum(prior.material.volume_fractions) == pytest.approx(1.0, abs=1e-6)


def test_the_bundled_priors_are_small():
    assert sum(path.stat().st_size for path in pipeline.bundled().values()) <= 20e6
