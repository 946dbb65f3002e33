"""The latent study runs end to end on tiny networks."""

import pytest

from experiments.latent.run import RECONSTRUCTION, SLICES, VOLUMES, run_smoke


@pytest.mark.slow  # trains and samples the whole chain
def test_every_stage_has_rows_with_all_columns_of_its_table_and_figures(tmp_path):
    rows = run_smoke(tmp_path)
    for stage, columns in (("reconstruction", RECONSTRUCTION), ("volumes", VOLUMES), ("slices", SLICES)):
        assert rows[stage] and all(set(columns) <= set(row) for row in rows[stage])
    assert all(float(row["share_pca"]) > 0 and float(row["fractions"]) > 0 for row in rows["slices"])
    assert {row["path"] for row in rows["volumes"]} == {"latent", "pixel, equal time"}
    assert (tmp_path / "figures" / "berea_map.png").exists()
