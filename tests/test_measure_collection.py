"""Laws of properties measured of a collection: those that `measure` has, to the same bits after an interruption."""

import importlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from jaxmicro import descriptors, io
from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.pipeline import Film, chosen_features, measurable_features, measure_collection
from jaxmicro.pipeline.measure_collection import STATE, measured_samples

GRID = (8, 8, 8)
FILM = Film(donor=1, acceptor=0)


def smooth_labels(n: int) -> np.ndarray:
    """Two phases with connected clusters; the last sample has one phase only, the one before it layers."""
    field = np.random.default_rng(0).normal(size=(n, *GRID))
    for axis in (1, 2, 3):
        field = field + np.roll(field, 1, axis)
    labels = (field > 0).astype(np.uint8)
    labels[-1] = 0
    labels[-2] = np.arange(GRID[1])[:, None] % 2
    return labels


def collection(n: int = 6) -> Collection:
    return Collection(
        smooth_labels(n), (Feature("phi", "process"),), np.full((n, 1), 0.5), np.arange(n), (0.0, 255.0), 2.0, "nm",
        source="film.zarr",
    )  # fmt: skip


def resistor_network(phase: np.ndarray, axis: int) -> float:
    """D_eff / D_0 of one phase between two faces: resistors 1 between the centres of its voxels, 1/2 to the faces."""
    phase = np.moveaxis(descriptors.percolating_clusters(phase, axis=axis), axis, 0)
    number = np.where(phase, np.cumsum(phase).reshape(phase.shape) - 1, -1)
    pairs = [
        np.stack([np.take(number, range(n - 1), a), np.take(number, range(1, n), a)], -1).reshape(-1, 2)
        for a, n in enumerate(phase.shape)
    ]
    i, j = np.concatenate([pair[(pair >= 0).all(axis=1)] for pair in pairs]).T
    first, last = (np.bincount(plane[plane >= 0], minlength=phase.sum()) for plane in (number[0], number[-1]))
    degree = np.bincount(np.concatenate([i, j]), minlength=phase.sum()) + 2 * (first + last)
    one = np.ones(len(i))
    joined = sparse.coo_array((one, (i, j)), shape=(phase.sum(),) * 2)
    u = spsolve((sparse.diags_array(degree.astype(float)) - joined - joined.T).tocsc(), 2.0 * first)
    return float(2 * (last @ u) * len(phase) / phase[0].size)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blank") / "film.zarr"
    io.write_collection(path, collection())
    return path


@pytest.fixture(scope="module")
def measured(blank: Path) -> Path:
    """All features, GraSPI's included."""
    path = blank.with_name("measured.zarr")
    shutil.copytree(blank, path)
    measure_collection(path, chosen_features(collection(), film=FILM), film=FILM)
    return path


def test_the_columns_are_the_descriptors_and_what_a_resistor_network_conducts(measured):
    found = io.read_collection(measured)
    for i, p in np.ndindex(3, 2):
        phase = found.sample(i) == p
        fraction = phase.mean()
        assert found.column(f"volume_fraction.{p}")[i] == fraction
        area = float(descriptors.crofton_surface_area(phase, voxel_size=2.0))
        assert found.column(f"surface_area.{p}")[i] == area
        for number, axis in enumerate("zyx"):
            share = descriptors.percolating_fraction(phase, axis=number)
            assert found.column(f"percolating_fraction.{p}.{axis}")[i] == pytest.approx(share, rel=1e-12)
            d_eff = resistor_network(phase, number)
            assert 0.05 < d_eff < 0.5
            # the relative error that the solves promise is 1e-4
            assert found.column(f"diffusivity.{p}.{axis}")[i] == pytest.approx(d_eff, rel=1e-4)
            assert found.column(f"tortuosity.{p}.{axis}")[i] == pytest.approx(fraction / d_eff, rel=1e-4)


def test_layers_conduct_along_themselves_as_their_fraction_and_not_across(measured):
    found, layers = io.read_collection(measured), len(smooth_labels(6)) - 2
    for p in (0, 1):
        assert [found.column(f"diffusivity.{p}.{axis}")[layers] for axis in "zyx"] == pytest.approx([0.5, 0, 0.5])
        assert [found.column(f"tortuosity.{p}.{axis}")[layers] for axis in "zyx"] == pytest.approx([1, np.inf, 1])


def test_a_phase_that_is_absent_conducts_nothing(measured):
    found = io.read_collection(measured)
    assert [found.column(f"diffusivity.{p}.z")[-1] for p in (0, 1)] == [pytest.approx(1.0), 0.0]
    assert found.column("tortuosity.1.z")[-1] == np.inf and found.column("percolating_fraction.1.z")[-1] == 0.0


def test_graspi_descriptors_are_those_of_the_film_in_nanometres(measured):
    found = io.read_collection(measured)
    for i in (0, 4, 5):
        expected = descriptors.graspi_descriptors(found.sample(i), donor=1, acceptor=0, pixel=2.0)
        assert {name: found.column(name)[i] for name in expected} == expected


