"""Files of other programs are read with their voxel size, and files of this package by those programs.

Files in tests/data/formats were written by VTK, ITK, nibabel, pynrrd, h5py, ome-zarr and tifffile (README.md there).
"""

import importlib.util
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from jaxmicro import io
from jaxmicro.errors import UserError
from jaxmicro.io import FileLayout, formats, raster
from jaxmicro.io.resample import resampled
from jaxmicro.types import Microstructure

DATA = Path(__file__).parents[1] / "data" / "formats"
FILES = sorted(path for path in DATA.iterdir() if path.suffix not in (".py", ".md", ".raw"))
z, y, x = np.indices((4, 5, 6))
LABELS = ((x + 2 * y + 3 * z * z + x * y) % 3).astype(np.uint8)  # as in make.py
LEVELS = np.array([0, 127, 255])[LABELS]
UNITS = {"ome_zarr": "um", "nibabel": "um", "pynrrd": "nm", "itk.nii": "mm", "h5py": "um"}
EXTRA = {".nii": "nibabel", ".nii.gz": "nibabel", ".h5": "h5py", ".dream3d": "h5py", "vtk_lz4.vti": "imagecodecs"}
EXTRA |= {"jpeg2000.tif": "imagecodecs"}
SUFFIXES = [".ome.tif", ".vti", ".npz", ".zarr", ".ome.zarr", ".mha", ".nrrd", ".h5"]


def extra(path) -> None:
    """Skip if the package that a format needs is not installed."""
    module = EXTRA.get(Path(path).name) or EXTRA.get(formats.ending(path))
    if module is not None:
        pytest.importorskip(module)


def refusal(path, layout=None) -> str:
    with pytest.raises(UserError) as error:
        io.read_raster(path, layout or FileLayout())
    line = str(error.value)
    assert "\n" not in line and str(path) in line
    return line


def structure(**options) -> Microstructure:
    return Microstructure(LABELS, (0.0, 127.0, 255.0), 0.123456789012345, "um", **options)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_another_program_has_its_values_and_its_voxel_size(path):
    extra(path)
    found = io.read_raster(path)
    np.testing.assert_array_equal(found.array, LABELS * 0 + LEVELS)
    unit = next((unit for name, unit in UNITS.items() if path.name.startswith(name)), None)
    if path.suffix == ".tif":
        assert found.spacing is None
    elif path.name == "itk_flat.mha":
        assert found.spacing == (0.3, 0.1, 0.1)
        with pytest.raises(UserError, match="0.3 x 0.1 x 0.1.*not cubic"):
            io.read(path)
    else:
        assert found.spacing == ((500.0,) * 3 if unit == "nm" else (0.5,) * 3) and found.unit == unit
        assert bool(found.size_remarks) == (unit is None)  # a spacing without a unit has a remark


def test_raw_numbers_are_read_with_shape_and_type():
    path = DATA / "big.raw"
    np.testing.assert_array_equal(io.read_raster(path, FileLayout(shape=(4, 5, 6), dtype=">u2")).array, LEVELS)
    assert "--shape" in refusal(path) and "240 bytes" in refusal(path)
    assert "are 120" in refusal(path, FileLayout(shape=(4, 5, 6), dtype="uint8"))
    assert "type of numbers" in refusal(path, FileLayout(shape=(4, 5, 6), dtype="object"))
    assert "three edges" in refusal(path, FileLayout(shape=(240,), dtype="uint8"))
    assert "are 2" in refusal(path, FileLayout(shape=(10**6, 10**6, 10**6), dtype="uint16"))


