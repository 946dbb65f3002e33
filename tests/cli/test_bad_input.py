"""Wrong input gets one clear line on standard error and exit code 2, and leaves nothing behind."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmicro import pipeline
from jaxmicro.cli.run_folder import RunFolder
from jaxmicro.errors import UserError
from jaxmicro.io import checkpoint
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, arguments, blobs, tiny_prior

FAST = "--from-scratch --patch 16 --widths 8 --steps 2 --batch 2 --no-tune"


@pytest.fixture(scope="session")
def bad(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can be wrong with a file."""
    folder = tmp_path_factory.mktemp("bad")
    Image.fromarray(blobs(12) * np.uint8(255)).save(folder / "small.png")
    Image.fromarray(np.full((48, 48), 7, np.uint8)).save(folder / "one_phase.png")
    with_nan = blobs().astype(np.float32)
    with_nan[3, 4] = np.nan
    np.save(folder / "nan.npy", with_nan)
    grey = np.random.default_rng(0).integers(0, 60_000, (48, 48)).astype(np.uint16)
    Image.fromarray(grey).save(folder / "grey16.tif")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)).save(folder / "colour.png")
    whole = (work / "volume.tif").read_bytes()
    (folder / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no image")
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    prior = tiny_prior()
    wrong = {"prior": {**prior.config.to_dict(), "phases": 3}, "record": {}}
    checkpoint.save_weights(folder / "other.safetensors", prior.params, wrong)
    (folder / "broken.safetensors").write_bytes(b"\x00" * 64)
    pipeline.write(folder / "volume3.tif", Microstructure(blobs(16, ndim=3, phases=3), (0.0, 127.0, 255.0)))
    pipeline.write(folder / "lacks.npz", Microstructure(blobs(), (0.0, 127.0, 255.0)))
    (folder / "empty").mkdir()
    return folder


CASES = {
    "missing file": ("measure BAD/nothing.png", "nothing.png does not exist"),
    "one phase only": (f"train BAD/one_phase.png {FAST}", "one"),
    "NaN": ("measure BAD/nan.npy", "NaN"),
    "16-bit grey image": ("measure BAD/grey16.tif", "--segment"),
    "8-bit grey image": (f"train WORK/grey.png {FAST}", "--segment"),
    "colour image": ("measure BAD/colour.png", "colour"),
    "truncated TIFF": ("measure BAD/truncated.tif", "truncated.tif"),
    "not an image": ("measure BAD/text.png", "text.png"),
    "pickled array": ("measure BAD/pickled.npy", "pickled"),
    "image smaller than a patch": (f"train BAD/small.png {FAST}", "smaller than"),
    "other number of phases": (f"train WORK/image.png --phases 3 {FAST}", "has 2 phases"),
    "prior of other phases": ("train WORK/three.png --start WORK/prior.safetensors --steps 2", "has 3 phases"),
    "two ways to start": (f"train WORK/image.png --start WORK/prior.safetensors {FAST}", "exclude each other"),
    "no training steps": ("train WORK/image.png --from-scratch --patch 16 --steps 0", "steps"),
    "no prior of that name": ("reconstruct unobtainium", "unobtainium"),
    "prior of another configuration": ("reconstruct BAD/other.safetensors", "does not fit"),
    "damaged prior": ("reconstruct BAD/broken.safetensors", "broken.safetensors"),
    "folder without a prior": ("reconstruct BAD/empty", "no trained prior"),
    "two edges": ("reconstruct WORK/prior.safetensors --size 16 16", "--size"),
    "negative edge": ("reconstruct WORK/prior.safetensors --size -3", "--size"),
    "periodic and odd": ("reconstruct WORK/prior.safetensors --size 17", "multiples of 8"),
    "fractions of other phases": ("reconstruct WORK/prior.safetensors --fractions 0.2 0.3 0.5", "has 2 phases"),
    "fractions that do not sum to 1": ("reconstruct WORK/prior.safetensors --fractions 0.2 0.3", "sum to"),
    "no steps": ("reconstruct WORK/prior.safetensors --steps 0", "steps"),
    "reference of other phases": ("reconstruct WORK/prior.safetensors --reference WORK/three.png", "has 3 phases"),
    "no volumes in a folder": ("evaluate BAD/empty --reference WORK/image.png", "no volumes"),
    "image for a volume": ("evaluate WORK/image.png --reference WORK/image.png", "image.png"),
    "no distance": ("evaluate WORK/volume.tif --reference WORK/image.png --r-max 0", "r_max"),
    "unknown verb": ("fly", "there are train"),
    "missing argument": ("train", "Missing"),
    "misspelt option": ("reconstruct x --sise 3", "perhaps you meant --size"),
    "misspelt requirement": ("evaluate x --refernce y", "perhaps you meant --reference"),
    "no share": ("reconstruct x --fractions 0.4 much", "such as 0.4 or 40%"),
    "another choice": ("measure x --stack x", "Expected one of ('"),
    "commas for spaces": ("reconstruct x --fractions 0.2,0.8", "separate numbers by spaces"),
    "voxel size without unit": ("measure WORK/image.png --voxel-size 3", "without a unit"),
    "too large": ("reconstruct WORK/prior.safetensors --size 80000", "too large"),
    "scatter of free fractions": ("reconstruct WORK/prior.safetensors --scatter --no-calibrate", "leave one out"),
    "scatter of fewer than no volumes": (
        "reconstruct WORK/prior.safetensors --scatter --volumes -1",
        "--volumes is -1",
    ),
    "scatter of an unknown material": ("reconstruct WORK/prior.safetensors --scatter", "train it again"),
    "fraction of zero": ("reconstruct WORK/prior.safetensors --fractions 0 1", "above zero"),
    "words for numbers": ("reconstruct x --fractions a b", "--fractions"),
    "unknown choice": ("reconstruct x --sampler foo", "--sampler"),
    "distance beyond the image": ("measure WORK/image.png --r-max 400", "r_max"),
    "unit that is no length": ("measure WORK/image.png --voxel-size 3 --unit foo", "expected nm, um"),
    "voxel size with its unit": ("measure WORK/image.png --voxel-size 65nm", "and its unit as --unit"),
    "word for a whole number": ("reconstruct x --volumes many", "expected a whole number"),
    "voxel size of zero": ("measure WORK/image.png --voxel-size 0 --unit nm", "voxel size"),
    "unknown ending": ("export WORK/volume.tif HERE/volume.xyz", ".xyz"),
    "no folder to write to": ("export WORK/volume.tif HERE/none/volume.vti", "no folder"),
    "seed that JAX would take for another": ("reconstruct WORK/prior.safetensors --seed 9223372036854775808", "--seed"),
    "negative seed": (f"train WORK/image.png {FAST} --seed -1", "--seed is -1"),
    "rounds without end": ("reconstruct WORK/prior.safetensors --harmonise 10000000000", "harmonise 10000000000"),
    "steps without end": ("train WORK/image.png --from-scratch --patch 16 --steps 100000000000", "at most"),
    "volumes without end": ("reconstruct WORK/prior.safetensors --volumes 100000000000", "--volumes"),
    "channels of zero": ("train WORK/image.png --from-scratch --patch 16 --widths 0", "widths"),
    "channels beyond memory": ("train WORK/image.png --from-scratch --patch 16 --widths 999999999", "widths"),
    "crops of no size": ("train WORK/image.png --from-scratch --patch 0", "patch"),
    "batch beyond memory": ("train WORK/image.png --from-scratch --patch 16 --batch 100000000000", "batch"),
    "learning rate that is no number": (f"train WORK/image.png {FAST} --learning-rate nan", "learning_rate"),
    "time limit that is no number": (f"train WORK/image.png {FAST} --minutes nan", "minutes"),
    "training image that lacks a phase": (f"train BAD/lacks.npz {FAST}", "no voxel of phase 2"),
    "reference that lacks a phase": ("evaluate BAD/volume3.tif --reference BAD/lacks.npz", "no voxel of phase 2"),
    "target that exists": ("export WORK/volume.tif WORK/image.png", "exists"),
}


@pytest.mark.parametrize(("text", "says"), CASES.values(), ids=CASES.keys())
def test_wrong_input_gets_one_line_and_exit_code_2(
    text: str, says: str, bad: Path, work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    words = [word.replace("BAD", str(bad)).replace("HERE", str(here)) for word in arguments(text, work)]
    outcome = jaxmicro(
        *words,
        *(["--out", "run"] if words[0] in ("train", "reconstruct", "evaluate", "measure") and len(words) > 1 else []),
    )
    assert outcome.code == 2
    assert outcome.out == ""
    assert says in outcome.last_line
    assert outcome.last_line.startswith("jaxmicro: ")
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (here / "run").exists()


def test_an_existing_output_folder_is_refused_before_any_work(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "run").mkdir()
    (here / "run" / "notes.txt").write_text("mine")
    for text in (f"train WORK/image.png {FAST}", "reconstruct WORK/prior.safetensors", "measure WORK/image.png"):
        outcome = jaxmicro(*arguments(text, work), "--out", "run")
        assert outcome.code == 2
        assert "run exists already" in outcome.last_line
        assert len(outcome.err.strip().splitlines()) == 1
    assert os.listdir(here / "run") == ["notes.txt"]


def test_a_full_disk_ends_with_one_line_and_keeps_what_was_written(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    sample = ["reconstruct", work / "prior.safetensors", "--size", 16, "--steps", 2, "--volumes", 2, "--no-report"]
    whole = RunFolder.log

    def full(self: RunFolder, event: str, **fields: object) -> None:
        if event == "volume" and fields["number"] == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "log.jsonl")
        whole(self, event, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log", full)
        outcome = jaxmicro(*sample, "--out", "run")
    assert outcome.code == 2
    assert "no space left" in outcome.last_line
    assert "--resume" in outcome.last_line
    assert (here / "run" / "volume_000.tif").exists()
    assert jaxmicro(*sample, "--out", "run", "--resume").code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_volume_on_a_full_device_is_one_line(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("export", work / "volume.tif", "/dev/full", "--overwrite")
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1


def test_too_little_memory_is_one_line_that_does_not_advise_the_same_again(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
):
    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1099511627776 bytes.")

    monkeypatch.setattr(pipeline, "reconstruct", too_large)
    outcome = jaxmicro("reconstruct", work / "prior.safetensors", "--size", 16, "--out", "run")
    assert outcome.code == 2
    assert "--size" in outcome.last_line and "Continue with" not in outcome.last_line


def test_an_unfinished_training_is_no_prior_yet(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "run").mkdir()
    shutil.copy(work / "image.png", here / "run")
    assert "--resume" in jaxmicro("reconstruct", "run").last_line


def test_the_library_raises_what_the_command_prints(work: Path):
    with pytest.raises(UserError, match="unobtainium"):
        pipeline.load_prior("unobtainium")
