"""Parts of files: crops, boxes inside a sample, data bars, colours, and planes that are no volume."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxmicro import io
from jaxmicro.errors import UserError
from jaxmicro.io.preparing import box_within, cropped, data_bar, unrelated
from jaxmicro.io.raster import Raster
from tests.io.test_levels import medium


def refusal(path, **options) -> str:
    with pytest.raises(UserError) as error:
        io.read(path, **options)
    assert str(path) in str(error.value)
    return str(error.value)


def save(path, array):
    np.save(path, array)
    return path


def test_a_crop_is_the_slice_of_numpy_and_keeps_the_calibration(tmp_path):
    volume = medium(24, 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        volume,
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 0.5, "unit": "um"},
    )
    found = io.read(tmp_path / "a.tif", crop="2:20, :-4 ,5:")
    np.testing.assert_array_equal(found.labels, volume[2:20, :-4, 5:])
    assert (found.voxel_size, found.unit) == (0.5, "um")


@pytest.mark.parametrize(
    "crop, reason",
    [("0:10", "expected 2 ranges"), ("0:10,3", "expected 2"), ("0:10,5:5", "no part of axis x"), ("0:99,:", "axis y")],
)
def test_an_invalid_crop_is_refused(tmp_path, crop, reason):
    assert reason in refusal(save(tmp_path / "a.npy", medium(48)), crop=crop)


@pytest.mark.parametrize(
    "crop, plane, spacing",
    [("3,:,:", np.s_[3], (2.0, 3.0)), (":,4:5,2:", np.s_[:, 4, 2:], (1.0, 3.0)), (":,:,-1", np.s_[..., -1], (1, 2))],
)
def test_one_plane_of_a_volume_is_an_image(crop, plane, spacing):
    volume = np.arange(5 * 6 * 7).reshape(5, 6, 7)
    found = cropped(Raster(volume, (1.0, 2.0, 3.0), periodic=True), crop)
    np.testing.assert_array_equal(found.array, volume[plane])
    assert (found.spacing, found.periodic) == (spacing, False)


@pytest.mark.parametrize("crop, reason", [("3,4,:", "1 x 1 x 7"), ("5,:,:", "part of axis z"), ("a,:,:", "expected")])
def test_a_line_is_no_image(crop, reason):
    with pytest.raises(UserError, match=reason):
        cropped(Raster(np.zeros((5, 6, 7))), crop)


def test_a_crop_of_a_periodic_volume_is_not_periodic(tmp_path):
    from jaxmicro.types import Microstructure

    io.write(tmp_path / "a.npz", Microstructure(medium(24, 3), (0.0, 1.0), periodic=True))
    assert io.read(tmp_path / "a.npz", crop=":,:,:").periodic
    assert not io.read(tmp_path / "a.npz", crop=":,:,1:").periodic


@pytest.mark.parametrize("outside, dtype", [(7, np.uint8), (np.nan, np.float32), (-1, np.int16)])
def test_a_mask_leaves_a_box_inside_the_sample(tmp_path, outside, dtype):
    """The box of a cylinder is its inscribed square times its height: 2 / pi of the area, up to voxels."""
    volume = medium(64, 3)[:20].astype(dtype)
    y, x = np.ogrid[:64, :64]
    volume[:, (y - 31.5) ** 2 + (x - 31.5) ** 2 > 31.5**2] = outside
    found = io.read(save(tmp_path / "a.npy", volume), ignore=(outside,))
    assert found.phases == 2
    assert found.shape[0] == 20
    assert np.prod(found.shape[1:]) == pytest.approx(2 * 31.5**2, rel=0.06)
    (remark,) = found.remarks
    again = io.read(tmp_path / "a.npy", crop=remark.split("--crop ")[1].split(" ")[0])
    np.testing.assert_array_equal(again.labels, found.labels)
    if outside == 7:
        assert io.read(tmp_path / "a.npy").phases == 3


def test_a_mask_spread_through_the_image_or_absent_is_refused(tmp_path):
    image = medium()
    holes = np.random.default_rng(0).random(image.shape) < 0.05
    path = save(tmp_path / "a.npy", np.where(holes, 9, image))
    assert "spread through the image" in refusal(path, ignore=(9.0,))
    assert "no voxel has this value" in refusal(path, ignore=(8.0,))


def test_a_box_holds_valid_voxels_only_and_cannot_grow():
    rng = np.random.default_rng(0)
    for shape in [(30, 40), (12, 14, 16)]:
        valid = rng.random(shape) < 0.99
        box = box_within(valid)
        assert valid[box].all()
        for axis, edge in enumerate(shape):
            for first, last in ((box[axis].start - 1, box[axis].stop), (box[axis].start, box[axis].stop + 1)):
                wider = (*box[:axis], slice(first, last), *box[axis + 1 :])
                assert first < 0 or last > edge or not valid[wider].all()


def test_a_data_bar_is_remarked_and_cut_off(tmp_path):
    image = 255 * medium()
    bar = np.zeros((20, 96), np.uint8)
    bar[4:16, 10:80:3] = 255
    Image.fromarray(np.concatenate([image, bar])).save(tmp_path / "bar.png")
    (remark,) = io.read(tmp_path / "bar.png").remarks
    assert "--crop 0:96,:" in remark
    cut = io.read(tmp_path / "bar.png", crop="0:96,:")
    np.testing.assert_array_equal(cut.labels, image // 255)
    assert cut.remarks == ()
    assert data_bar(medium(seed=3)) is None
    grey = np.random.default_rng(0).integers(0, 255, (96, 96))
    assert data_bar(np.concatenate([grey, bar])) is not None


def test_a_data_bar_is_named_where_its_letters_are_refused(tmp_path):
    bar = np.zeros((20, 96), np.uint8)
    bar[4:16, 10:80] = np.random.default_rng(0).integers(1, 255, (12, 70))
    Image.fromarray(np.concatenate([255 * medium(), bar])).save(tmp_path / "bar.png")
    with pytest.raises(UserError, match=r"rows 96 to 115 look like a data bar: --crop 0:96,:"):
        io.read(tmp_path / "bar.png")


def test_a_stack_stored_as_a_colour_picture_is_remarked(tmp_path):
    stack = 255 * np.stack([medium(seed=seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "colours.tif", stack, photometric="rgb", planarconfig="separate")
    first, *_ = io.read(tmp_path / "colours.tif").remarks
    assert "photometric='minisblack'" in first
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    assert len(io.read_images([tmp_path / "stack.tif"], stack="images")) == 3
    four = np.concatenate([stack, stack[:1, ::-1]])  # the fourth is taken for the opacity
    tifffile.imwrite(tmp_path / "four.tif", four, photometric="rgb", planarconfig="separate")
    assert "photometric='minisblack'" in refusal(tmp_path / "four.tif")


@pytest.mark.parametrize("suffix, kind", [(".png", "RGB"), (".png", "RGBA"), (".tif", "RGB"), (".bmp", "RGB")])
def test_few_colours_are_phases_from_the_darkest(tmp_path, suffix, kind):
    labels = medium(phases=3)
    colours = np.array([[0, 0, 255], [255, 0, 0], [0, 255, 0]], np.uint8)[labels]  # brightness 29, 76, 150
    Image.fromarray(colours).convert(kind).save(tmp_path / f"image{suffix}")
    found = io.read(tmp_path / f"image{suffix}")
    np.testing.assert_array_equal(found.labels, labels)
    assert found.values == (29.07, 76.245, 149.685)
    assert any("0 = #0000ff, 1 = #ff0000, 2 = #00ff00" in remark for remark in found.remarks)


def test_rare_colours_are_merged_and_masks_may_be_colours(tmp_path):
    labels = medium(phases=2)
    colours = np.array([[0, 0, 255], [255, 0, 0]], np.uint8)[labels]
    colours[::7, ::7] = np.random.default_rng(0).integers(0, 255, (14, 14, 3))
    Image.fromarray(colours).save(tmp_path / "image.png")
    assert "#0000ff" in refusal(tmp_path / "image.png") and "--merge-rare" in refusal(tmp_path / "image.png")
    found = io.read(tmp_path / "image.png", merge_rare=0.05)
    assert np.mean(found.labels == labels) > 0.99
    colours = np.array([[0, 0, 255], [255, 0, 0]], np.uint8)[labels]
    colours[:, :16] = (0, 255, 0)
    Image.fromarray(colours).save(tmp_path / "masked.png")
    np.testing.assert_array_equal(io.read(tmp_path / "masked.png", ignore=(0x00FF00,)).labels, labels[:, 16:])


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_planes_of_a_volume_are_related_and_images_are_not(noise):
    rng = np.random.default_rng(0)

    def grey(labels):
        return 100.0 * labels + noise * rng.normal(size=labels.shape)

    assert not unrelated(grey(medium(32, 3)))
    assert unrelated(grey(np.stack([medium(64, seed=seed) for seed in range(4)])))
    assert not unrelated(rng.integers(0, 3, (5, 24, 20)))  # noise: cannot be judged


def test_a_stack_of_unrelated_images_is_refused_unless_its_kind_is_stated(tmp_path):
    images = np.stack([medium(64, seed=seed) for seed in range(4)])
    tifffile.imwrite(tmp_path / "stack.tif", 255 * images, photometric="minisblack")
    assert "--stack images" in refusal(tmp_path / "stack.tif")
    np.testing.assert_array_equal(io.read(tmp_path / "stack.tif", stack="volume").labels, images)
    found = io.read_images([tmp_path / "stack.tif"], stack="images")
    assert [image.source for image in found] == [f"stack.tif[{number}]" for number in range(4)]
    np.testing.assert_array_equal(np.stack([image.labels for image in found]), images)


def test_images_of_several_files_share_phases_and_voxel_size(tmp_path):
    images = [medium(48), medium(64, phases=3, seed=1)]
    for number, image in enumerate(images):
        Image.fromarray(100 * image).save(tmp_path / f"{number}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    found = io.read_images(paths, voxel_size=65.0, unit="nm")
    assert [image.values for image in found] == [(0.0, 100.0, 200.0)] * 2
    for image, labels in zip(found, images, strict=True):
        np.testing.assert_array_equal(image.labels, labels)
    grey = [np.random.default_rng(2).normal(60 + 100.0 * (image > 0), 8).astype(np.uint8) for image in images]
    for path, image in zip(paths, grey, strict=True):
        Image.fromarray(image).save(path)
    one, two = io.read_images(paths, segment=2)
    assert one.thresholds == two.thresholds and one.values == two.values
    np.testing.assert_array_equal(two.labels, images[1] > 0)


def test_files_of_one_size_join_to_a_volume(tmp_path):
    volume = medium(24, 3)
    for number, section in enumerate(volume):
        Image.fromarray(255 * section).save(tmp_path / f"{number:02d}.png")
    (found,) = io.read_images(sorted(tmp_path.glob("*.png")), stack="volume")
    np.testing.assert_array_equal(found.labels, volume)
    Image.fromarray(255 * volume[0, :9]).save(tmp_path / "00.png")
    with pytest.raises(UserError, match=r"01.png \(24 x 24, .* differs in size .* from .*00.png \(9 x 24"):
        io.read_images(sorted(tmp_path.glob("*.png")), stack="volume")


def test_a_remark_on_a_later_slice_is_a_remark_on_the_volume(tmp_path):
    volume = medium(24, 3)
    for number, section in enumerate(volume):
        inverted = number == 2
        photometric = "miniswhite" if inverted else "minisblack"
        tifffile.imwrite(tmp_path / f"{number:02d}.tif", 255 * (section ^ inverted), photometric=photometric)
    (found,) = io.read_images(sorted(tmp_path.glob("*.tif")), stack="volume")
    np.testing.assert_array_equal(found.labels, volume)
    assert sum("WhiteIsZero" in line for line in found.remarks) == 1


def test_images_of_other_voxel_sizes_are_refused(tmp_path):
    for number, spacing in enumerate((0.5, 0.25)):
        density = (1 / spacing, 1 / spacing)
        tifffile.imwrite(
            tmp_path / f"{number}.tif", 255 * medium(48), imagej=True, resolution=density, metadata={"unit": "um"}
        )
    with pytest.raises(UserError, match="different voxel sizes"):
        io.read_images([tmp_path / "0.tif", tmp_path / "1.tif"])
