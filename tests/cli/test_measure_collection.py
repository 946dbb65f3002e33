"""`jaxmicro measure` of a collection: columns are added, conversion, errors of one line, Ctrl-C."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmicro import io
from jaxmicro.cli.console import Console
from jaxmicro.collection import Collection, Feature
from tests.cli.conftest import Outcome, blobs

QUICK = ["--features", "volume_fraction", "percolating_fraction"]  # no solve


@pytest.fixture
def stored(here: Path) -> Path:
    labels = np.stack([blobs(8, ndim=3, seed=seed) for seed in range(5)])
    whole = Collection(
        labels, (Feature("phi", "process"),), np.full((5, 1), 0.5), np.arange(5), (0.0, 255.0), 2.0, "nm"
    )
    io.write_collection(here / "runs.zarr", whole)
    return here / "runs.zarr"


@pytest.fixture
def folder(here: Path) -> Path:
    (here / "images").mkdir()
    for i in range(3):
        Image.fromarray(blobs(16, seed=i) * np.uint8(255)).save(here / "images" / f"s{i}.png")
    (here / "images" / "features.csv").write_text("file,strain [%]\ns0.png,1\ns1.png,2\ns2.png,3\n")
    return here / "images"


def test_columns_are_added_and_summarised(stored: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("measure", stored, *QUICK, "--json")
    assert outcome.code == 0
    numbers = json.loads(outcome.out)
    whole = io.read_collection(stored)
    assert (numbers["schema"], numbers["samples"], numbers["shape"]) == ("jaxmicro.measure_collection/1", 5, [8, 8, 8])
    entry = {feature["name"]: feature for feature in numbers["features"]}
    assert set(entry) == {feature.name for feature in whole.features} and len(entry) == 1 + 2 + 6
    assert entry["volume_fraction.1"]["mean"] == pytest.approx(whole.column("volume_fraction.1").mean())
    again = jaxmicro("measure", stored, *QUICK)
    assert f"all 8 features are measured already in {stored}; --replace measures them again" in again.err
    more = jaxmicro("measure", stored, *QUICK, "surface_area.0")
    assert "8 features are there already (volume_fraction.0 ...) and stay" in more.err
    assert "runs.zarr: 5 samples of 8 x 8 x 8 voxels" in again.out and "percolating_fraction.1.x" in again.out


def test_solar_cells_have_graspis_descriptors(stored: Path, jaxmicro: Callable[..., Outcome]):
    assert jaxmicro("measure", stored, "--features", "CT_f_D_tort1", "--donor", 1, "--acceptor", 0).code == 0
    assert 0 <= io.read_collection(stored).column("CT_f_D_tort1").min() <= 1


def test_a_folder_with_a_table_is_converted_and_measured(folder: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    refused = jaxmicro("measure", folder, *QUICK)
    assert refused.code == 2 and "add --out NEW.zarr" in refused.last_line
    for says in ("written to new.zarr", "all 6 features are measured already in new.zarr"):
        done = jaxmicro("measure", folder, *QUICK, "--out", "new.zarr")
        assert done.code == 0 and says in done.last_line
    found = io.read_collection(here / "new.zarr")
    assert Feature("strain", unit="%") in found.features and found.grid == (16, 16)
    assert np.allclose(found.column("volume_fraction.0"), [np.mean(sample == 0) for sample in found.samples(range(3))])


def test_a_copy_of_what_has_changed_since_is_refused(folder: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    words = ["measure", folder, *QUICK, "--out", "new.zarr"]
    assert jaxmicro(*words).code == 0
    table, image = folder / "features.csv", folder / "s1.png"
    before = table.read_text(), image.read_bytes()
    table.write_text(before[0].replace("s1.png,2", "s1.png,7"))
    refused = jaxmicro(*words)
    assert refused.code == 2 and "new.zarr holds another collection than" in refused.last_line
    assert "choose another --out, or remove new.zarr" in refused.last_line
    table.write_text(before[0])
    Image.fromarray(blobs(16, seed=9) * np.uint8(255)).save(image)
    assert jaxmicro(*words).code == 2
    image.write_bytes(before[1])
    assert jaxmicro(*words).code == 0


def test_an_unfinished_copy_is_finished_with_its_own_input_only(folder: Path, here: Path, jaxmicro, monkeypatch):
    words, store = ["measure", folder, *QUICK, "--out", "new.zarr"], io.CollectionWriter.store

    def interrupt(self: io.CollectionWriter, i: int, labels: np.ndarray) -> None:
        store(self, i, labels)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(io.CollectionWriter, "store", interrupt)
        assert jaxmicro(*words).code == 130
    table = folder / "features.csv"
    before = table.read_text()
    table.write_text(before.replace("s1.png,2", "s1.png,7"))
    assert "holds another collection" in jaxmicro(*words).last_line
    table.write_text(before)
    assert jaxmicro(*words).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--features", "volume_fraktion"], "measured here (perhaps you meant volume_fraction)"),
        (["--features", "STAT_n", "--donor", "0", "--acceptor", "2"], "has the labels [1] besides [0, 2]"),
        (["--crop", "0:4,:"], "--crop is for images"),
    ],
)
def test_nothing_is_left_after_a_refusal(folder: Path, here: Path, jaxmicro, words: list[str], says: str):
    refused = jaxmicro("measure", folder, *words, "--out", "new.zarr")
    assert refused.code == 2 and says in refused.last_line
    assert not (here / "new.zarr").exists()


def test_features_are_listed_with_commas_too(stored: Path, jaxmicro: Callable[..., Outcome]):
    assert jaxmicro("measure", stored, "--features", "volume_fraction,percolating_fraction.1.z").code == 0
    assert len(io.read_collection(stored).features) == 1 + 2 + 1


def test_a_folder_that_lacks_its_table_is_told_what_makes_it_a_collection(folder: Path, here: Path, jaxmicro):
    (folder / "features.csv").rename(folder / "table.csv")
    for words in (["measure", folder, "--features", "phi"], ["train", folder, "--features", "strain"]):
        refused = jaxmicro(*words)
        assert refused.code == 2 and "images has no features.csv (but table.csv)" in refused.last_line
    refused = jaxmicro("measure", folder, "--out", "new.zarr")
    assert "--out new.zarr is for collections" in refused.last_line and not (here / "new.zarr").exists()
    plain = jaxmicro("measure", folder)
    assert "if table.csv is about them, it makes a collection under the name features.csv" in plain.err
    assert "samples of a collection need the table features.csv" in plain.last_line


def test_hdf5_is_converted_and_measured(here: Path, jaxmicro: Callable[..., Outcome]):
    h5py = pytest.importorskip("h5py")
    with h5py.File(here / "train.h5", "w") as file:
        for i in range(3):
            file.create_dataset(f"s{i}", data=blobs(8, ndim=3, seed=i)[None].astype("f4")).attrs["ABS_f_D"] = i / 4
    assert jaxmicro("measure", "train.h5", *QUICK, "--out", "new.zarr").code == 0
    assert io.read_collection(here / "new.zarr").column("ABS_f_D").tolist() == [0.0, 0.25, 0.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs.zarr", "--features", "porosity"], "no feature that can be measured here; there are volume_fraction"),
        (["runs.zarr", "--features", "CT_f_D_tort1"], "need --donor and --acceptor"),
        (["runs.zarr", "--donor", "1"], "--donor and --acceptor belong together"),
        (["runs.zarr", "--donor", "1", "--acceptor", "1"], "expected labels that differ"),
        (["runs.zarr", "--out", "new.zarr"], "leave out --out"),
        (["runs.zarr", "--crop", "0:4,:,:"], "--crop is for images and volumes"),
        (["image.png", "--features", "tortuosity"], "--features and --replace are for collections"),
        (["unfinished.zarr"], "is an unfinished collection, 1 of 2 samples are stored"),
        (["cut.zarr", *QUICK], "cut.zarr: sample 2 (of 0 to 4) is truncated or damaged; copy the collection again"),
    ],
)
def test_what_cannot_be_measured_is_one_line(stored: Path, here: Path, jaxmicro, arguments: list[str], says: str):
    Image.fromarray(blobs(16) * np.uint8(255)).save(here / "image.png")
    io.create_collection(here / "unfinished.zarr", samples=2, grid=(4, 4), values=(0.0, 1.0)).store(0, blobs(4))
    shutil.copytree(stored, here / "cut.zarr")
    chunk = here / "cut.zarr" / "labels" / "c.2.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-4])
    outcome = jaxmicro("measure", *arguments)
    assert outcome.code == 2 and says in outcome.last_line
    assert outcome.out == "" and "Traceback" not in outcome.err


def test_ctrl_c_keeps_what_was_measured(stored: Path, jaxmicro: Callable[..., Outcome], monkeypatch):
    progress = Console.progress

    def interrupt(self: Console, stage: str, done: int, total: int, note: str = "") -> None:
        progress(self, stage, done, total, note)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Console, "progress", interrupt)
        outcome = jaxmicro("measure", stored, *QUICK)
    assert outcome.code == 130
    assert "what was computed is kept. Continue with: jaxmicro measure" in outcome.last_line
    assert len(io.read_collection(stored).features) == 1
    assert jaxmicro("measure", stored, *QUICK).code == 0
    assert len(io.read_collection(stored).features) == 9
