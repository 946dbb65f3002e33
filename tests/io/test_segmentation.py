"""Laws of phases from grey levels or distinct values."""

import numpy as np
import pytest

from jaxmicro.errors import UserError
from jaxmicro.io.levels import label
from jaxmicro.io.segmentation import MAX_PHASES, check_numbers, mean_levels, multi_otsu_labels


def labels_from_values(values):
    """Labels of the distinct values of one array, and these values."""
    check_numbers(values)
    found = label([values], max_phases=MAX_PHASES)
    return found.labels[0], found.values


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.uint8)


@pytest.mark.parametrize("levels", [(0, 127, 255), (0, 1, 2), (-1.5, 0.25, 3.0), (0, 1000, 65535)])
def test_distinct_values_become_labels_in_increasing_order(labels, levels):
    found, values = labels_from_values(np.array(levels)[labels])
    np.testing.assert_array_equal(found, labels)
    assert values == levels


def test_a_binary_mask_has_two_phases():
    found, values = labels_from_values(np.eye(3, dtype=bool))
    np.testing.assert_array_equal(found, np.eye(3))
    assert values == (0.0, 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_multi_otsu_finds_phases_that_noise_does_not_make_overlap(labels, dtype):
    grey = (np.array([40, 120, 200])[labels] + np.random.default_rng(1).uniform(-20, 20, labels.shape)).astype(dtype)
    found, thresholds = multi_otsu_labels(grey, 3)
    np.testing.assert_array_equal(found, labels)
    assert 60 <= thresholds[0] <= 100 and 140 <= thresholds[1] <= 180  # in the gaps of the grey levels


def test_segmenting_a_label_image_keeps_its_labels(labels):
    found, _ = multi_otsu_labels(np.array([0, 127, 255], np.uint8)[labels], 3)
    np.testing.assert_array_equal(found, labels)


def test_scaling_grey_levels_scales_thresholds(labels):
    grey = labels + np.random.default_rng(1).uniform(-0.4, 0.4, labels.shape)
    found, thresholds = multi_otsu_labels(grey, 3)
    scaled_labels, scaled = multi_otsu_labels(1000 * grey, 3)
    np.testing.assert_array_equal(scaled_labels, found)
    np.testing.assert_allclose(scaled, 1000 * np.array(thresholds), rtol=1e-12)  # float64 rounding


def test_a_hot_pixel_does_not_move_the_thresholds():
    grey = np.random.default_rng(1).uniform(0, 1, (50, 50)) + np.repeat([0, 5], 25)
    hot = grey.copy()
    hot[0, 0] = 1e6
    # the gap is 4 wide
    assert multi_otsu_labels(hot, 2)[1][0] == pytest.approx(multi_otsu_labels(grey, 2)[1][0], abs=0.1)


def test_mean_levels_are_those_of_the_phases(labels):
    assert mean_levels(np.array([5, 7, 11])[labels], labels, 3) == (5.0, 7.0, 11.0)


@pytest.mark.parametrize(
    "values, remedy",
    [
        (np.arange(100), "--segment"),
        (np.zeros((4, 4)), "one phase only"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros((0, 4)), "empty"),
        (np.array([1j, 2]), "real numbers"),
        (np.array(["a", "b"]), "real numbers"),
    ],
)
def test_values_that_are_no_phases_get_one_line_that_says_why(values, remedy):
    with pytest.raises(UserError, match=remedy) as error:
        labels_from_values(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("grey, count", [(np.arange(9), 1), (np.arange(9), 6), (np.array([0, 1]), 3), (np.zeros(3), 2)])
def test_an_impossible_segmentation_is_refused(grey, count):
    with pytest.raises(UserError):
        multi_otsu_labels(grey, count)
