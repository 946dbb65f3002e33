"""The reconstruction study runs end to end on a tiny network and makes no volume twice."""

import numpy as np
import pytest

from experiments.materials import micrograph
from experiments.priors import untrained_prior
from experiments.reconstruction.run import COLUMNS, run_smoke
from experiments.volumes import make_volumes
from jaxmicro.reconstruct import SamplingConfig


@pytest.mark.slow  # an experiment as a whole
def test_each_phase_and_variant_has_a_row_with_all_columns_of_the_table(tmp_path):
    rows = run_smoke(tmp_path)
    assert [(row["fractions"], row["phase"]) for row in rows] == [
        ("calibrated", "0"), ("calibrated", "1"), ("scattered", "0"), ("scattered", "1"), ("free", "0"), ("free", "1"),
    ]  # fmt: skip
    assert all(set(COLUMNS) <= set(row) for row in rows)
    assert len(list((tmp_path / "figures").glob("*.png"))) == 6


@pytest.mark.slow  # an experiment as a whole
def test_a_volume_that_is_there_is_not_made_again_and_more_can_be_asked_for(tmp_path):
    prior = untrained_prior(micrograph("carbonate"))
    options = {"shape": (16, 16, 16), "seed": 3, "sampling": SamplingConfig(steps=2, harmonise=0)}
    (first,) = make_volumes(prior, tmp_path, count=1, **options)
    written = (tmp_path / "volume_000.npz").stat().st_mtime_ns
    again, second = make_volumes(prior, tmp_path, count=2, **options)
    assert (tmp_path / "volume_000.npz").stat().st_mtime_ns == written
    assert again == first and not np.array_equal(second.labels, first.labels)
    with pytest.raises(ValueError, match="other settings"):
        make_volumes(prior, tmp_path, count=2, **{**options, "seed": 4})
