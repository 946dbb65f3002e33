"""The study against true volumes runs end to end, and its yardstick is zero for equal volumes."""

import numpy as np
import pytest

from experiments.true3d.run import COLUMNS, blocks, group_rows, measure, run_smoke


@pytest.mark.slow  # compiles the whole chain
def test_generated_volumes_and_both_yardsticks_have_rows_with_all_columns(tmp_path):
    rows = run_smoke(tmp_path)
    assert len({row["compared"] for row in rows}) == 3 and len(rows) == 6
    assert all(set(COLUMNS) <= set(row) for row in rows)
    assert len(list((tmp_path / "figures").glob("*.png"))) == 3


def test_a_volume_compared_with_itself_has_no_error():
    labels = np.random.default_rng(0).integers(0, 2, (16, 16, 16)).astype(np.uint8)
    one = measure(labels, 2, 6)
    for row in group_rows("x", "itself", [(one, one)]):
        assert row["s2_error"] == row["lineal_path_error"] == 0 and row["area_ratio"] == 1


def test_blocks_are_disjoint_and_a_long_edge_is_cut():
    labels = np.arange(4 * 8 * 8).reshape(4, 8, 8)
    found = blocks(labels, (6, 4, 4))
    assert [b.shape for b in found] == [(4, 4, 4)] * 4
    assert len(np.unique(np.concatenate(found))) == labels.size
