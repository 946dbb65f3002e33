"""Training that is killed, interrupted or distributed over devices ends in the state of an undisturbed run."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def start(folder: Path, **environment: str) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/train/toy.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path, **environment: str) -> list[str]:
    """Train to the end; what was said."""
    process = start(folder, **environment)
    said = process.communicate(timeout=200)[0].splitlines()
    assert process.returncode == 0
    return said


def kill(folder: Path, *, saves: int, seconds: float) -> None:
    """SIGKILL the run `seconds` after it began its save number `saves`."""
    process = start(folder)
    for line in process.stdout:
        saves -= line.startswith("saving")
        if saves == 0:
            break
    time.sleep(seconds)
    process.kill()
    rest = process.communicate(timeout=60)[0]
    assert "devices" not in rest, "the run ended before it was killed"


def last(folder: Path) -> list[np.ndarray]:
    with np.load(folder / "last.npz") as file:
        return [file[name] for name in file.files]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[np.ndarray]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return last(folder)


def test_a_run_killed_at_three_random_moments_ends_equal_to_the_bit(tmp_path, undisturbed):
    chance = random.Random(time.time_ns())  # another three moments each time; equality must hold at all of them
    kill(tmp_path, saves=3, seconds=0.0)  # during a save
    kill(tmp_path, saves=3, seconds=chance.uniform(0, 0.05))
    kill(tmp_path, saves=3, seconds=chance.uniform(0, 0.1))
    said = finish(tmp_path)
    assert int(said[0].removeprefix("from ")) > 0, "the killed runs left no checkpoint to go on from"
    for resumed, straight in zip(last(tmp_path), undisturbed, strict=True):
        np.testing.assert_array_equal(resumed, straight, strict=True)


def test_a_run_over_eight_devices_agrees_with_one_device_to_rounding(tmp_path, undisturbed):
    said = finish(tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    assert said[-1] == "devices 8"
    for sharded, single in zip(last(tmp_path), undisturbed, strict=True):
        # The mean over the batch is summed in another order: some 1e-7 per update, damped by a converging descent.
        np.testing.assert_allclose(sharded, single, rtol=1e-4, atol=1e-5)


def test_a_batch_that_eight_devices_cannot_share_is_refused_with_the_remedy():
    program = """
import numpy
from jaxmicro.devices import mesh
mesh.shard_batch({"x": numpy.zeros((12, 2))}, mesh.make_mesh())
"""
    environment = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    said = subprocess.run([sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True)
    assert "UserError: a batch of 12 cannot be split over 8 devices" in said.stderr.replace("jaxmicro.errors.", "")