def test_features_that_are_there_stay_and_units_are_those_of_the_voxels(measured):
    found = io.read_collection(measured)
    assert Feature("phi", "process") in found.features and Feature("surface_area.0", unit="1/nm") in found.features
    before = contents(measured)
    measure_collection(measured, measurable_features(found, FILM), film=FILM)
    assert contents(measured) == before


def test_an_interrupted_measurement_continues_to_the_same_bits(blank, measured, tmp_path, monkeypatch):
    module = importlib.import_module("jaxmicro.pipeline.measure_collection")  # `pipeline` has the function of that name
    monkeypatch.setattr(module, "_TOGETHER", 2 * np.prod(GRID))  # two samples at a time
    path = tmp_path / "film.zarr"
    shutil.copytree(blank, path)
    features, reached = chosen_features(collection(), film=FILM), []

    def interrupt(stage: str, done: int, total: int, note: str) -> None:
        reached.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_collection(path, features, film=FILM, progress=interrupt)
    assert (path / STATE).is_file() and io.read_collection(path).features == collection().features
    measure_collection(path, features, film=FILM, progress=lambda stage, done, *_: reached.append(done))
    assert reached == [2, 4, 6]
    assert contents(path) == contents(measured)


def test_a_damaged_state_is_not_used(blank, measured, tmp_path):
    path = tmp_path / "film.zarr"
    shutil.copytree(blank, path)
    (path / STATE).write_bytes(b"no archive")
    measure_collection(path, chosen_features(collection(), film=FILM), film=FILM)
    assert contents(path) == contents(measured)


def test_columns_are_measured_again_on_request_only(blank, tmp_path):
    path = tmp_path / "film.zarr"
    shutil.copytree(blank, path)
    volume_fraction = chosen_features(collection(), ["volume_fraction.0"])
    io.add_features(path, volume_fraction, np.zeros((6, 1)))
    assert not measure_collection(path, volume_fraction).column("volume_fraction.0").any()
    assert measure_collection(path, volume_fraction, replace=True).column("volume_fraction.0").all()


def test_features_are_chosen_by_name_or_by_its_beginning():
    def names(*chosen: str, film: Film | None = None) -> list[str]:
        return [feature.name for feature in chosen_features(collection(), chosen, film)]

    assert names("tortuosity.1") == ["tortuosity.1.z", "tortuosity.1.y", "tortuosity.1.x"]
    assert names("volume_fraction", "diffusivity.0.z") == ["volume_fraction.0", "volume_fraction.1", "diffusivity.0.z"]
    assert names("CT_f_D", film=FILM) == ["CT_f_D_tort1"]
    assert len(names()) == 2 + 2 + 3 * 2 * 3 and len(names(film=FILM)) == 22 + 22
    with pytest.raises(UserError, match="is no feature that can be measured here; there are volume_fraction, surface"):
        names("porosity")
    with pytest.raises(UserError, match="need --donor and --acceptor"):
        names("CT_f_D_tort1")


def test_a_sample_that_is_no_film_is_named(blank, tmp_path):
    path = tmp_path / "film.zarr"
    shutil.copytree(blank, path)
    film = Film(donor=1, acceptor=2)
    with pytest.raises(UserError, match="sample 0 of film.zarr: the film has the labels"):
        measure_collection(path, chosen_features(collection(), ["CT_f_D_tort1"], film), film=film)


def test_images_that_are_not_square_are_measured_across(tmp_path):
    images = smooth_labels(6).reshape(6, 8, 64)[:4, :, :10]
    images[:, 5] = 1  # a row that connects left and right
    flat = Collection(images, (), np.zeros((4, 0)), np.arange(4), (0.0, 1.0))
    io.write_collection(tmp_path / "a.zarr", flat)
    found = measure_collection(tmp_path / "a.zarr", chosen_features(flat, ["diffusivity.1.x", "surface_area.0"]))
    assert found.features == (Feature("diffusivity.1.x"), Feature("surface_area.0", unit="1/voxel"))
    for i in range(4):
        expected = resistor_network(images[i] == 1, 1)
        assert found.column("diffusivity.1.x")[i] == pytest.approx(expected, rel=1e-4) and expected > 0.05


def test_a_film_has_the_same_numbers_wherever_it_is_cut_along_its_periodic_sides():
    names = ("diffusivity.1.z", "percolating_fraction.1.z", "diffusivity.1.y")
    film = replace(collection(4), labels=smooth_labels(6)[:4], periodic=(False, True, True))
    shifted = replace(film, labels=np.roll(film.labels[np.arange(4)], (3, 5), (2, 3)))

    def measured(samples: Collection) -> np.ndarray:
        numbers = dict(item for found in measured_samples(samples, np.arange(4), names, None) for item in found.items())
        return np.array([[numbers[i][name] for name in names] for i in range(4)])

    here, there = measured(film), measured(shifted)
    np.testing.assert_allclose(here[:, :2], there[:, :2], rtol=1e-6)  # along the normal, with periodic sides
    assert np.abs(here[:, 2] - there[:, 2]).max() > 1e-3  # along y the sides normal to z are tight, the faces are cut
    tight = measured(replace(film, periodic=(False, False, False)))
    assert (here[:, 0] >= tight[:, 0] - 1e-9).all()  # what may cross the sides conducts at least as well
