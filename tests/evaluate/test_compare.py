"""Comparisons: no error for equal media, exact values for laminates, small errors for volumes of one material."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxmicro.descriptors import lineal_path, radial_two_point
from jaxmicro.errors import UserError
from jaxmicro.evaluate import check_comparable, compare, slice_statistics, warnings
from jaxmicro.types import Microstructure

R_MAX = 8


def structure(labels: np.ndarray, phases: int = 2) -> Microstructure:
    return Microstructure(labels.astype(np.uint8), tuple(float(p) for p in range(phases)))


def random_field(shape: tuple[int, ...], seed: int, phases: int = 2) -> np.ndarray:
    """Thresholded Gaussian field, periodic, equal volume fractions, correlation over about 3 voxels."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    field = gaussian_filter(noise, 1.5, mode="wrap")
    return np.digitize(field, np.quantile(field, np.arange(1, phases) / phases)).astype(np.uint8)


def laminate() -> np.ndarray:
    """Layers two voxels thick, normal to z: phase 0, 0, 1, 1, 0, 0, ..."""
    return np.broadcast_to((np.arange(32) // 2 % 2)[:, None, None], (32, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def same_material() -> dict:
    """Comparison of volumes with an image of the same random medium, a plane of a larger volume."""
    image = random_field((24, 256, 256), seed=0, phases=3)[12]
    volumes = [structure(random_field((32, 32, 32), seed, 3), 3) for seed in range(1, 5)]
    return compare(volumes, structure(image, 3), r_max=R_MAX, patches=2)


def test_slice_statistics_are_the_mean_over_the_planes_of_all_orientations():
    labels = random_field((8, 9, 10), seed=5)
    measured = slice_statistics(labels, 2, 5)
    phase = (labels == 1).astype(np.float32)
    planes = [[np.take(phase, k, axis) for k in range(labels.shape[axis])] for axis in range(3)]
    mean = phase.mean()  # of the volume
    covariance = [np.mean([radial_two_point(p - mean, r_max=5) for p in stack], axis=0) for stack in planes]
    s2 = np.mean(covariance, axis=0) + mean**2
    paths = [[lineal_path(p, axis=a, r_max=5) for p in stack for a in (0, 1)] for stack in planes]
    path = np.mean([np.mean(stack, axis=0) for stack in paths], axis=0)
    # float32 sums in another order: a few times its resolution
    np.testing.assert_allclose(measured[1]["two_point"], s2, atol=2e-6)
    np.testing.assert_allclose(measured[1]["lineal_path"], path, atol=2e-6)


def test_periodic_statistics_are_the_mean_of_those_from_windows_over_all_shifts():
    labels = random_field((8, 8, 8), seed=6)
    periodic = slice_statistics(labels, 2, 4, periodic=True)[1]
    shifts = [(i, j, k) for i in range(8) for j in range(8) for k in range(8)]
    windows = [slice_statistics(np.roll(labels, shift, (0, 1, 2)), 2, 4)[1] for shift in shifts]
    # every segment and every pair of one lag occurs equally often; float32 sums
    np.testing.assert_allclose(
        periodic["lineal_path"], np.mean([w["lineal_path"] for w in windows], axis=0), rtol=1e-5, atol=1e-6
    )
    # at r = 0 and 1 all lags of a ring have equally many pairs in the window; beyond, long lags of a ring have fewer
    mean = np.mean([w["two_point"] for w in windows], axis=0)
    np.testing.assert_allclose(periodic["two_point"][0], mean[0], rtol=1e-5)
    np.testing.assert_allclose(periodic["two_point"], mean, rtol=0.02)
    shifted = slice_statistics(np.roll(labels, (3, 1, 6), (0, 1, 2)), 2, 4, periodic=True)[1]
    np.testing.assert_allclose(shifted["two_point"], periodic["two_point"], rtol=1e-5)


def test_a_periodic_volume_is_measured_over_all_its_pairs():
    labels = random_field((16, 16, 16), seed=7)
    shifted = np.roll(labels, (5, 2, 9), (0, 1, 2))  # the same medium, as it is periodic
    reference = structure(random_field((8, 64, 64), seed=0)[4])
    reports = [
        compare([Microstructure(v, (0.0, 1.0), periodic=True)], reference, r_max=R_MAX, patches=0)
        for v in (labels, shifted)
    ]
    for name in ("two_point", "lineal_path"):
        one, other = (report["phases"][1][name]["mean"] for report in reports)
        np.testing.assert_allclose(one, other, rtol=1e-4)
    areas = [report["phases"][1]["surface_area"]["mean"] for report in reports]
    assert areas[0] == pytest.approx(areas[1], rel=1e-5)
    assert [report["periodic"] for report in reports] == [[True], [True]]


@pytest.mark.parametrize("periodic", [False, True])
def test_a_volume_compared_with_itself_has_no_error(periodic: bool):
    volume = Microstructure(random_field((32, 32, 32), seed=3), (0.0, 1.0), periodic=periodic)
    report = compare([volume], volume, r_max=R_MAX)
    for phase in (*report["phases"], *report["true_volume"]["phases"]):
        assert phase["two_point"]["error_rate"] == phase["lineal_path"]["error_rate"] == 0.0
        assert phase["surface_area"]["ratio"] == 1.0
        assert phase["volume_fraction"]["error_percent"] == 0.0


def test_the_voxel_size_is_that_of_the_volumes_where_the_micrograph_has_none():
    volume = Microstructure(laminate(), (0.0, 1.0), 65.0, "nm")
    report = compare([volume], structure(laminate()[:, :, 0]), r_max=2, patches=0)
    assert (report["voxel_size"], report["unit"]) == (65.0, "nm")


def test_a_laminate_has_the_numbers_that_can_be_counted_by_hand():
    report = compare([structure(laminate())], structure(laminate()[:, :, 0]), r_max=R_MAX, patches=0)
    for p, phase in enumerate(report["phases"]):
        assert phase["volume_fraction"]["mean"] == 0.5
        along = phase["lineal_path"]["directions"]
        np.testing.assert_allclose(along["x"], [0.5] * 9, atol=1e-6)  # segments along the layers do not end
        # two voxels across a layer are inside a layer at 8 of 31 positions; a segment of three at none
        np.testing.assert_allclose(along["z"], [0.5, 8 / 31, *[0] * 7], atol=1e-6)
        assert phase["percolating_fraction"]["axes"] == {"z": 0.0, "y": 1.0, "x": 1.0}
        # planes normal to z lie in one layer; the others are crossed by 15 boundaries between 32 rows
        np.testing.assert_allclose(list(phase["surface_area"]["axes"].values()), [0, 15 / 31, 15 / 31], atol=1e-6)
        assert phase["phase"] == p


def test_an_image_of_the_same_view_has_the_curves_of_the_planes():
    volume = laminate()
    report = compare([structure(volume)], structure(volume[:, :, 0]), r_max=R_MAX, patches=0)
    for phase in report["phases"]:
        np.testing.assert_allclose(phase["two_point"]["axes"]["x"], phase["two_point"]["reference"], atol=1e-6)
        assert phase["two_point"]["error_rate_axes"]["x"] == pytest.approx(0.0, abs=1e-3)
        assert phase["two_point"]["error_rate_axes"]["z"] > 10


def test_volumes_of_the_same_material_are_close_to_an_image_of_it(same_material: dict):
    for phase in same_material["phases"]:
        # 4 volumes of 32^3 and an image of 256^2 with correlations over 3 voxels: scatter of 1 to 2 %
        assert phase["two_point"]["error_rate"] < 4
        assert phase["two_point"]["shape_error"] < 0.03
        assert phase["lineal_path"]["error_rate"] < 6
        assert phase["surface_area"]["ratio"] == pytest.approx(1, abs=0.05)
        assert phase["relative_surface_area"]["ratio"] == pytest.approx(1, abs=0.05)


def test_the_mean_of_the_volumes_is_never_worse_than_the_worst_volume(same_material: dict):
    for phase in same_material["phases"]:
        for name in ("two_point", "lineal_path"):
            assert phase[name]["error_rate"] <= max(phase[name]["error_rate_volumes"]) + 1e-6
            np.testing.assert_allclose(phase[name]["mean"], np.mean(phase[name]["volumes"], axis=0), atol=1e-5)


def test_the_report_is_unchanged_by_json(same_material: dict):
    assert json.loads(json.dumps(same_material, allow_nan=False)) == same_material


def test_sub_volumes_of_a_true_volume_average_to_it():
    truth = random_field((64, 32, 32), seed=8)
    report = compare(
        [structure(truth[:32])], structure(truth[:, :, 0]), true_volume=structure(truth), r_max=R_MAX, patches=0
    )
    assert report["true_volume"]["sub_volumes"] == 2
    for phase in report["true_volume"]["phases"]:
        parts = phase["yardstick"]["volume_fraction"]
        assert parts["mean"] == pytest.approx(parts["reference"], abs=1e-5)
        # the volume is the first of the two parts
        assert phase["two_point"]["error_rate"] == phase["yardstick"]["two_point"]["error_rate_volumes"][0]


def test_a_phase_that_is_absent_from_a_volume_is_reported_without_an_error():
    image = random_field((64, 64), seed=2, phases=3)
    report = compare([structure(laminate(), 3)], structure(image, 3), r_max=R_MAX, patches=0)
    missing = report["phases"][2]
    assert missing["volume_fraction"]["mean"] == missing["percolating_fraction"]["mean"] == 0.0
    assert missing["two_point"]["error_rate"] == pytest.approx(100.0)


def test_r_max_is_lowered_to_half_of_the_shortest_edge():
    report = compare([structure(laminate())], structure(random_field((20, 40), seed=1)), r_max=32, patches=0)
    assert report["r_max"] == 10
    assert len(report["phases"][0]["two_point"]["mean"]) == 11


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([], "at least one"),
        ([structure(np.eye(16))], "volume z y x"),
        ([structure(random_field((16, 16, 16), seed=0, phases=3), 3)], "2 phases"),
    ],
)
def test_invalid_input_raises_an_error_with_a_reason(volumes: list[Microstructure], message: str):
    with pytest.raises(UserError, match=message):
        compare(volumes, structure(np.eye(32)))


