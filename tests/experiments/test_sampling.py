"""The sampling study runs, and its variants cost the same."""

import pytest

from experiments.sampling.config import BASE, variants
from experiments.sampling.run import COLUMNS, cost, run_smoke


def test_variants_cost_the_same_unless_their_name_says_so():
    for name, sampling in variants().items():
        if "cost" not in name:
            assert abs(cost(sampling) / cost(BASE) - 1) <= 0.03, name


@pytest.mark.slow  # compiles the whole chain
def test_each_variant_has_a_row_with_all_columns_of_the_table(tmp_path):
    rows = run_smoke(tmp_path)
    assert {row["variant"] for row in rows} == {"base", "average, 13 steps, n_h 1"}
    assert all(set(COLUMNS) <= set(row) for row in rows)