def test_an_array_among_several_is_chosen_by_name(tmp_path):
    path = DATA / "vtk_ascii_none_le.vti"  # its scalars are "phase"
    np.testing.assert_array_equal(io.read_raster(path, FileLayout("other")).array, LEVELS[::-1])
    assert "other (cells), phase (cells)" in refusal(path, FileLayout("none"))
    (tmp_path / "none.vti").write_bytes(path.read_bytes().replace(b' Scalars="phase"', b""))
    assert "--dataset" in refusal(tmp_path / "none.vti")
    np.savez(tmp_path / "two.npz", a=LEVELS, b=LEVELS[::-1])
    np.testing.assert_array_equal(io.read_raster(tmp_path / "two.npz", FileLayout("b")).array, LEVELS[::-1])
    extra("a.h5")
    path = DATA / "simpl.dream3d"
    found = io.read_raster(path, FileLayout("DataContainers/ImageDataContainer/CellData/FeatureIds"))
    np.testing.assert_array_equal(found.array, np.arange(120).reshape(4, 5, 6))
    assert "Phases (4 x 5 x 6)" in refusal(path, FileLayout("none"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("periodic", [False, True])
def test_what_was_written_in_a_format_of_others_reads_back_equal(tmp_path, suffix, periodic):
    extra("a" + suffix)
    for number, original in enumerate(
        [structure(periodic=periodic), Microstructure(LABELS[0], (0.0, 127.5, 255.0), 65.0, "nm")]
        + [Microstructure(LABELS, (0.0, 1.0, 2.0)), Microstructure(LABELS, (0.0, 1.0, 2.0), 1.0, "mm")]
    ):
        path = tmp_path / f"volume{number}{suffix}"
        io.write(path, original)
        assert io.read(path) == original
        assert not io.read(path).remarks
    assert len(os.listdir(tmp_path)) == 4


def test_a_file_of_ours_saved_again_by_vtk_keeps_everything_and_a_crop_is_not_periodic(tmp_path):
    vtk = pytest.importorskip("vtk")
    io.write(tmp_path / "ours.vti", structure(periodic=True))
    reader = vtk.vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "ours.vti"))
    reader.Update()
    crop = vtk.vtkExtractVOI()
    crop.SetInputData(reader.GetOutput())
    crop.SetVOI(0, 3, 0, 5, 0, 4)  # three of six cells along x
    crop.Update()
    for name, data, xml in (("a.vti", reader.GetOutput(), True), ("b.vti", crop.GetOutput(), True)):
        writer = vtk.vtkXMLImageDataWriter()
        writer.SetFileName(str(tmp_path / name))
        writer.SetInputData(data)
        assert writer.Write() and xml
    assert io.read(tmp_path / "a.vti") == structure(periodic=True)
    found = io.read(tmp_path / "b.vti")
    np.testing.assert_array_equal(found.labels, LABELS[:, :, :3])
    assert (found.values, found.voxel_size, found.unit) == ((0, 127, 255), structure().voxel_size, "um")
    assert not found.periodic


def test_the_spacing_of_a_vti_takes_precedence_over_its_field_data(tmp_path):
    io.write(tmp_path / "a.vti", structure())
    content = (tmp_path / "a.vti").read_bytes().replace(b'Spacing="0.123456789012345 ', b'Spacing="0.25 ')
    (tmp_path / "b.vti").write_bytes(content)  # ParaView's Transform filter changes the spacing and not the field data
    assert "not cubic" in refusal_of_cubes(tmp_path / "b.vti")


def refusal_of_cubes(path) -> str:
    with pytest.raises(UserError) as error:
        io.read(path)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_itk_reads_what_we_write(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    io.write(tmp_path / f"a{suffix}", structure())
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), LABELS)
    assert image.GetSpacing() == pytest.approx((0.123456789012345,) * 3)


def test_ome_tiff_has_physical_sizes_with_their_unit(tmp_path):
    import tifffile

    io.write(tmp_path / "a.ome.tif", structure())
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert tiff.is_ome and tiff.series[0].axes == "ZYX" and tiff.ome_metadata is not None
        assert (
            'PhysicalSizeZ="0.123456789012345"' in tiff.ome_metadata and 'PhysicalSizeZUnit="µm"' in tiff.ome_metadata
        )


def ome_levels(path):
    metadata = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    assert metadata["version"] == "0.5"
    (image,) = metadata["multiscales"]
    for level in image["datasets"]:
        scale, shift = level["coordinateTransformations"]
        yield io.read_raster(path, FileLayout(level["path"])), scale["scale"], shift["translation"]


