"""Values of images that are phases, and stray values, float noise and resampled edges, which can be merged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxmicro.errors import UserError
from jaxmicro.io.levels import RARE, label
from jaxmicro.io.segmentation import multi_otsu_labels


def medium(edge: int = 96, ndim: int = 2, phases: int = 2, seed: int = 0) -> np.ndarray:
    """Labels with features of some six pixels: a thresholded smooth random field; phase 0 has a share of 0.7."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(edge,) * ndim), 3, mode="wrap")
    levels = np.quantile(field, np.r_[0.7, 0.7 + 0.3 * np.arange(1, phases - 1) / (phases - 1)])
    return np.searchsorted(levels, field).astype(np.uint8)


def halved(mask: np.ndarray) -> np.ndarray:
    """A mask 0 / 255 at half its size, by means of blocks, which is bilinear interpolation."""
    blocks = sum(([edge // 2, 2] for edge in mask.shape), [])
    return np.floor(mask.reshape(blocks).mean(axis=tuple(range(1, 2 * mask.ndim, 2)))).astype(np.uint8)


def refusal(arrays, **options) -> str:
    with pytest.raises(UserError) as error:
        label(arrays, **({"max_phases": 8} | options))
    return str(error.value)


@pytest.mark.parametrize("noise", [1e-7, 3e-6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [(0, 1), (0, 127, 255), (-1.5, 0.25, 3.0)])
def test_values_that_agree_up_to_float_noise_are_one_phase(noise, dtype, levels):
    labels = medium(phases=len(levels))
    spread = (levels[-1] - levels[0]) * noise
    noisy = np.array(levels)[labels] + np.random.default_rng(1).uniform(-spread, spread, labels.shape)
    found = label([noisy.astype(dtype)], max_phases=8)
    np.testing.assert_array_equal(found.labels[0], labels)
    assert found.values == levels
    (remark,) = found.remarks
    assert f"are read as {len(levels)}" in remark and "(70%)" in remark


def test_whole_numbers_are_exact_however_far_their_range():
    values = np.repeat([0.0, 1.0, 2.0, 1e6], 4).astype(np.float32)
    assert label([values.reshape(4, 4)], max_phases=8).values == (0.0, 1.0, 2.0, 1e6)


def test_a_smooth_grey_image_is_not_float_noise():
    assert "a grey image" in refusal([np.linspace(0, 1, 10_000).reshape(100, 100)])


@pytest.mark.parametrize("ndim, edge", [(2, 192), (3, 48)])
def test_edges_of_a_resampled_mask_are_named_with_their_shares_and_merged(ndim, edge):
    mask = 255 * medium(edge, ndim)
    small = halved(mask)
    most = {2: 8, 3: 9}[ndim]
    found = label([small], max_phases=most)
    (remark,) = found.remarks
    share = 100 * np.mean(small == 127)
    assert "edges of a resampled mask" in remark and f"127 ({share:.3g}%)" in remark
    advised = float(remark.split("--merge-rare ")[1].split("%")[0]) / 100
    merged = label([small], max_phases=8, merge_rare=advised)
    assert merged.values == (0.0, 255.0)
    certain = np.isin(small, (0, 255))
    np.testing.assert_array_equal(merged.labels[0][certain], small[certain] // 255)
    quarters = (small > 0) & (small < 100)  # mostly phase 0
    assert np.mean(merged.labels[0][quarters]) < 0.1
    # voxels of mean value get the phase around them: the rarer phase loses some of its corners, but no edges
    assert np.mean(merged.labels[0]) == pytest.approx(mask.mean() / 255, abs=0.03)
    if ndim == 3:  # nine values: an error that recommends segmentation by grey level
        assert "--merge-rare" in refusal([small]) and "--segment" not in refusal([small])


def test_a_stray_pixel_is_remarked_and_goes_to_its_neighbours():
    labels = medium(phases=3)
    strayed = np.array([0, 127, 255], np.uint8)[labels]
    y, x = np.argwhere(ndimage.minimum_filter(labels, 3) == 2)[0]  # within phase 2
    strayed[y, x] = 12
    (remark,) = label([strayed], max_phases=8).remarks
    assert "12 (0.0109%) rare" in remark
    advised = float(remark.split("--merge-rare ")[1].split("%")[0]) / 100
    found = label([strayed], max_phases=8, merge_rare=advised)
    np.testing.assert_array_equal(found.labels[0], labels)
    assert found.values == (0.0, 127.0, 255.0)
    assert found.remarks == ("merged into neighbouring phases: 12 (0.0109%)",)


@pytest.mark.parametrize("how", ["bilinear", "lanczos", "jpeg"])
@pytest.mark.parametrize("phases", [2, 3])
def test_the_advised_options_recover_the_phases_of_a_resampled_or_jpeg_mask(phases, how):
    """A large share of fine features is at edges; thresholds between the values recover the mask."""
    values = np.array([0, 127, 255] if phases == 3 else [0, 255], np.uint8)
    mask = np.asarray(Image.open(Path(__file__).parents[1] / "data" / "sofc_electrode_3phase_256.png").convert("L"))
    mask = mask if phases == 3 else np.where(mask > 100, 255, 0).astype(np.uint8)
    if how == "jpeg":
        Image.fromarray(mask).save(file := io.BytesIO(), "JPEG", quality=75)
        image, expected = np.asarray(Image.open(file)), mask
    else:
        kind = Image.Resampling.BILINEAR if how == "bilinear" else Image.Resampling.LANCZOS
        image = np.asarray(Image.fromarray(mask).resize((180, 180), kind))
        expected = np.asarray(Image.fromarray(mask).resize((180, 180), Image.Resampling.NEAREST))
    line = refusal([image])
    assert f"--segment {phases} " in line and "--ignore" not in line
    assert all(f"{value} ({100 * np.mean(image == value):.3g}%)" in line for value in values)
    segmented, _ = multi_otsu_labels(image, phases)
    # after resampling edges differ by a pixel
    assert np.mean(values[segmented] != expected) < (0.001 if how == "jpeg" else 0.06)
    if phases == 2:
        advised = float(line.split("--merge-rare ")[1].split("%")[0]) / 100
        merged = label([image], max_phases=8, merge_rare=advised)
        assert merged.values == (0.0, 255.0)
        assert np.mean(values[merged.labels[0]] != expected) < 0.06


def test_an_ordinary_phase_of_a_grey_image_is_not_taken_for_surroundings():
    clipped = np.clip(100 * medium(seed=2) + np.random.default_rng(0).normal(0, 30, (96, 96)), 0, 255).astype(np.uint8)
    assert np.mean(clipped == 0) > 0.2
    line = refusal([clipped])
    assert "a grey image" in line and "--ignore" not in line


def test_a_ninth_value_does_not_make_labels_grey():
    labels = np.kron(np.random.default_rng(0).integers(0, 8, (12, 12)), np.ones((8, 8), int)).astype(np.uint8)
    strayed = labels.copy()
    strayed[20, 30] = 77
    line = refusal([strayed])
    assert "9 distinct values, of which 8 make up the image" in line and "--segment" not in line
    advised = float(line.split("--merge-rare ")[1].split("%")[0]) / 100
    np.testing.assert_array_equal(label([strayed], max_phases=8, merge_rare=advised).labels[0], labels)


def test_more_labels_than_phases_are_not_called_grey():
    labels = np.kron(np.arange(144).reshape(12, 12) % 12, np.ones((8, 8), int))
    assert "more than 8 phases are not supported" in refusal([labels])


def test_a_grey_image_with_a_background_names_both_switches():
    grey = np.random.default_rng(0).integers(20, 250, (64, 64)).astype(np.uint8)
    grey[:32] = 0
    line = refusal([grey])
    assert "--segment N" in line and "--ignore 0" in line


def test_voxels_far_from_any_phase_take_the_nearest_in_space():
    labels = np.zeros((8, 40), np.uint8)
    labels[:, 12:20], labels[:, 20:] = 9, 1  # eight columns of neither phase: the first four are closer to phase 0
    found = label([labels], max_phases=8, merge_rare=0.25).labels[0]
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(40) >= 16, (8, 40)))


def test_several_images_share_labels_and_shares():
    one, two = np.zeros((4, 10), np.uint8), np.full((4, 10), 255, np.uint8)
    one[0, :5] = 127
    two[0, 0] = 7
    found = label([one, two], max_phases=8, merge_rare=2 / 80)
    assert found.values == (0.0, 127.0, 255.0)
    assert [labels.max() for labels in found.labels] == [1, 2]
    assert (found.labels[1] == 2).all()


def test_frequent_phases_with_interiors_get_no_remark():
    assert label([np.array([0, 127, 255], np.uint8)[medium(phases=3)]], max_phases=8).remarks == ()
    assert label([medium(48, 3, 3)], max_phases=8).remarks == ()
    assert RARE < 0.01


@pytest.mark.parametrize("share", [-0.1, 0.5, 3.0])
def test_an_impossible_share_is_refused(share):
    assert "share" in refusal([np.eye(3)], merge_rare=share)


def test_merging_all_but_one_value_is_refused_with_the_shares():
    assert "0 (66.7%), 1 (33.3%)" in refusal([np.eye(3)], merge_rare=0.4)
