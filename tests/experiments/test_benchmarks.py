"""The benchmark's own check passes and its numbers have the right form; nothing is timed here."""

import json
from pathlib import Path

import pytest

from benchmarks import collection, device, guidance, solver_in_the_loop, solvers
from benchmarks.reconstruction import HARMONISE_COLUMNS, SIZE_COLUMNS, Case, measure, parse_case
from jaxmicro.models import PriorConfig, UNetConfig


@pytest.mark.slow  # an experiment as a whole
def test_a_case_is_checked_and_reported_with_the_columns_of_the_tables():
    tiny = PriorConfig(phases=3, patch=32, unet=UNetConfig(widths=(8, 8), embedding=16))
    row = measure(Case(edge=16, harmonise=1, steps=1), prior=tiny)
    assert row["evaluations"] == row["steps"] * 2
    assert set(SIZE_COLUMNS) | set(HARMONISE_COLUMNS) <= set(row)


def test_a_case_survives_being_written_as_text():
    case = Case(edge=96, harmonise=5, steps=1, whole=True)
    assert parse_case(case.name) == case


@pytest.mark.slow  # an experiment as a whole
def test_the_solvers_of_a_volume_are_checked_against_each_other(capsys: pytest.CaptureFixture):
    solvers.main(["--edge", "12", "--porosity", "0.7", "--no-peers"])
    table = capsys.readouterr().out.strip().splitlines()[2:]
    assert len({line.count("|") for line in table}) == 1
    assert [line.split("|")[2].split()[:1] for line in table[2:]] == [["jaxmicro"]] * 4


@pytest.mark.slow  # an experiment as a whole
def test_cost_per_voxel_is_measured_from_two_numbers_of_iterations(capsys: pytest.CaptureFixture):
    solvers.main(["--scaling", "8", "12"])
    table = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["8", "12"]


@pytest.mark.slow  # an experiment as a whole
def test_the_solvers_in_the_loop_agree(capsys: pytest.CaptureFixture):
    """The benchmark itself compares ours, the dense, the sparse and JAX-FEM's solves before it prints."""
    solver_in_the_loop.main(["--slices", "2", "--edge", "8"])
    table = capsys.readouterr().out.strip().splitlines()
    assert len(table) == 4 + 7


def test_steps_for_a_device_keep_their_rows_and_go_on_with_what_is_missing(tmp_path: Path):
    """In this process, at toy size; a row that is there is not measured again."""
    device.main(["--toy", "--inside", "ceilings", "--out", str(tmp_path)])
    rows = device.kept_rows(tmp_path)
    assert [row["case"] for row in rows] == ["copy", *(f"matrix product, {name}" for name in device.PRECISIONS)]
    lines = (tmp_path / "rows.jsonl").read_text()
    device.main(["--toy", "--inside", "ceilings", "--out", str(tmp_path)])
    assert (tmp_path / "rows.jsonl").read_text() == lines
    assert set(device.tables(rows)) == {"ceilings"}


@pytest.mark.slow  # compiles everything once
def test_every_step_for_a_device_runs_at_toy_size(tmp_path: Path):
    device.main(["--toy", "--minutes", "30", "--out", str(tmp_path)])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows} == set(device.STEPS)
    assert all(row["converged"] for row in rows if "converged" in row)


@pytest.mark.slow  # compiles every step twice
def test_guidance_of_slices_is_compared_with_a_plain_loop(capsys: pytest.CaptureFixture):
    guidance.main(["--network", "default", "--slices", "4", "--edge", "16", "--repeats", "1"])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| default")]
    assert len(table) == 4


@pytest.mark.slow  # an experiment as a whole
def test_samples_of_a_collection_are_checked_before_they_are_timed(capsys: pytest.CaptureFixture):
    collection.main(["--edge", "12", "--samples", "4"])
    table = capsys.readouterr().out.strip().splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == ["12^3"]
