"""Every command and example of the README runs, on small data.

The text is taken from README.md as it is. Around it stand small things: micrographs of 48 x 48 pixels under the names
that the README uses, a tiny network in the place of the bundled ones, two steps of training and sampling, 16^3 voxels.
"""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxmicro import pipeline
from jaxmicro.cli.main import VERBS, main
from jaxmicro.collection import Feature
from jaxmicro.guidance import exact_value
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure
from tests.cli.conftest import blobs, tiny_prior
from tests.test_generate import films, untrained

pytestmark = pytest.mark.usefixtures("small_pictures", "one_pass")
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SMALL = {
    "train": ["--steps", "2", "--batch", "2"],
    "reconstruct": ["--steps", "2"],
    "demo": ["--steps", "2"],
    "simulate": ["--kappa", "2"],
    "generate": ["--steps", "2"],
    "design": ["--steps", "2", "--rounds", "1", "--size", "16"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(program: str) -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] == [program]]


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README names, and tiny priors in the place of the bundled ones."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(blobs(phases=3) * np.uint8(127)).save("electrode.png")
    grey = np.clip(np.random.default_rng(1).normal(60 + 120.0 * blobs(), 12), 0, 255)
    Image.fromarray(grey.astype(np.uint8)).save("grey.png")
    Path("crops").mkdir()
    for number in range(6):
        field = np.random.default_rng(number).normal(size=(16, 16, 16))
        cut = np.quantile(field, 0.35 + 0.05 * number)
        pipeline.write(f"crops/{number}.npz", Microstructure((field > cut).astype(np.uint8), (0.0, 255.0)))
    rows = [f"{number}.npz,{number // 2},{20 + 10 * number}" for number in range(6)]
    Path("crops/features.csv").write_text("\n".join(["file,origin,process:pressure [MPa]", *rows]))
    monkeypatch.setattr("jaxmicro.models.presets.WIDTHS", (8, 8))
    monkeypatch.setattr(pipeline, "PREDICTOR", dataclasses.replace(pipeline.PREDICTOR, steps=2, batch=2))
    tiny = {"sofc": tiny_prior(3), "general_3phase": tiny_prior(3), "opv": tiny_films()}
    for name, prior in tiny.items():
        pipeline.save_prior(tmp_path / f"{name}.safetensors", prior)
    monkeypatch.setattr(
        "jaxmicro.pipeline.prior_files.bundled", lambda: {n: tmp_path / f"{n}.safetensors" for n in tiny}
    )
    micrograph = pipeline.read("electrode.png")
    monkeypatch.setattr("jaxmicro.pipeline.bundled_micrograph", lambda prior: micrograph)  # the real one is large
    quick = dataclasses.replace(pipeline.FINE_TUNING, steps=2, batch=2)
    # the package has a function of that name
    monkeypatch.setattr(sys.modules["jaxmicro.pipeline.train"], "FINE_TUNING", quick)
    sampling = SamplingConfig(steps=2)  # also of the tuning, so that it shares a program with `reconstruct`
    monkeypatch.setattr(
        "jaxmicro.pipeline.sampling.SamplingConfig", lambda **given: dataclasses.replace(sampling, **given)
    )
    return tmp_path


def tiny_films() -> pipeline.Prior:
    """A prior of films that answers what the README asks of the bundled one; its network is noise."""
    every = films()
    tau = Feature("tortuosity.0.z")
    table = np.concatenate([every.table, np.linspace(1.5, 2.5, len(every))[:, None]], axis=1)
    return untrained(dataclasses.replace(every, features=(*every.features, tau), table=table))


def no_make() -> dict[str, str]:
    """The environment without what a `make test` around these tests hands down to a make inside them."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}


def small(line: str) -> list[str]:
    """The words of a command of the README, with small sizes."""
    words = shlex.split(line)[1:] + SMALL.get(shlex.split(line)[1], [])
    words += ["--size", "16"] if words[0] == "demo" else []
    return [{"64": "16", "32": "16", "50": "3"}.get(word, word) for word in words]


def test_every_command_of_the_readme_runs_in_its_order(small_world: Path):
    lines = commands("jaxmicro")
    assert {shlex.split(line)[1] for line in lines} == {verb.__name__.lower() for verb in VERBS}
    for line in lines:
        ended = main(small(line))
        assert ended == 0 or (ended == 3 and shlex.split(line)[1] == "design"), line  # a network that is noise
    for path in (
        "electrode/weights.safetensors",
        "volumes/volume_001.vti",
        "evaluation/report.html",
        "first/report.html",
        "crops/weights.safetensors",
        "generated/report.html",
    ):
        assert (small_world / "runs" / path).exists(), path
    demo = small_world / "runs" / "first"
    pores = pipeline.read(demo / "volume_000.tif").labels
    assert (demo / "designed_000.tif").exists() == (exact_value("diffusivity", pores, 3, 0, 0, periodic=True) > 0)


def test_the_python_examples_of_the_readme_run(small_world: Path):
    first, objective = blocks("python")
    assert len(first.strip().splitlines()) <= 10
    names: dict[str, Any] = {}
    for example in (first, objective):
        exec(compile(example.replace("64, 64, 64", "16, 16, 16"), "README.md", "exec"), names)
    assert np.abs(names["gradient"]).max() > 0
    assert (small_world / "electrode-python.vti").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("line", commands("make"))
def test_the_make_commands_of_the_readme_are_targets(line: str, tmp_path: Path):
    """Not run here, for they would run these tests: but make knows every step of them."""
    words = [*shlex.split(line), "--dry-run", f"VENV={tmp_path / 'venv'}"]
    steps = subprocess.run(words, cwd=ROOT, env=no_make(), capture_output=True, text=True, check=True).stdout
    assert "-m venv" in steps
    assert "pip install" in steps
    assert ("jaxmicro demo" if "demo" in line else "-m pytest") in steps


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_says_so_when_there_is_no_suitable_python(tmp_path: Path):
    words = ["make", "demo", "PYTHON=/bin/false", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=ROOT, env=no_make(), capture_output=True, text=True)
    assert done.returncode != 0
    assert "jaxmicro needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_files_the_readme_names_exist():
    for name in ("CITATION.cff", "LICENSE", "NOTICE", "jaxmicro/assets", "tests/data"):
        assert name in README
        assert (ROOT / name).exists()
