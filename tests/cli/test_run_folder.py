"""A run folder is never overwritten; only the same run continues in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jaxmicro.cli.run_folder import RunFolder, open_run_folder, to_json
from jaxmicro.errors import UserError


@dataclass(frozen=True)
class Options:
    steps: int = 3
    out: Path | None = None
    quiet: bool = False
    resume: bool = False


def opened(path: Path | None, options: Options = Options(), *, resume: bool = False, verb: str = "train") -> RunFolder:  # noqa: B008
    return open_run_folder(verb, "steel", options, out=path, resume=resume)


def test_an_existing_folder_is_refused_and_left_as_it_is(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="--resume"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_nothing_is_removed_from_a_folder_that_is_no_run(tmp_path: Path):
    mine = [tmp_path / "notes.txt", tmp_path / ".film.99999999.part"]
    for path in mine:
        path.write_text("mine")
    with pytest.raises(UserError, match="no run to resume"):
        opened(tmp_path, resume=True)
    assert sorted(tmp_path.iterdir()) == sorted(mine)


def test_a_run_that_was_killed_before_it_wrote_anything_can_be_resumed(tmp_path: Path):
    (tmp_path / ".config.99999999.part.json").write_text("{")
    assert [path.name for path in sorted(opened(tmp_path, resume=True).path.iterdir())] == ["config.json", "log.jsonl"]


def test_an_empty_folder_may_be_used(tmp_path: Path):
    assert opened(tmp_path).path == tmp_path


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        opened(tmp_path / "out")


def test_the_config_holds_the_exact_options(tmp_path: Path):
    folder = opened(tmp_path / "run", Options(steps=7))
    config = json.loads((folder.path / "config.json").read_text())
    assert config["verb"] == "train"
    assert config["options"]["steps"] == 7
    assert set(config["versions"]) >= {"jaxmicro", "jax", "python"}


def test_resuming_where_there_is_no_run_starts_one_with_a_remark(tmp_path: Path, capsys: pytest.CaptureFixture):
    opened(tmp_path / "run", resume=True)
    assert "no run in" in capsys.readouterr().err
    opened(tmp_path / "run", resume=True)
    opened(tmp_path / "other", Options(quiet=True), resume=True)
    assert capsys.readouterr().err == ""


def test_only_the_same_run_is_resumed(tmp_path: Path):
    opened(tmp_path / "run")
    assert opened(tmp_path / "run", Options(quiet=True, resume=True), resume=True).path == tmp_path / "run"
    with pytest.raises(UserError, match="steps = 3, now it is 4"):
        opened(tmp_path / "run", Options(steps=4), resume=True)
    with pytest.raises(UserError, match="a run of 'train'"):
        opened(tmp_path / "run", resume=True, verb="demo")


def test_a_changed_input_is_another_run(tmp_path: Path):
    image = tmp_path / "image.png"
    image.write_bytes(b"one")
    open_run_folder("train", "image", Options(), out=tmp_path / "run", resume=False, inputs=[image])
    image.write_bytes(b"two")
    with pytest.raises(UserError, match="image.png"):
        open_run_folder("train", "image", Options(), out=tmp_path / "run", resume=True, inputs=[image])


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no run"):
        opened(tmp_path, resume=True)


def test_default_folders_are_numbered_and_the_last_one_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    names = [str(opened(None).path) for _ in range(3)]
    assert names == ["runs/train-steel", "runs/train-steel-2", "runs/train-steel-3"]
    assert str(opened(None, resume=True).path) == "runs/train-steel-3"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = opened(tmp_path / "run")
    folder.write("report.html", "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxmicro.io.files.os.replace", full)
    with pytest.raises(OSError):
        folder.write("report.html", "new")
    assert (folder.path / "report.html").read_text() == "old"
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "log.jsonl", "report.html"]


def test_json_is_strict_even_for_numbers_that_json_lacks():
    text = to_json({"curve": np.array([1.0, np.nan, np.inf], np.float32), "n": np.int64(3)})
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {"curve": [1.0, None, None], "n": 3}
