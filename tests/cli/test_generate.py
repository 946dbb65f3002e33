"""`train COLLECTION` and `generate`: run folders, tables, refusals; interrupted and resumed with the same result."""

import csv
import dataclasses
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.cli.inputs import read_targets
from jaxmicro.collection import Feature
from jaxmicro.errors import UserError
from jaxmicro.io.collections import write_collection
from jaxmicro.train import TrainConfig
from tests.cli.conftest import Outcome
from tests.test_generate import films, untrained

TRAIN = ["--steps", "4", "--predictor-steps", "3", "--batch", "2", "--widths", "8", "8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with films.zarr and the run folder `model`."""
    from jaxmicro.cli.main import main

    folder = tmp_path_factory.mktemp("films")
    write_collection(folder / "films.zarr", films())
    assert main(["train", str(folder / "films.zarr"), *TRAIN, "--out", str(folder / "model"), "--quiet"]) == 0
    return folder


def test_a_trained_collection_is_a_run_folder(trained: Path):
    model = trained / "model"
    for name in ("weights.safetensors", "training.json", "config.json", "figures/training.png"):
        assert (model / name).exists(), name
    assert not (model / "checkpoints").exists()
    record = json.loads((model / "training.json").read_text())
    assert {"validation_loss", "predictor_validation_loss", "held_out_origins"} <= set(record)
    assert set(record["process_r2"]) == {"phi"} and 0 <= record["process_coverage_90"]["phi"] <= 1


def test_a_prior_is_fine_tuned_on_another_collection(jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path):
    """With its network and the scales of its conditions, and the range of the new samples."""
    write_collection(tmp_path / "more.zarr", films(n=18, runs=3))
    words = ["train", tmp_path / "more.zarr", "--start", trained / "model", *TRAIN[:6], "--out", tmp_path / "tuned"]
    done = jaxmicro(*words)
    assert done.code == 0, done.err
    before, after = (pipeline.load_prior(path) for path in (trained / "model", tmp_path / "tuned"))
    assert after.config == before.config and before.conditions is not None and after.conditions is not None
    for one, other in zip(before.conditions.entries, after.conditions.entries, strict=True):
        assert (one.name, one.scale, one.mean, one.std) == (other.name, other.scale, other.mean, other.std)
    assert len(after.conditions.samples) == 12  # of two runs, one is held out
    done = jaxmicro(*words[:-1], tmp_path / "wider", "--widths", "16", "16")
    assert done.code == 2 and "--widths" in done.last_line
    write_collection(tmp_path / "bare.zarr", films().select(["phi", "volume_fraction.0"]))
    done = jaxmicro("train", tmp_path / "bare.zarr", "--start", trained / "model", "--out", tmp_path / "none")
    assert done.code == 2 and "lacks volume_fraction.1" in done.last_line and not (tmp_path / "none").exists()
    still = dataclasses.replace(films(), periodic=(False, False, False))
    for wrong, message in ((still, "periodic along no axis"), (films(n=3, runs=1), "one origin")):
        write_collection(tmp_path / message, wrong)
        done = jaxmicro("train", tmp_path / message, "--start", trained / "model", "--out", tmp_path / "none")
        assert done.code == 2 and message in done.last_line and not (tmp_path / "none").exists()


@pytest.mark.slow  # two programs of its own
def test_fine_tuning_starts_where_the_prior_ended(trained: Path):
    """With no learning rate to speak of, what was learned is kept; a predictor too."""
    start, still = pipeline.load_prior(trained / "model"), TrainConfig(steps=1, batch=2, learning_rate=1e-12)
    after = pipeline.train(films(), start=start, config=still, predictor=still)
    assert start.predictor is not None and after.predictor is not None
    for one, other in ((start, after), (start.predictor, after.predictor)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one.params, other.params)


def test_samples_are_written_measured_and_reported(jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path):
    out = tmp_path / "run"
    words = ["generate", trained / "model", "--target", "volume_fraction.1=40%", "--count", "3", "--steps", "3"]
    done = jaxmicro(*words, "--out", out)
    assert done.code == 0, done.err
    assert "volume_fraction.1" in done.out and "phi" in done.out
    record = json.loads((out / "generated.json").read_text())
    volumes = [pipeline.read(out / f"volume_{number:03d}.tif") for number in range(3)]
    assert record["samples"]["volume_fraction.1"] == [float((v.labels == 1).mean()) for v in volumes]
    assert record["targets"] == {"volume_fraction.1": 0.4, "volume_fraction.0": 0.6}
    rows = list(csv.DictReader((out / "generated.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == ["volume_000", "volume_001", "volume_002"]
    for name in ("generated", "rendering", "asked_and_measured", "process"):
        assert (out / "figures" / f"{name}.png").exists(), name
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    again = jaxmicro(*words, "--out", out, "--resume")  # nothing is generated again
    assert again.code == 0 and again.out == done.out


def test_descriptors_of_graspi_are_measured_where_the_phases_are_named(
    jaxmicro: Callable[..., Outcome], tmp_path: Path
):
    plain = films()
    table = np.concatenate([plain.table, plain.column("volume_fraction.1")[:, None]], axis=1)
    of = dataclasses.replace(plain, features=(*plain.features, Feature("ABS_f_D")), table=table)
    pipeline.save_prior(tmp_path / "films.safetensors", untrained(of))
    words = ["generate", tmp_path / "films.safetensors", "--target", "ABS_f_D=0.6", "--count", 2, "--steps", 2]
    done = jaxmicro(*words, "--out", tmp_path / "without")
    assert done.code == 0 and "ABS_f_D cannot be measured" in done.out
    words += ["--donor", 1, "--acceptor", 0, "--candidates", 3, "--out", tmp_path / "run"]
    done = jaxmicro(*words)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "run" / "generated.json").read_text())
    shares = [float((pipeline.read(tmp_path / "run" / f"volume_00{n}.tif").labels == 1).mean()) for n in range(2)]
    assert record["samples"]["ABS_f_D"] == pytest.approx(shares) and not record["not_measured"]
    assert record["samples"]["STAT_n"] == [512, 512]  # also what the model does not know
    first, nearest = (pipeline.read(tmp_path / run / "volume_000.tif").labels for run in ("without", "run"))
    assert not np.array_equal(first, nearest)  # of three candidates that were measured
    done = jaxmicro(*words[:-8], "--donor", 1, "--acceptor", 2, "--out", tmp_path / "none")
    assert done.code == 2 and "labels 0 to 1" in done.last_line


def test_exact_samples_are_what_is_asked_and_resume_to_the_bit(
    jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path
):
    out = tmp_path / "run"
    words = ["generate", trained / "model", "--target", "volume_fraction.1=0.45", "phi=0.5", "--count", "3"]
    words += ["--steps", "3", "--exact", "--out", out]
    done = jaxmicro(*words)
    assert done.code == 0, done.err
    assert "made exact: volume_fraction.1, volume_fraction.0" in done.out and "left as sampled: phi" in done.out
    record = json.loads((out / "generated.json").read_text())
    exact, found = record["exact"], [pipeline.read(out / f"volume_{number:03d}.tif").labels for number in range(3)]
    assert all(abs((labels == 1).mean() - 0.45) <= 0.502 / 8**3 for labels in found)
    sampled = [pipeline.read(out / "sampled" / f"volume_{number:03d}.tif").labels for number in range(3)]
    shares = [float((a != b).mean()) for a, b in zip(sampled, found, strict=True)]
    assert exact["voxels_changed"] == shares and max(shares) < 0.1
    assert exact["missed"] == {"volume_fraction.0": [], "volume_fraction.1": []}
    assert (
        record["training"]["copies"]["generated"] and "Beside the training samples" in (out / "report.html").read_text()
    )
    for ending in ("tif", "vti"):
        (out / f"volume_001.{ending}").unlink()
    again = jaxmicro(*words, "--resume")
    assert again.code == 0 and again.out == done.out
    np.testing.assert_array_equal(pipeline.read(out / "volume_001.tif").labels, found[1])


def test_exact_targets_that_are_missed_are_named_and_end_with_code_3(
    jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Here because nothing is changed; everything is written all the same."""
    of_verb = importlib.import_module("jaxmicro.pipeline.generate")  # the package has the function of this name
    monkeypatch.setattr(of_verb, "generate_labels", lambda *_, **__: films().samples([5, 6]))
    monkeypatch.setattr(of_verb, "meet_features", lambda samples, *_, **__: samples.samples([0, 1]))
    out = tmp_path / "run"
    words = ["--target", "volume_fraction.1=0.3", "--count", "2", "--steps", "2", "--exact"]
    done = jaxmicro("generate", trained / "model", *words, "--out", out)
    assert done.code == 3 and "volume_fraction.1=0.3: " in done.last_line and "in volume_000" in done.last_line
    assert "made exact: nothing" in done.out and (out / "report.html").exists()


def test_another_collection_is_not_compared_with(jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path):
    write_collection(tmp_path / "others.zarr", films(n=16))
    done = jaxmicro("generate", trained / "model", "--collection", tmp_path / "others.zarr", "--out", tmp_path / "run")
    assert done.code == 2 and "other runs than those that the model was trained on" in done.last_line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "porosity=0.4"], "no condition 'porosity'"),
        (["--target", "volume_fraction.1=0.95"], "outside of what the model was trained on"),
        (["--target", "volume_fraction.0=0.6", "volume_fraction.1=0.6"], "sum to 1.2"),
        (["--target", "volume_fraction.0=-0.1", "--extrapolate"], "at least 0"),
        (["--target", "volume_fraction.1"], "expected NAME=VALUE"),
        (["--target", "volume_fractoin.1=0.4"], "(perhaps you meant volume_fraction.1)"),
        (["--target", "volume_fraction.1=0.4,phi=9"], "phi=9 is outside"),
        (
            ["--target"],
            "can be asked for phi, volume_fraction.0, volume_fraction.1, such as --target volume_fraction.0",
        ),
        (["--count", "0"], "--count is 0"),
        (["--steps", "0"], "steps is 0"),
        (["--guidance", "-1"], "guidance is -1"),
        (["--steer", "-1"], "steering_steps is -1"),
        (["--exact", "--target", "phi=0.5"], "none is asked"),
        (["--donor", "0"], "--donor and --acceptor belong together"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path, words: list[str], message: str
):
    done = jaxmicro("generate", trained / "model", *words, "--out", tmp_path / "run")
    assert done.code == 2 and message in done.last_line
    assert not (tmp_path / "run").exists()


def test_a_collection_is_no_model(jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path):
    done = jaxmicro("generate", trained / "films.zarr", "--target", "phi=0.5", "--out", tmp_path / "run")
    assert done.code == 2 and f"train on it first: jaxmicro train {trained / 'films.zarr'}" in done.last_line


def test_the_prior_of_a_micrograph_generates_nothing_and_one_of_a_collection_reconstructs_nothing(
    jaxmicro: Callable[..., Outcome], work: Path, trained: Path, tmp_path: Path
):
    done = jaxmicro("generate", work / "prior.safetensors", "--out", tmp_path / "run")
    assert done.code == 2 and "trained on a collection" in done.last_line
    for verb in (["reconstruct"], ["design", "--target", "volume_fraction.0=0.4"]):
        done = jaxmicro(verb[0], trained / "model", *verb[1:], "--out", tmp_path / "run")
        assert done.code == 2 and "jaxmicro generate" in done.last_line, done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--features", "porosity"], "no feature 'porosity'"),
        (["--features", "phi,volume_fractoin.1"], "(perhaps you meant volume_fraction.1)"),
        (["--segment", "2"], "--segment is for images"),
        (["--phases", "3"], "has 2 phases"),
        (["--start", "sofc"], "prior of a micrograph"),
    ],
)
def test_a_collection_is_trained_with_its_own_options(
    jaxmicro: Callable[..., Outcome], trained: Path, tmp_path: Path, words: list[str], message: str
):
    done = jaxmicro("train", trained / "films.zarr", *words, "--out", tmp_path / "run")
    assert done.code == 2 and message in done.last_line
    assert not (tmp_path / "run").exists()


def test_features_are_options_of_collections_only(jaxmicro: Callable[..., Outcome], work: Path, tmp_path: Path):
    done = jaxmicro("train", work / "image.png", "--features", "phi", "--out", tmp_path / "run")
    assert done.code == 2 and "are for collections" in done.last_line


@pytest.mark.parametrize(
    ("stage", "call", "tuned"),
    [
        pytest.param("training", 2, False, marks=pytest.mark.slow),  # the predictor's resumes at its second step, too
        ("training", 5, False),
        ("training the predictor", 2, False),
        pytest.param("training", 5, True, marks=pytest.mark.slow),
    ],
)
def test_a_training_interrupted_in_any_stage_resumes_with_the_same_result(
    jaxmicro: Callable[..., Outcome],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    call: int,
    tuned: bool,
):
    """Also one that starts from a prior (`tuned`)."""
    from jaxmicro.cli.console import Console

    plain, calls = Console.progress, []

    def interrupting(self: Console, now: str, done: int, total: int, note: str = "") -> None:
        plain(self, now, done, total, note)
        calls.append(now)
        if now == stage and calls.count(stage) == call:
            raise KeyboardInterrupt

    words, whole = ["train", trained / "films.zarr", *TRAIN], trained / "model"
    if tuned:
        words, whole = [*words[:-3], "--start", trained / "model"], tmp_path / "whole"
        assert jaxmicro(*words, "--out", whole).code == 0
    words += ["--out", tmp_path / "run"]
    monkeypatch.setattr(Console, "progress", interrupting)
    monkeypatch.setattr("jaxmicro.train.loop.PROGRESS_SECONDS", 0.0)
    stopped = jaxmicro(*words)
    assert stopped.code == 130 and "--resume" in stopped.last_line
    monkeypatch.setattr(Console, "progress", plain)
    assert jaxmicro(*words, "--resume").code == 0
    found, expected = (pipeline.load_prior(p) for p in (tmp_path / "run", whole))
    for a, b in zip(_leaves(found), _leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    records = [json.loads((p / "training.json").read_text()) for p in (tmp_path / "run", whole)]
    for record in records:
        del record["seconds"]
    assert records[0] == records[1]


def _leaves(prior: pipeline.Prior) -> list[np.ndarray]:
    import jax

    assert prior.predictor is not None
    return jax.tree.leaves([prior.params, prior.predictor.params])


@pytest.mark.parametrize("word", ["phi", "=0.3", "phi=", "phi=wide", "phi=nan"])
def test_unreadable_targets_are_refused(word: str):
    with pytest.raises(UserError, match="expected NAME=VALUE"):
        read_targets([word])


@pytest.mark.parametrize("word", ["phi=+0.3", "phi=+50%", "phi=-50%"])
def test_a_change_is_no_target(word: str):
    with pytest.raises(UserError, match="write phi=VALUE without a sign"):
        read_targets([word])


@pytest.mark.parametrize("word", ["phi>=0.3", "phi<=0.3", "phi>0.3"])
def test_a_bound_is_no_target(word: str):
    with pytest.raises(UserError, match="targets of 'generate' are equalities: NAME=VALUE"):
        read_targets([word])


def test_targets_are_numbers_with_their_sign_and_may_have_commas_between():
    assert read_targets(["t=-3,phi=30%", "chi=2"]) == {"t": -3.0, "phi": 0.3, "chi": 2.0}


def test_a_target_is_given_once():
    with pytest.raises(UserError, match="given twice"):
        read_targets(["phi=0.3", "phi=0.4"])
