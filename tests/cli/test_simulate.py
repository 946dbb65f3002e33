"""`jaxmicro simulate`: what the collection holds, interruptions, labels, and wrong input."""

import dataclasses
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.optimize import brentq

from jaxmicro import pipeline
from jaxmicro.cli.console import Console
from jaxmicro.errors import UserError
from jaxmicro.io import read_collection
from jaxmicro.pipeline import Range, SimulationConfig, plan_simulation, simulate
from tests.cli.conftest import Outcome
from tests.cli.test_interrupt import press_ctrl_c

# a film of 8^3 cells, six runs in three batches; one compiled program for most of these tests
FILM = "simulate cahn-hilliard --size 8 --phi 0.4 0.45 0.5 --chi 3.2 3.6 --times 3 --kappa 0.8 --together 2 --no-flux z"
LIBRARY = SimulationConfig(
    shape=(8, 8, 8),
    phi=(0.4, 0.45, 0.5),
    chi=(3.2, 3.6),
    times=3,
    kappa=0.8,
    together=2,
    no_flux=("z",),
)
MODULE: Any = sys.modules["jaxmicro.pipeline.simulate"]  # the package has a function of that name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an undisturbed simulation."""
    from jaxmicro.cli.main import main

    folder = tmp_path_factory.mktemp("whole") / "films"
    assert main([*FILM.split(), "--out", str(folder)]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run but the log, which has times, and the options, which have names of folders."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name not in ("log.jsonl", "config.json")
    }


def test_a_collection_has_the_process_parameters_and_the_runs_as_origins(whole: Path):
    made = read_collection(whole)  # the run folder will do
    assert made.grid == (8, 8, 8) and len(made) == 18
    assert made.periodic == (False, True, True)
    assert [(f.name, f.role) for f in made.features] == [("chi", "process"), ("phi", "process"), ("time", "process")]
    np.testing.assert_array_equal(made.origin, np.repeat(np.arange(6), 3))
    runs = set(zip(made.column("phi"), made.column("chi"), strict=True))
    assert runs == {(phi, chi) for phi in (0.4, 0.45, 0.5) for chi in (3.2, 3.6)}
    assert (np.diff(made.column("time").reshape(6, 3), axis=1) > 0).all()
    labels = made.samples(np.arange(18))
    assert set(np.unique(labels)) == {0, 1}
    assert labels.reshape(6, 3, 8, 8, 8)[:, -1].std(axis=(1, 2, 3)).min() > 0.2  # every run has separated
    assert {path.name for path in (whole / "figures").iterdir()} == {"evolution.png", "parameters.png", "film.gif"}
    with Image.open(whole / "figures" / "film.gif") as film:
        assert getattr(film, "n_frames", 1) == 3
    assert not (whole / "unfinished").exists()


