"""Every number says what it is: estimators, units and lags of the JSON that `measure` and `evaluate` give."""

from pathlib import Path

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.cli.measure import table
from jaxmicro.pipeline.estimators import ESTIMATORS, evaluation_head, measure_head
from jaxmicro.types import Microstructure
from tests.cli.conftest import blobs

DOCS = (Path(__file__).parents[1] / "docs" / "numbers.md").read_text()


@pytest.fixture(scope="module")
def measured() -> dict:
    volume = Microstructure(blobs(12, ndim=3), (0.0, 255.0), 65.0, "nm", "blobs.tif")
    return {"file": "blobs.tif", **pipeline.measure(volume, r_max=4)}


def test_each_number_of_measure_has_an_estimator_and_a_unit(measured: dict):
    assert measured["schema"] == "jaxmicro.measure/1"
    for phase in measured["phases"]:
        assert set(phase) - {"label", "value"} == set(measured["estimators"]) == set(measured["units"])
    both = [measure_head((12,) * 3, r_max=4, unit="nm", diffusivity=wanted)["estimators"] for wanted in (False, True)]
    assert both[0] == measured["estimators"] and set(both[1]) - set(both[0]) == {"transport"}
    assert measured["units"]["specific_surface_area"] == "1/nm" and measured["units"]["mean_chord_length"] == "nm"


def test_curves_have_as_many_lags_as_values_and_those_of_radial_ones_are_means_of_shells(measured: dict):
    lags, phase = measured["lags"], measured["phases"][0]
    assert len(lags["two_point"]) == len(phase["two_point"]) == len(lags["lineal_path"]) == 5
    corners, edges = 12 * 12 * 11**2, 6 * 12**2 * 11  # pairs at distance sqrt(2) and 1 in a window of 12^3
    expected = (edges + 2**0.5 * corners) / (edges + corners)
    assert lags["two_point"][1] == pytest.approx(expected, rel=1e-6)


def test_the_table_has_areas_as_targets_may_be_written(measured: dict):
    header, first = (line.split("  ") for line in table(measured).splitlines()[1:3])
    assert "surface per volume [1/nm]" in " ".join(header) and "surface per volume [1/voxel]" in " ".join(header)
    numbers = [float(cell) for cell in first if cell.strip().replace(".", "").isdigit()]
    assert any(a * 65 == pytest.approx(b, rel=1e-3) for a, b in zip(numbers, numbers[1:], strict=False) if a)


def test_an_evaluation_says_at_which_lags_its_sections_and_volumes_are_compared():
    report = {"r_max": 3, "periodic": [True], "shapes": [[16, 16, 16]], "true_volume": None, "transport": None}
    flat = evaluation_head(report)
    assert flat["lags"]["two_point"][1] == pytest.approx((1 + 2**0.5) / 2, rel=1e-6)
    solid = evaluation_head({**report, "true_volume": {}})
    assert solid["lags"]["two_point_3d"][1] == pytest.approx((1 + 2 * 2**0.5) / 3, rel=1e-6)
    assert set(flat["units"]) == set(flat["estimators"])
    solved = evaluation_head({**report, "transport": {}})
    assert set(solved["units"]) == set(solved["estimators"]) == {*flat["estimators"], "transport"}


def test_the_documentation_names_every_number_and_the_lags_are_those_of_the_code():
    from jaxmicro.descriptors import radial_lags

    for name in ESTIMATORS:
        assert f"`{name}`" in DOCS, name
    for ndim in (2, 3):
        (row,) = [line for line in DOCS.splitlines() if line.startswith(f"| mean distance in {ndim}D")]
        listed = [float(cell) for cell in row.split("|")[2:-1]]
        lags = radial_lags((4096,) * ndim, r_max=8, periodic=True)
        assert listed == pytest.approx(lags[[1, 2, 3, 4, 8]], abs=6e-4)


def test_the_documented_excess_of_estimators_of_area_is_that_of_a_sphere():
    from skimage.measure import marching_cubes, mesh_surface_area

    from jaxmicro.descriptors import crofton_surface_area, specific_surface_area

    radius, edge = 10, 26
    ball = sum((np.indices((edge,) * 3)[axis] - edge / 2 + 0.3) ** 2 for axis in range(3)) <= radius**2
    true = 4 * np.pi * radius**2
    assert float(specific_surface_area(ball, periodic=True)) * ball.size / true == pytest.approx(1.5, abs=0.01)
    assert float(crofton_surface_area(ball, periodic=True)) * ball.size / true == pytest.approx(1.0, abs=0.01)
    edge = np.indices((32, 32))[0] < 16  # of directions 0, 45, 90 and 135 degrees one is parallel to it
    assert float(crofton_surface_area(edge, periodic=True)) * 16 == pytest.approx(np.pi / 8 * (1 + 2**0.5), rel=1e-5)
    y, x = np.indices((50, 50)) - 24.7
    disc = y**2 + x**2 <= 20**2
    assert float(crofton_surface_area(disc, periodic=True)) * disc.size / (40 * np.pi) == pytest.approx(1, abs=0.005)
    vertices, faces, *_ = marching_cubes(ball.astype(np.float32), 0.5)
    assert mesh_surface_area(vertices, faces) / true == pytest.approx(1.086, abs=0.01)
