"""Writing is atomic, only files of this package are replaced, and damage is detected on reading."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxmicro.errors import UserError
from jaxmicro.io import files, read, write
from jaxmicro.types import Microstructure

STRUCTURE = Microstructure(np.arange(27, dtype=np.uint8).reshape(3, 3, 3) % 2, (0.0, 1.0), 2.0, "nm")


def finished_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    files.write_bytes(tmp_path / "a.json", b"old")
    with pytest.raises(OSError, match="no more"), files.whole(tmp_path / "a.json") as part:
        part.write_bytes(b"ne")
        raise OSError("no more")
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda number: done.append("flush"))
    monkeypatch.setattr(files.os, "replace", lambda a, b, rename=os.replace: (done.append("rename"), rename(a, b)))
    files.write_bytes(tmp_path / "a.json", b"new")
    assert done == ["flush", "rename", "flush"]  # flush of the file, rename, flush of the folder


def test_leftovers_of_killed_processes_go_and_those_of_running_ones_stay(tmp_path: Path):
    ended = finished_process()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / f".a.{ended}.part.png").write_bytes(b"ha")
    (tmp_path / f".volume.{ended}.part.zarr").mkdir()
    (tmp_path / f".volume.{ended}.part.zarr" / "zarr.json").write_bytes(b"{}")
    (tmp_path / f".kept.{ended}.old.zarr").mkdir()  # killed between the two renames
    (tmp_path / f".b.{os.getppid()}.part").write_bytes(b"ha")
    (tmp_path / ".hidden").write_bytes(b"not ours")
    files.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["figures", "kept.zarr", f".b.{os.getppid()}.part", ".hidden"])
    assert not os.listdir(tmp_path / "figures")


@pytest.mark.parametrize("suffix", [".tif", ".vti", ".npz", ".zarr"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path: Path, suffix: str):
    target = tmp_path / f"volume{suffix}"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="folder"):
        write(target, STRUCTURE)
    assert (target / "notes.txt").read_text() == "mine"


def test_an_array_of_ours_is_replaced_until_something_is_added_to_it(tmp_path: Path):
    target = tmp_path / "volume.zarr"
    write(target, STRUCTURE)
    write(target, STRUCTURE)
    assert read(target) == STRUCTURE
    (target / "sibling").mkdir()
    (target / "sibling" / "zarr.json").write_text("{}")
    with pytest.raises(UserError, match="never replaced"):
        write(target, STRUCTURE)
    assert (target / "sibling" / "zarr.json").exists()
    assert sorted(os.listdir(tmp_path)) == ["volume.zarr"]


def test_a_group_of_ours_with_an_array_added_to_it_is_not_replaced(tmp_path: Path):
    target = tmp_path / "volume.ome.zarr"
    write(target, STRUCTURE)
    write(target, STRUCTURE)
    write(tmp_path / "mine.zarr", STRUCTURE)
    (tmp_path / "mine.zarr").rename(target / "7")
    with pytest.raises(UserError, match="never replaced"):
        write(target, STRUCTURE)
    assert (target / "7" / "zarr.json").exists()


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(tmp_path: Path):
    path = tmp_path / "volume.tif"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        files.set_aside(path)
    assert {each.read_bytes() for each in tmp_path.iterdir()} == {b"first", b"second"}


def test_an_array_or_group_of_others_is_not_replaced(tmp_path: Path):
    for number, metadata in enumerate(({"node_type": "group"}, {"node_type": "array", "attributes": {}}, [])):
        target = tmp_path / f"{number}.zarr"
        target.mkdir()
        (target / "zarr.json").write_text(json.dumps(metadata))
        with pytest.raises(UserError, match="never replaced"):
            write(target, STRUCTURE)


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path):
    os.mkfifo(tmp_path / "volume.npz")
    with pytest.raises(UserError, match="no regular file"):
        write(tmp_path / "volume.npz", STRUCTURE)


def test_a_line_is_added_whole_after_one_that_was_cut_off(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    files.append_line(log, '{"step": 1}')
    log.write_bytes(log.read_bytes() + b'{"step": 2, "lo')
    files.append_line(log, '{"step": 3}')
    assert files.read_lines(log) == ([{"step": 1}, {"step": 3}], 1)


def test_any_change_of_a_sealed_record_is_detected(tmp_path: Path):
    path = tmp_path / "record.json"
    record = {"a": [1, 2.5, None], "met": True, "b": {"c": 1e-17}}
    path.write_text(json.dumps(files.sealed(record), indent=2))
    assert files.unsealed(path) == record
    text = path.read_text()
    for number in range(len(text)):
        for changed in (text[:number], text[:number] + chr(ord(text[number]) ^ 1) + text[number + 1 :]):
            path.write_text(changed)
            try:
                found = files.unsealed(path)
            except UserError:
                continue
            assert found == record, f"a change at {number} went unnoticed"


def test_saved_arrays_load_only_with_the_same_identity(tmp_path: Path):
    path = tmp_path / "unfinished.npz"
    files.save_arrays(path, "work", a=np.arange(6.0).reshape(2, 3), done=3)
    found = files.load_arrays(path, "work")
    assert found is not None and int(found["done"]) == 3
    np.testing.assert_array_equal(found["a"], np.arange(6.0).reshape(2, 3))
    assert files.load_arrays(path, "other work") is None
    assert not files.is_damaged(path)


def test_truncated_or_changed_arrays_are_detected(tmp_path: Path):
    path = tmp_path / "unfinished.npz"
    files.save_arrays(path, "work", a=np.arange(6.0))
    whole = path.read_bytes()
    changed = whole.replace(np.float64(5).tobytes(), np.float64(6).tobytes())
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], changed, b"\x00" * 64):
        path.write_bytes(damaged)
        assert files.load_arrays(path, "work") is None
        assert files.is_damaged(path)
    np.savez(path, identity=np.array("work"), a=np.arange(6.0))  # intact, but not written by `save_arrays`
    assert files.is_damaged(path)


def test_the_declared_size_of_an_array_is_checked_against_its_file():
    files.check_promise(Path("a"), (64, 64, 64, 1), 0)  # small arrays may be of one value, with any compression
    files.check_promise(Path("a"), (2048, 2048, 2048), 2**23)
    for factors, there in (((2**20, 2**20, 2**20), 2**10), ((2**40, 8), 2**30), ((-4, 8), 32)):
        with pytest.raises(UserError, match="damaged"):
            files.check_promise(Path("a"), factors, there)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_header_that_declares_fewer_slices_than_the_file_has_is_refused(tmp_path: Path, suffix: str):
    path = tmp_path / f"volume{suffix}"
    write(path, STRUCTURE)
    path.write_bytes(path.read_bytes().replace(b"3 3 3", b"3 3 2"))
    with pytest.raises(UserError, match="27 bytes where 18"):
        read(path)
