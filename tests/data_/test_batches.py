"""Laws of crops: positions, orientations, and independence of resumption and sharding."""

import itertools

import numpy as np
import pytest

from jaxmicro.data import CropConfig, crop_batches, crop_dataset, training_sources, volume_planes
from jaxmicro.errors import UserError


def numbered(height: int, width: int, first: int = 0) -> np.ndarray:
    """An image in which every pixel has its own value; at most 256 pixels."""
    return (first + np.arange(height * width)).astype(np.uint8).reshape(height, width)


def random_labels(*shape: int, phases: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, phases, shape).astype(np.uint8)


def symmetry_group(image: np.ndarray) -> list[bytes]:
    turned = [np.rot90(image, k) for k in range(4)]
    return [view.tobytes() for view in turned + [view[::-1] for view in turned]]


def test_every_crop_is_a_window_of_its_source_in_one_of_eight_orientations():
    image = random_labels(20, 30)
    windows = np.lib.stride_tricks.sliding_window_view(image, (6, 6)).reshape(-1, 6, 6)
    allowed = {view for window in windows for view in symmetry_group(window)}
    for crop in crop_dataset(image, CropConfig(patch=6, batch=64))[0]:
        assert crop.tobytes() in allowed


@pytest.mark.parametrize(("augment", "count"), [("isotropic", 8), ("flips", 4), ("none", 1)])
def test_the_orientations_are_equally_likely(augment, count):
    image = numbered(4, 4)
    crops = crop_dataset(image, CropConfig(patch=4, batch=8000, augment=augment))[0]
    seen, times = np.unique(crops.reshape(8000, -1), axis=0, return_counts=True)
    assert {row.tobytes() for row in seen} <= set(symmetry_group(image))
    assert len(seen) == count
    # 8000 draws: the standard deviation is sqrt(8000 * 1/8 * 7/8) = 30 at 1000 counts, 39 at 2000; five are allowed
    assert np.abs(times - 8000 / count).max() < 200


def test_mirroring_alone_keeps_rows_as_rows():
    layers = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None], (12, 12)).copy()
    crops = crop_dataset(layers, CropConfig(patch=5, batch=64, augment="flips"))[0]
    assert (crops == crops[:, :, :1]).all()


def test_every_position_is_equally_likely_over_images_and_volumes_together():
    # Crops of one pixel: 6 + 20 + 3 * 24 positions, and every pixel value tells its voxel.
    image, wide = numbered(2, 3), numbered(4, 5, first=6)
    volume = (26 + np.arange(24)).astype(np.uint8).reshape(2, 3, 4)
    draws = 98 * 400
    crops = crop_dataset([image, wide, *volume_planes(volume)], CropConfig(patch=1, batch=draws))[0]
    times = np.bincount(crops.ravel(), minlength=50)
    expected = np.concatenate([np.full(26, 400), np.full(24, 1200)])
    chi_squared = ((times - expected) ** 2 / expected).sum()
    assert len(times) == 50
    assert chi_squared < 49 + 5 * np.sqrt(
        2 * 49
    )  # 49 degrees of freedom: mean 49, variance 98; five standard deviations


def test_weights_set_how_often_each_source_is_used():
    small, large = np.zeros((8, 8), np.uint8), np.ones((100, 100), np.uint8)
    crops = crop_dataset([small, large], CropConfig(patch=8, batch=10000), weights=[3.0, 1.0])[0]
    assert crops[:, 0, 0].mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / 10000))  # five standard errors


@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_restored_iterator_continues_with_the_same_batches(at):
    image, config = random_labels(90, 80), CropConfig(patch=16, batch=8, seed=5)
    whole = list(itertools.islice(crop_batches(image, config), at + 4))
    saved = crop_batches(image, config)
    for _ in range(at):
        next(saved)
    state = saved.get_state()
    fresh = crop_batches(image, config)
    next(fresh)
    fresh.set_state(state)
    for expected in whole[at:]:
        np.testing.assert_array_equal(next(fresh), expected)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_shares_of_the_processes_make_up_the_batch_of_one(processes):
    image, config = random_labels(70, 70), CropConfig(patch=16, batch=8)
    shares = [crop_batches(image, config, process_index=i, process_count=processes) for i in range(processes)]
    for batch in itertools.islice(crop_batches(image, config), 3):
        np.testing.assert_array_equal(np.concatenate([next(share) for share in shares]), batch)


