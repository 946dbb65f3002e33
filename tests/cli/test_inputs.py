"""Input files of the verbs, and remarks on them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxmicro import io, pipeline
from jaxmicro.cli.console import Console
from jaxmicro.cli.inputs import read_several
from jaxmicro.cli.options import Measure
from jaxmicro.errors import UserError
from jaxmicro.pipeline.prior import material_of
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs


def test_a_zarr_array_of_any_name_is_exported(here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "group.zarr").mkdir()
    io.write_zarr(here / "group.zarr" / "0", Microstructure(blobs(16, ndim=3), (0.0, 255.0)))
    assert jaxmicro("export", here / "group.zarr" / "0", here / "array.npz").code == 0
    np.testing.assert_array_equal(io.read(here / "array.npz").labels, blobs(16, ndim=3))


def test_options_for_values_that_are_no_phases(here: Path, jaxmicro: Callable[..., Outcome]):
    image = blobs(64) * np.uint8(255)
    image[5, 5] = 12
    bar = np.zeros((16, 64), np.uint8)
    Image.fromarray(np.concatenate([image, bar])).save(here / "image.png")
    said = jaxmicro("export", here / "image.png", here / "as_it_is.npz")
    assert said.code == 0 and "12 (0.0195%) rare: --merge-rare" in said.err and "--crop 0:64,:" in said.err
    clean = jaxmicro("export", here / "image.png", here / "clean.npz", "--crop", "0:64,:", "--merge-rare", "0.1%")
    assert "merged into neighbouring phases: 12 (0.0244%)" in clean.err
    np.testing.assert_array_equal(np.delete(io.read(here / "clean.npz").labels, 5, 0), np.delete(blobs(64), 5, 0))
    masked = jaxmicro("export", here / "image.png", here / "masked.npz", "--crop", ":64,:", "--ignore", "12")
    assert masked.code == 0 and "are read" not in masked.err and io.read(here / "masked.npz").phases == 2


@pytest.mark.parametrize(
    "options, says",
    [
        ("--merge-rare 2", "above 0 and below one half"),
        ("--merge-rare many", "0.001 or 0.1%"),
        ("--ignore black", "a number, nan or a colour"),
        ("--crop 0:9", "expected 2 ranges"),
        ("--merge-rare 1% --segment 2", "leave one out"),
    ],
)
def test_switches_that_cannot_be_read_are_refused(
    options: str, says: str, work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    outcome = jaxmicro("export", work / "image.png", here / "out.npz", *options.split())
    assert outcome.code == 2 and says in outcome.err and outcome.err.count("\n") == 1
    assert not (here / "out.npz").exists()


@pytest.fixture
def three_images(here: Path) -> list[Path]:
    """Images of one material."""
    for number in range(3):
        Image.fromarray(blobs(seed=number) * np.uint8(255)).save(here / f"seq_{number}.png")
    return [here / f"seq_{number}.png" for number in range(3)]


def test_several_images_are_measured_one_by_one_and_together(
    three_images: list[Path], here: Path, jaxmicro: Callable[..., Outcome]
):
    table = jaxmicro("measure", *three_images, "--r-max", 4)
    assert table.code == 0 and "3 images of one material" in table.out and "+-" in table.out
    np.save(here / "stack.npy", np.stack([blobs(seed=number) for number in range(3)]))
    asked = jaxmicro("measure", here / "stack.npy")
    assert asked.code == 2 and "--stack images" in asked.err
    found = json.loads(jaxmicro("measure", here / "stack.npy", "--stack", "images", "--json", "--r-max", 4).out)
    assert [image["file"] for image in found["images"]] == [f"stack.npy[{number}]" for number in range(3)]
    assert found["schema"].startswith("jaxmicro.measure_images/")
    shares = [np.mean([blobs(seed=number) == label for number in range(3)]) for label in range(2)]
    assert [phase["volume_fraction"] for phase in found["pooled"]] == pytest.approx(shares)
    for phase in found["pooled"]:
        s2 = [image["phases"][phase["label"]]["two_point"] for image in found["images"]]
        # of one size: the unweighted mean
        np.testing.assert_allclose(phase["two_point"], np.mean(s2, axis=0), rtol=1e-12)


def test_images_that_lack_a_phase_and_values_merged_in_all_images_are_remarked_on(
    here: Path, jaxmicro: Callable[..., Outcome]
):
    three, two = blobs(phases=3) * np.uint8(100), blobs() * np.uint8(100)
    three[0, 0] = 7  # a stray pixel of one of them
    for name, image in (("three", three), ("two", two)):
        Image.fromarray(image).save(here / f"{name}.png")
    table = jaxmicro("measure", here / "two.png", here / "three.png", "--merge-rare", "0.1%", "--r-max", 4)
    assert table.code == 0 and "mean chords: all of the length over all chords" in table.out
    assert "phase 2 is absent in two.png" in table.err
    assert "of all images together: merged into neighbouring phases" in table.err
    found = json.loads(jaxmicro("measure", here / "two.png", here / "two.png", "--json", "--r-max", 4).out)
    assert found["units"] == found["images"][0]["units"] and found["estimators"] == found["images"][0]["estimators"]


def test_images_with_different_phases_get_a_remark(
    three_images: list[Path], here: Path, jaxmicro: Callable[..., Outcome]
):
    same = jaxmicro("measure", *three_images, "--r-max", 4, "--json")
    assert same.code == 0 and same.err == ""
    found = json.loads(same.out)
    assert found["remarks"] == [] and len(found["lags"]["two_point"]) == 5
    assert set(found["pooling"]) == set(found["pooled"][0]) - {"label", "value"}
    Image.fromarray(np.where(blobs(seed=3) & blobs(seed=4), 255, 0).astype(np.uint8)).save(here / "fewer.png")
    fewer = jaxmicro("measure", *three_images, here / "fewer.png", "--r-max", 4)
    assert fewer.err.count("note:") == 1 and "of fewer.png and" in fewer.err and "of one material" not in fewer.out
    half = blobs(seed=5) * np.uint8(255)
    half[:, ::2] = 127
    Image.fromarray(half).save(here / "more.png")
    more = jaxmicro("measure", three_images[0], here / "more.png")
    assert "phase 1 is absent in seq_0.png" in more.err and "inf" in more.out  # no stripe ends along y


def test_remarks_on_stray_values_name_the_image_that_holds_them(
    three_images: list[Path], here: Path, jaxmicro: Callable[..., Outcome]
):
    strayed = blobs(seed=3) * np.uint8(255)
    strayed[5, 5] = 12
    Image.fromarray(strayed).save(here / "strayed.png")
    paths = (*three_images, here / "strayed.png")
    for options, says in (((), "12 ("), (("--merge-rare", "0.1%"), "merged into neighbouring phases: 12 (")):
        (line,) = (line for line in jaxmicro("measure", *paths, *options).err.splitlines() if "note" not in line)
        assert line.startswith(f"{here / 'strayed.png'}: ") and says in line and "1 of 4 images" in line


def test_images_of_other_sizes_are_pooled_by_their_area():
    """Two images of 10 and 30 pixels: 5 in the phase in one chord, and 6 in three chords."""

    def image(shape: tuple[int, int], share: float, chord: float) -> dict:
        phase = {"value": 1.0, "volume_fraction": share, "specific_surface_area": share, "two_point": [share, 0.0]}
        return {
            "shape": shape,
            "r_max": 1,
            "phases": [phase | {"mean_chord_length": {"x": chord}, "lineal_path": {"x": [share, 0.0]}}],
        }

    (found,) = pipeline.pooled([image((1, 10), 0.5, 5.0), image((3, 10), 0.2, 2.0)])
    assert found["volume_fraction"] == pytest.approx(11 / 40)
    assert found["mean_chord_length"]["x"] == pytest.approx(11 / 4)
    assert found["volume_fraction_error"] == pytest.approx(np.sqrt(2 * (0.25 * 0.225) ** 2 + 2 * (0.75 * 0.075) ** 2))


def test_stacks_of_images_are_for_train_and_measure_and_slices_are_pointed_out(
    three_images: list[Path], here: Path, jaxmicro: Callable[..., Outcome], capfd: pytest.CaptureFixture
):
    refused = jaxmicro("export", three_images[0], here / "b.npz", "--stack", "images")
    assert refused.code == 2 and "one image or volume is needed" in refused.err
    volume = blobs(24, ndim=3)[:5]
    paths = [here / f"slice_{number}.png" for number in range(5)]
    for path, section in zip(paths, volume, strict=True):
        Image.fromarray(section * np.uint8(255)).save(path)
    console = Console()
    assert len(read_several(paths, Measure(file=()), console)) == 5
    assert "--stack volume" in capfd.readouterr().err
    (joined,) = read_several(paths, Measure(file=(), stack="volume"), console)
    np.testing.assert_array_equal(joined.labels, volume)
    assert len(read_several(three_images, Measure(file=()), console)) == 3
    assert capfd.readouterr().err == ""


def test_a_prior_stores_statistics_of_its_micrographs_weighted_by_area():
    one, two = (Microstructure(blobs(edge, seed=edge), (0.0, 255.0), 65.0, "nm", f"{edge}.png") for edge in (48, 64))
    found = material_of(one, two)
    both = np.concatenate([one.labels.ravel(), two.labels.ravel()])
    assert found.volume_fractions == pytest.approx([np.mean(both == 0), np.mean(both == 1)])
    assert (found.source, found.voxel_size) == ("48.png and 1 more", 65.0)
    with pytest.raises(UserError, match="2 kinds"):
        pipeline.train([one, dataclasses.replace(two, voxel_size=60.0)])


@pytest.mark.slow
def test_several_micrographs_train_one_prior(three_images: list[Path], here: Path, jaxmicro: Callable[..., Outcome]):
    fast = "--from-scratch --patch 16 --widths 8 --steps 2 --batch 2 --no-tune --sample-every 0".split()
    Image.fromarray(blobs(64, seed=2) * np.uint8(255)).save(three_images[2])
    outcome = jaxmicro("train", *three_images, *fast, "--out", here / "run")
    assert outcome.code == 0, outcome.err
    assert "compared with the largest of the images, seq_2.png" in outcome.err
    np.testing.assert_array_equal(io.read(here / "run" / "micrograph.npz").labels, blobs(64, seed=2))
    config = json.loads((here / "run" / "config.json").read_text())
    assert list(config["inputs"]) == [str(path) for path in three_images]
