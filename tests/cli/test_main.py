"""The command as a whole: help, version, and each verb on tiny data."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.cli import figures, main
from jaxmicro.cli.evaluate import held_in
from jaxmicro.cli.measure import _directions
from jaxmicro.cli.reconstruct import _left_to_network
from jaxmicro.descriptors import crofton_surface_area
from jaxmicro.evaluate.findings import _copies
from jaxmicro.pipeline import sampling as sampling_of_volumes
from jaxmicro.reconstruct import SamplingConfig
from jaxmicro.types import Microstructure
from tests.cli.conftest import Outcome, blobs, tiny_prior

VERBS = ("train", "reconstruct", "design", "measure", "evaluate", "export", "demo")
SAMPLE = ["--size", 16, "--steps", 2, "--harmonise", 0]


def test_the_help_does_not_load_jax():
    code = "import sys, jaxmicro.cli.main as m; m.parse(['demo']); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_into_a_closed_pipe_ends_without_a_message(words: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "jaxmicro", *words], stdout=writing, stderr=subprocess.PIPE, timeout=60,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("columns", [60, 100])
def test_the_help_fits_the_terminal(columns: int, jaxmicro: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    usage, *lines = jaxmicro("--help").out.splitlines()  # the list of verbs cannot be broken
    assert max(map(len, lines)) <= columns


def test_the_line_of_a_verb_in_the_list_is_a_sentence():
    for kind in main.VERBS:
        assert main._help(kind, whole=False).endswith("."), kind


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, jaxmicro: Callable[..., Outcome]):
    listed, explained = jaxmicro("--help"), jaxmicro(verb, "--help")
    assert (listed.code, explained.code) == (0, 0)
    assert verb in listed.out
    assert "--quiet" in explained.out
    assert "BUNDLED" not in explained.out


def test_the_help_of_train_names_the_defaults(jaxmicro: Callable[..., Outcome]):
    text = " ".join(jaxmicro("train", "--help").out.replace("│", " ").split())
    for config in (pipeline.FINE_TUNING, pipeline.FROM_SCRATCH):
        assert str(config.steps) in text
    assert f"Default: {pipeline.FINE_TUNING.steps} when fine-tuning, {pipeline.FROM_SCRATCH.steps} from scratch" in text


def test_the_help_of_reconstruct_names_the_defaults(jaxmicro: Callable[..., Outcome]):
    text = " ".join(jaxmicro("reconstruct", "--help").out.replace("│", " ").split())
    default = SamplingConfig()
    for value in (default.steps, default.harmonise, default.sampler, default.mode):
        assert f"Default: {value}." in text


def test_a_repeated_option_takes_all_its_values():
    words = ["design", "sofc", "--target=a=1", "--quiet", "--target", "b=2", "c=3", "--names", "d", "--names=e"]
    found = main.parse(words)
    assert (found.target, found.names, found.quiet) == (("a=1", "b=2", "c=3"), ("d", "e"), True)


def test_files_after_a_repeated_switch_stay_in_their_order():
    """Moved to its first occurrence, the target of an export would be read and its source overwritten."""
    found = main.parse(["export", "--overwrite", "--quiet", "source.tif", "--overwrite", "target.tif"])
    assert (found.source.name, found.target.name) == ("source.tif", "target.tif")


def test_fractions_may_be_in_percent():
    assert main.parse(["reconstruct", "sofc", "--fractions", "40%", "0.35", "25%"]).fractions == (0.4, 0.35, 0.25)


@pytest.mark.parametrize("words", [["--crop", "0:4,:", "--crop=:,0:4"], ["--voxel-size", "1", "--voxel_size", "2"]])
def test_an_option_of_one_value_is_not_repeated(words: list[str], jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("measure", "image.png", *words)
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert f"{words[0]} is given more than once" in outcome.err


def test_no_arguments_shows_the_help(jaxmicro: Callable[..., Outcome]):
    assert "train" in jaxmicro().out


def test_the_bundled_priors_are_named_in_the_help(jaxmicro: Callable[..., Outcome]):
    of_collections = {name for name in pipeline.bundled() if pipeline.load_prior(name).conditions is not None}
    for verb, names in (("reconstruct", set(pipeline.bundled()) - of_collections), ("generate", of_collections)):
        listed = jaxmicro(verb, "--help").out.split("Bundled priors:" if verb == "generate" else "bundled prior:")[1]
        assert names == {name for name in pipeline.bundled() if name in listed.split(".\n")[0]}


def test_measure_json_is_one_object_and_nothing_else(work: Path):
    """In a separate process, so that output of any library is captured."""
    command = [sys.executable, "-m", "jaxmicro", "measure", str(work / "image.png"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    numbers = json.loads(done.stdout)
    assert done.returncode == 0
    assert done.stderr == ""
    assert numbers["shape"] == [48, 48]
    assert sum(phase["volume_fraction"] for phase in numbers["phases"]) == pytest.approx(1.0)


def test_measure_of_a_laminate_is_known(here: Path, jaxmicro: Callable[..., Outcome]):
    """Six layers of 4 voxels of 2 um, normal to z: five interfaces; the phase percolates along y and x, not along z."""
    layers = np.repeat(np.arange(6) % 2, 4).astype(np.uint8)
    labels = np.broadcast_to(layers[:, None, None], (24, 24, 24)).copy()
    pipeline.write("layers.npz", Microstructure(labels, (0.0, 1.0), 2.0, "um"))
    phase = json.loads(jaxmicro("measure", "layers.npz", "--json", "--diffusivity", "never").out)["phases"][0]
    assert phase["volume_fraction"] == 0.5
    assert phase["mean_chord_length"]["z"] == pytest.approx(2.0 * 0.5 / (5 / 23 / 2))  # 5 interfaces in 23 pairs
    assert phase["specific_surface_area_faces"] == pytest.approx(5 / 24 / 2.0)  # 5 interfaces in 24 layers of 2 um
    assert phase["percolates"] == {"z": False, "y": True, "x": True}
    assert phase["two_point"][0] == pytest.approx(0.5)
    assert phase["lineal_path"]["z"][:5] == pytest.approx([12 / 24, 9 / 23, 6 / 22, 3 / 21, 0], abs=1e-6)
    assert phase["two_point_along"]["x"] == pytest.approx([0.5] * 13, abs=1e-6)  # every line is one chord
    assert phase["two_point_along"]["z"][8] == pytest.approx(0.5, abs=1e-6)  # one period


def test_measure_tells_the_axes_of_an_anisotropic_image_apart(here: Path, jaxmicro: Callable[..., Outcome]):
    """Lines of period 9 (4 and 5) along y, infinite along x: an infinite chord along x does not change that along y."""
    lines = np.broadcast_to((np.arange(90) % 9 < 4)[:, None], (90, 45)).astype(np.uint8)
    pipeline.write("lines.npz", Microstructure(lines, (0.0, 1.0), 2.0, "um"))
    table = [line.split() for line in jaxmicro("measure", "lines.npz").out.splitlines()]
    chords = {(row[0], row[1]): row[2] for row in table if len(row) > 2 and row[1] in ("y", "x")}
    assert chords[("0", "x")] == chords[("1", "x")] == "inf"
    ends = 19 / 89  # of 20 chords along y
    assert float(chords[("0", "y")]) == pytest.approx(2.0 * 2 * (5 / 9) / ends, abs=0.01)
    assert float(chords[("1", "y")]) == pytest.approx(2.0 * 2 * (4 / 9) / ends, abs=0.01)


def test_measure_of_a_volume_solves_for_diffusivities_and_writes_the_fields(
    here: Path, jaxmicro: Callable[..., Outcome]
):
    layers = np.indices((8, 8, 8))[0] // 2 % 2
    pipeline.write("layers.npz", Microstructure(layers.astype(np.uint8), (0.0, 1.0), 65.0, "nm"))
    outcome = jaxmicro("measure", "layers.npz", "--out", "run", "--quiet")
    assert "inf (not connected)" in outcome.out and "0.5000" in outcome.out and outcome.err == ""
    fields = sorted(path.name for path in (here / "run" / "fields").iterdir())
    assert fields == ["phase0_x.vti", "phase0_y.vti", "phase1_x.vti", "phase1_y.vti"]
    assert (here / "run" / "figures" / "concentration_phase0.png").exists()
    found = json.loads((here / "run" / "measure.json").read_text())["phases"][0]["transport"]
    assert found["axes"]["z"]["tortuosity_factor"] is None  # JSON has no infinity
    assert found["axes"]["x"]["q1"] == pytest.approx(0.5)
    never = json.loads(jaxmicro("measure", "layers.npz", "--json", "--diffusivity", "never").out)
    assert "transport" not in never["phases"][0]


def test_measure_writes_a_table_and_a_folder(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("measure", work / "grey.png", "--segment", 2, "--out", "run")
    assert outcome.code == 0
    assert "volume fraction" in outcome.out
    assert "grey levels between the phases" in outcome.out
    assert {"segmentation.png", "phases.png"} <= {path.name for path in (here / "run" / "figures").iterdir()}
    numbers = json.loads((here / "run" / "measure.json").read_text())
    assert 60 < numbers["thresholds"][0] < 180  # the image has its phases at 60 and 180, with noise


@pytest.mark.parametrize("ending", [".tif", ".vti", ".npz", ".zarr"])
def test_export_keeps_labels_and_calibration(ending: str, work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    assert jaxmicro("export", work / "volume.tif", f"out{ending}").code == 0
    assert pipeline.read(f"out{ending}") == pipeline.read(work / "volume.tif")


def test_export_makes_voxels_cubic_and_writes_what_other_programs_read(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    (here / "flat.raw").write_bytes(bytes([0, 0, 1, 1, 0, 1, 1, 0]) * 8)
    outcome = jaxmicro("export", "flat.raw", "a.vti", "--shape", 4, 4, 4, "--dtype", "uint8")
    assert outcome.code == 0 and pipeline.read("a.vti").shape == (4, 4, 4)
    (here / "b.vti").write_bytes((here / "a.vti").read_bytes().replace(b'"1.0 1.0 1.0"', b'"0.1 0.1 0.2"'))
    refused = jaxmicro("measure", "b.vti")
    assert refused.code == 2 and "0.2 x 0.1 x 0.1" in refused.err and "--resample 0.1" in refused.err
    made = jaxmicro("export", "b.vti", "c.ome.zarr", "--resample", "100nm", "--unit", "um")
    assert made.code == 0 and "8 x 4 x 4" in made.err
    assert (pipeline.read("c.ome.zarr").voxel_size, pipeline.read("c.ome.zarr").unit) == (0.1, "um")
    assert jaxmicro("export", "c.ome.zarr", "c.stl", "--phase", 0).code == 0
    assert "no voxel of phase 7" in jaxmicro("export", "c.ome.zarr", "d.stl", "--phase", 7).err


def test_several_files_where_one_is_expected_get_a_hint_on_slices(here: Path, jaxmicro: Callable[..., Outcome]):
    for name in ("s1.png", "s2.png", "s3.png"):
        (here / name).write_bytes(b"x")
    outcome = jaxmicro("export", "s1.png", "s2.png", "s3.png", "a.tif")
    assert outcome.code == 2 and "in quotes" in outcome.err and outcome.err.count("\n") == 1


def test_a_plane_of_a_volume_is_measured_and_written_as_png(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    volume = pipeline.read(work / "volume.tif")
    assert jaxmicro("export", work / "volume.tif", "plane.png", "--crop", "3:4,:,:").code == 0
    np.testing.assert_array_equal(pipeline.read("plane.png").labels, volume.labels[3])
    np.save("thin.npy", volume.labels[:, :1])
    refused = jaxmicro("measure", "thin.npy")
    assert refused.code == 2 and "--crop :,0,:" in refused.err
    found = json.loads(jaxmicro("measure", "thin.npy", "--crop", ":,0,:", "--json").out)
    assert found["phases"][1]["volume_fraction"] == pytest.approx(volume.labels[:, 0].mean())


def test_resampling_says_by_how_much_interfaces_changed(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("export", work / "volume.tif", "coarse.npz", "--resample", "130nm")
    areas = [
        float(crofton_surface_area(m.labels, voxel_size=m.voxel_size))
        for m in map(pipeline.read, (work / "volume.tif", "coarse.npz"))
    ]
    assert f"interface per volume changed by {100 * (areas[1] / areas[0] - 1):+.1f} % of phase 0" in outcome.err


def test_export_to_a_format_that_is_only_read_is_refused(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("export", work / "volume.tif", "a.nii.gz")
    assert outcome.code == 2 and ".nii.gz is read, but not written" in outcome.err


def test_export_replaces_a_file_only_with_overwrite(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    (here / "out.npz").write_text("mine")
    assert jaxmicro("export", work / "volume.tif", "out.npz").code == 2
    assert (here / "out.npz").read_text() == "mine"
    assert jaxmicro("export", work / "volume.tif", "out.npz", "--overwrite").code == 0


def test_export_of_a_run_folder_takes_its_first_volume(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    pipeline.write(here / "volume_000.npz", Microstructure(blobs(12, ndim=3), (0.0, 1.0)))
    outcome = jaxmicro("export", here, "first.vti")
    assert outcome.code == 0 and "holds 1 volume: volume_000.npz is written" in outcome.err
    assert pipeline.read("first.vti").shape == (12, 12, 12)


def test_reconstruct_writes_volumes_and_a_report(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro(
        "reconstruct", work / "prior.safetensors", *SAMPLE, "--reference", work / "image.png", "--out", "run"
    )
    assert outcome.code == 0, outcome.err
    names = {path.name for path in (here / "run").iterdir()}
    assert {"config.json", "log.jsonl", "volume_000.tif", "volume_000.vti", "evaluation.json", "report.html"} <= names
    assert "left to the network: two-point correlation, lineal path, interface\n" in outcome.err
    volume = pipeline.read(here / "run" / "volume_000.tif")
    assert (volume.shape, volume.voxel_size, volume.unit) == ((16, 16, 16), 65.0, "nm")
    assert 'src="http' not in (here / "run" / "report.html").read_text()


def test_statistics_that_an_untuned_prior_does_not_constrain_are_named():
    prior = tiny_prior()
    assert prior.material is not None
    curves = (((0.0,) * 4,) * 2,) * 2
    untuned = dataclasses.replace(prior, material=dataclasses.replace(prior.material, covariance=curves))
    remark = _left_to_network(untuned, ("volume_fraction",))
    assert remark is not None and "two-point correlation, lineal path, interface" in remark and "--no-tune" in remark
    assert _left_to_network(untuned, ("volume_fraction", "two_point", "lineal_path", "surface_area")) is None


def test_progress_says_why_it_counts_more_than_the_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        sampling_of_volumes, "_sample", lambda *given: given[-1](0, 6) or np.zeros((1, 16, 16, 16), np.uint8)
    )
    reports = []
    sampling = SamplingConfig(steps=3, harmonise=1)
    pipeline.reconstruct(tiny_prior(), shape=(16,) * 3, sampling=sampling, progress=lambda *now: reports.append(now))
    assert reports == [("sampling volume 1 of 1, 3 steps of 2 rounds", 0, 6, "")]


def test_numbers_that_round_to_zero_have_no_sign():
    along = {"mean_chord_length": {"x": 1.0}, "two_point_along": {"x": [0.5, -1e-6]}, "lineal_path": {"x": [0.5, 0.0]}}
    assert "-0.0" not in _directions({"r_max": 1, "unit": None, "phases": [{"label": 0, **along}]})
    copies = {"flagged": False, "nearest": -1e-9, "yardstick": 0.3}
    assert "at distance 0.00;" in _copies(copies)


@pytest.mark.parametrize(
    ("verb", "option", "said"), [("train", "tune", "Leave two"), ("demo", "periodic", "Cut volumes")]
)
def test_the_help_of_a_switch_says_what_it_switches_off(verb, option, said, jaxmicro: Callable[..., Outcome]):
    text = " ".join(jaxmicro(verb, "--help").out.replace("│", " ").split())
    assert f"--no-{option} {said}" in text


def test_reconstruct_prints_nothing_with_quiet(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("reconstruct", work / "prior.safetensors", *SAMPLE, "--no-report", "--quiet")
    assert outcome == Outcome(0, "", "")
    assert (here / "runs" / "reconstruct-prior" / "volume_000.vti").exists()


def test_evaluate_compares_files_with_a_micrograph(work: Path, here: Path, jaxmicro: Callable[..., Outcome]):
    outcome = jaxmicro("evaluate", work / "volume.tif", "--reference", work / "image.png", "--out", "run")
    assert outcome.code == 0, outcome.err
    assert "S2 error" in outcome.out
    report = json.loads((here / "run" / "evaluation.json").read_text())
    assert len(report["phases"]) == 2
    assert (here / "run" / "report.html").exists()
    # without config.json the constraints are unknown
    assert report["held"] is None and "not known what was" in outcome.out
    assert "D_eff / D_0" in outcome.out and report["transport"]["phases"][1]["axes"]["z"]["diffusivity"]["volumes"]


def test_evaluate_reads_the_constraints_of_volumes_from_their_run_folder(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome]
):
    assert held_in([work / "volume.tif"]) is None
    folder = here / "made"
    folder.mkdir()
    (folder / "volume_000.tif").write_bytes((work / "volume.tif").read_bytes())
    for record, known in (('{"held": ["two_point", "volume_fraction"]}', ("two_point", "volume_fraction")),
                          ('{"held": 3}', None), ("{", None), ("[]", None)):  # fmt: skip
        (folder / "config.json").write_text(record)
        assert held_in([folder / "volume_000.tif"]) == known
        assert held_in([folder / "volume_000.tif", work / "volume.tif"]) is None
    (folder / "config.json").write_text('{"held": ["two_point", "volume_fraction"]}')
    options = ("--reference", work / "image.png", "--no-diffusivity", "--out", "run")
    outcome = jaxmicro("evaluate", folder / "volume_000.tif", *options)
    assert outcome.code == 0, outcome.err
    report = json.loads((here / "run" / "evaluation.json").read_text())
    assert report["phases"][0]["two_point"]["held"] and not report["phases"][0]["lineal_path"]["held"]
    assert "no evidence" in outcome.out and "D_eff" not in outcome.out and report["transport"] is None


def test_figures_of_a_volume_without_a_phase_use_the_phases_of_its_micrograph():
    image = Microstructure(blobs(64, phases=3), (0.0, 127.0, 255.0))
    lacking = Microstructure(blobs(16, ndim=3), (0.0, 127.0))
    drawn = figures.of_volumes([lacking], image)
    assert set(drawn) == {"slices", "rendering"} and drawn["slices"].startswith(b"\x89PNG")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_returns_at_every_terminal_width(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    for columns in (0, 1, 2, 3, 4, 5, 9, 20, 39, 41, 79, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as stop:
            main.parse([*([verb] if verb else []), "--help"])
        assert stop.value.code == 0
        assert "usage: jaxmicro" in capsys.readouterr().out
        assert os.environ["COLUMNS"] == str(columns)
