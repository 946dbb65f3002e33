"""Restoration is the posterior of a prior and a likelihood: certain pixels stay, unknown ones follow the prior."""

import jax
import numpy as np
import pytest

from jaxmicro import data, pipeline
from jaxmicro.errors import UserError
from jaxmicro.evaluate import restoration_scores
from jaxmicro.pipeline import Prior
from jaxmicro.pipeline.restoration import _evidence_of_all
from tests.media import level_cut

TRUTH = level_cut((2, 64, 50), fraction=0.4, sigma=4.0, seed=3).astype(np.uint8)


@pytest.fixture(scope="module")
def prior() -> Prior:
    return pipeline.load_prior("general_2phase")


def evidence_of(corruption: data.Corruption) -> tuple[np.ndarray, np.ndarray]:
    seen = np.asarray(corruption.apply(TRUTH, phases=2, key=jax.random.key(1)))
    return seen, np.asarray(corruption.log_likelihood(seen, phases=2))


def test_flips_are_removed_better_than_by_a_median_and_clean_images_stay(prior: Prior):
    from experiments.restoration.run import median, wrong

    for probability, most in ((0.0, 1e-3), (0.15, 0.85)):
        seen, evidence = evidence_of(data.SaltAndPepper(probability=probability))
        found = pipeline.restore(prior, evidence)
        assert found.labels.shape == TRUTH.shape
        np.testing.assert_allclose(found.probabilities.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(found.probabilities.argmax(axis=-1), found.labels)
        best = min(wrong(TRUTH, median(seen, size)) for size in (3, 5, 7)) if probability else 1.0
        assert wrong(TRUTH, found.labels) < most * best
    assert restoration_scores(TRUTH, found.probabilities)["calibration"] < 0.03


def test_draws_differ_where_nothing_is_known_and_nowhere_else(prior: Prior):
    _, evidence = evidence_of(data.ScaleBar(height=0.2, width=0.4, phase=0))
    hidden = np.ptp(evidence, axis=-1) == 0
    one, same, other = (pipeline.restore(prior, evidence, steps=16, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, same.probabilities)
    assert np.mean(one.labels[hidden] != other.labels[hidden]) > 0.1
    assert 0.05 < one.labels[hidden].mean() < 0.95
    for found in (one, other):
        assert np.mean(found.labels[~hidden] != TRUTH[~hidden]) < 1e-3
    both = pipeline.restore(prior, evidence, steps=16, draws=2).probabilities[hidden]
    assert np.mean((both > 0.2) & (both < 0.8)) > 0.05  # of two draws that differ


@pytest.mark.parametrize("phases", [2, 3])
def test_evidence_of_flips_is_that_of_all_pixels_and_its_lead_is_four_times_the_snr(phases: int):
    seen = np.random.default_rng(0).integers(0, phases, (2, 40, 40)).astype(np.uint8)
    evidence = data.SaltAndPepper(probability=0.2).log_likelihood(seen, phases=phases)
    evidence -= evidence.mean(axis=-1, keepdims=True)
    of_all, snr = _evidence_of_all(evidence)
    np.testing.assert_allclose(of_all, evidence, rtol=1e-5)
    other = 0.2 / (phases - 1)
    assert float(snr) == pytest.approx((0.8 - other) * np.log(0.8 / other) / 4, rel=1e-4)
    none, zero = _evidence_of_all(evidence.at[:, :8].set(0))
    assert float(zero) == 0 and not np.asarray(none).any()


def test_scores_of_the_truth_are_perfect_and_of_overconfidence_not():
    sure = np.stack([TRUTH == 0, TRUTH == 1], axis=-1).astype(np.float32)
    assert restoration_scores(TRUTH, sure) == {"wrong": 0, "fraction": 0, "interface": 0, "calibration": 0}
    flipped = np.asarray(data.SaltAndPepper(probability=0.2).apply(TRUTH, phases=2, key=jax.random.key(0)))
    of_flipped = np.stack([flipped == 0, flipped == 1], axis=-1)
    wrong = float(np.mean(flipped != TRUTH))
    assert restoration_scores(TRUTH, of_flipped.astype(np.float32))["calibration"] == pytest.approx(wrong)
    honest = np.where(of_flipped, 1 - wrong, wrong).astype(np.float32)
    assert restoration_scores(TRUTH, honest)["calibration"] == pytest.approx(0, abs=1e-5)


def test_priors_that_cannot_restore_an_image_are_refused(prior: Prior):
    with pytest.raises(UserError, match="3 phases, the prior 2"):
        pipeline.restore(prior, np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(UserError, match="none of a micrograph"):
        pipeline.restore(pipeline.load_prior("opv"), np.zeros((1, 16, 16, 2), np.float32))


def test_the_study_has_a_row_for_each_corruption_with_all_columns(prior: Prior):
    from experiments.restoration.run import COLUMNS, rows

    (row,) = rows(TRUTH[0], 2, prior, {"flips": data.SaltAndPepper()})
    assert {"material", *row} == set(COLUMNS)
    assert float(row["prior"]) < float(row["observed"])  # pyright: ignore[reportArgumentType]
