"""Laws of labels, phase fractions and the grey levels they come from."""

import jax
import numpy as np
import pytest

from jaxmicro import phases
from jaxmicro.errors import UserError
from jaxmicro.types import Microstructure, check_patch


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.uint8)


def test_labels_to_fractions_and_back_is_exact(labels):
    there_and_back = jax.jit(lambda grid: phases.to_labels(phases.one_hot(grid, 3)))
    np.testing.assert_array_equal(there_and_back(labels), labels)


def test_fractions_sum_to_one_in_every_voxel(labels):
    np.testing.assert_array_equal(phases.one_hot(labels, 3).sum(axis=-1), np.ones(labels.shape))


def test_permuting_labels_permutes_fractions(labels):
    order = np.array([2, 0, 1])
    permuted = phases.one_hot(order[labels], 3)
    np.testing.assert_array_equal(permuted[..., order], phases.one_hot(labels, 3))


def test_a_volume_that_lacks_phases_is_matched_by_value_not_by_rank(labels):
    reference = Microstructure(labels, (0.0, 127.0, 255.0))
    two = Microstructure((labels > 0).astype(np.uint8), (0.0, 255.0))
    found = phases.in_phases_of(reference, two)
    assert found == Microstructure((2 * (labels > 0)).astype(np.uint8), reference.values)
    renamed = Microstructure(labels, (0.0, 1.0, 2.0))
    assert phases.in_phases_of(reference, renamed) is renamed
    with pytest.raises(UserError, match="2 phases"):
        phases.in_phases_of(reference, Microstructure(two.labels, (0.0, 1.0)))
    with pytest.raises(UserError, match="has 2 phases"):
        phases.in_phases_of(two, reference)


@pytest.mark.parametrize("levels", [(0, 127, 255), (0, 1, 2), (-1.5, 0.25, 3.0), (0, 1000, 65535)])
def test_distinct_values_become_labels_in_increasing_order(labels, levels):
    found, values = phases.labels_from_values(np.array(levels)[labels])
    np.testing.assert_array_equal(found, labels)
    assert values == levels


def test_a_binary_mask_has_two_phases():
    found, values = phases.labels_from_values(np.eye(3, dtype=bool))
    np.testing.assert_array_equal(found, np.eye(3))
    assert values == (0.0, 1.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_multi_otsu_finds_phases_that_noise_does_not_make_overlap(labels, dtype):
    grey = (np.array([40, 120, 200])[labels] + np.random.default_rng(1).uniform(-20, 20, labels.shape)).astype(dtype)
    found, thresholds = phases.segment(grey, 3)
    np.testing.assert_array_equal(found, labels)
    assert 60 <= thresholds[0] <= 100 and 140 <= thresholds[1] <= 180  # in the gaps of the grey levels


def test_segmenting_a_label_image_keeps_its_labels(labels):
    found, _ = phases.segment(np.array([0, 127, 255], np.uint8)[labels], 3)
    np.testing.assert_array_equal(found, labels)


def test_scaling_grey_levels_scales_thresholds(labels):
    grey = labels + np.random.default_rng(1).uniform(-0.4, 0.4, labels.shape)
    found, thresholds = phases.segment(grey, 3)
    scaled_labels, scaled = phases.segment(1000 * grey, 3)
    np.testing.assert_array_equal(scaled_labels, found)
    np.testing.assert_allclose(scaled, 1000 * np.array(thresholds), rtol=1e-12)  # float64 rounding


def test_a_hot_pixel_does_not_move_the_thresholds():
    grey = np.random.default_rng(1).uniform(0, 1, (50, 50)) + np.repeat([0, 5], 25)
    hot = grey.copy()
    hot[0, 0] = 1e6
    assert phases.segment(hot, 2)[1][0] == pytest.approx(phases.segment(grey, 2)[1][0], abs=0.1)  # the gap is 4 wide


def test_mean_levels_are_those_of_the_phases(labels):
    assert phases.mean_levels(np.array([5, 7, 11])[labels], labels, 3) == (5.0, 7.0, 11.0)


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
        phases.labels_from_values(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("grey, count", [(np.arange(9), 1), (np.arange(9), 6), (np.array([0, 1]), 3), (np.zeros(3), 2)])
def test_an_impossible_segmentation_is_refused(grey, count):
    with pytest.raises(UserError):
        phases.segment(grey, count)


def test_volume_fractions_sum_to_one_and_count_voxels(labels):
    fractions = Microstructure(labels, (0.0, 1.0, 2.0, 3.0)).volume_fractions
    assert sum(fractions) == pytest.approx(1, abs=1e-12)  # float64 rounding
    assert fractions[3] == 0
    assert fractions[1] == np.mean(labels == 1)


def test_microstructures_are_equal_when_labels_values_and_size_are(labels):
    one = Microstructure(labels, (0.0, 1.0, 2.0), 65.0, "nm", "a.png")
    assert one == Microstructure(labels.copy(), (0.0, 1.0, 2.0), 65.0, "nm", "b.png")
    assert one != Microstructure(labels, (0.0, 1.0, 2.0), 65.0, "um")
    assert one != Microstructure(2 - labels, (0.0, 1.0, 2.0), 65.0, "nm")


@pytest.mark.parametrize(
    "change",
    [
        {"values": (0.0, 1.0)},
        {"voxel_size": -1.0},
        {"voxel_size": float("nan")},
        {"labels": np.zeros((2, 2), int)},
        {"labels": np.zeros((2, 2, 2, 2), np.uint8)},
        {"labels": np.zeros((0, 2), np.uint8)},
    ],
)
def test_an_impossible_microstructure_cannot_be_made(labels, change):
    with pytest.raises(UserError):
        Microstructure(**({"labels": labels, "values": (0.0, 1.0, 2.0)} | change))


def test_an_image_smaller_than_a_patch_is_refused_and_one_as_large_is_not():
    micrograph = Microstructure(np.zeros((64, 63), np.uint8), (0.0, 1.0))
    check_patch(micrograph, 63)
    with pytest.raises(UserError, match="smaller than the training patch of 64"):
        check_patch(micrograph, 64)
