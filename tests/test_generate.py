"""From a collection to samples that have given features, end to end on a tiny network."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro import models, pipeline
from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.models import PriorConfig
from jaxmicro.pipeline import Material, Prior, generation
from jaxmicro.pipeline.conditions import Condition, Conditions
from jaxmicro.pipeline.draws import sample_config
from jaxmicro.pipeline.exact_features import deviations
from jaxmicro.pipeline.generation import _steered, in_memory, measured_names
from jaxmicro.pipeline.measure_collection import measured_table
from jaxmicro.pipeline.sample_targets import (
    NEIGHBOURS,
    _neighbours,
    _slopes,
    steering_targets,
    with_unasked_features,
)

# as `train films.zarr --steps 4 --predictor-steps 3 --batch 2 --widths 8 8`, whose programs are the same
TRAINING = dataclasses.replace(pipeline.DENOISER, steps=4, batch=2)
PREDICTOR = dataclasses.replace(pipeline.PREDICTOR, steps=3, batch=2)


def films(n: int = 12, runs: int = 4) -> Collection:
    """Layers whose thickness a process parameter sets; labels 1 on top of 0."""
    phi = np.repeat(np.linspace(0.25, 0.75, runs), n // runs)
    height = np.arange(8)[None, :, None, None]
    labels = np.broadcast_to(height < 8 * phi[:, None, None, None], (n, 8, 8, 8)).astype(np.uint8)
    fraction = labels.mean(axis=(1, 2, 3))
    table = np.stack([phi, 1 - fraction, fraction], axis=1)
    features = (Feature("phi", "process"), Feature("volume_fraction.0"), Feature("volume_fraction.1"))
    origin = np.repeat(np.arange(runs), n // runs)
    return Collection(labels, features, table, origin, (0.0, 1.0), 2.0, "nm", (False, True, True), "films")


def network(collection: Collection) -> PriorConfig:
    usual = pipeline.collection_network(collection)
    return dataclasses.replace(usual, unet=dataclasses.replace(usual.unet, widths=(8, 8), attention=(False, True)))


def untrained(every: Collection | None = None) -> Prior:
    """A prior of the films whose network is noise."""
    every = every or films()
    config = network(every)
    params = jax.jit(models.init, static_argnums=0)(config, jax.random.key(0))
    return Prior(config, params, Material(every.values, (0.5, 0.5)), {}, pipeline.conditions_of(every))


@pytest.mark.parametrize(("least", "most", "text"), [(0.1, 0.9, "0.485"), (0.48481, 0.48492, "0.48483")])
def test_example_targets_have_three_digits_or_as_many_as_keep_them_in_the_range(least: float, most: float, text: str):
    fractions = np.array([least, 0.484831, 0.484832, most])
    of = Collection(
        np.zeros((4, 2, 2), np.uint8), (Feature("volume_fraction.1"),), fractions[:, None], np.arange(4), (0.0, 1.0)
    )
    prior = dataclasses.replace(untrained(), conditions=pipeline.conditions_of(of))
    assert pipeline.example_targets(prior) == f"volume_fraction.1={text}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prior, Path]:
    out = tmp_path_factory.mktemp("trained")
    prior = pipeline.train(
        films(), prior_config=network(films()), config=TRAINING, predictor=PREDICTOR, validation=0.3, out=out
    )
    return prior, out


def test_a_model_is_one_file_and_reads_back_the_same(trained: tuple[Prior, Path]):
    prior, out = trained
    again = pipeline.load_prior(out / "weights.safetensors")
    assert (again.config, again.material) == (prior.config, prior.material)
    assert again.conditions is not None and prior.conditions is not None and again.predictor is not None
    assert again.conditions.entries == prior.conditions.entries
    np.testing.assert_array_equal(again.conditions.samples, prior.conditions.samples)
    asked = {"volume_fraction.1": 0.5}
    made, same = (pipeline.generate(each, asked, count=2, seed=3) for each in (prior, again))
    np.testing.assert_array_equal(made.volumes[0].labels, same.volumes[0].labels)
    np.testing.assert_array_equal(made.process["phi"], same.process["phi"])


def test_held_out_runs_are_those_that_training_never_saw(trained: tuple[Prior, Path]):
    prior, _ = trained
    assert prior.conditions is not None
    held_out = set(prior.record["held_out_origins"])
    assert held_out and not held_out & set(prior.conditions.origin.tolist())
    assert held_out | set(prior.conditions.origin.tolist()) == {0, 1, 2, 3}


def test_what_is_imposed_while_sampling_is_what_is_measured(trained: tuple[Prior, Path]):
    """Even an untrained network gives the volume fraction, because it is imposed; the numbers are those of labels."""
    found = pipeline.generate(trained[0], {"volume_fraction.1": 0.4}, count=3)
    assert found.targets == {"volume_fraction.1": 0.4, "volume_fraction.0": 0.6}
    for volume, numbers in zip(found.volumes, found.measured, strict=True):
        assert numbers["volume_fraction.1"] == pytest.approx(float((volume.labels == 1).mean()))
        assert numbers["volume_fraction.1"] == pytest.approx(0.4, abs=0.05)
        assert (volume.voxel_size, volume.unit, volume.shape) == (2.0, "nm", (8, 8, 8))
    assert found.process["phi"].shape[0] == 3


def test_a_sample_depends_on_its_number_only(trained: tuple[Prior, Path]):
    prior, asked = trained[0], {"volume_fraction.1": 0.5}
    every = pipeline.generate(prior, asked, count=5, together=2)
    kept = {number: every.volumes[number].labels for number in (0, 1, 3)}  # one of the second batch is missing
    made: list[int] = []
    some = pipeline.generate(prior, asked, count=5, together=2, known=kept, on_sample=lambda i, _: made.append(i))
    assert made == [2, 4]
    for one, other in zip(every.volumes, some.volumes, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)


def test_the_nearest_of_more_candidates_is_nearer(trained: tuple[Prior, Path], monkeypatch: pytest.MonkeyPatch):
    """Fractions, which are not imposed here, of an untrained network: the first candidates are the same ones."""
    prior, asked = trained[0], 0.52
    assert prior.conditions is not None
    rows = np.tile(prior.conditions.row({"volume_fraction.1": asked}), (3, 1))

    def missed(candidates: int) -> np.ndarray:
        config = dataclasses.replace(
            pipeline.default_generation(prior.config), steps=4, candidates=candidates, steering_steps=0
        )
        # as many in the network at once as candidates do not divide, so that some batches are filled
        labels = pipeline.generate_labels(prior, rows, config=config, calibrate=False, together=5)
        return np.abs(labels.mean(axis=(1, 2, 3)) - asked)

    nearer = missed(6)
    monkeypatch.setattr(generation, "REDRAWN", ())
    one_round, few = missed(6), missed(2)
    assert (nearer <= one_round).all() and (one_round <= few).all()
    assert nearer.sum() < one_round.sum() < few.sum()


def test_steered_samples_are_nearer_to_a_tortuosity_factor():
    """Of a network that is noise; what is measured is labels."""
    every, names = films(), ["tortuosity.0.z"]
    table = np.concatenate([every.table, np.linspace(1.5, 3.0, len(every))[:, None]], axis=1)
    prior = untrained(dataclasses.replace(every, features=(*every.features, Feature(names[0])), table=table))
    assert prior.conditions is not None
    asked = {"volume_fraction.0": 0.6, "volume_fraction.1": 0.4, "tortuosity.0.z": 1.8}
    rows = np.tile(prior.conditions.row(asked), (3, 1))

    def missed(steps: int) -> np.ndarray:
        config = dataclasses.replace(pipeline.default_generation(prior.config), steering_steps=steps)
        labels = pipeline.generate_labels(prior, rows, config=config)
        assert (labels == 0).mean() == pytest.approx(0.6, abs=0.05)  # imposed in any case
        found = measured_table(in_memory(prior, labels), names)
        return np.abs(deviations(names, found, rows[:, -1:]))

    assert missed(8).mean() < missed(0).mean() / 2


def test_features_that_are_not_asked_are_those_of_training_samples_that_are_near():
    conditions = pipeline.conditions_of(films(n=160, runs=80))
    rows = np.array([[np.nan, 0.4, 0.6], [0.5, np.nan, np.nan], [np.nan] * 3, [9.0, np.nan, np.nan]])
    found = with_unasked_features(conditions, rows)
    np.testing.assert_array_equal(found[~np.isnan(rows)], rows[~np.isnan(rows)])
    np.testing.assert_array_equal(found[3], rows[3])  # no sample is near
    assert abs(found[0, 0] - 0.6) < 0.1 and abs(found[1, 2] - 0.5) < 0.1  # phi is about the fraction of phase 1
    np.testing.assert_allclose(found[:3, 1:].sum(axis=1), 1, atol=1e-6)
    many = with_unasked_features(conditions, np.tile(rows[1:2], (60, 1)))
    assert len(np.unique(many[:, 1].round(6))) > 1  # not the nearest one alone
    np.testing.assert_array_equal(with_unasked_features(conditions, rows), found)


@pytest.mark.parametrize(("runs", "times"), [(400, 1), (30, 60)])
def test_features_that_are_not_asked_follow_those_that_are_and_scatter_as_in_the_collection(runs: int, times: int):
    """Also at the end of what was trained on, where all samples lie to one side; nothing is beyond the samples, and
    what does not percolate goes on not to."""
    rng = np.random.default_rng(0)
    asked, scatter = np.repeat(rng.uniform(-2, 2, runs), times), rng.normal(0, 0.1, runs * times)
    samples = np.stack([asked, 8 * asked + scatter, np.where(asked > 1.0, -0.7 / 0.3, asked)], axis=1)
    scales = ("identity", "identity", "reciprocal")
    entries = tuple(Condition(str(n), "property", "", of, 0.7, 0.3, -99.0, 99.0) for n, of in enumerate(scales))
    conditions = Conditions(entries, samples.astype(np.float32), np.repeat(np.arange(runs), times), 2)
    rows = np.full((200, 3), np.nan)
    most = samples.max(axis=0)
    rows[:, 0] = 0.7 + 0.3 * most[0]
    found = with_unasked_features(conditions, rows)
    standardised = conditions.standardised(found)
    assert abs(standardised[:, 1].mean() - min(8 * most[0], most[1])) < 0.12  # neighbours are 0.8 below, of few runs 4
    assert standardised[:, 1].std() < 0.16 and standardised[:, 1].max() <= most[1] + 1e-5
    assert np.isinf(found[:, 2]).all()


def test_slopes_are_those_of_a_plane_and_none_where_nothing_varies():
    offset = np.random.default_rng(1).uniform(-0.5, 0.5, (40, 2))
    plane = offset @ np.array([[2.0, 0.0], [-1.0, 3.0]]) + 5
    np.testing.assert_allclose(_slopes(offset, plane), [[2, 0], [-1, 3]], atol=0.02)
    scattered = np.random.default_rng(2).normal(size=(40, 1))
    assert np.abs(_slopes(0.01 * offset, scattered)).max() < 1  # 40 samples as near as that tell no slope
    np.testing.assert_allclose(_slopes(np.zeros((3, 1)), plane[:3]), 0, atol=1e-9)
    np.testing.assert_allclose(_slopes(np.array([[-0.5], [0.5]]), np.array([[0.0], [1.0]])), 1, atol=0.01)


def test_neighbours_are_of_different_runs_where_there_are_many():
    origin, distance = np.repeat(np.arange(100), 10), np.arange(1000) / 1000
    assert len(np.unique(origin[_neighbours(distance, origin)])) == NEIGHBOURS
    assert len(_neighbours(distance, np.repeat([0, 1], 500))) == NEIGHBOURS  # of two runs many samples
    assert len(_neighbours(distance[:40], origin[:40])) == 2  # and of few samples a share
    assert len(_neighbours(distance + 2, origin)) == 0


def test_fractions_that_are_not_asked_complete_those_that_are():
    conditions = Conditions(
        tuple(Condition(f"volume_fraction.{p}", "property", "", "identity", 0.0, 1.0, 0.0, 1.0) for p in range(3)),
        np.array([[0.2, 0.3, 0.5]] * 3), np.arange(3), 3,
    )  # fmt: skip
    (found,) = with_unasked_features(conditions, np.array([[0.36, np.nan, np.nan]]))
    np.testing.assert_allclose(found, [0.36, 0.24, 0.4], rtol=1e-6)


def test_predictions_move_towards_what_has_a_gradient_and_conducts():
    every = films()
    of_sample = (
        Feature("tortuosity.0.z"),
        Feature("surface_area.0", unit="1/nm"),
        Feature("tortuosity.1.z", unit="um"),
    )
    features = (*of_sample, Feature("pressure", "process"))
    table = np.concatenate([every.table, np.random.default_rng(0).uniform(1, 2, (len(every), 4))], axis=1)
    prior = untrained(dataclasses.replace(every, features=(*every.features, *features), table=table))
    assert prior.conditions is not None
    asked = {"volume_fraction.1": 0.4, "surface_area.0": 1.0, "tortuosity.1.z": 1.5, "pressure": 1.5, "phi": 0.5}
    rows = np.stack([prior.conditions.row(asked | {"tortuosity.0.z": tau}) for tau in (2.0, np.inf, 1e6)])
    of = measured_names(prior, in_memory(prior, np.zeros((1, 8, 8, 8), np.uint8)))  # not in um
    found, values = steering_targets(prior, rows, of, imposed=True)
    assert set(found) == {"volume_fraction.1", "tortuosity.0.z"}
    np.testing.assert_array_equal(values[:, found.index("tortuosity.0.z")], [2.0, np.nan, np.nan])
    fractions_alone = np.where([name.startswith("volume") for name in prior.conditions.names], rows, np.nan)
    assert steering_targets(prior, fractions_alone, of, imposed=True)[0] == ()
    assert steering_targets(prior, fractions_alone, of, imposed=False)[0] == ("volume_fraction.1",)


def test_predictions_move_unless_a_phase_is_nowhere_the_likeliest():
    share = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.6, (8, 8, 8)), jnp.float32)
    for of_one, moves in ((share, True), (0.4 * share, False)):
        x0_hat = 2 * jnp.stack([1 - of_one, of_one], axis=-1) - 1
        found = _steered(
            x0_hat, jnp.array([2.0]), names=("tortuosity.1.z",), periodic=(False, True, True), voxel_size=1.0, steps=2
        )
        assert np.isfinite(found).all() and np.abs(found).max() <= 1
        assert np.array_equal(found, x0_hat) != moves


def test_candidates_of_what_cannot_be_measured_are_one(trained: tuple[Prior, Path]):
    prior = trained[0]
    config = dataclasses.replace(pipeline.default_generation(prior.config), steps=4)
    several = dataclasses.replace(config, candidates=3)
    one, same = (pipeline.generate(prior, {"phi": 0.5}, config=each).volumes[0].labels for each in (config, several))
    np.testing.assert_array_equal(one, same)


def test_what_a_user_should_know_is_noted():
    """A fraction off by a quarter, one that no training sample has, and a process that the model cannot tell."""
    prior = dataclasses.replace(untrained(), record={"process_r2": {"phi": -0.1}})
    volumes = [films().microstructure(0)] * 2
    measured = [{"volume_fraction.0": 1 - of, "volume_fraction.1": of} for of in (0.5, 0.95)]
    process = {"phi": np.full((2, 4), 0.5)}
    found = pipeline.Generated(volumes, {"volume_fraction.1": 0.51}, measured, process)
    lines = " ".join(pipeline.notes(prior, found))
    assert "asked volume_fraction.1=0.51, measured 0.95: 1 of 2 samples are off by more than 10%" in lines
    assert "volume_fraction.1 of 1 of 2 samples, 0.95, is outside" in lines and "cannot tell phi" in lines
    good = pipeline.Generated(volumes, {"volume_fraction.1": 0.51}, [measured[0]] * 2, {})
    assert pipeline.notes(prior, good) == []


def test_a_process_that_was_not_met_and_sides_that_files_do_not_tell_are_noted():
    volumes, draws = [films().microstructure(0)] * 2, {"phi": np.linspace(0.4, 0.5, 20).reshape(2, 10)}
    for asked, off in ((0.45, False), (0.6, True)):
        found = pipeline.Generated(volumes, {"phi": asked}, [{"volume_fraction.0": 0.5}] * 2, draws)
        assert ("look as if made with 0.405 to 0.495" in " ".join(pipeline.notes(untrained(), found))) == off
    solved = pipeline.Generated(volumes, {}, [{"tortuosity.0.z": 1.5}] * 2, {})
    (line,) = pipeline.notes(untrained(), solved)
    assert "periodic along y, x" in line


def test_what_cannot_be_asked_is_refused(trained: tuple[Prior, Path]):
    with pytest.raises(UserError, match="0.25 to 0.75|was trained on"):
        pipeline.generate(trained[0], {"volume_fraction.1": 0.95})
    with pytest.raises(UserError, match="prior of one micrograph"):
        pipeline.generate(dataclasses.replace(trained[0], conditions=None), {})


def test_a_collection_of_one_run_or_another_shape_is_refused():
    one = dataclasses.replace(films(), origin=np.zeros(12, np.int64))
    with pytest.raises(UserError, match="one origin"):
        pipeline.train(one, prior_config=network(one), config=TRAINING)
    with pytest.raises(UserError, match="the network is for 2 phases"):
        pipeline.train(
            films(), prior_config=dataclasses.replace(network(films()), conditions=("phi",)), config=TRAINING
        )
    with pytest.raises(UserError, match="multiple of"):
        odd = films()
        pipeline.collection_network(dataclasses.replace(odd, labels=np.zeros((12, 8, 8, 6), np.uint8)))


def test_samples_are_drawn_with_the_symmetries_that_their_features_allow():
    film = films()
    free = sample_config(film, "isotropic", batch=2, seed=0)
    assert (free.mirrored_axes, free.symmetric_axes) == (("z", "y", "x"), ("y", "x"))
    assert sample_config(film, "flips", batch=2, seed=0).symmetric_axes == ()
    still = sample_config(film, "none", batch=2, seed=0)
    assert (still.mirrored_axes, still.shifted_axes) == ((), ())
    along_x = dataclasses.replace(film, features=(*film.features[:2], Feature("tortuosity.1.x")))
    assert sample_config(along_x, "isotropic", batch=2, seed=0).symmetric_axes == ()
    pulled = dataclasses.replace(film, features=(Feature("rate.x", "process"), *film.features[1:]))
    assert sample_config(pulled, "isotropic", batch=2, seed=0).symmetric_axes == ()
    graspi = dataclasses.replace(film, features=(*film.features[:2], Feature("CT_f_D_tort1")))
    assert sample_config(graspi, "isotropic", batch=2, seed=0).mirrored_axes == ("y", "x")


@pytest.mark.slow
def test_the_latent_model_learns_an_autoencoder_first(tmp_path: Path):
    from jaxmicro.models import VAEConfig

    vae = VAEConfig(phases=2, patch=8, dims=3, channels=2, fold=2, encoder=(8, 8), decoder=(8, 8))
    unet = dataclasses.replace(network(films()).unet, patch=1, periodic=())
    latent = dataclasses.replace(network(films()), prediction="velocity", log_snr_range=(-6.0, 6.0), unet=unet, vae=vae)
    prior = pipeline.train(
        films(), prior_config=latent, config=TRAINING, autoencoder=TRAINING, predictor=TRAINING, out=tmp_path
    )
    again = pipeline.load_prior(tmp_path / "weights.safetensors")
    assert again.config == prior.config
    found = pipeline.generate(again, {"phi": 0.5}, count=1)
    assert found.volumes[0].shape == (8, 8, 8)


def test_a_damaged_model_is_refused_in_one_line(tmp_path: Path):
    from jaxmicro.io.checkpoint import load_weights, save_weights

    path = tmp_path / "model.safetensors"
    pipeline.save_prior(path, untrained())
    params, config = load_weights(path)
    damages = [
        (params | {"conditions": {"samples": np.zeros((3, 1), np.float32), "origin": np.arange(3)}}, config),
        (params | {"conditions": {"samples": np.zeros((3, 3), np.float32), "origin": np.arange(2)}}, config),
        ({name: value for name, value in params.items() if name != "conditions"}, config),
        (params, config | {"conditions": config["conditions"][:2]}),
        (params, config | {"conditions": [config["conditions"][0] | {"std": 0.0}, *config["conditions"][1:]]}),
        (params, config | {"prior": config["prior"] | {"shape": [2**21, 2**21, 2**22]}}),
        (params, {name: value for name, value in config.items() if name != "material"}),
        (params, config | {"predictor": {"features": ["chi"]}}),
    ]
    for damaged, of in damages:
        save_weights(path, damaged, of)
        with pytest.raises(UserError, match="holds no prior of this version"):
            pipeline.load_prior(path)