def test_a_crop_depends_on_the_seed_and_its_number_not_on_the_batch_size():
    image = random_labels(70, 70)
    large = crop_dataset(image, CropConfig(patch=16, batch=12))
    small = crop_dataset(image, CropConfig(patch=16, batch=4))
    np.testing.assert_array_equal(large[1], np.concatenate([small[3], small[4], small[5]]))
    assert (crop_dataset(image, CropConfig(patch=16, batch=12, seed=1))[1] != large[1]).any()


def test_batches_do_not_repeat():
    batches = crop_dataset(random_labels(200, 200), CropConfig(patch=16, batch=16))
    crops = {crop.tobytes() for k in range(50) for crop in batches[k]}
    assert len(crops) > 790  # 8 * 185^2 = 270000 choices: 800 draws repeat about once


@pytest.mark.parametrize("shape", [(256, 256), (300, 500), (1024, 64), (64, 128)])
def test_training_and_validation_parts_share_no_pixel_and_make_up_the_image(shape):
    image = random_labels(*shape)
    (train,), (validation,), disjoint, (whole,), _ = training_sources(image, patch=64)
    assert disjoint
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(np.concatenate([train, validation], axis=int(np.argmax(shape))), image)
    assert min(*train.shape, *validation.shape) >= 64


def test_the_validation_share_is_the_given_one_if_the_image_is_large_enough():
    sources = training_sources(np.zeros((1000, 500), np.uint8), patch=64, validation=0.2)
    assert sources.validation[0].size == 0.2 * 1000 * 500


@pytest.mark.parametrize("shape", [(64, 64), (100, 127)])
def test_an_image_too_small_to_cut_is_used_whole_and_flagged(shape):
    sources = training_sources(np.zeros(shape, np.uint8), patch=64)
    assert sources.train[0].shape == sources.validation[0].shape == shape
    assert not sources.disjoint


def test_a_volume_is_cut_into_two_blocks_with_all_planes_that_hold_a_patch():
    volume = numbered(16, 16).reshape(16, 4, 4)
    train, validation, disjoint, whole, _ = training_sources(volume, patch=4)
    assert disjoint
    assert [stack.shape for stack in whole] == [(16, 4, 4), (4, 16, 4), (4, 16, 4)]
    assert [stack.shape for stack in validation] == [(4, 4, 4)] * 3
    assert [stack.shape for stack in train] == [(12, 4, 4), (4, 12, 4), (4, 12, 4)]
    assert not np.intersect1d(train[0], validation[0]).size


def test_planes_too_small_for_a_patch_are_left_out():
    train, *_ = training_sources(np.zeros((3, 20, 30), np.uint8), patch=8)
    assert [stack.shape for stack in train] == [(3, 20, 22)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crop_batches(random_labels(10, 80), CropConfig()), "smaller than a patch of 64"),
        (lambda: crop_batches([], CropConfig()), "nothing to crop"),
        (lambda: crop_batches(random_labels(80, 80).astype(float), CropConfig()), "uint8 labels"),
        (lambda: crop_batches(random_labels(80, 80), CropConfig(batch=6), process_count=4), "multiple of the number"),
        (lambda: crop_batches([random_labels(80, 80)], CropConfig(), weights=[0.0]), "positive sum"),
        (lambda: training_sources(random_labels(63, 80)), "smaller than a patch of 64"),
        (lambda: training_sources(random_labels(80, 80), validation=1.0), "between 0 and 1"),
        (lambda: training_sources(random_labels(10, 10, 80)), "smaller than a patch of 64"),
        (lambda: CropConfig(seed=-1), "must not be negative"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_several_images_are_cut_each_and_share_no_pixel():
    large, small = np.zeros((64, 48), np.uint8), np.ones((20, 20), np.uint8)
    found = training_sources([large, small], patch=16)
    assert found.disjoint
    assert [part.shape for part in found.train] == [(48, 48), (20, 20)]
    assert [part.shape for part in found.validation] == [(16, 48)]
    assert [part.shape for part in found.whole] == [(64, 48), (20, 20)]
    without_room = training_sources([small] * 6, patch=16)
    assert without_room.disjoint and (len(without_room.train), len(without_room.validation)) == (5, 1)
    alone, one = training_sources([large], patch=16), training_sources(large, patch=16)
    assert [part.shape for part in alone.train] == [part.shape for part in one.train]
