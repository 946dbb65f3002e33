"""Laws of labels, phase fractions and microstructures."""

import jax
import numpy as np
import pytest

from jaxmicro import phases
from jaxmicro.errors import UserError
from jaxmicro.types import Microstructure, check_patch, in_phases_of


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
    found = in_phases_of(reference, two)
    assert found == Microstructure((2 * (labels > 0)).astype(np.uint8), reference.values)
    renamed = Microstructure(labels, (0.0, 1.0, 2.0))
    assert in_phases_of(reference, renamed) is renamed
    with pytest.raises(UserError, match="2 phases"):
        in_phases_of(reference, Microstructure(two.labels, (0.0, 1.0)))
    with pytest.raises(UserError, match="has 2 phases"):
        in_phases_of(two, reference)


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
def test_an_invalid_microstructure_is_refused(labels, change):
    with pytest.raises(UserError):
        Microstructure(**({"labels": labels, "values": (0.0, 1.0, 2.0)} | change))


def test_an_image_smaller_than_a_patch_is_refused_and_one_as_large_is_not():
    micrograph = Microstructure(np.zeros((64, 63), np.uint8), (0.0, 1.0))
    check_patch(micrograph, 63)
    with pytest.raises(UserError, match="smaller than the training patch of 64"):
        check_patch(micrograph, 64)