def test_volumes_with_another_voxel_size_raise_an_error():
    labels = np.indices((8, 8, 8))[0] % 2
    volume = Microstructure(labels.astype(np.uint8), (0.0, 1.0), 65.0, "nm")
    with pytest.raises(UserError, match="resample"):
        compare([volume], Microstructure(volume.labels[:, 0], (0.0, 1.0), 130.0, "nm"), patches=0)


def test_voxel_sizes_are_compared_as_lengths_whatever_their_units():
    volume = Microstructure(laminate(), (0.0, 1.0), 50.0, "nm")
    micrograph = Microstructure(laminate()[:, :, 0], (0.0, 1.0), 0.05, "um")
    check_comparable([volume], micrograph)
    with pytest.raises(UserError, match="50 nm"):
        check_comparable([volume], replace(micrograph, voxel_size=50.0))


def test_a_true_volume_of_unknown_or_other_voxel_size_raises_an_error():
    volume, flat = Microstructure(laminate(), (0.0, 1.0), 65.0, "nm"), structure(laminate()[:, :, 0])
    with pytest.raises(UserError, match="states no voxel size.*65 nm"):
        check_comparable([volume], flat, structure(laminate()))
    with pytest.raises(UserError, match="260 nm"):  # also if the micrograph has no voxel size
        check_comparable([volume], flat, replace(volume, voxel_size=260.0))
    check_comparable([volume], flat, replace(volume, voxel_size=0.065, unit="um"))
    check_comparable([structure(laminate())], flat, structure(laminate()))


