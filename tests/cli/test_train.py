"""Messages of `train` before and after the training."""

import json
import re
from pathlib import Path

import pytest

from jaxmicro import pipeline
from jaxmicro.cli import train
from jaxmicro.cli.console import Console
from jaxmicro.cli.main import main
from jaxmicro.cli.run_folder import RunFolder
from jaxmicro.data.synthetic import gaussian_field
from jaxmicro.pipeline import Prior, fitting
from jaxmicro.types import Microstructure
from tests.cli.conftest import tiny_prior


def micrograph(*lengths: float) -> Microstructure:
    labels = gaussian_field((96, 96), correlation_length=lengths, fractions=(0.5, 0.5), seed=1, periodic=False)
    return Microstructure(labels, (0.0, 255.0))


@pytest.mark.parametrize(("lengths", "anisotropic"), [((2.0, 9.0), True), ((2.0, 2.0), False)])
def test_an_anisotropic_micrograph_is_reported_before_training_and_in_the_log(
    here: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, lengths, anisotropic: bool
):
    pipeline.write("micrograph.npz", micrograph(*lengths))
    monkeypatch.setattr(pipeline, "train", lambda *_, **__: tiny_prior())
    monkeypatch.setattr(train, "_finish", lambda *_: None)
    assert not main(["train", "micrograph.npz", "--from-scratch", "--patch", "16", "--widths", "8", "--out", "run"])
    message = next(line for line in capfd.readouterr().err.splitlines() if "directions" in line)
    logged = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    entry = next(record for record in logged if record["event"] == "directions")
    assert entry["anisotropic"] is anisotropic and entry["found"] in message
    assert message.startswith("note: The micrograph is anisotropic") is anisotropic
    if anisotropic:  # level sets at one half correlate over about the length of the field
        y, x = (float(length) for length in re.search(r"is (\S+) pixels along y and (\S+) along x", message).groups())
        assert y == pytest.approx(2, rel=0.3) and x == pytest.approx(9, rel=0.5)


def test_directions_of_a_volume_are_those_of_its_planes():
    labels = gaussian_field((48, 48, 48), correlation_length=(2.0, 2.0, 9.0), fractions=(0.5, 0.5), seed=1)
    line, anisotropic = pipeline.directions(Microstructure(labels, (0.0, 255.0)))
    assert anisotropic and line.startswith(("In the middle plane normal to z", "In the middle plane normal to y"))


def test_a_loss_is_called_held_out_only_if_a_part_was_held_out(tmp_path: Path, capfd: pytest.CaptureFixture):
    entry = {"step": 3, "validation_loss": 0.5}
    assert fitting._named(entry, disjoint=True) == entry
    whole = fitting._named(entry, disjoint=False)
    assert whole == {"step": 3, "whole_image_loss": 0.5}
    folder, prior = RunFolder(tmp_path), tiny_prior()
    folder.log("training", **whole)
    clock = iter((0.0, 65.0) * 2)
    for record, expected in ((entry, "held-out part 0.5"), (whole, "whole image (nothing was held out) 0.5")):
        console = Console(clock=lambda: next(clock))
        train._finish(folder, console, Prior(prior.config, prior.params, None, record))
        said = capfd.readouterr().err
        assert expected in said and "1:05 in this run, with preparation and compilation" in said
