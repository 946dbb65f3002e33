"""Laws of collections in files: what is written is read, in any order of writing; damage is one clear line."""

import dataclasses
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmicro import io
from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.io.collection_arrays import intact

GRID = (4, 6, 5)


def collection(n: int = 5) -> Collection:
    rng = np.random.default_rng(1)
    table = rng.random((n, 3))
    table[1, 1] = np.inf
    return Collection(
        rng.integers(0, 3, (n, *GRID)).astype(np.uint8),
        (Feature("phi", "process"), Feature("tortuosity.1.z"), Feature("volume_fraction.0")),
        table,
        np.arange(n) // 2,
        (0.0, 128.0, 255.0),
        2.5,
        "nm",
        (False, True, True),
        "five.zarr",
    )


def same(one: Collection, other: Collection) -> bool:
    return (
        np.array_equal(one.samples(range(len(one))), other.samples(range(len(other))))
        and one.features == other.features
        and np.array_equal(one.table, other.table)
        and np.array_equal(one.origin, other.origin)
        and (one.values, one.voxel_size, one.unit, one.periodic)
        == (other.values, other.voxel_size, other.unit, other.periodic)
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def begin(path: Path, whole: Collection) -> io.CollectionWriter:
    return io.create_collection(
        path, samples=len(whole), grid=whole.grid, values=whole.values, voxel_size=whole.voxel_size, unit=whole.unit,
        periodic=whole.periodic,
    )  # fmt: skip


def fill(writer: io.CollectionWriter, whole: Collection, order) -> None:
    for i in order:
        writer.store(i, whole.sample(i))


def finish(writer: io.CollectionWriter, whole: Collection) -> None:
    writer.finish(origin=whole.origin, features=whole.features, table=whole.table)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    io.write_collection(tmp_path / "five.zarr", collection())
    return tmp_path / "five.zarr"


def refuses(path: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        io.read_collection(path).samples(range(5))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_what_is_written_is_read(stored):
    assert same(io.read_collection(stored), collection())


def test_an_image_collection_without_features_is_read(tmp_path):
    whole = dataclasses.replace(
        collection(), labels=np.zeros((5, 7, 3), np.uint8), features=(), table=np.zeros((5, 0)), periodic=(True, False)
    )
    io.write_collection(tmp_path / "a.zarr", whole)
    assert same(io.read_collection(tmp_path / "a.zarr"), whole)


def test_samples_stored_in_any_order_make_the_same_files(stored, tmp_path):
    writer = begin(tmp_path / "b.zarr", collection())
    fill(writer, collection(), [4, 0, 3, 1, 2])
    finish(writer, collection())
    assert contents(tmp_path / "b.zarr") == contents(stored)


def _fill(path: Path, order) -> None:
    fill(begin(path, collection()), collection(), order)


def test_processes_store_different_samples_at_the_same_time(stored, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_fill, args=(tmp_path / "b.zarr", order)) for order in ([0, 2, 4], [1, 3])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    finish(begin(tmp_path / "b.zarr", collection()), collection())
    assert contents(tmp_path / "b.zarr") == contents(stored)


def test_an_unfinished_collection_is_refused_and_continued(stored, tmp_path):
    path = tmp_path / "b.zarr"
    writer = begin(path, collection())
    fill(writer, collection(), [0, 3])
    refuses(path, "is an unfinished collection, 2 of 5 samples are stored")
    with pytest.raises(UserError, match="3 of 5 samples, 1 first, are not stored"):
        finish(writer, collection())
    again = begin(path, collection())
    assert again.stored().tolist() == [True, False, False, True, False]
    fill(again, collection(), [1, 2, 4])
    finish(again, collection())
    assert contents(path) == contents(stored)


def test_nothing_else_is_overwritten(stored, tmp_path):
    with pytest.raises(UserError, match="is a finished collection"):
        begin(stored, collection())
    begin(tmp_path / "c.zarr", collection())
    with pytest.raises(UserError, match="is another unfinished collection"):
        begin(tmp_path / "c.zarr", dataclasses.replace(collection(), voxel_size=3.0))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is no collection"):
        begin(tmp_path / "notes", collection())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 6, 6), np.uint8), r"the collection holds uint8 \(4, 6, 5\)"),
        (np.zeros(GRID, np.int64), "is int64"),
        (np.full(GRID, 3, np.uint8), "has the label 3; the collection has 3 phases"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(tmp_path, labels, message):
    with pytest.raises(UserError, match=message):
        begin(tmp_path / "b.zarr", collection()).store(0, labels)


def test_columns_are_added_and_equal_ones_left(stored):
    added, column = Feature("diffusivity.0.x", unit="m2/s"), np.arange(5.0)[:, None]
    io.add_features(stored, [added], column)
    before = contents(stored)
    io.add_features(stored, [added], column)
    assert contents(stored) == before
    assert np.array_equal(io.read_collection(stored).column(added.name), column[:, 0])
    assert added in io.read_collection(stored).features
    with pytest.raises(UserError, match="has a feature diffusivity.0.x with other numbers"):
        io.add_features(stored, [added], column + 1)
    io.remove_features(stored, [added.name])
    assert same(io.read_collection(stored), collection())


def test_a_table_with_nan_is_refused_before_anything_is_written(stored):
    before = contents(stored)
    table = np.zeros((5, 2))
    table[3, 1] = np.nan
    with pytest.raises(UserError, match="feature b of sample 3 is nan"):
        io.add_features(stored, [Feature("a"), Feature("b")], table)
    assert contents(stored) == before


def test_a_column_that_was_being_written_when_the_process_died_is_not_there(stored):
    shutil.copytree(stored / "features" / "phi", stored / "features" / ".psi.999999999.part")
    assert same(io.read_collection(stored), collection())
    io.add_features(stored, [], np.zeros((5, 0)))
    assert not (stored / "features" / ".psi.999999999.part").exists()


def test_a_sample_that_may_not_be_read_is_not_called_damaged():
    with pytest.raises(UserError, match=r"sample 3 may not be read \(permission denied\)"), intact("sample 3"):
        raise ValueError('PERMISSION_DENIED: Error opening "labels/c/3": [OS error 13: Permission denied]')


def test_a_truncated_or_changed_sample_is_noticed(stored):
    chunk = stored / "labels" / "c.3.0.0.0"
    whole = chunk.read_bytes()
    for damaged in (whole[:-3], whole[:2], b"", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        chunk.write_bytes(damaged)
        refuses(stored, r"five.zarr: sample 3 \(of 0 to 4\) is truncated or damaged; copy the collection again")
    io.read_collection(stored).samples([0, 1, 2, 4])  # the others are read
    chunk.unlink()
    refuses(stored, "is damaged: it has 4 of 5 samples")


def test_a_changed_column_is_noticed(stored):
    chunk = stored / "features" / "phi" / "c.0"
    chunk.write_bytes(b"\0" + chunk.read_bytes()[1:])
    refuses(stored, "five.zarr: its column phi is truncated or damaged; .* remove .*features/phi and measure it again")


@pytest.mark.parametrize(("part", "what"), [("labels/zarr.json", "the array of its labels"), ("origin/c.0", "origin")])
def test_damage_is_told_without_the_words_of_drivers(stored, part, what):
    (stored / part).write_bytes((stored / part).read_bytes()[:20])
    with pytest.raises(UserError, match=f"{what} is truncated or damaged; copy the collection again") as error:
        io.read_collection(stored)
    assert "Error" not in str(error.value)


def test_a_digest_is_that_of_the_content_and_stays_with_a_copy(stored, tmp_path):
    digest = io.collection_digest(io.read_collection(stored))
    renamed = stored.rename(tmp_path / "renamed.zarr")
    assert io.collection_digest(io.read_collection(renamed)) == digest
    table, labels = collection().table.copy(), np.array(collection().samples(range(5)))
    table[0, 0], labels[4, 0, 0, 0] = 0.25, (labels[4, 0, 0, 0] + 1) % 3
    for changes in ({"table": table}, {"labels": labels}, {"unit": "um"}, {"origin": np.arange(5)}):
        assert io.collection_digest(dataclasses.replace(io.read_collection(renamed), **changes)) != digest
    io.write_collection(tmp_path / "copy.zarr", collection(), digest=digest)
    assert io.stored_digest(tmp_path / "copy.zarr") == digest and io.stored_digest(renamed) is None


def test_what_is_no_collection_is_refused(tmp_path, stored):
    refuses(tmp_path / "none", "is not there; a collection is")
    refuses(tmp_path, "is a folder without features.csv")
    (tmp_path / "a.txt").write_text("a")
    refuses(tmp_path / "a.txt", "is a file of another kind")
    metadata = json.loads((stored / "zarr.json").read_text())
    metadata["attributes"]["schema"] = "jaxmicro.collection/99"
    (stored / "zarr.json").write_text(json.dumps(metadata))
    refuses(stored, "this version reads")


@pytest.mark.parametrize("edit", [{"samples": 6}, {"grid": [4, 6, 6]}, {"values": [1]}, {"grid": 3}, {"samples": None}])
def test_damaged_attributes_are_refused(stored, edit):
    metadata = json.loads((stored / "zarr.json").read_text())
    metadata["attributes"] |= edit
    (stored / "zarr.json").write_text(json.dumps(metadata))
    refuses(stored, "five.zarr")


# Folders of images, and HDF5


def folder(path: Path, grey=(0, 100, 255)) -> Path:
    """Three images with a table; the first shows one phase only."""
    path.mkdir()
    labels = np.random.default_rng(0).integers(0, 3, (3, 8, 9))
    labels[0] = 1
    for i, image in enumerate(np.array(grey, np.uint8)[labels]):
        Image.fromarray(image).save(path / f"s{i}.png")
    lines = ["file,process:temperature [K],phi,origin,volume_fraction.0"]
    lines += [f"s{i}.png,{300 + i},0.5,run{i // 2},{np.mean(labels[i] == 0)}" for i in range(3)]
    (path / "features.csv").write_text("\n".join(lines))
    return path


def test_a_folder_of_images_has_the_phases_of_all_files_together(tmp_path):
    whole = io.read_collection(folder(tmp_path / "images"))
    assert whole.features == (
        Feature("temperature", "process", "K"), Feature("phi", "process"), Feature("volume_fraction.0")
    )  # fmt: skip
    assert whole.values == (0.0, 100.0, 255.0) and whole.origin.tolist() == [0, 0, 1]
    assert (whole.sample(0) == 1).all()
    fractions = [np.mean(sample == 0) for sample in whole.samples(range(3))]
    assert np.allclose(fractions, whole.column("volume_fraction.0"))
    io.write_collection(tmp_path / "a.zarr", whole)
    names = [feature.name for feature in whole.features]
    assert same(io.read_collection(tmp_path / "a.zarr").select(names), whole)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("s1.png", "s7.png"), "line 3: there is no file s7.png"),
        (lambda text: text.replace("s1.png", "../s1.png"), "is no file within the folder"),
        (lambda text: text.rpartition("\n")[0], "has no line for s2.png"),
        (lambda text: text.replace("s1.png", "s0.png"), "names s0.png twice"),
        (lambda text: text.replace("301,", ""), "line 3 has 4 cells, the line of names 5"),
        (lambda text: text.replace("301", "warm"), "line 3: temperature is 'warm'; expected a number"),
        (lambda text: text.replace("301", "nan"), r"features.csv, line 3: temperature is 'nan'; expected a finite"),
        (lambda text: text.replace("301", ""), r"features.csv, line 3: temperature is ''; expected a number"),
        (lambda text: text.replace("file,", "name,"), "expected a line of names"),
        (lambda text: text.splitlines()[0], "and a line for each sample"),
        (lambda text: text.replace("phi", "p h i"), "cannot name a feature"),
        (lambda text: text.replace("phi", "temperature"), "two features temperature"),
    ],
)
def test_a_table_that_does_not_match_its_files_is_refused(tmp_path, edit, message):
    table = folder(tmp_path / "images") / "features.csv"
    table.write_text(edit(table.read_text()))
    refuses(table.parent, message)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_as_spreadsheets_of_other_languages_write_it_is_the_same(tmp_path, delimiter):
    path = folder(tmp_path / "images")
    expected = io.read_collection(path)
    text = (path / "features.csv").read_text().replace(",", delimiter)
    for decimal in (".", ","):
        lines = [line if i == 0 else line.replace(".", decimal) for i, line in enumerate(text.splitlines())]
        lines = [line.replace(f"{decimal}png", ".png") for line in lines]
        (path / "features.csv").write_text("\ufeff" + "\n".join(lines))
        found = io.read_collection(path)
        assert found.features == expected.features and np.array_equal(found.table, expected.table)
    (path / "features.csv").write_text(text.replace("301", "1.301,5"))
    refuses(path, "line 3: temperature is '1.301,5'; expected a number")