@pytest.mark.parametrize("kind", ["independent", "laminate z", "laminate x", "checkerboard"])
def test_levels_of_an_ome_zarr_keep_the_phases_along_all_axes(tmp_path, kind):
    """Means would remove phases of one voxel, and every second plane of a laminate has one phase only."""
    k, j, i = np.indices((160, 66, 40))
    labels = {
        "independent": np.random.default_rng(0).integers(0, 2, k.shape),
        "laminate z": k % 2,
        "laminate x": i % 2,
        "checkerboard": (k + j + i) % 2,
    }[kind].astype(np.uint8)
    io.write(tmp_path / "a.ome.zarr", Microstructure(labels, (0.0, 255.0), 65.0, "nm"))
    levels = list(ome_levels(tmp_path / "a.ome.zarr"))
    assert [level.array.shape for level, _, _ in levels] == [(160, 66, 40), (80, 33, 20), (40, 16, 10)]
    for number, (level, scale, shift) in enumerate(levels):
        assert set(np.unique(level.array)) <= {0, 1}
        if number < 2:  # coarser voxels are larger than the structure, so that their labels are random
            assert level.array.mean() == pytest.approx(0.5, abs=0.02)
        assert scale == [65.0 * 2**number] * 3 and shift == [65.0 * (2**number - 1) / 2] * 3
        assert level.spacing == pytest.approx(tuple(scale)) and level.unit == "nm"


def test_a_scale_of_a_group_holds_for_its_array(tmp_path):
    io.write(tmp_path / "a.ome.zarr", structure())
    metadata = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())
    image = metadata["attributes"]["ome"]["multiscales"][0]
    image["datasets"][0]["coordinateTransformations"][0]["scale"] = [0.3, 100, 100]
    for axis, unit in zip(image["axes"], ("micrometer", "nanometer", "nanometer"), strict=True):
        axis["unit"] = unit
    (tmp_path / "a.ome.zarr" / "zarr.json").write_text(json.dumps(metadata))
    for path in (tmp_path / "a.ome.zarr", tmp_path / "a.ome.zarr" / "0"):
        assert "300 x 100 x 100 nm" in refusal_of_cubes(path)
    image["datasets"][0]["path"] = "../elsewhere"
    (tmp_path / "a.ome.zarr" / "zarr.json").write_text(json.dumps(metadata))
    assert "outside" in refusal_of_cubes(tmp_path / "a.ome.zarr")


def test_only_a_group_of_ours_is_replaced(tmp_path):
    path = tmp_path / "a.ome.zarr"
    io.write(path, structure())
    io.write(path, structure(periodic=True))
    assert io.read(path).periodic
    (path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="a.ome.zarr"):
        io.write(path, structure())
    assert (path / "notes.txt").exists()


def test_png_keeps_values_and_pixel_size(tmp_path):
    io.write(tmp_path / "a.png", Microstructure(LABELS[0], (0.0, 127.0, 255.0), 65.0, "nm"))
    found = io.read(tmp_path / "a.png")
    np.testing.assert_array_equal(found.labels, LABELS[0])
    assert (found.values, found.unit) == ((0, 127, 255), "nm") and found.voxel_size == pytest.approx(65, rel=1e-6)
    with pytest.raises(UserError, match="one image"):
        io.write(tmp_path / "b.png", structure())
    io.write(tmp_path / "a.npy", structure())
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), LABELS)


def test_the_surface_of_a_ball_encloses_its_volume(tmp_path):
    k, j, i = np.indices((32, 34, 36))
    ball = ((k - 15.5) ** 2 + (j - 16) ** 2 + (i - 20) ** 2 <= 11**2).astype(np.uint8)
    io.write(tmp_path / "a.stl", Microstructure(ball, (0.0, 255.0), 2.0, "um"))
    content = (tmp_path / "a.stl").read_bytes()
    (count,) = struct.unpack("<I", content[80:84])
    triangles = np.frombuffer(content[84:], [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
    assert len(triangles) == count
    a, b, c = np.moveaxis(triangles["corners"].astype(float), 1, 0)
    enclosed = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6  # positive: triangles run anticlockwise from outside
    assert enclosed == pytest.approx(8 * ball.sum(), rel=0.02)  # marching cubes cut the corners of voxels
    centre = triangles["corners"].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(centre, [2 * 20.5, 2 * 16.5, 2 * 16.0], atol=0.2)  # x y z of the middle of the voxels
    with pytest.raises(UserError, match="--phase"):
        io.write(tmp_path / "b.stl", structure())
    formats.write(tmp_path / "b.stl", structure(), phase=2)


@pytest.mark.parametrize("name", ["vtk_raw_zlib_le.vti", "vtk_binary_zlib_be.vti", "legacy_binary_cells.vtk"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    content = (DATA / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept * len(content))])
    assert "truncated or damaged" in refusal(tmp_path / name) or "no data arrays" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["itk.mha", "itk_zlib.mha", "itk.nrrd", "itk_gzip.nrrd"])
def test_the_declared_size_of_a_header_is_checked_against_the_file(tmp_path, name):
    content = (DATA / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-20])
    assert "truncated or damaged" in refusal(tmp_path / name)
    key = b"DimSize = 6 5 4" if name.endswith("mha") else b"sizes: 6 5 4"
    assert key in content
    (tmp_path / name).write_bytes(content.replace(key, key.replace(b"6 5 4", b"60000 50000 4000")))
    assert "GiB" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(content.replace(key, key.replace(b"6 5 4", b"600 50 40")))
    assert "truncated or damaged" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["itk.mhd", "itk.nhdr"])
