"""Laws of the diffusivities that `measure` reports."""

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.io.volumes import write_fields
from jaxmicro.types import Microstructure


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
        np.testing.assert_allclose(phase["tensor"], np.diag([0.0, 0.5, 0.5]), atol=1e-6)


def test_an_absent_phase_conducts_nothing():
    absent = pipeline.transport(laminate())[2]
    assert not any(along["percolates"] for along in absent["axes"].values())
    assert np.abs(absent["tensor"]).max() == 0 and absent["wiener_bounds"] == [0.0, 0.0]


def test_a_channel_of_one_voxel_conducts_its_share_and_what_is_cut_off_nothing():
    labels = np.zeros((6, 5, 5))
    labels[:, 2, 2] = 1
    labels[1, 0, 0] = labels[0, 4, 4] = 1  # an isle, and a dead end at the first face
    found = pipeline.transport(structure(labels))[1]["axes"]["z"]
    assert found["finite_volume"] == pytest.approx(1 / 25, rel=1e-9)
    field = pipeline.transport_field(structure(labels), label=1, axis="z")
    np.testing.assert_allclose(field.concentration[:, 2, 2], 1 - (np.arange(6) + 0.5) / 6, rtol=1e-5)
    assert np.isnan(field.concentration).sum() == labels.size - 6
    np.testing.assert_allclose(field.flux[:, 2, 2, 0], 1 / 6, rtol=1e-5)
    assert np.nanmax(np.abs(field.flux[..., 1:])) < 1e-6


def test_elements_bound_finite_volumes_from_above_within_hashin_and_shtrikman():
    field = np.random.default_rng(0).normal(size=(12, 12, 12))
    for axis in range(3):
        field = sum(np.roll(field, shift, axis) for shift in range(-1, 2))
    found = pipeline.transport(structure(field > np.quantile(field, 0.4)))[1]
    upper = found["hashin_shtrikman_bounds"][1]
    for along in found["axes"].values():
        assert 0 < along["finite_volume"] <= along["mean"] <= along["q1"] < upper
        assert along["tortuosity_factor"] == pytest.approx(0.6 / along["finite_volume"], rel=1e-3)


def test_fields_in_a_vti_have_x_fastest_and_components_in_the_order_x_y_z(tmp_path):
    scalar = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    vector = np.stack([scalar, 100 + scalar, 200 + scalar], axis=-1)  # components z y x
    write_fields(tmp_path / "f.vti", {"concentration": scalar, "flux": vector}, voxel_size=0.5)
    text = (tmp_path / "f.vti").read_bytes()
    head, _, tail = text.partition(b'<AppendedData encoding="raw">')
    assert b'WholeExtent="0 4 0 3 0 2"' in head and b'Spacing="0.5 0.5 0.5"' in head
    data = tail[tail.index(b"_") + 1 :]
    assert int.from_bytes(data[:8], "little") == 4 * 24
    np.testing.assert_array_equal(np.frombuffer(data, "<f4", 24, 8), np.arange(24))
    start = 8 + 4 * 24 + 8  # as the offset of the second array says
    assert b'offset="104"' in head
    np.testing.assert_array_equal(np.frombuffer(data, "<f4", 6, start), [200, 100, 0, 201, 101, 1])
