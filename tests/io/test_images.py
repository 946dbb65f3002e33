"""Equal pixels yield equal labels in every format; an unreadable file yields one line with a remedy."""

import logging
import pickle
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxmicro import io
from jaxmicro.errors import UserError

LEVELS = np.array([0, 127, 255], np.uint8)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 3, (24, 20)).astype(np.uint8)


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(0, 3, (5, 24, 20)).astype(np.uint8)


def refusal(path, **options) -> str:
    """The line that a user reads when `path` is given."""
    with pytest.raises(UserError) as error:
        io.read(path, **options)
    line = str(error.value)
    assert "\n" not in line and str(path) in line
    return line


def save(path, pixels):
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".npz":
        np.savez(path, labels=pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".bmp"])
def test_the_same_pixels_give_the_same_labels_in_every_format(tmp_path, labels, suffix):
    found = io.read(save(tmp_path / f"image{suffix}", LEVELS[labels]))
    np.testing.assert_array_equal(found.labels, labels)
    assert (found.values, found.voxel_size, found.unit) == ((0.0, 127.0, 255.0), None, None)
    assert found.source == f"image{suffix}"


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".npz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_labels_of_any_type_are_labels(tmp_path, labels, suffix, dtype):
    found = io.read(save(tmp_path / f"image{suffix}", labels.astype(dtype)))
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA"])
def test_a_grey_image_is_the_same_in_every_png_mode(tmp_path, labels, mode):
    Image.fromarray(LEVELS[2 * (labels // 2)]).convert(mode).save(tmp_path / "image.png")
    np.testing.assert_array_equal(io.read(tmp_path / "image.png").labels, labels // 2)


def test_a_colour_palette_gives_its_indices(tmp_path, labels):
    image = Image.new("P", labels.shape[::-1])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata(labels.ravel().tolist())
    image.save(tmp_path / "image.png")
    np.testing.assert_array_equal(io.read(tmp_path / "image.png").labels, labels)


def test_pages_are_slices_and_a_single_slice_is_an_image(tmp_path, volume):
    with tifffile.TiffWriter(tmp_path / "pages.tif") as pages:
        for section in volume:
            pages.write(section, contiguous=False, metadata=None)
    np.testing.assert_array_equal(io.read(tmp_path / "pages.tif").labels, volume)
    np.save(tmp_path / "one.npy", volume[:1])
    np.testing.assert_array_equal(io.read(tmp_path / "one.npy").labels, volume[0])


def test_a_compressed_tiff_that_tifffile_cannot_decode_is_read_all_the_same(tmp_path, volume):
    pages = [Image.fromarray(section) for section in volume]
    pages[0].save(tmp_path / "lzw.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    np.testing.assert_array_equal(io.read(tmp_path / "lzw.tif").labels, volume)


@pytest.mark.parametrize("spelling", ["um", "micron", "µm", "\\u00B5m"])
def test_imagej_calibration_is_read_with_its_unit(tmp_path, volume, spelling):
    spelling = spelling.encode("ascii", "backslashreplace").decode().replace("\\xb5", "\\u00B5")
    tifffile.imwrite(
        tmp_path / "stack.tif",
        volume,
        imagej=True,
        resolution=(8, 8),
        metadata={"axes": "ZYX", "spacing": 0.125, "unit": spelling},
    )
    found = io.read(tmp_path / "stack.tif")
    assert (found.voxel_size, found.unit) == (0.125, "um")


def test_ome_calibration_is_read_with_its_unit(tmp_path, volume):
    size = {f"PhysicalSize{axis}": 65.0 for axis in "XYZ"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    tifffile.imwrite(tmp_path / "stack.ome.tif", volume, metadata={"axes": "ZYX"} | size)
    found = io.read(tmp_path / "stack.ome.tif")
    assert (found.voxel_size, found.unit) == (65.0, "nm")


def test_dots_per_inch_are_no_voxel_size(tmp_path, labels):
    Image.fromarray(LEVELS[labels]).save(tmp_path / "image.png", dpi=(72, 72))
    Image.fromarray(LEVELS[labels]).save(tmp_path / "image.tif", dpi=(72, 72))
    assert io.read(tmp_path / "image.png").voxel_size is None
    assert io.read(tmp_path / "image.tif").voxel_size is None


def test_a_given_voxel_size_replaces_that_of_the_file(tmp_path, volume):
    metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    tifffile.imwrite(tmp_path / "stack.tif", volume, imagej=True, resolution=(8, 8), metadata=metadata)
    assert "not cubic" in refusal(tmp_path / "stack.tif")
    found = io.read(tmp_path / "stack.tif", voxel_size=125.0, unit="nm")
    assert (found.voxel_size, found.unit) == (125.0, "nm")
    assert io.read(tmp_path / "stack.tif", voxel_size=0.125).unit == "um"
    assert "without a voxel size" in refusal(tmp_path / "stack.tif", unit="nm")
    assert "not a positive length" in refusal(tmp_path / "stack.tif", voxel_size=0.0)


@pytest.mark.parametrize("dtype, scale", [(np.uint8, 1), (np.uint16, 256)])
def test_a_grey_image_is_refused_and_segmented_on_request(tmp_path, labels, dtype, scale):
    grey = ((40 + 80 * labels + np.random.default_rng(1).integers(-20, 21, labels.shape)) * scale).astype(dtype)
    path = save(tmp_path / "grey.tif", grey)
    assert "--segment" in refusal(path)
    found = io.read(path, segment=3)
    np.testing.assert_array_equal(found.labels, labels)
    assert len(found.thresholds) == 2
    assert found.values == pytest.approx([grey[labels == label].mean() for label in range(3)])
    assert "too few" in refusal(save(tmp_path / "labels.png", LEVELS[labels]), segment=4)


def test_a_16_bit_png_is_read_with_all_its_bits(tmp_path, labels):
    grey = (1000 * labels.astype(np.uint16) + np.arange(20)).astype(np.uint16)
    path = save(tmp_path / "grey.png", grey)
    assert "uint16" in refusal(path)
    np.testing.assert_array_equal(io.read_raster(path).array, grey)


def truncations(whole: bytes) -> list[int]:
    return [1, 7, 20, 150, *(len(whole) * part // 8 for part in range(1, 8)), len(whole) - 30]


@pytest.mark.parametrize("kind", ["png", "contiguous", "pages", "zlib", "lzw", "imagej", "npy", "npz", "vti"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, volume, kind, caplog):
    path = tmp_path / f"whole.{kind if kind in ('png', 'npy', 'npz', 'vti') else 'tif'}"
    pages = [Image.fromarray(section) for section in volume]
    match kind:
        case "png" | "npy" | "npz" | "contiguous":
            save(path, volume[0] if kind == "png" else volume)
        case "pages":
            pages[0].save(path, save_all=True, append_images=pages[1:])
        case "lzw":
            pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
        case "zlib":
            tifffile.imwrite(path, volume, compression="zlib")
        case "imagej":
            tifffile.imwrite(path, volume, imagej=True)
        case "vti":
            io.write_vti(path, io.read(save(tmp_path / "whole.npy", volume)))
    whole = path.read_bytes()
    assert io.read(path).phases == 3
    for end in truncations(whole):
        path.write_bytes(whole[:end])
        with caplog.at_level(logging.WARNING):
            assert "truncated" in refusal(path) or "raw appended" in refusal(path) or "not a NumPy" in refusal(path)
    assert not caplog.records  # the one line is all that the user sees


def test_a_corrupted_npz_is_refused(tmp_path, volume):
    path = tmp_path / "volume.npz"
    np.savez_compressed(path, labels=volume)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    assert "damaged" in refusal(path)


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickled_objects_are_refused_and_never_loaded(tmp_path, suffix):
    path = tmp_path / f"objects{suffix}"
    objects = np.array([Trap()], object)
    np.save(path, objects) if suffix == ".npy" else np.savez(path, labels=objects)
    assert "pickle" in refusal(path) or "Object arrays" in refusal(path)
    path.write_bytes(pickle.dumps(Trap()))
    assert "never loaded" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".vti", ".jpg"])
def test_a_file_that_is_no_image_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    refusal(path)


def test_a_path_that_is_no_image_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "missing.png")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "text.txt").write_text("text")
    assert "known format" in refusal(tmp_path / "text.txt")
    (tmp_path / "file.zarr").write_text("text")
    assert "folder" in refusal(tmp_path / "file.zarr")
    assert "does not exist" in refusal(tmp_path / "missing.zarr")


@pytest.mark.parametrize(
    "pixels, reason",
    [
        (np.full((8, 8), 7), "one phase only"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.zeros((0, 8)), "empty"),
        (np.zeros((2, 2, 2, 2)), "4D"),
        (np.zeros(8), "1D"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.arange(64.0).reshape(8, 8), "--segment"),
    ],
)
def test_numbers_that_are_no_microstructure_are_refused(tmp_path, pixels, reason):
    assert reason in refusal(save(tmp_path / "array.npy", pixels))


def test_a_colour_image_is_refused(tmp_path, labels):
    colours = np.random.default_rng(0).integers(0, 255, (24, 20, 3)).astype(np.uint8)
    for suffix in (".png", ".tif"):
        assert "colour image" in refusal(save(tmp_path / f"image{suffix}", colours))
        assert "colour image" in refusal(tmp_path / f"image{suffix}", segment=2)
    two_channels = np.stack([labels, 2 - labels])
    tifffile.imwrite(tmp_path / "channels.tif", two_channels, imagej=True, metadata={"axes": "CYX"})
    assert "colour image" in refusal(tmp_path / "channels.tif")


def test_several_times_or_sizes_in_one_tiff_are_refused(tmp_path, volume):
    tifffile.imwrite(tmp_path / "times.tif", np.stack([volume, volume]), imagej=True, metadata={"axes": "TZYX"})
    assert "4D" in refusal(tmp_path / "times.tif")
    with tifffile.TiffWriter(tmp_path / "sizes.tif") as pages:
        pages.write(volume[0])
        pages.write(volume[0, :9])
    assert "different sizes" in refusal(tmp_path / "sizes.tif")


def test_an_npz_of_several_arrays_without_labels_is_refused_with_their_names(tmp_path, labels):
    np.savez(tmp_path / "many.npz", first=labels, second=labels)
    assert "first, second" in refusal(tmp_path / "many.npz")


def test_pages_written_one_by_one_are_one_stack(tmp_path, volume):
    for section in volume:
        tifffile.imwrite(tmp_path / "append.tif", LEVELS[section], append=True)
    np.testing.assert_array_equal(io.read(tmp_path / "append.tif").labels, volume)


def test_pages_that_alternate_in_compression_or_polarity_keep_their_order(tmp_path, volume):
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as pages:
        for number, section in enumerate(LEVELS[volume]):
            odd = number % 2 == 1
            shown = 255 - section if odd else section
            pages.write(
                shown,
                photometric="miniswhite" if odd else "minisblack",
                compression="zlib" if odd else None,
                contiguous=False,
                metadata=None,
            )
    np.testing.assert_array_equal(io.read(tmp_path / "mixed.tif").labels, volume)


def test_an_image_beyond_pillows_limit_is_read_and_the_limit_stays(tmp_path, labels, monkeypatch):
    path = save(tmp_path / "large.png", LEVELS[labels])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow raises from twice of it
    np.testing.assert_array_equal(io.read(path).labels, labels)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(("palette", "suffix"), [(True, ".png"), (True, ".tif"), (False, ".png"), (False, ".tif")])
def test_slices_that_show_greys_only_have_the_phases_of_slices_in_colours(tmp_path, palette, suffix):
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)
    labels = np.zeros((6, 24, 24), np.uint8)
    labels[1:, 4:20, 4:12], labels[3:, 8:14, 12:20] = 1, 2  # the first slice is black, two more have no red
    for number, section in enumerate(labels):
        image = Image.fromarray(section if palette else colours[section])
        if palette:
            image.putpalette(colours.tobytes())
        image.save(tmp_path / f"{number}{suffix}")
    order = np.array([0, 1, 2] if palette else [0, 2, 1])  # indices as they are; colours from the darkest
    np.testing.assert_array_equal(io.read(tmp_path).labels, order[labels])
    if palette:
        with pytest.raises(UserError, match="some are in colours"):
            io.read_images(sorted(tmp_path.iterdir()))


def test_images_of_one_voxel_size_in_two_units_belong_together(tmp_path, labels):
    for name, size, unit in (("a", 0.05, "um"), ("b", 50.0, "nm")):
        np.savez(tmp_path / f"{name}.npz", labels=labels, voxel_size=size, unit=unit)
    found = io.read_images([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert {(each.voxel_size, each.unit) for each in found} == {(0.05, "um")}


def test_a_chunk_of_a_png_that_is_longer_than_the_file_is_refused_before_memory_is_taken(tmp_path, labels):
    path = save(tmp_path / "long.png", LEVELS[labels])
    whole = path.read_bytes()
    place = whole.index(b"IDAT") - 4
    path.write_bytes(whole[:place] + (2**31 - 1).to_bytes(4, "big") + whole[place + 4 :])
    assert "ends before its pixels" in refusal(path)


def test_more_pixels_than_we_read_are_refused_before_they_are_decoded(tmp_path, labels):
    path = save(tmp_path / "huge.png", LEVELS[labels])
    whole = bytearray(path.read_bytes())

    def promise(edge: int) -> None:
        whole[16:24] = int.to_bytes(edge, 4, "big") * 2  # width and height of the header, with its checksum
        whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
        path.write_bytes(whole)

    promise(40_000)
    assert "40000 x 40000 pixels, 1.5 GiB when decoded" in refusal(path)
    promise(10_000)
    assert "cannot hold 10000 x 10000 pixels" in refusal(path)
