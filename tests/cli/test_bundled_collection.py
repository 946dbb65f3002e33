"""The bundled films and the prior of such films belong together, and what is written of the films is true."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxmicro import pipeline
from jaxmicro.errors import UserError
from jaxmicro.io.collection_store import bundled_collections
from jaxmicro.io.collections import read_collection
from jaxmicro.pipeline.generated import measured_features
from tests.cli.conftest import Outcome


def test_the_bundled_prior_is_one_of_such_films():
    films, prior = read_collection("opv"), pipeline.load_prior("opv")
    assert prior.conditions is not None and prior.predictor is not None
    assert (prior.config.sample_shape, prior.config.phases) == (films.grid, films.phases)
    assert tuple(prior.config.unet.periodic) == films.periodic
    units = {feature.name: (feature.role, feature.unit) for feature in films.features}
    assert all(units[entry.name] == (entry.role, entry.unit) for entry in prior.conditions.entries)
    for entry in prior.conditions.entries:
        column = films.column(entry.name)
        assert entry.least <= column.min() and column.max() <= entry.most
    assert not set(prior.record["held_out_origins"]) & set(films.origin.tolist())


def test_the_table_of_the_bundled_films_is_what_is_measured():
    """To the accuracy of the diffusion solves, 1e-4."""
    films = read_collection("opv").subset(np.array([0, 40, 71]))
    names = [feature.name for feature in films.features if feature.role == "property"]
    for i, found in enumerate(measured_features(films, names)):
        known = [films.column(name)[i] for name in names]
        np.testing.assert_allclose(list(found.values()), known, rtol=1e-3)


@pytest.mark.slow  # the network in its full size
def test_the_bundled_prior_gives_what_is_asked():
    found = pipeline.generate(pipeline.load_prior("opv"), {"volume_fraction.0": 0.45, "tortuosity.0.z": 1.9}, count=2)
    for sample in found.measured:
        assert sample["volume_fraction.0"] == pytest.approx(0.45, abs=0.01)
        assert sample["tortuosity.0.z"] == pytest.approx(1.9, rel=0.1)


def test_the_bundled_films_stay_as_they_are(jaxmicro: Callable[..., Outcome], tmp_path: Path):
    done = jaxmicro("measure", "opv", "--features", "diffusivity")
    assert done.code == 2 and "--out NEW.zarr" in done.last_line
    with pytest.raises(UserError, match="comes with jaxmicro"):
        pipeline.measure_collection("opv", pipeline.chosen_features(read_collection("opv"), ["surface_area.1"]))
    done = jaxmicro("measure", "opv", "--features", "surface_area", "--out", tmp_path / "films.zarr")
    assert done.code == 0, done.err
    copy = read_collection(tmp_path / "films.zarr")
    np.testing.assert_allclose(copy.column("surface_area.1"), copy.column("surface_area.0"), rtol=1e-6)
    assert not (bundled_collections()["opv"] / "features" / "surface_area.1").exists()
