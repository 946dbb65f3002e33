"""Written files read back equal, other programs read their calibration, and writing is atomic."""

import errno
import os
import resource
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorstore
import tifffile

from jaxmicro import io
from jaxmicro.errors import UserError
from jaxmicro.types import Microstructure

SUFFIXES = (".tif", ".tiff", ".vti", ".npz", ".zarr")


def labels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)


def volume(*shape: int) -> Microstructure:
    return Microstructure(labels(*shape), (0.0, 127.0, 255.0), 0.398, "um")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(5, 70, 66), (70, 66), (3, 4, 3)])
@pytest.mark.parametrize(
    "calibration", [(None, None), (65.0, "nm"), (0.123456789012345, "um"), (1.0, None), (1e-7, "m"), (3e5, "nm")]
)
def test_what_was_written_reads_back_equal(tmp_path, suffix, shape, calibration):
    original = Microstructure(labels(*shape), (0.0, 127.5, 255.0), *calibration)
    io.write(tmp_path / f"volume{suffix}", original)
    assert io.read(tmp_path / f"volume{suffix}") == original
    assert os.listdir(tmp_path) == [f"volume{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_phase_that_is_absent_from_a_volume_keeps_its_number(tmp_path, suffix):
    original = Microstructure(2 * (labels(4, 5, 6) // 2), (0.0, 127.0, 255.0))
    io.write(tmp_path / f"volume{suffix}", original)
    assert io.read(tmp_path / f"volume{suffix}") == original


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_periodic_volume_is_read_back_as_periodic(tmp_path, suffix):
    original = Microstructure(labels(4, 5, 6), (0.0, 127.0, 255.0), periodic=True)
    io.write(tmp_path / f"volume{suffix}", original)
    found = io.read(tmp_path / f"volume{suffix}")
    assert found == original and found.periodic
    assert found != Microstructure(labels(4, 5, 6), (0.0, 127.0, 255.0))


def test_what_imagej_crops_from_a_periodic_volume_is_not_periodic(tmp_path):
    io.write_tiff(tmp_path / "whole.tif", Microstructure(labels(4, 5, 6), (0.0, 127.0, 255.0), periodic=True))
    with tifffile.TiffFile(tmp_path / "whole.tif") as tiff:
        text = tiff.imagej_metadata["Info"]  # ImageJ keeps it when it crops
    tifffile.imwrite(tmp_path / "crop.tif", labels(4, 5, 6)[:, :4], imagej=True, metadata={"axes": "ZYX", "Info": text})
    found = io.read(tmp_path / "crop.tif")
    assert found.values == (0.0, 127.0, 255.0) and not found.periodic


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_writing_again_replaces_the_file(tmp_path, suffix):
    path = tmp_path / f"volume{suffix}"
    for microstructure in (volume(9, 8, 7), volume(3, 4, 5)):
        io.write(path, microstructure)
    assert io.read(path) == volume(3, 4, 5)
    assert os.listdir(tmp_path) == [path.name]


def test_tiff_is_an_imagej_stack_of_slices_with_its_calibration(tmp_path):
    io.write_tiff(tmp_path / "volume.tif", volume(5, 7, 6))
    with tifffile.TiffFile(tmp_path / "volume.tif") as tiff:
        assert tiff.is_imagej and tiff.imagej_metadata is not None
        assert tiff.series[0].axes == "ZYX" and tiff.series[0].dtype == np.uint8
        assert tiff.imagej_metadata["slices"] == tiff.imagej_metadata["images"] == 5
        assert (tiff.imagej_metadata["spacing"], tiff.imagej_metadata["unit"]) == (0.398, "um")
        assert (tiff.imagej_metadata["min"], tiff.imagej_metadata["max"]) == (0, 2)  # display range: all labels visible
        for axis in "XY":
            pixels, units = tiff.pages[0].tags[f"{axis}Resolution"].value
            assert units / pixels == pytest.approx(0.398, rel=1e-9)  # fraction of 32-bit integers
        np.testing.assert_array_equal(tiff.asarray(), labels(5, 7, 6))


def test_vti_is_well_formed_cell_data_with_x_fastest(tmp_path):
    io.write_vti(tmp_path / "volume.vti", volume(5, 7, 6))
    head, _, tail = (tmp_path / "volume.vti").read_bytes().partition(b'<AppendedData encoding="raw">')
    root = ElementTree.fromstring(head + b"</VTKFile>")
    assert (root.get("type"), root.get("byte_order"), root.get("header_type")) == (
        "ImageData",
        "LittleEndian",
        "UInt64",
    )
    image = root.find("ImageData")
    assert image is not None and image.attrib == {
        "WholeExtent": "0 6 0 7 0 5",
        "Origin": "0 0 0",
        "Spacing": "0.398 0.398 0.398",
    }
    start = tail.index(b"_") + 1
    size = int.from_bytes(tail[start : start + 8], "little")
    assert size == 5 * 7 * 6
    data = np.frombuffer(tail[start + 8 : start + 8 + size], np.uint8)
    np.testing.assert_array_equal(data.reshape(5, 7, 6), labels(5, 7, 6))


def test_vti_of_other_programs_with_short_headers_and_offsets_is_read(tmp_path):
    io.write_vti(tmp_path / "ours.vti", volume(5, 7, 6))
    head, mark, tail = (tmp_path / "ours.vti").read_bytes().partition(b'<AppendedData encoding="raw">')
    data = tail[tail.index(b"_") + 9 :]
    head = head.replace(b' header_type="UInt64"', b"").replace(b'offset="0"', b'offset="6"')
    short = np.uint32(2).tobytes() + b"xy" + np.uint32(5 * 7 * 6).tobytes()  # another array before ours
    (tmp_path / "theirs.vti").write_bytes(head + mark + b"\n_" + short + data)
    assert io.read(tmp_path / "theirs.vti") == volume(5, 7, 6)
    (tmp_path / "short.vti").write_bytes(head + mark + b"\n_" + short + data[:50])
    with pytest.raises(UserError, match="not a readable VTI"):
        io.read(tmp_path / "short.vti")
    short = np.array(2, ">u4").tobytes() + b"xy" + np.array(5 * 7 * 6, ">u4").tobytes()
    (tmp_path / "big.vti").write_bytes(head.replace(b"LittleEndian", b"BigEndian") + mark + b"\n_" + short + data)
    assert io.read(tmp_path / "big.vti") == volume(5, 7, 6)


@pytest.mark.parametrize("suffix", [".tif", ".vti", ".npz", ".zarr"])
def test_a_volume_of_ours_in_which_one_phase_alone_is_left_reads_back(tmp_path, suffix):
    original = Microstructure(np.full((4, 5, 6), 2, np.uint8), (0.0, 127.0, 255.0), 0.398, "um")
    io.write(tmp_path / f"volume{suffix}", original)
    assert io.read(tmp_path / f"volume{suffix}") == original


def test_zarr_is_chunked_and_carries_the_calibration(tmp_path):
    io.write_zarr(tmp_path / "volume.zarr", volume(70, 66, 5))
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{tmp_path}/volume.zarr/"}}
    metadata = tensorstore.open(spec, read=True).result().spec().to_json()["metadata"]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [64, 64, 5]
    expected = {"voxel_size": 0.398, "unit": "um", "values": [0, 127, 255], "periodic": False}
    assert metadata["attributes"] == expected
    assert metadata["dimension_names"] == ["z", "y", "x"]


def test_zarr_of_version_2_is_read_with_its_attributes(tmp_path):
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/old.zarr/"}}
    store = tensorstore.open(spec, create=True, dtype=tensorstore.uint8, shape=(5, 7, 6)).result()
    store.write(127 * labels(5, 7, 6)).result()
    (tmp_path / "old.zarr" / ".zattrs").write_text('{"voxel_size": [65.0, 65.0, 65.0], "unit": "nm"}')
    found = io.read(tmp_path / "old.zarr")
    assert found == Microstructure(labels(5, 7, 6), (0.0, 127.0, 254.0), 65.0, "nm")


def test_a_zarr_group_or_a_damaged_zarr_is_refused(tmp_path):
    (tmp_path / "group.zarr").mkdir()
    io.write_zarr(tmp_path / "group.zarr" / "0", volume(3, 4, 5))
    (tmp_path / "group.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    assert io.read(tmp_path / "group.zarr") == volume(3, 4, 5)  # its only array
    io.write_zarr(tmp_path / "group.zarr" / "1", volume(3, 4, 5))
    with pytest.raises(UserError, match="group of 0, 1"):
        io.read(tmp_path / "group.zarr")
    (tmp_path / "group.zarr" / "0" / "zarr.json").write_text('{"zarr_format": 3, "node')
    with pytest.raises(UserError, match="not a readable Zarr"):
        io.read(tmp_path / "group.zarr" / "0")


def test_npz_needs_no_pickle(tmp_path):
    io.write_npz(tmp_path / "volume.npz", volume(5, 7, 6))
    with np.load(tmp_path / "volume.npz", allow_pickle=False) as arrays:
        assert float(arrays["voxel_size"]) == 0.398 and str(arrays["unit"]) == "um"
        np.testing.assert_array_equal(arrays["labels"], labels(5, 7, 6))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_write_that_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"volume{suffix}"
    io.write(path, volume(3, 4, 5))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # bytes in one file; 64^3 labels need more
    try:
        with pytest.raises(UserError, match="cannot write") as error:
            io.write(path, volume(64, 64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == [path.name]
    assert io.read(path) == volume(3, 4, 5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, suffix):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jaxmicro.io.files.os.replace", full)
    with pytest.raises(UserError, match="no space left"):
        io.write(tmp_path / f"volume{suffix}", volume(3, 4, 5))
    assert os.listdir(tmp_path) == []


def test_ctrl_c_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxmicro.io.files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        io.write(tmp_path / "volume.vti", volume(3, 4, 5))
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        io.write(tmp_path / "missing" / "volume.tif", volume(3, 4, 5))
    with pytest.raises(UserError, match="suffix"):
        io.write(tmp_path / "volume.obj", volume(3, 4, 5))
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(UserError, match="not a Zarr"):
        io.write(tmp_path / "mine.zarr", volume(3, 4, 5))
    with pytest.raises(UserError, match="another unit"):
        io.write(tmp_path / "volume.tif", Microstructure(labels(4, 4), (0.0, 1.0, 2.0), 1e-10, "m"))
    with pytest.raises(UserError, match="plain letters"):
        io.write(tmp_path / "volume.tif", Microstructure(labels(4, 4), (0.0, 1.0, 2.0), 1.0, "a\nb"))
    assert os.listdir(tmp_path) == ["mine.zarr"]


def test_fields_in_a_vti_have_x_fastest_and_components_in_the_order_x_y_z(tmp_path):
    scalar = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    vector = np.stack([scalar, 100 + scalar, 200 + scalar], axis=-1)  # components z y x
    io.vtk.write_fields(
        tmp_path / "f.vti", (2, 3, 4), {"concentration": scalar, "flux": vector}, voxel_size=0.5, unit="um"
    )
    text = (tmp_path / "f.vti").read_bytes()
    head, _, tail = text.partition(b'<AppendedData encoding="raw">')
    assert b'WholeExtent="0 4 0 3 0 2"' in head and b'Spacing="0.5 0.5 0.5"' in head
    data = tail[tail.index(b"_") + 1 :]
    assert int.from_bytes(data[:8], "little") == 4 * 24
    np.testing.assert_array_equal(np.frombuffer(data, "<f4", 24, 8), np.arange(24))
    start = 8 + 4 * 24 + 8  # as the offset of the second array says
    assert b'offset="104"' in head
    np.testing.assert_array_equal(np.frombuffer(data, "<f4", 6, start), [200, 100, 0, 201, 101, 1])
