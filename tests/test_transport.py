"""Laws of the diffusivities that `measure` reports."""

import dataclasses
import sys

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.cli.measure import table
from jaxmicro.types import Microstructure
from tests.media import level_cut


def structure(labels: np.ndarray, phases: int = 2) -> Microstructure:
    return Microstructure(labels.astype(np.uint8), tuple(map(float, range(phases))))


def laminate(edge: int = 8) -> Microstructure:
    """Layers normal to z, two voxels thick; phase 2 is absent."""
    return structure(np.indices((edge,) * 3)[0] // 2 % 2, phases=3)


def test_layers_conduct_in_parallel_and_block_in_series():
    for phase in pipeline.transport(laminate())[:2]:
        across, along = phase["axes"]["z"], phase["axes"]["x"]
        assert not across["percolates"] and across["tortuosity_factor"] == np.inf
        assert across["finite_volume"] == across["q1"] == across["mean"] == 0
        assert along["finite_volume"] == pytest.approx(0.5, abs=1e-9)
        assert along["tortuosity_factor"] == pytest.approx(1.0, abs=1e-8)
        assert along["converged"] and along["flux_balance"] < 1e-6
        np.testing.assert_allclose(phase["tensor_periodic"], np.diag([0.0, 0.5, 0.5]), atol=1e-6)


def test_an_absent_phase_conducts_nothing():
    absent = pipeline.transport(laminate())[2]
    assert not any(along["percolates"] for along in absent["axes"].values())
    assert np.abs(absent["tensor_periodic"]).max() == 0 and absent["wiener_bounds"] == [0.0, 0.0]


def test_a_phase_that_connects_through_the_wrap_alone_conducts_in_the_periodic_tensor_only():
    thread = np.zeros((8, 8))  # a line of 16 pixels that winds once around both axes
    thread[5, :3] = thread[5:, 2] = thread[:3, 2] = thread[2, 2:] = thread[2:6, 7] = 1
    found = pipeline.transport(structure(thread))[1]
    assert not any(along["percolates"] for along in found["axes"].values())
    # a slope of 1 along y drops 8 over the 16 unit conductances of the thread: a current of 1/2, the same along 8
    # steps of y and 8 of x, so the mean flux is 8 * (1/2) / 64 along both
    np.testing.assert_allclose(found["tensor_periodic"], np.full((2, 2), 1 / 16), rtol=1e-6)


def test_a_periodic_volume_has_its_numbers_between_two_faces_and_those_of_the_medium_wherever_it_is_cut():
    phase = level_cut((8, 8, 8), fraction=0.6, sigma=1.0).astype(np.uint8)
    found = []
    for shift in (0, 3):
        volume = Microstructure(np.roll(phase, shift, axis=0), (0.0, 1.0), periodic=True)
        found.append(pipeline.transport(volume)[1])
    along, cut_elsewhere = (each["axes"]["z"] for each in found)
    assert along["finite_volume_periodic"] == found[0]["tensor_periodic"][0][0] > along["finite_volume"]
    assert cut_elsewhere["finite_volume_periodic"] == pytest.approx(along["finite_volume_periodic"], rel=1e-6)
    assert abs(cut_elsewhere["finite_volume"] / along["finite_volume"] - 1) > 1e-2
    tau = along["tortuosity_factor_periodic"]
    assert tau == pytest.approx(phase.mean() / along["finite_volume_periodic"], rel=1e-6)
    assert not any("periodic" in name for name in pipeline.transport(structure(phase))[1]["axes"]["z"])


def test_a_table_of_measured_numbers_has_the_tensor_and_of_periodic_volumes_its_tortuosity_factors():
    labels = np.indices((8, 8, 8))[0] // 2 % 2
    for periodic in (True, False):
        volume = Microstructure(labels.astype(np.uint8), (0.0, 1.0), periodic=periodic)
        lines = table({"file": "layers", **pipeline.measure(volume, diffusivity=True)}).splitlines()
        title = next(i for i, line in enumerate(lines) if "effective tensor" in line)
        rows = [" ".join(line.split()) for line in lines[title + 2 : title + 4]]
        assert rows == [
            "0 z 0.0000 0.0000 0.0000" + " inf (not connected)" * periodic,
            "0 y 0.0000 0.5000 0.0000" + " 1.000" * periodic,
        ]


@pytest.mark.parametrize("axis", ["z", *(pytest.param(axis, marks=pytest.mark.slow) for axis in "yx")])
def test_a_channel_of_one_voxel_conducts_its_share_and_what_is_cut_off_nothing(axis: str):
    labels = np.zeros((6, 5, 4))
    labels[:, 2, 1] = 1
    labels[1, 0, 0] = labels[0, 4, 3] = 1  # an isle, and a dead end at the first face
    number = "zyx".index(axis)
    labels = np.moveaxis(labels, 0, number)
    fields: list[pipeline.TransportField] = []
    found = pipeline.transport(structure(labels), tensor=False, on_field=fields.append)[1]["axes"]
    assert found[axis]["finite_volume"] == pytest.approx(1 / 20, rel=1e-9)
    (field,) = [field for field in fields if field.label == 1]
    assert field.axis == axis
    line = np.moveaxis(field.concentration, number, 0)[:, 2, 1]
    np.testing.assert_allclose(line, 1 - (np.arange(6) + 0.5) / 6, rtol=1e-5)
    assert np.isnan(field.concentration).sum() == labels.size - 6
    flux = np.moveaxis(field.flux, number, 0)[:, 2, 1]
    np.testing.assert_allclose(flux, np.eye(3)[[number] * 6] / 6, atol=1e-6)


def test_of_an_image_the_axes_are_y_and_x():
    rows = structure(np.indices((6, 8))[0] % 2)
    fields: list[pipeline.TransportField] = []
    found = pipeline.transport(rows, on_field=fields.append)[0]
    assert found["axes"]["x"]["finite_volume"] == pytest.approx(0.5) and not found["axes"]["y"]["percolates"]
    assert {field.axis for field in fields} == {"x"} and fields[0].flux.shape == (6, 8, 2)


def test_elements_bound_finite_volumes_from_above_within_hashin_and_shtrikman():
    field = np.random.default_rng(0).normal(size=(12, 12, 12))
    for axis in range(3):
        field = sum(np.roll(field, shift, axis) for shift in range(-1, 2))
    found = pipeline.transport(structure(field > np.quantile(field, 0.4)))[1]
    upper = found["hashin_shtrikman_bounds"][1]
    for along in found["axes"].values():
        assert 0 < along["finite_volume"] <= along["mean"] <= along["q1"] < upper
        assert along["tortuosity_factor"] == pytest.approx(0.6 / along["finite_volume"], rel=1e-3)


def test_a_report_states_diffusivity_and_tortuosity_of_each_phase_and_axis_also_of_the_true_volume():
    layers = np.indices((8,) * 3)[0] // 2 % 2
    volume = dataclasses.replace(structure(layers), periodic=True)
    found = pipeline.diffusivities(
        [volume, volume], truth=structure(np.repeat(layers, 2, axis=2)), held=("two_point", "diffusivity.1.x")
    )
    assert found["sub_volumes"] == 2
    across, along = (found["phases"][1]["axes"][axis] for axis in "zx")
    for name in ("diffusivity", "diffusivity_periodic"):
        assert across[name]["mean"] == 0 and along[name]["volumes"] == pytest.approx([0.5, 0.5], abs=1e-6)
    for name in ("tortuosity_factor", "tortuosity_factor_periodic"):
        assert across[name]["mean"] == np.inf and along[name]["mean"] == pytest.approx(1.0, abs=1e-5)
    assert along["diffusivity"]["reference"] == pytest.approx(0.5, abs=1e-6)
    assert along["diffusivity"]["parts"] == pytest.approx([0.5, 0.5], abs=1e-6)
    assert along["target"] and not across["target"]
    windows = pipeline.diffusivities([structure(layers)])["phases"][1]["axes"]["x"]
    assert windows["diffusivity_periodic"] is None and windows["target"] is None


def test_a_phase_that_connects_through_the_wrap_alone_conducts_in_the_periodic_number_only():
    helix = np.zeros((8, 8, 8))  # a voxel chain that goes around y while it goes around z
    for z in range(8):
        helix[z, z, 4] = helix[z, (z + 1) % 8, 4] = 1
    volume = dataclasses.replace(structure(np.roll(helix, 4, axis=1)), periodic=True)
    axes = pipeline.diffusivities([volume])["phases"][1]["axes"]
    assert axes["z"]["diffusivity"]["mean"] == 0  # cut where it goes through the face
    assert axes["z"]["diffusivity_periodic"]["mean"] > 0 and axes["x"]["diffusivity_periodic"]["mean"] == 0
    assert axes["z"]["diffusivity_periodic"]["mean"] == pytest.approx(
        axes["y"]["diffusivity_periodic"]["mean"], rel=1e-5
    )


def test_what_did_not_converge_has_no_tortuosity_factor(monkeypatch: pytest.MonkeyPatch):
    module = sys.modules["jaxmicro.pipeline.transport"]  # the package has a function of that name
    monkeypatch.setattr(module, "exact_value", lambda *arguments, **options: float("nan"))
    found = pipeline.diffusivities([laminate(4)])["phases"][0]["axes"]["z"]
    assert np.isnan(found["diffusivity"]["mean"]) and np.isnan(found["tortuosity_factor"]["mean"])
