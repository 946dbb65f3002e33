"""Grey levels are those that a viewer shows, with 0 black, for every storage, compression and suffix."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxmicro import io

SHOWN = np.array([0, 255], np.uint8)[(np.add.outer(np.arange(24), np.arange(20)) % 10 >= 3).astype(int)]  # 30 % black
BLACK = 0.3


def dark_first(path) -> None:
    """The darkest phase of the file is label 0, where it is shown black."""
    found = io.read(path)
    np.testing.assert_array_equal(found.labels, SHOWN // 255)
    assert found.volume_fractions == (BLACK, 1 - BLACK)


@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.uint32, np.int16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_is_shown_with_every_type(tmp_path, white, dtype, compression):
    stored = SHOWN > 0 if white == "minisblack" else SHOWN == 0
    scale = 1 if dtype in (bool, np.float32) else np.iinfo(dtype).max
    tifffile.imwrite(tmp_path / "image.tif", (stored * scale).astype(dtype), photometric=white, compression=compression)
    dark_first(tmp_path / "image.tif")


@pytest.mark.parametrize("mode, bits", [("1", 1), ("L", 8), ("I;16", 16)])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "group4", "packbits", "tiff_deflate"])
def test_pillow_and_tifffile_agree_whoever_decodes(tmp_path, mode, bits, compression):
    """The tag 262 is set as is: Pillow inverts what it writes as WhiteIsZero up to 8 bits, and nothing deeper."""
    if compression == "group4" and bits > 1:
        pytest.skip("Group 4 is of 1 bit")
    image = Image.fromarray(SHOWN > 0 if bits == 1 else SHOWN if bits == 8 else (SHOWN == 0).astype(np.uint16) * 65535)
    assert image.mode == mode
    image.save(tmp_path / "image.tif", compression=compression, tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    dark_first(tmp_path / "image.tif")


def indexed(shown: np.ndarray) -> Image.Image:
    """The same picture through an inverting palette, as Fiji saves its masks: index 255 is black."""
    image = Image.fromarray(255 - shown).copy()
    image = image.convert("P")
    image.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    return image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_an_inverting_palette_is_shown(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    indexed(SHOWN).save(path)
    dark_first(path)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
def test_an_inverting_palette_is_shown_with_every_compression(tmp_path, compression):
    indexed(SHOWN).save(tmp_path / "image.tif", compression=compression)
    dark_first(tmp_path / "image.tif")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_indices_of_a_colour_palette_are_labels_in_tiff_as_in_png(tmp_path, compression):
    labels = np.random.default_rng(0).integers(0, 3, (24, 20)).astype(np.uint8)
    image = Image.fromarray(labels).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "image.tif", compression=compression)
    image.save(tmp_path / "image.png")
    for suffix in (".tif", ".png"):
        np.testing.assert_array_equal(io.read(tmp_path / f"image{suffix}").labels, labels)


def test_labels_of_ours_stay_so_when_fiji_inverts_their_display(tmp_path):
    labels = (SHOWN // 255).astype(np.uint8)
    info = {"axes": "YX", "Info": "jaxmicro phase values: [0.0, 255.0]"}
    tifffile.imwrite(tmp_path / "ours.tif", labels, imagej=True, photometric="miniswhite", metadata=info)
    found = io.read(tmp_path / "ours.tif")
    np.testing.assert_array_equal(found.labels, labels)
    assert found.values == (0.0, 255.0)