def test_numbers_in_another_file_are_read_from_beside_the_header_only(tmp_path, name):
    content = (DATA / name).read_text()
    (tmp_path / name).write_text(content)
    assert "not beside it" in refusal(tmp_path / name)
    (tmp_path / name).write_text(content.replace("itk.raw", str(DATA / "itk.raw")))
    assert "beside it" in refusal(tmp_path / name)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    found = raster.importlib.import_module

    def without(name):
        if name in ("h5py", "nibabel", "imagecodecs"):
            raise ImportError(name)
        return found(name)

    monkeypatch.setattr(raster.importlib, "import_module", without)
    for name, package in (("h5py.h5", "h5py"), ("itk.nii", "nibabel"), ("vtk_lz4.vti", "imagecodecs")):
        line = refusal(DATA / name)
        assert package in line and "pip install 'jaxmicro[formats]'" in line and "damaged" not in line


def test_a_compression_of_tiff_that_needs_a_package_names_it():
    if importlib.util.find_spec("imagecodecs"):
        pytest.skip("imagecodecs is installed")
    line = refusal(DATA / "jpeg2000.tif")
    assert "imagecodecs" in line and "pip install" in line and "damaged" not in line


def test_slices_are_read_in_natural_order_from_a_folder_or_a_pattern(tmp_path):
    from PIL import Image

    for number in range(12):  # natural order
        levels = np.roll(LEVELS[0], number, axis=1).astype(np.uint8)
        Image.fromarray(levels).save(tmp_path / f"slice{number}.png", dpi=(0.0254 / 65e-9,) * 2)
    expected = np.stack([np.roll(LABELS[0], number, axis=1) for number in range(12)])
    for path in (tmp_path, tmp_path / "slice*.png"):
        found = io.read(path, stack="volume")
        np.testing.assert_array_equal(found.labels, expected)
        assert found.voxel_size == pytest.approx(65, rel=1e-6) and "12 slices" in " ".join(found.remarks)
    Image.fromarray(LEVELS[0][:3].astype(np.uint8)).save(tmp_path / "slice12.png")
    assert "differs in size" in refusal_of_cubes(tmp_path)
    (tmp_path / "slice12.png").rename(tmp_path / "slice12.jpg")
    assert ".jpg, .png" in refusal_of_cubes(tmp_path)
    assert "matches no file" in refusal_of_cubes(tmp_path / "none*.png")
    (tmp_path / "config.json").write_text("{}")
    assert "run folder" in refusal_of_cubes(tmp_path)


@pytest.mark.parametrize(
    "left_out, said", [((6,), "s_5.png to s_7.png"), ((3, 4, 9), "s_2.png to s_5.png, s_8.png to s_10.png")]
)
def test_a_missing_slice_is_remarked(tmp_path, left_out, said):
    for number in range(12):
        if number not in left_out:
            Image.fromarray(np.eye(20, k=number, dtype=np.uint8)).save(tmp_path / f"s_{number}.png")
    assert any(said in remark for remark in io.read(tmp_path, stack="volume").remarks)


