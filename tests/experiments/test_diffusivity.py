"""The diffusivity study runs and counts what does not conduct."""

import pytest

from experiments.diffusivity.config import smoke
from experiments.diffusivity.run import COLUMNS, pm, run_smoke
from experiments.materials import cubes, whole_volume


@pytest.mark.slow  # an experiment as a whole
def test_each_phase_and_axis_has_a_row_with_all_columns_of_the_table(tmp_path):
    rows = run_smoke(tmp_path)
    assert [(row["phase"], row["axis"]) for row in rows] == [(p, a) for p in "01" for a in "zyx"]
    assert all(set(COLUMNS) <= set(row) for row in rows)
    for row in rows:
        assert float(row["finite_volume"].split()[0]) <= float(row["q1"].split()[0]) < 1


def test_cubes_are_disjoint_parts_of_the_volume():
    volume, config = whole_volume("berea3d"), smoke()
    first, second = cubes(volume, config.edges[0], config.most)
    assert first.shape == second.shape == (12, 12, 12)
    assert (first.labels == volume.labels[:12, :12, :12]).all()
    assert not (first.labels == second.labels).all()


def test_a_single_value_has_no_spread():
    assert pm([0.25], 2) == "0.25" and pm([1.0, 3.0], 1) == "2.0 ± 1.4"
