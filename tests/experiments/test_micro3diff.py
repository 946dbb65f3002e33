"""The cases of Micro3Diff run end to end, and the originals have no error against themselves."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.micro3diff.config import CASES
from experiments.micro3diff.run import COLUMNS, SWEEP_COLUMNS, Curves, curves_of_volume, errors, run_smoke
from jaxmicro.types import Microstructure


@pytest.mark.slow  # compiles the whole chain
def test_cases_and_sweep_have_rows_with_all_columns(tmp_path):
    cases, sweep = run_smoke(tmp_path)
    assert [row["case"] for row in cases] == ["spheres"]
    assert [row["evaluations"] for row in sweep] == ["6"]
    assert set(COLUMNS) <= set(cases[0]) and set(SWEEP_COLUMNS) <= set(sweep[0])
    assert (tmp_path / "figures" / "sweep.png").is_file()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_volume_has_no_error_against_itself(dimensions):
    phase = np.random.default_rng(0).random((16, 16, 16)) < 0.4
    case = replace(CASES["spheres"], dimensions=dimensions)
    curves = curves_of_volume(Microstructure(phase.astype(np.uint8), (0.0, 1.0)), case, 6)
    row = errors([curves, curves], curves)
    assert row["s2_error"] == row["lineal_path_error"] == row["s2_error_each_std"] == 0
    assert row["phi"] == pytest.approx(phase.mean())


def test_the_error_of_the_mean_curve_is_at_most_the_mean_error():
    reference = Curves(np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.2, 0.1]))
    above, below = (Curves(reference.two_point + d, reference.lineal_path + d) for d in (0.1, -0.1))
    row = errors([above, below], reference)
    assert row["s2_error"] == pytest.approx(0, abs=1e-12) and row["s2_error_each"] > 0


def test_the_paper_reports_four_cases():
    assert len(CASES) == 4 and all(case.paper_s2 > 0 for case in CASES.values())