def test_files_of_several_shapes_or_in_grey_are_refused(tmp_path):
    path = folder(tmp_path / "images")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path / "s1.png")
    refuses(path, r"s1.png has 8 x 8 voxels, .*s0.png has 8 x 9; samples of a collection have one shape")
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9)).save(path / "s1.png")
    refuses(path, "s1.png is grey")


def test_a_file_that_changes_while_the_collection_is_open_is_noticed(tmp_path):
    whole = io.read_collection(folder(tmp_path / "images"))
    Image.fromarray(np.full((8, 9), 7, np.uint8)).save(tmp_path / "images" / "s1.png")
    with pytest.raises(UserError, match="has changed since it was first read"):
        whole.sample(1)


def hdf5(path: Path, **attributes) -> Path:
    """Three volumes as MicroGen3D keeps them: a dataset each, with one channel, phases 0, 0.5 and 1."""
    h5py = pytest.importorskip("h5py")
    labels = np.random.default_rng(0).integers(0, 3, (3, 1, 4, 5, 6))
    with h5py.File(path, "w") as file:
        for i in (10, 9, 8):
            data = file.create_dataset(f"sample_{i}", data=labels[i - 8].astype(np.float32) / 2)
            data.attrs.update({"ABS_f_D": i / 10, "CT_f_D_tort1": 0.2, "note": "text"} | attributes)
    return path


