"""The study of designs runs end to end on tiny volumes."""

import pytest

from experiments.design import parameters
from experiments.design.config import CASES
from experiments.design.run import COLUMNS, run_smoke
from jaxmicro.guidance import parse_target


@pytest.mark.slow  # an experiment as a whole
def test_the_study_of_parameters_has_rows_with_all_columns_and_fits_its_readme(tmp_path, capsys):
    rows = parameters.run_smoke(tmp_path)
    assert len(rows) == len([key for key in parameters.PAPER if key[0] == "volume_fraction"])
    assert set(parameters.COLUMNS) <= set(rows[0])
    assert "<!-- parameters -->" in (parameters.HERE / "README.md").read_text()
    with pytest.raises(SystemExit) as end:
        parameters.main(["diffusion"])
    assert end.value.code == 2 and "no quantity diffusion" in capsys.readouterr().err


@pytest.mark.slow  # an experiment as a whole
def test_cases_have_rows_with_all_columns(tmp_path):
    rows = run_smoke(tmp_path)
    assert [row["case"] for row in rows] == ["sds volume_fraction.0=+20%", "diffusivity.0.z=-20%"]
    assert set(COLUMNS) <= set(rows[0])
    assert len(list((tmp_path / "figures").glob("*.png"))) == 3  # of one also the distribution over sections
    assert run_smoke(tmp_path)[0]["achieved"] == rows[0]["achieved"]  # nothing is made again


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_target_can_be_read(case):
    for text in case.targets:
        assert parse_target(text, phases=3).phase < 3
