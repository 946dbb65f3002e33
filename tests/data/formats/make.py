"""Makes the files of this folder with the programs whose formats they are; see README.md. Run it here."""

import itertools
from pathlib import Path

import h5py
import nibabel
import nrrd
import numpy as np
import SimpleITK
import tifffile
import vtk
import zarr
from ome_zarr.writer import write_image
from vtk.util.numpy_support import numpy_to_vtk

HERE = Path(__file__).parent
z, y, x = np.indices((4, 5, 6))
LEVELS = np.array([0, 127, 255], np.uint8)[(x + 2 * y + 3 * z * z + x * y) % 3]


def image(spacing, on_cells=True):
    data = vtk.vtkImageData()
    nz, ny, nx = LEVELS.shape
    data.SetDimensions(nx + on_cells, ny + on_cells, nz + on_cells)
    data.SetSpacing(*spacing)
    for name, numbers in (("other", LEVELS[::-1]), ("phase", LEVELS)):
        array = numpy_to_vtk(np.ascontiguousarray(numbers).ravel(), deep=True)
        array.SetName(name)
        where = data.GetCellData() if on_cells else data.GetPointData()
        where.AddArray(array)
    where.SetActiveScalars("phase")
    return data


def vtks():
    for mode, compressor, order in itertools.product(("Ascii", "Binary", "Appended", "Raw"), ("None", "ZLib"), "LB"):
        writer = vtk.vtkXMLImageDataWriter()
        writer.SetFileName(str(HERE / f"vtk_{mode}_{compressor}_{order}E.vti".lower()))
        writer.SetInputData(image((0.5, 0.5, 0.5), on_cells=order == "L"))
        getattr(writer, f"SetDataModeTo{'Appended' if mode == 'Raw' else mode}")()
        writer.SetEncodeAppendedData(mode == "Appended")
        getattr(writer, f"SetCompressorTypeTo{compressor}")()
        writer.SetByteOrderToLittleEndian() if order == "L" else writer.SetByteOrderToBigEndian()
        writer.SetHeaderTypeToUInt32() if order == "L" else writer.SetHeaderTypeToUInt64()
        writer.SetBlockSize(32)
        writer.Write()
    for compressor in ("LZ4", "LZMA"):
        writer = vtk.vtkXMLImageDataWriter()
        writer.SetFileName(str(HERE / f"vtk_{compressor.lower()}.vti"))
        writer.SetInputData(image((0.5, 0.5, 0.5)))
        getattr(writer, f"SetCompressorTypeTo{compressor}")()
        writer.Write()
    for kind, on_cells in itertools.product(("ASCII", "Binary"), (True, False)):
        writer = vtk.vtkStructuredPointsWriter()
        writer.SetFileName(str(HERE / f"legacy_{kind.lower()}_{'cells' if on_cells else 'points'}.vtk"))
        writer.SetInputData(image((0.5, 0.5, 0.5), on_cells))
        getattr(writer, f"SetFileTypeTo{kind}")()
        writer.Write()


def itks():
    picture = SimpleITK.GetImageFromArray(LEVELS)
    picture.SetSpacing((0.5, 0.5, 0.5))
    for name, packed in (("itk.mha", False), ("itk_zlib.mha", True), ("itk.mhd", False), ("itk.nrrd", False)):
        SimpleITK.WriteImage(picture, str(HERE / name), packed)
    for name, packed in (("itk_gzip.nrrd", True), ("itk.nhdr", False), ("itk.nii", False), ("itk.nii.gz", True)):
        SimpleITK.WriteImage(picture, str(HERE / name), packed)
    picture.SetSpacing((0.1, 0.1, 0.3))
    SimpleITK.WriteImage(SimpleITK.Cast(picture, SimpleITK.sitkInt16), str(HERE / "itk_flat.mha"))
    header = {"spacings": [500, 500, 0.5], "units": ["nm", "nm", "um"], "encoding": "ascii", "endian": "big"}
    nrrd.write(str(HERE / "pynrrd_units.nrrd"), LEVELS.T.astype(np.int32), header)


def others():
    affine = np.diag([0.5, 0.5, 0.5, 1])
    nifti = nibabel.Nifti1Image(LEVELS.T, affine)
    nifti.header.set_xyzt_units("micron")
    nibabel.save(nifti, HERE / "nibabel_um.nii.gz")
    with h5py.File(HERE / "h5py.h5", "w") as file:
        file.create_dataset("exchange/data", data=LEVELS, compression="gzip").attrs["element_size_um"] = [0.5] * 3
        file["title"] = "a string is no volume"
    with h5py.File(HERE / "simpl.dream3d", "w") as file:  # DREAM.3D 6: arrays z y x components, geometry x y z
        cells = file.create_group("DataContainers/ImageDataContainer/CellData")
        cells["FeatureIds"] = np.arange(LEVELS.size, dtype=np.int32).reshape(*LEVELS.shape, 1)
        cells["Phases"] = LEVELS.astype(np.int32)[..., None]
        cells["EulerAngles"] = np.zeros((*LEVELS.shape, 3), np.float32)
        geometry = file.create_group("DataContainers/ImageDataContainer/_SIMPL_GEOMETRY")
        geometry["DIMENSIONS"] = np.array(LEVELS.shape[::-1], np.int64)
        geometry["SPACING"] = np.array([0.5, 0.5, 0.5], np.float32)
    for name, format in (("ome_zarr_05.zarr", 3), ("ome_zarr_04.zarr", 2)):
        group = zarr.open_group(HERE / name, mode="w", zarr_format=format)
        scale, units = dict.fromkeys("zyx", 0.5), dict.fromkeys("zyx", "micrometer")
        write_image(LEVELS[None], group, axes="czyx", scale_factors=[], scale=scale, axes_units=units)
    tifffile.imwrite(HERE / "zstd.tif", LEVELS, compression="zstd", photometric="minisblack")
    tifffile.imwrite(HERE / "jpeg2000.tif", LEVELS, compression="jpeg2000", photometric="minisblack")
    (HERE / "big.raw").write_bytes(LEVELS.astype(">u2").tobytes())


vtks()
itks()
others()
