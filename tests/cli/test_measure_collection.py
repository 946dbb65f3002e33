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
    assert "8 features are there already (volume_fraction.0 ...) and stay" in again.err
    assert "runs.zarr: 5 samples of 8 x 8 x 8 voxels" in again.out and "percolating_fraction.1.x" in again.out


def test_solar_cells_have_graspis_descriptors(stored: Path, jaxmicro: Callable[..., Outcome]):
    assert jaxmicro("measure", stored, "--features", "CT_f_D_tort1", "--donor", 1, "--acceptor", 0).code == 0
    assert 0 <= io.read_collection(stored).column("CT_f_D_tort1").min() <= 1


def test_a_folder_with_a_table_is_converted_and_measured(folder: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    refused = jaxmicro("measure", folder, *QUICK)
    assert refused.code == 2 and "add --out NEW.zarr" in refused.last_line
    for _ in range(2):  # the second time it is there already
        assert jaxmicro("measure", folder, *QUICK, "--out", "new.zarr").code == 0
    found = io.read_collection(here / "new.zarr")
    assert Feature("strain", unit="%") in found.features and found.grid == (16, 16)
    assert np.allclose(found.column("volume_fraction.0"), [np.mean(sample == 0) for sample in found.samples(range(3))])


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
        (["cut.zarr", *QUICK], "c.2.0.0.0 is not a readable sample of a collection"),
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