def test_slice_steps_are_1_in_an_isotropic_medium_and_larger_between_unrelated_slices(same_material: dict):
    for phase in same_material["phases"]:
        assert phase["slice_steps"]["mean"] == pytest.approx(1, abs=0.15)
    media = [random_field((32, 32, 32), seed) for seed in range(32)]
    unrelated = np.stack([medium[0] for medium in media])  # each slice from another medium
    report = compare([structure(unrelated)], structure(random_field((24, 256, 256), seed=0)[12]), r_max=R_MAX)
    assert report["phases"][0]["slice_steps"]["axes"]["z"] > 2
    lines = [line for line in warnings(report) if "Neighbouring slices" in line]
    assert len(lines) == 1 and "along z differ up to" in lines[0]
    repeated = np.repeat(media[0][:1], 32, axis=0)
    report = compare([structure(repeated)], structure(random_field((24, 256, 256), seed=0)[12]), r_max=R_MAX)
    assert any("along z differ only 0 times" in line for line in warnings(report))
    assert not any("Neighbouring slices" in line for line in warnings(same_material))


def test_slice_steps_do_not_depend_on_the_volume_fraction():
    image, fine = random_field((24, 256, 256), seed=0)[12], gaussian_filter
    fields = [fine(np.random.default_rng(seed).standard_normal((32,) * 3), 1.5, mode="wrap") for seed in range(4)]
    volumes = [structure(field > np.quantile(field, 0.9)) for field in fields]
    report = compare(volumes, structure(image), r_max=R_MAX, patches=0)
    assert report["phases"][1]["slice_steps"]["mean"] == pytest.approx(1, abs=0.25)
    empty = compare([structure(np.zeros((32, 32, 32)))], structure(image), r_max=R_MAX, patches=0)
    assert empty["phases"][1]["slice_steps"] is None
