"""Micrograph to latent prior to volumes, from Python and from the command line, on a tiny network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmicro import models, pipeline
from jaxmicro.errors import UserError
from jaxmicro.models import PriorConfig
from jaxmicro.phases import one_hot
from jaxmicro.pipeline import Prior, fitting
from jaxmicro.pipeline.prior import material_of
from jaxmicro.reconstruct import SamplingConfig, plane_covariance
from jaxmicro.train import TrainConfig
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs
from tests.models.test_vae import LATENT, TINY

NETWORK = dataclasses.replace(LATENT, phases=2, vae=dataclasses.replace(TINY, phases=2))
QUICK = SamplingConfig(steps=2, harmonise=0, refine=1)
TRAINING = TrainConfig(steps=4, batch=2, warmup=1, save_every=2)
SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def micrograph() -> Microstructure:
    return Microstructure(blobs(), (0.0, 255.0), 65.0, "nm", "blobs.png")


def train(micrograph: Microstructure, **options) -> Prior:
    given = {"start": None, "prior_config": NETWORK, "config": TRAINING, "autoencoder": TRAINING, "tune": False}
    return pipeline.train(micrograph, **{**given, **options})


@pytest.fixture(scope="module")
def trained(micrograph: Microstructure, tmp_path_factory: pytest.TempPathFactory) -> tuple[Prior, Path]:
    out = tmp_path_factory.mktemp("latent")
    return train(micrograph, out=out), out


def same(a, b) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


def volume(prior: Prior, **options) -> np.ndarray:
    return pipeline.reconstruct(prior, **{"shape": SHAPE, "sampling": QUICK, **options})[0].labels


def test_a_latent_prior_is_one_file_and_reads_back_the_same(trained: tuple[Prior, Path]):
    prior, out = trained
    again = pipeline.load_prior(out)
    assert (again.config, again.material, again.record) == (prior.config, prior.material, prior.record)
    assert again.config.space == "latent"
    assert same(again.params, jax.tree.map(np.asarray, prior.params))
    assert prior.record["autoencoder_steps"] == prior.record["steps"] == 4
    assert np.isfinite(prior.record["autoencoder_validation_loss"]) and np.isfinite(prior.record["validation_loss"])


def test_the_code_of_the_trained_autoencoder_is_normalised(trained: tuple[Prior, Path], micrograph: Microstructure):
    prior, _ = trained
    crops = np.stack([micrograph.labels[i : i + 16, j : j + 16] for i in range(0, 32, 8) for j in range(0, 32, 8)])
    z = fitting.encode_labels(prior.params, crops, config=prior.config)
    np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), 0, atol=0.3)  # of other crops than those of the normalisation
    np.testing.assert_allclose(z.std(axis=(0, 1, 2)), 1, atol=0.3)


@pytest.mark.slow  # compiles every stage again
@pytest.mark.parametrize("stage", ["training_the_autoencoder", "training"])
def test_a_training_interrupted_in_either_stage_resumes_with_the_same_result(
    stage: str, trained: tuple[Prior, Path], micrograph: Microstructure, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    def interrupted(found: str, done: int, *_) -> None:
        if found.replace(" ", "_") == stage and done >= 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("jaxmicro.train.loop.PROGRESS_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(micrograph, out=tmp_path, progress=interrupted)
    assert not (tmp_path / "weights.safetensors").exists()
    assert same(train(micrograph, out=tmp_path).params, trained[0].params)


@pytest.mark.slow
def test_a_latent_prior_is_fine_tuned_from_another_and_leaves_it_as_it_was(
    trained: tuple[Prior, Path], micrograph: Microstructure
):
    prior, _ = trained
    before = jax.tree.map(np.array, prior.params)
    after = train(micrograph, start=prior, prior_config=None)
    assert same(before, prior.params)
    assert not same(after.params["vae"], before["vae"]) and not same(after.params["unet"], before["unet"])


def test_volumes_of_a_latent_prior_have_the_constrained_fractions(trained: tuple[Prior, Path]):
    """Fractions far from those of an untrained network without constraint; those of the labels are constrained."""
    prior, _ = trained
    for fraction in (0.3, 0.8):
        labels = volume(prior, fractions=(fraction, 1 - fraction))
        assert labels.shape == SHAPE
        assert np.mean(labels == 0) == pytest.approx(fraction, abs=0.03)
    assert np.array_equal(volume(prior, seed=3), volume(prior, seed=3))
    assert not np.array_equal(volume(prior, seed=3), volume(prior, seed=4))


def test_a_latent_volume_has_the_constrained_two_point_correlation(trained: tuple[Prior, Path]):
    """That of the micrograph, although the network is hardly trained."""
    prior, _ = trained
    assert prior.material is not None
    covariance = prior.material.target_covariance
    assert covariance is not None

    def off(prior: Prior) -> float:
        return float(np.abs(plane_covariance(one_hot(volume(prior), 2), r_max=8) - covariance[:, :9]).mean())

    unknown = dataclasses.replace(prior.material, lineal_path=(), covariance=())
    assert off(prior) < off(dataclasses.replace(prior, material=unknown)) / 2


@pytest.mark.slow
def test_bounded_latent_volumes_are_cut_from_larger_ones(trained: tuple[Prior, Path]):
    bounded = dataclasses.replace(QUICK, periodic=False)
    assert volume(trained[0], shape=(13, 16, 9), sampling=bounded).shape == (13, 16, 9)
    with pytest.raises(UserError, match="multiples of 8"):
        volume(trained[0], shape=(12, 16, 16))


def test_images_drawn_from_a_latent_prior_are_decoded(trained: tuple[Prior, Path]):
    images = pipeline.sample_images(trained[0], count=2, steps=2)
    assert images.shape == (2, 16, 16)
    assert images.max() <= 1


def test_the_papers_sampling_visits_every_time_once():
    from jaxmicro.diffusion import ddpm_times, linear_beta

    np.testing.assert_array_equal(ddpm_times(1000)[:-1], linear_beta(1000)[::-1])
    default = pipeline.default_sampling(models.latent_paper(2))
    assert default.times == "ddpm" and (default.tile, default.overlap) == (16, 4)


@pytest.fixture(scope="module")
def latent_file(tmp_path_factory: pytest.TempPathFactory, micrograph: Microstructure) -> Path:
    path = tmp_path_factory.mktemp("prior") / "latent.safetensors"
    params = jax.jit(models.init, static_argnums=0)(NETWORK, jax.random.key(0))
    pipeline.save_prior(path, Prior(NETWORK, params, material_of(micrograph)))
    return path


@pytest.mark.slow
def test_train_and_reconstruct_in_latent_space_from_the_command_line(
    work: Path, here: Path, latent_file: Path, jaxmicro: Callable[..., Outcome]
):
    words = "--space latent --steps 2 --vae-steps 2 --batch 2 --no-tune --out prior --quiet".split()
    assert jaxmicro("train", work / "image.png", "--start", latent_file, *words).code == 0
    assert (here / "prior" / "figures" / "training.png").exists() and not (here / "prior" / "checkpoints").exists()
    words = "--space latent --size 16 --steps 2 --refine 1 --no-report --quiet --out volumes".split()
    assert jaxmicro("reconstruct", "prior", *words) == Outcome(0, "", "")
    assert pipeline.read(here / "volumes" / "volume_000.tif").shape == SHAPE


def test_a_new_latent_prior_is_what_the_options_say(work: Path, jaxmicro: Callable[..., Outcome]):
    from jaxmicro.cli.options import Train
    from jaxmicro.cli.train import _network

    given = Train(micrograph=(Path("x"),), space="latent", latent_size=8, widths=(8, 8))
    network = _network(given, 3)
    assert isinstance(network, PriorConfig) and network.cell == 8 and network.unet.widths == (8, 8)
    assert _network(Train(micrograph=(Path("x"),), space="latent", paper=True), 2) == models.latent_paper(2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train WORK/image.png --space pixel --start LATENT --steps 2", "prior in latent space"),
        ("train WORK/image.png --from-scratch --paper --patch 16", "for latent priors"),
        ("train WORK/image.png --space latent --patch 40", "no code of 16 x 16"),
        ("train WORK/image.png --start LATENT --paper", "with --from-scratch"),
        ("reconstruct LATENT --space pixel", "prior in latent space"),
        ("reconstruct WORK/prior.safetensors --space latent", "prior in pixel space"),
        ("reconstruct WORK/prior.safetensors --refine 2", "for latent priors"),
        ("reconstruct LATENT --refine -1", "at least 0"),
        ("reconstruct LATENT --size 12", "multiples of 8"),
    ],
)
def test_wrong_options_get_one_line(
    text: str, says: str, work: Path, here: Path, latent_file: Path, jaxmicro: Callable[..., Outcome]
):
    words = [word.replace("WORK", str(work)).replace("LATENT", str(latent_file)) for word in text.split()]
    outcome = jaxmicro(*words, "--out", "run")
    assert outcome.code == 2 and says in outcome.last_line, outcome
    assert len(outcome.err.strip().splitlines()) == 1 and not (here / "run").exists()
