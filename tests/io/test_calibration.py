"""Voxel sizes in files are read and compared across units; the resolution of a print is none."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxmicro import io
from jaxmicro.errors import UserError
from jaxmicro.units import in_one_unit

IMAGE = np.random.default_rng(0).integers(0, 2, (24, 20)).astype(np.uint8)
VOLUME = np.random.default_rng(0).integers(0, 2, (5, 24, 20)).astype(np.uint8)


def found(path, **options):
    """Voxel size, unit, and remarks."""
    structure = io.read(path, **options)
    return structure.voxel_size, structure.unit, " ".join(structure.remarks)


def refusal(path) -> str:
    with pytest.raises(UserError) as error:
        io.read(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def ome(path, **sizes):
    metadata = {"axes": "ZYX"} | {f"PhysicalSize{name}": value for name, value in sizes.items()}
    tifffile.imwrite(path, VOLUME, metadata=metadata)
    return path


def imagej(path, *, edge, spacing, **units):
    across = (1 / edge, 1 / edge)
    tifffile.imwrite(
        path, VOLUME, imagej=True, resolution=across, metadata={"axes": "ZYX", "spacing": spacing, **units}
    )
    return path


def test_axes_in_different_units_are_one_length(tmp_path):
    mixed = ome(tmp_path / "a.ome.tif", X=16.5, XUnit="nm", Y=16.5, YUnit="nm", Z=0.0165, ZUnit="µm")
    assert found(mixed) == (16.5, "nm", "")
    assert found(imagej(tmp_path / "b.tif", edge=50, spacing=0.05, unit="nm", yunit="nm", zunit="um")) == (50, "nm", "")
    assert found(imagej(tmp_path / "c.tif", edge=50, spacing=50, unit="nm", yunit="nm", zunit="nanometers"))[0] == 50


def test_equal_numbers_of_different_units_are_no_cube(tmp_path):
    line = refusal(imagej(tmp_path / "a.tif", edge=50, spacing=50, unit="nm", yunit="nm", zunit="um"))
    assert "50000 x 50 x 50 nm" in line and "not cubic" in line and "--resample 50" in line
    line = refusal(ome(tmp_path / "b.ome.tif", X=50.0, XUnit="nm", Y=50.0, YUnit="nm", Z=50.0, ZUnit="µm"))
    assert "50000 x 50 x 50 nm" in line


@pytest.mark.parametrize("spelling", ["micron", "µm", "μm", "um", "micrometer", "\\u00B5m", "Microns"])
def test_a_micrometre_has_many_names(spelling):
    assert in_one_unit((0.05, 50.0, 50.0), (spelling, "nm", "nm")) == ((50.0, 50.0, 50.0), "nm")


def test_units_that_cannot_be_compared_leave_the_voxel_size_open_and_are_named(tmp_path):
    path = imagej(tmp_path / "a.tif", edge=50, spacing=50, unit="nm", yunit="nm", zunit="furlong")
    size, unit, said = found(path)
    assert (size, unit) == (None, None) and "furlong, nm" in said
    assert found(path, voxel_size=50.0, unit="nm") == (50, "nm", "")


def test_ome_sizes_without_a_unit_are_micrometres_and_pixels_are_no_length(tmp_path):
    assert found(ome(tmp_path / "a.ome.tif", X=0.5, Y=0.5, Z=0.5)) == (0.5, "um", "")
    one = {f"{axis}Unit": "pixel" for axis in "XYZ"}
    assert found(ome(tmp_path / "b.ome.tif", X=1.0, Y=1.0, Z=1.0, **one)) == (None, None, "")
    size, unit, said = found(ome(tmp_path / "c.ome.tif", X=0.5, Y=0.5))  # none stated along z
    assert (size, unit) == (None, None) and "--voxel-size 0.5 --unit um" in said


def tagged(path, pixels, across, unit, **options):
    tifffile.imwrite(path, pixels, resolution=across, resolutionunit=unit, metadata=None, **options)
    return path


def test_a_resolution_per_centimetre_is_a_pixel_size_and_a_printers_is_none(tmp_path):
    size, unit, said = found(tagged(tmp_path / "a.tif", IMAGE, (40000, 40000), "CENTIMETER"))
    assert (size, unit) == (250, "nm") and "250 nm" in said
    for number, (density, name) in enumerate([(72, "INCH"), (96, "INCH"), (300, "INCH"), (28.3465, "CENTIMETER")]):
        size, unit, said = found(tagged(tmp_path / f"{number}.tif", IMAGE, (density, density), name))
        assert (size, unit) == (None, None) and "not taken" in said
    assert "--voxel-size 352.778 --unit um" in found(tmp_path / "0.tif")[2]
    assert found(tmp_path / "0.tif", voxel_size=2.0, unit="um") == (2.0, "um", "")
    assert found(tagged(tmp_path / "one.tif", IMAGE, (1, 1), "NONE")) == (None, None, "")


def test_pixels_that_are_not_square_are_refused_whatever_the_unit(tmp_path):
    line = refusal(tagged(tmp_path / "a.tif", IMAGE, (40000, 20000), "CENTIMETER"))
    assert "500 x 250 nm" in line and "not square" in line and "--resample 250" in line
    for unit in ("INCH", "NONE"):
        assert "pixels are 2 x 1" in refusal(tagged(tmp_path / f"{unit}.tif", IMAGE, (144, 72), unit))
    line = refusal(tagged(tmp_path / "volume.tif", VOLUME, (40000, 20000), "CENTIMETER"))
    assert "? x 500 x 250 nm" in line


def test_imagej_in_inches_is_the_resolution_of_what_it_opened(tmp_path):
    size, unit, said = found(imagej(tmp_path / "a.tif", edge=1 / 72, spacing=1.0, unit="inch"))
    assert (size, unit) == (None, None) and "72 pixels per inch" in said


def test_slices_of_unknown_distance_leave_the_voxel_size_open(tmp_path):
    size, unit, said = found(tagged(tmp_path / "a.tif", VOLUME, (40000, 40000), "CENTIMETER"))
    assert (size, unit) == (None, None) and "--voxel-size 250 --unit nm" in said


def test_the_resolution_of_a_png_is_read_by_the_same_rule(tmp_path):
    Image.fromarray(255 * IMAGE).save(tmp_path / "a.png", dpi=(0.0254 / 65e-9, 0.0254 / 65e-9))
    size, unit, said = found(tmp_path / "a.png")
    assert size == pytest.approx(65, rel=1e-6) and unit == "nm" and "pixel size 65 nm" in said
    Image.fromarray(255 * IMAGE).save(tmp_path / "b.png", dpi=(96, 96))
    assert "96.01 pixels per inch" in found(tmp_path / "b.png")[2]
    Image.fromarray(255 * IMAGE).save(tmp_path / "c.jpg", dpi=(300, 300), quality=100)
    assert "300 pixels per inch" in " ".join(io.read(tmp_path / "c.jpg", segment=2).remarks)


def test_fei_and_zeiss_images_carry_their_pixel_size(tmp_path):
    fei = b"[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=4.13e-9\r\nPixelHeight=4.13e-9\r\n"
    path = tagged(tmp_path / "fei.tif", IMAGE, (72, 72), "INCH", extratags=[(34682, 2, len(fei), fei, True)])
    assert found(path) == (4.13, "nm", "")
    fei = fei.replace(b"PixelHeight=4.13", b"PixelHeight=8.26")
    path = tagged(tmp_path / "fei2.tif", IMAGE, (72, 72), "INCH", extratags=[(34682, 2, len(fei), fei, True)])
    assert "8.26 x 4.13 nm" in refusal(path)
    zeiss = b"\r\n".join(
        [
            b"0",
            b"0",
            b"0",
            b"1.2e-08",
            b"AP_MAG",
            b"Mag = 20 K X",
            b"AP_IMAGE_PIXEL_SIZE",
            b"Image Pixel Size = 12.0 nm",
        ]
    )
    path = tagged(tmp_path / "zeiss.tif", IMAGE, (72, 72), "INCH", extratags=[(34118, 2, len(zeiss), zeiss, True)])
    assert found(path) == (12.0, "nm", "")