def test_slices_named_by_a_shell_are_stacked_by_their_numbers_and_others_as_given(tmp_path):
    """A shell lists s_10 before s_2; read in that order the volume would be shuffled."""
    for number in range(12):
        Image.fromarray(np.eye(20, k=number, dtype=np.uint8)).save(tmp_path / f"s_{number}.png")
    folder = io.read(tmp_path, stack="volume")
    (shell,) = io.read_images(sorted(tmp_path.glob("*.png")), stack="volume")
    np.testing.assert_array_equal(shell.labels, folder.labels)
    assert not any("missing" in remark or "order" in remark for remark in shell.remarks)
    chosen = [tmp_path / f"s_{number}.png" for number in (3, 0, 7)]
    (given,) = io.read_images(chosen, stack="volume")
    np.testing.assert_array_equal(given.labels, folder.labels[[3, 0, 7]])
    assert any("not in the order of their numbers" in remark for remark in given.remarks)


@pytest.mark.parametrize("names", ["s_{:03d}.png", "t7_z{:d}_8bit.png"])
def test_slices_of_every_second_number_are_not_remarked(tmp_path, names):
    for number in range(0, 14, 2):
        Image.fromarray(np.eye(20, k=number, dtype=np.uint8)).save(tmp_path / names.format(number))
    assert not any("missing" in remark for remark in io.read(tmp_path, stack="volume").remarks)


def test_resampling_splits_voxels_exactly_and_keeps_fractions():
    k, j, i = np.indices((24, 48, 48))
    ball = ((2 * (k - 11.5)) ** 2 + (j - 23.5) ** 2 + (i - 23.5) ** 2 < 18**2).astype(np.uint8)  # voxels of 2 x 1 x 1
    cubic = resampled(ball, 2, (0.5, 1, 1))
    k, j, i = np.indices((48, 48, 48))
    expected = (k - 23.5) ** 2 + (j - 23.5) ** 2 + (i - 23.5) ** 2 < 18**2
    assert (cubic != expected).mean() < 0.01  # within half a voxel of the surface, which holds 3 % of the voxels
    assert cubic.mean() == pytest.approx(expected.mean(), abs=0.002)
    for factors in ((2, 2, 2), (1.5, 1.5, 1.5), (0.7, 1.0, 1.3)):
        assert resampled(cubic, 2, factors).mean() == pytest.approx(cubic.mean(), abs=0.01)  # as its docstring states
    np.testing.assert_array_equal(resampled(LABELS, 3, (1, 1, 1)), LABELS)
    np.testing.assert_array_equal(
        resampled(np.repeat(LABELS, 3, axis=0), 3, (3, 1, 1)), LABELS
    )  # means over whole voxels
    assert set(np.unique(resampled(2 * (LABELS // 2), 3, (0.3, 0.4, 0.5)))) == {0, 2}  # no new values


def test_voxels_that_two_phases_share_equally_go_to_both_alternately():
    """With even factors they are frequent; all in the darker phase would change 0.51 of this medium to 0.47."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((256, 256)), 2.0) > 0
    for phase in (field.astype(np.uint8), 1 - field.astype(np.uint8)):
        for factor in (2, 4):
            assert resampled(phase, 2, (factor, factor)).mean() == pytest.approx(phase.mean(), abs=0.01)


def test_a_volume_of_voxels_that_are_not_cubic_is_resampled(tmp_path):
    found = io.read(DATA / "itk_flat.mha", resample="0.1", unit="um")
    assert (found.shape, found.voxel_size, found.unit) == ((12, 5, 6), 0.1, "um")
    np.testing.assert_array_equal(found.labels[1::3], LABELS)  # the middle of each three is the old slice
    assert "12 x 5 x 6" in " ".join(found.remarks)
    assert io.read(DATA / "itk_flat.mha", resample="200nm", unit="um").voxel_size == pytest.approx(0.2)
    with pytest.raises(UserError, match="unit of length"):
        io.read(DATA / "itk_flat.mha", resample="100nm")
    with pytest.raises(UserError, match="not a length"):
        io.read(DATA / "itk_flat.mha", resample="fine")
    with pytest.raises(UserError, match="voxels; expected"):
        io.read(DATA / "itk_flat.mha", resample="1e-9")
    with pytest.raises(UserError, match="does not state all edges"):
        io.read(DATA / "zstd.tif", resample="0.1")
