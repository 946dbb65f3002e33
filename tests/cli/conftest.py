"""Tiny priors and run folders, so that the whole command line runs in seconds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxmicro import models, pipeline
from jaxmicro.cli.main import main
from jaxmicro.models import PriorConfig, UNetConfig
from jaxmicro.pipeline import Material, Prior
from jaxmicro.types import Microstructure

TINY = UNetConfig(patch=8, widths=(8,), embedding=16)


def tiny_prior(phases: int = 2, *, source: str = "") -> Prior:
    """An untrained network of a few thousand parameters for 16 x 16 crops, with a material."""
    config = PriorConfig(phases=phases, patch=16, unet=TINY)
    share = tuple(np.full(phases, 1 / phases).tolist())
    values = tuple(np.linspace(0, 255, phases).tolist())
    return Prior(
        config,
        jax.jit(models.init, static_argnums=0)(config, jax.random.key(0)),
        Material(values, share, 65.0, "nm", source),
    )


def blobs(edge: int = 48, *, ndim: int = 2, phases: int = 2, seed: int = 0) -> np.ndarray:
    """Labels with features of a few pixels: a thresholded smooth random field."""
    field = np.random.default_rng(seed).normal(size=(edge,) * ndim)
    for axis in range(ndim):
        field = sum(np.roll(field, shift, axis) for shift in range(-2, 3))
    return np.searchsorted(np.quantile(field, np.arange(1, phases) / phases), field).astype(np.uint8)


class Outcome(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


@pytest.fixture(scope="module", autouse=True)
def quick_pictures(small_pictures: None):
    """Small figures in all tests of the command line."""


@pytest.fixture
def jaxmicro(capfd: pytest.CaptureFixture) -> Callable[..., Outcome]:
    """Run the command in this process."""

    def run(*argv: object) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(part) for part in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a micrograph, a grey image, a prior and a volume; read only."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("work")
    Image.fromarray(blobs() * np.uint8(255)).save(folder / "image.png")
    Image.fromarray(blobs(phases=3) * np.uint8(127)).save(folder / "three.png")
    grey = np.clip(np.random.default_rng(1).normal(60 + 120.0 * blobs(), 12), 0, 255)
    Image.fromarray(grey.astype(np.uint8)).save(folder / "grey.png")
    pipeline.save_prior(folder / "prior.safetensors", tiny_prior())
    volume = Microstructure(blobs(16, ndim=3), (0.0, 255.0), 65.0, "nm")
    pipeline.write(folder / "volume.tif", volume)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(text: str, work: Path) -> Sequence[str]:
    """Words of a command line, WORK being the folder of the fixtures."""
    return [word.replace("WORK", str(work)) for word in text.split()]
