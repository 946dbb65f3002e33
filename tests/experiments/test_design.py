"""The study of designs runs end to end on tiny volumes."""

import pytest

from experiments.design.config import CASES
from experiments.design.run import COLUMNS, run_smoke
from jaxmicro.guidance import parse_target


@pytest.mark.slow  # compiles the whole chain
def test_cases_have_rows_with_all_columns(tmp_path):
    rows = run_smoke(tmp_path)
    assert [row["case"] for row in rows] == ["sds volume_fraction.0=+20%", "diffusivity.0.z=-20%"]
    assert set(COLUMNS) <= set(rows[0])
    assert len(list((tmp_path / "figures").glob("*.png"))) == 2
    assert run_smoke(tmp_path)[0]["achieved"] == rows[0]["achieved"]  # nothing is made again


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_target_can_be_read(case):
    for text in case.targets:
        assert parse_target(text, phases=3).phase < 3
