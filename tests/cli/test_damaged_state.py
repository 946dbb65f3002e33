"""Damaged files of an earlier run are detected, reported in one line, and computed again with the same result."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxmicro.cli import figures
from jaxmicro.cli.console import Console
from jaxmicro.cli.resume import is_made, is_recorded
from jaxmicro.io import files, read, write
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs

SAMPLE = ["--size", 16, "--steps", 3, "--harmonise", 0, "--no-report", "--volumes", 2]
VOLUME = Microstructure(blobs(8, ndim=3), (0.0, 255.0), 65.0, "nm", periodic=True)


def is_intact(*paths: Path) -> bool:
    return is_made(paths, shape=(8, 8, 8), phases=2, console=Console())


def test_a_damaged_volume_is_sampled_again_with_the_same_result(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    run = ["reconstruct", work / "prior.safetensors", *SAMPLE, "--out", "run"]
    assert jaxmicro(*run).code == 0
    expected = [read(here / "run" / f"volume_{number:03d}.tif") for number in range(2)]
    (here / "run" / "volume_001.vti").write_bytes(b"")
    (here / "run" / "unfinished.npz").write_bytes(b"PK")
    outcome = jaxmicro(*run, "--resume")
    assert outcome.code == 0
    notes = [line for line in outcome.err.splitlines() if line.startswith("note: ")]
    assert ["unfinished.npz" in notes[0], "volume_001.vti is empty" in notes[1]] == [True, True]
    for number in range(2):
        for ending in ("tif", "vti"):
            assert read(here / "run" / f"volume_{number:03d}.{ending}") == expected[number]
    assert not (here / "run" / "unfinished.npz").exists()


@pytest.mark.parametrize("ending", ["tif", "vti", "npz", "zarr"])
def test_a_volume_of_another_size_is_not_reused(tmp_path: Path, ending: str):
    path = tmp_path / f"volume_000.{ending}"
    write(path, VOLUME)
    assert is_intact(path)
    assert not is_made([path], shape=(8, 8, 16), phases=2, console=Console())
    assert (tmp_path / f"volume_000.{ending}.damaged").exists() and not path.exists()


def test_a_volume_that_differs_between_its_files_is_not_reused(tmp_path: Path, capsys: pytest.CaptureFixture):
    paths = [tmp_path / f"volume_000.{ending}" for ending in ("tif", "vti")]
    for path in paths:
        write(path, VOLUME)
    assert is_intact(*paths)
    content = paths[1].read_bytes()
    start = content.rindex(b"\n</AppendedData>") - 1
    paths[1].write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    assert not is_intact(*paths)
    assert "differs" in capsys.readouterr().err


def test_a_volume_with_a_missing_file_is_incomplete_but_not_damaged(tmp_path: Path, capsys: pytest.CaptureFixture):
    write(tmp_path / "volume_000.tif", VOLUME)
    assert not is_intact(tmp_path / "volume_000.tif", tmp_path / "volume_000.vti")
    assert capsys.readouterr().err == ""
    assert (tmp_path / "volume_000.tif").exists()


def test_a_changed_record_is_not_reused(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "design_000.json"
    path.write_text(json.dumps(files.sealed({"met": True, "rounds": 1, "targets": []})))
    assert is_recorded(path, Console())
    path.write_text(path.read_text().replace("true", "false"))
    assert not is_recorded(path, Console())
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not is_recorded(path, Console())


def test_the_learning_curve_skips_damaged_lines(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    lines = [{"event": "training", "step": step, "loss": 1 / step} for step in (1, 2, 3)]
    whole = "\n".join(map(json.dumps, lines)) + "\n"
    expected = figures.training(write_text(log, whole))
    damaged = '[1, 2]\n\n{"event": "training", "step": "x", "loss": 3}\n{"event": "training", "step": 1e999}\n\x00\xff{'
    assert figures.training(write_text(log, whole + damaged)) == expected


def write_text(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"verb": "reconstruct"}', b'{"options": 3, "inputs": {}}'])
def test_a_damaged_config_is_refused_in_one_line(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], content: bytes
):
    (here / "run").mkdir()
    (here / "run" / "config.json").write_bytes(content)
    outcome = jaxmicro("reconstruct", work / "prior.safetensors", *SAMPLE, "--out", "run", "--resume")
    assert outcome.code == 2
    assert "no run to resume" in outcome.last_line and len(outcome.err.splitlines()) == 1
