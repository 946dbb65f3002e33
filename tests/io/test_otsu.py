"""Otsu's thresholds against an exhaustive search over all sets of them."""

import itertools

import numpy as np
import pytest

from jaxmicro.io import segmentation
from jaxmicro.io.otsu import multi_otsu


def variance_between(levels, counts, thresholds):
    """Otsu's criterion: sum over the classes of their number times the squared distance of their mean."""
    classes, mean = np.digitize(levels, thresholds), np.average(levels, weights=counts)
    return sum(
        counts[classes == k].sum() * (np.average(levels[classes == k], weights=counts[classes == k]) - mean) ** 2
        for k in np.unique(classes)
    )


def exhaustive(levels, counts, classes):
    """The largest variance between classes over all sets of thresholds."""
    middles = (levels[1:] + levels[:-1]) / 2
    return max(variance_between(levels, counts, cuts) for cuts in itertools.combinations(middles, classes - 1))


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_thresholds_are_those_of_an_exhaustive_search(classes, seed):
    random = np.random.default_rng(seed)
    levels = np.sort(random.choice(60_000, random.integers(classes, 14), replace=False)) / random.choice([1, 7.0])
    counts = random.integers(1, random.choice([3, 1000]), levels.size)
    thresholds = multi_otsu(levels, counts, classes)
    assert np.all(np.diff(thresholds) > 0) and np.unique(np.digitize(levels, thresholds)).size == classes
    found = variance_between(levels, counts, thresholds)
    assert found == pytest.approx(exhaustive(levels, counts, classes), rel=1e-12)  # rounding; any of several optima


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "scale, dtype", [(1, np.uint8), (17, np.uint8), (4000, np.uint16), (1 / 3, np.float32), (1.0, np.float64)]
)
def test_an_image_of_few_grey_levels_is_split_where_its_histogram_says(classes, scale, dtype):
    """Level 0 is occupied here: implementations that count level 0 as 1 give other thresholds."""
    counts = np.array([4000, 900, 300, 200, 180, 400, 500, 420, 380, 300, 200, 100, 40, 20, 10, 5])
    grey = np.random.default_rng(0).permutation(np.repeat(np.arange(16), counts))
    found, thresholds = segmentation.multi_otsu_labels((grey * scale).astype(dtype).reshape(1, -1), classes)
    best = exhaustive(np.arange(16.0), counts, classes)
    assert variance_between(np.arange(16.0), counts, np.array(thresholds) / scale) == pytest.approx(best, rel=1e-12)
    np.testing.assert_array_equal(found[0], np.digitize(grey, np.array(thresholds) / scale))


def test_many_grey_levels_are_split_within_a_bin_of_the_exact_threshold():
    random = np.random.default_rng(0)
    grey = np.concatenate([random.normal(1000, 300, 600), random.normal(3000, 500, 400)])
    levels = np.sort(grey)
    exact = multi_otsu(levels, np.ones(levels.size, int), 2)
    (found,) = segmentation.multi_otsu_labels(grey, 2)[1]
    assert abs(found - exact[0]) < 2 * np.ptp(grey) / 1024 + np.diff(levels[np.abs(levels - exact[0]) < 30]).max()
