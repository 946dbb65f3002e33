"""Ctrl-C: one line, exit code 130, and the same result after --resume as without the interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxmicro import pipeline
from jaxmicro.cli.console import Console
from jaxmicro.io.checkpoint import load_weights
from tests.cli.conftest import Outcome

SAMPLE = ["--size", 16, "--steps", 3, "--harmonise", 0, "--no-report", "--volumes", 2]
TRAIN = ["--from-scratch", "--patch", 16, "--widths", 8, "--steps", 6, "--batch", 2, "--sample-every", 0, "--no-tune"]


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, *, stage: str, at: int, sent: signal.Signals = signal.SIGINT) -> None:
    """Raise SIGINT (or another signal) the first time that `stage` reports `at` or more."""
    progress, pressed = Console.progress, []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with Ctrl-C ignored

    def watched(self: Console, name: str, done: int, total: int, note: str = "") -> None:
        progress(self, name, done, total, note)
        if name.startswith(stage) and done >= at and not pressed:
            pressed.append(done)
            signal.raise_signal(sent)

    monkeypatch.setattr(Console, "progress", watched)


def test_sampling_resumed_after_ctrl_c_has_the_same_result(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    run = ["reconstruct", work / "prior.safetensors", *SAMPLE]
    assert jaxmicro(*run, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, stage="sampling volume 2", at=2)
        outcome = jaxmicro(*run, "--out", "cut")
    assert outcome.code == 130
    assert outcome.last_line.startswith("jaxmicro: interrupted")
    assert "--resume" in outcome.last_line
    assert (here / "cut" / "volume_000.tif").exists()
    assert (here / "cut" / "unfinished.npz").exists()
    outcome = jaxmicro(*run, "--out", "cut", "--resume")
    assert outcome.code == 0
    assert "sampling volume 2 of 2 2/3" in outcome.err  # not from the beginning
    assert not (here / "cut" / "unfinished.npz").exists()
    for name in ("volume_000.tif", "volume_001.tif"):
        assert pipeline.read(here / "cut" / name) == pipeline.read(here / "whole" / name)


def test_training_resumed_after_ctrl_c_has_the_same_result(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    run = ["train", work / "image.png", *TRAIN]
    monkeypatch.setattr("jaxmicro.train.loop.PROGRESS_SECONDS", 0.0)
    assert jaxmicro(*run, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, stage="training", at=3)
        outcome = jaxmicro(*run, "--out", "cut")
    assert outcome.code == 130
    assert "--resume" in outcome.last_line
    assert not (here / "cut" / "weights.safetensors").exists()
    assert jaxmicro(*run, "--out", "cut", "--resume").code == 0
    (params, _), (expected, _) = (load_weights(here / name / "weights.safetensors") for name in ("cut", "whole"))
    assert json.dumps(flat(params)) == json.dumps(flat(expected))
    assert "complete" in jaxmicro(*run, "--out", "cut", "--resume").err


def flat(tree: dict) -> list:
    """Every number of a tree, in order."""
    return [flat(value) if isinstance(value, dict) else value.tolist() for _, value in sorted(tree.items())]


@pytest.mark.slow
def test_a_real_process_stops_on_a_real_signal(work: Path, here: Path):
    command = [sys.executable, "-m", "jaxmicro", "reconstruct", str(work / "prior.safetensors"), "--out", "run"]
    command += ["--size", "32", "--steps", "5000"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # see `press_ctrl_c`
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("sampling"):
        time.sleep(0.1)
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("jaxmicro: interrupted")


def test_sigterm_ends_as_ctrl_c_does_with_its_own_exit_code(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    before = signal.getsignal(signal.SIGTERM)
    run = ["reconstruct", work / "prior.safetensors", *SAMPLE, "--out", "cut"]
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, stage="sampling volume 1", at=2, sent=signal.SIGTERM)
        outcome = jaxmicro(*run)
    assert outcome.code == 143
    assert outcome.last_line.startswith("jaxmicro: interrupted") and "--resume" in outcome.last_line
    assert (here / "cut" / "unfinished.npz").exists()
    assert signal.getsignal(signal.SIGTERM) == before