def test_a_run_folder_is_measured_as_its_collection(whole: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    shutil.copytree(whole, here / "films")
    assert jaxmicro("measure", "films", "--features", "volume_fraction.1").code == 0
    measured = read_collection(here / "films")
    shares = measured.samples(range(18)).reshape(18, -1).mean(axis=1)
    np.testing.assert_allclose(measured.column("volume_fraction.1"), shares)


@pytest.mark.parametrize("at", [2, 4, 6])
def test_an_interrupted_simulation_ends_as_an_undisturbed_one_to_the_bit(
    at: int, whole: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    sent = signal.SIGTERM if at == 4 else signal.SIGINT
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, stage="simulating", at=at, sent=sent)
        outcome = jaxmicro(*FILM.split(), "--out", "cut")
    assert outcome.code == (143 if sent == signal.SIGTERM else 130)
    assert outcome.last_line.startswith("jaxmicro: interrupted") and "--resume" in outcome.last_line
    with pytest.raises(UserError, match="unfinished collection"):
        read_collection(here / "cut")
    computed = []
    monkeypatch.setattr(MODULE, "_simulate_batch", _counted(MODULE._simulate_batch, computed))
    assert jaxmicro(*FILM.split(), "--out", "cut", "--resume").code == 0
    assert len(computed) == (6 - at) // 2  # no batch twice
    assert contents(here / "cut") == contents(whole)


def _counted(function: Callable[..., Any], calls: list[None]) -> Callable[..., Any]:
    def counting(*args: Any, **options: Any) -> Any:
        calls.append(None)
        return function(*args, **options)

    return counting


def test_an_interruption_while_a_program_runs_keeps_its_runs(whole: Path, here: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(program: Any) -> KeyboardInterrupt:
        return KeyboardInterrupt()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MODULE, "_wait", interrupted)
        simulate(LIBRARY, here)
    reported: list[int] = []
    found = simulate(LIBRARY, here, progress=lambda stage, done, total, note: reported.append(done))
    assert reported == [2, 4, 6]
    np.testing.assert_array_equal(found.collection.samples(range(18)), read_collection(whole).samples(range(18)))


def test_waiting_for_a_program_returns_the_interruption(monkeypatch: pytest.MonkeyPatch):
    class Busy:
        def is_ready(self) -> bool:
            raise KeyboardInterrupt

        def block_until_ready(self) -> "Busy":
            return self

    assert isinstance(MODULE._wait([Busy()]), KeyboardInterrupt)
    assert MODULE._wait([jnp.ones(2)]) is None


def test_a_finished_simulation_is_not_computed_again(
    whole: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(MODULE, "_simulate_batch", None)
    before = contents(whole)
    assert jaxmicro(*FILM.split(), "--out", whole, "--resume").code == 0
    assert contents(whole) == before


def test_other_settings_are_refused(whole: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro(*FILM.split(), "--kappa", 0.9, "--out", whole, "--resume")
    assert outcome.code == 2
    outcome = jaxmicro(*FILM.replace("--kappa 0.8", "--kappa 0.9").split(), "--out", whole, "--resume")
    assert outcome.code == 2 and "started with kappa = 0.8" in outcome.last_line
    with pytest.raises(UserError, match="other settings"):
        simulate(dataclasses.replace(LIBRARY, seed=1), whole)


def test_three_phases_are_two_with_a_band_between(whole: Path, here: Path):
    three = simulate(dataclasses.replace(LIBRARY, phases=3), here).collection.samples(range(18))
    two = read_collection(whole).samples(range(18))
    assert set(np.unique(three)) == {0, 1, 2}
    assert (two[three == 0] == 0).mean() > 0.999 and (two[three == 2] == 1).mean() > 0.999  # another program rounds
    assert 0 < two[three == 1].mean() < 1


def test_runs_do_not_depend_on_how_many_are_computed_together_but_for_rounding(whole: Path, here: Path):
    alone = simulate(dataclasses.replace(LIBRARY, together=1), here)
    assert (alone.collection.samples(range(18)) != read_collection(whole).samples(range(18))).mean() < 1e-2
    assert (np.diff(alone.energy, axis=1) < 0).all()
    assert (np.diff(alone.steps, axis=1) > 0).all()
    shares = alone.collection.samples(range(18)).reshape(6, 3, -1).mean(axis=2)[:, -1].reshape(3, 2)
    assert (np.diff(shares, axis=0) > 0).all()  # more of a component, more of its phase


@pytest.mark.parametrize(("field", "says"), [("finished", "did not reach time"), ("finite", "is not finite")])
def test_a_run_that_fails_is_named_and_not_stored(
    field: str, says: str, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    whole_batch = MODULE._simulate_batch

    def failing(*args: Any, **options: Any) -> Any:
        found = whole_batch(*args, **options)
        return found._replace(**{field: getattr(found, field).at[1, 2].set(False)})

    monkeypatch.setattr(MODULE, "_simulate_batch", failing)
    outcome = jaxmicro(*FILM.split(), "--out", "run")
    assert outcome.code == 2
    assert says in outcome.last_line and "run 1 (phi 0.4, chi 3.6)" in outcome.last_line
    assert not list((here / "run" / "collection.zarr" / "labels").glob("c.*"))


BAD = {
    "range reversed": ("--phi 0.6:0.4", "smaller number first"),
    "phi outside": ("--phi 0:0.5", "between 0 and 1"),
    "below the spinodal": ("--phi 0.2 0.5 --chi 2.6", "chi must exceed 3.125"),
    "box too small": ("--size 8 8 --phi 0.5 --chi 3", "in this box"),
    "no edge": ("--size 0", "at least 2 cells"),
    "negative edge": ("--size 32 -4", "at least 2 cells"),
    "four edges": ("--size 8 8 8 8", "--size"),
    "axis that a box lacks": ("--size 32 32 --no-flux z", "no axis 'z'"),
    "thresholds out of order": ("--phases 3 --band 0.7 0.3", "the lower first"),
    "threshold outside": ("--threshold 1.2", "between 0 and 1"),
    "threshold of three": ("--phases 3 --threshold 0.5", "--band"),
    "band of two": ("--band 0.3 0.7", "--phases 3"),
    "chi of a polynomial": ("--energy polynomial --chi 3", "Flory-Huggins"),
    "stable polynomial": ("--energy polynomial --phi 0.32", "closer to 0.5"),
    "no runs": ("--runs 0", "--runs is 0"),
    "no times": ("--times 0", "--times is 0"),
    "runs that do not divide": ("--phi 0.4 0.5 --chi 3 3.5 --runs 6", "a multiple of 4"),
    "word for a range": ("--phi many", "is no number"),
    "times reversed": ("--time-range 100:10", "the earlier first"),
    "negative noise": ("--noise -1", "noise is -1"),
    "kappa of zero": ("--kappa 0", "kappa is 0"),
    "not finite": ("--chi 2.6:inf", "chi"),
    "too large for the memory": ("--size 4000 --together 100", "GB of memory"),
    "too large for the disk": ("--size 200 --runs 100000 --times 500", "GB"),
    "voxel size without unit": ("--voxel-size -1 --unit nm", "voxel size"),
    "another equation": ("", "cahn-hilliard"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD.keys())
def test_wrong_input_is_one_line_and_writes_nothing(text: str, says: str, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("simulate", "cahn-hilliard" if text else "schroedinger", *text.split(), "--out", "run")
    assert outcome.code == 2
    assert outcome.out == ""
    assert says in outcome.last_line and len(outcome.err.strip().splitlines()) == 1
    assert not (here / "run").exists()


def test_kappa_gives_interfaces_of_four_cells():
    """Against the binodal and the barrier by root finding; 11.4 for chi 4."""
    chi = 4.0
    poor = brentq(lambda phi: np.log(phi / (1 - phi)) + chi * (1 - 2 * phi), 1e-6, 0.4)
    f = [phi * np.log(phi) + (1 - phi) * np.log(1 - phi) + chi * phi * (1 - phi) for phi in (poor, 0.5)]
    exact = 2 * (f[1] - f[0]) * (4 / (1 - 2 * poor)) ** 2
    plan = plan_simulation(SimulationConfig(shape=(64, 64)))
    assert plan.kappa == pytest.approx(exact, rel=0.02)  # the table of compositions has steps of a few per cent
    assert plan.warnings == ()
    coarse = plan_simulation(SimulationConfig(shape=(32, 32), kappa=5.0, time_range=(100.0, 1e5))).warnings
    assert len(coarse) == 2 and "not resolved" in coarse[0] and "half the box" in coarse[1]


def test_the_parameters_fill_their_ranges_and_do_not_depend_on_the_number_of_runs():
    config = SimulationConfig(shape=(64, 64), phi=Range(0.4, 0.6), chi=(3.0, 3.5, 4.0), runs=12)
    few, many = plan_simulation(config), plan_simulation(dataclasses.replace(config, runs=64))
    np.testing.assert_array_equal(few.parameters, many.parameters[:12])
    np.testing.assert_array_equal(few.times, many.times[:12])
    bins = np.histogram(many.parameters[:, 0], 8, (0.4, 0.6))[0]
    assert bins.tolist() == [8] * 8  # a net: each eighth of the range has an eighth of the runs
    assert (plan_simulation(dataclasses.replace(config, seed=1)).parameters[:12] != few.parameters).any()


def test_progress_has_the_time_left(here: Path, monkeypatch: pytest.MonkeyPatch):
    reported: list[tuple[str, int, int]] = []

    def report(self: Console, stage: str, done: int, total: int, note: str = "") -> None:
        reported.append((stage, done, total))

    monkeypatch.setattr(Console, "progress", report)
    from jaxmicro.cli.main import main

    assert main([*FILM.split(), "--quiet", "--out", "run"]) == 0
    assert reported == [("simulating runs", done, 6) for done in (2, 4, 6)]
    assert "simulate" in dir(pipeline)