def test_hdf5_has_a_dataset_a_sample_and_features_as_attributes(tmp_path):
    whole = io.read_collection(hdf5(tmp_path / "train.h5"))
    labels = np.random.default_rng(0).integers(0, 3, (3, 1, 4, 5, 6))[:, 0]
    assert np.array_equal(whole.samples(range(3)), labels)
    assert [feature.name for feature in whole.features] == ["ABS_f_D", "CT_f_D_tort1"]
    assert whole.column("ABS_f_D").tolist() == [0.8, 0.9, 1.0]
    assert whole.values == (0.0, 0.5, 1.0) and whole.origin.tolist() == [0, 1, 2]


def test_several_hdf5_files_are_one_collection(tmp_path):
    hdf5(tmp_path / "part_1.h5", origin=3)
    hdf5(tmp_path / "part_2.h5", origin=8)
    whole = io.read_collection(tmp_path / "part_*.h5")
    assert len(whole) == 6 and whole.origin.tolist() == [3, 3, 3, 8, 8, 8]


def test_only_datasets_of_the_file_itself_are_samples(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = hdf5(tmp_path / "train.h5", strength=np.array([2.0]))
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/data")
        file.create_group("notes")
    whole = io.read_collection(path)
    assert len(whole) == 3 and whole.column("strength").tolist() == [2.0] * 3
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    refuses(tmp_path / "empty.h5", "holds no samples; expected HDF5 with one dataset for each")


def test_hdf5_that_does_not_fit_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = hdf5(tmp_path / "train.h5")
    with h5py.File(path, "a") as file:
        del file["sample_9"].attrs["CT_f_D_tort1"]
    refuses(path, "dataset sample_9 has no number CT_f_D_tort1")
    with h5py.File(path, "a") as file:
        file["sample_9"].attrs["CT_f_D_tort1"] = np.nan
    refuses(path, "feature CT_f_D_tort1 of sample 1 is nan")
    path.write_bytes(path.read_bytes()[:-5000])
    refuses(path, "is not a readable HDF5 file")
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file.create_dataset("a", data=np.arange(120) % 2).attrs["chi"] = 3
    refuses(tmp_path / "flat.h5", "expected numbers h w or z y x")
    flat = io.read_collection(tmp_path / "flat.h5", shape=(4, 5, 6))
    assert flat.grid == (4, 5, 6) and flat.features == (Feature("chi", "process"),)
