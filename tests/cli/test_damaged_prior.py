"""A loaded prior is checked as a saved one: an invalid one is refused before it is used."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from jaxmicro import pipeline
from jaxmicro.errors import UserError
from jaxmicro.io.checkpoint import load_weights, save_weights
from jaxmicro.pipeline import Material
from tests.cli.conftest import Outcome, tiny_prior

GOOD = Material((0.0, 255.0), (0.4, 0.6), 65.0, "nm", lineal_path=((0.4, 0.2), (0.6, 0.4)))
MATERIALS = {
    "fractions of 1.4": {"volume_fractions": [0.4, 1.0]},
    "a fraction of NaN": {"volume_fractions": [float("nan"), 0.5]},
    "a negative fraction": {"volume_fractions": [-0.4, 1.4]},
    "one fraction for two phases": {"volume_fractions": [1.0]},
    "a negative voxel": {"voxel_size": -65.0},
    "a voxel of no size": {"voxel_size": 0.0},
    "an infinite value": {"values": [0.0, float("inf")]},
    "values that fall": {"values": [255.0, 0.0]},
    "values that are equal": {"values": [7.0, 7.0]},
    "three phases of two": {"values": [0.0, 1.0, 2.0], "volume_fractions": [0.2, 0.3, 0.5], "lineal_path": []},
    "a unit of two lines": {"unit": "n\nm"},
    "a unit that is a number": {"unit": 3},
    "values that are text": {"values": ["0", "1"]},
    "a curve that is too high": {"lineal_path": [[0.4, 0.2], [1.6, 0.4]]},
    "a curve of NaN": {"held_covariance": [[0.4, float("nan")], [0.6, 0.4]]},
    "a curve for one phase only": {"held_lineal_path": [[0.4, 0.2]]},
    "curves of two lengths": {"lineal_path": [[0.4, 0.2], [0.6]]},
    "a negative roughness": {"roughness": [-0.1]},
}


@pytest.mark.parametrize("change", MATERIALS.values(), ids=MATERIALS.keys())
def test_an_impossible_material_is_refused(tmp_path: Path, change: dict):
    prior = tiny_prior()
    config = {"prior": prior.config.to_dict(), "material": {**dataclasses.asdict(GOOD), **change}}
    save_weights(tmp_path / "prior.safetensors", prior.params, config)
    with pytest.raises(UserError, match="prior.safetensors"):
        pipeline.load_prior(tmp_path / "prior.safetensors")


CONFIGS = {
    "channels of zero": {"unet": {"widths": [0]}},
    "a network without end": {"unet": {"blocks": 10**9}},
    "phases that are no whole number": {"phases": 2.0},
    "phases that are text": {"phases": "2"},
    "crops of no size": {"patch": 0},
    "noise levels that fall": {"log_snr_range": [3.0, -6.0]},
    "noise levels that are infinite": {"log_snr_range": [-6.0, float("inf")]},
    "three noise levels": {"log_snr_range": [-6.0, 0.0, 3.0]},
    "no network": {"unet": None},
    "a list for a network": {"unet": [1, 2]},
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS.keys())
def test_an_impossible_network_is_refused(tmp_path: Path, change: dict):
    prior = tiny_prior()
    plain = prior.config.to_dict()
    merged = {k: {**plain[k], **v} if isinstance(v, dict) else v for k, v in change.items()}
    save_weights(tmp_path / "prior.safetensors", prior.params, {"prior": plain | merged})
    with pytest.raises(UserError, match="prior.safetensors"):
        pipeline.load_prior(tmp_path / "prior.safetensors")


@pytest.mark.parametrize("metadata", ["", "{", "[]", '{"prior": 3}', "[" * 100_000])
def test_a_damaged_configuration_is_refused(tmp_path: Path, metadata: str):
    path = tmp_path / "prior.safetensors"
    path.write_bytes(
        safetensors.numpy.save({"a": np.zeros(1)}, metadata={"format": "jaxmicro-weights-1", "config": metadata})
    )
    with pytest.raises(UserError, match="prior.safetensors"):
        pipeline.load_prior(path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_prior_with_a_weight_that_is_not_finite_is_refused(
    work: Path, here: Path, jaxmicro: Callable[..., Outcome], number: float
):
    params, config = load_weights(work / "prior.safetensors")
    arrays = {"/".join(names): array.copy() for names, array in leaves(params)}
    next(iter(arrays.values())).flat[0] = number
    metadata = {"format": "jaxmicro-weights-1", "config": json.dumps(config)}
    (here / "prior.safetensors").write_bytes(safetensors.numpy.save(arrays, metadata=metadata))
    outcome = jaxmicro("reconstruct", "prior.safetensors", "--size", 16, "--out", "run")
    assert outcome.code == 2
    assert "not finite" in outcome.last_line and not (here / "run").exists()


def leaves(tree: dict, *names: str):
    """Paths and arrays of a nested dict."""
    for name, value in tree.items():
        yield from leaves(value, *names, name) if isinstance(value, dict) else [((*names, name), value)]


def test_a_source_is_a_name_and_no_path(tmp_path: Path):
    """A prior from another source must not determine which files are opened."""
    prior = pipeline.load_prior("sofc")
    assert prior.material is not None and pipeline.bundled_micrograph(prior) is not None
    bundled = Path(pipeline.__file__).parents[1] / "assets" / prior.material.source
    for source in (str(bundled), f"../assets/{prior.material.source}", f"./{prior.material.source}", "..", ""):
        other = dataclasses.replace(prior, material=dataclasses.replace(prior.material, source=source))
        assert pipeline.bundled_micrograph(other) is None


def test_every_bundled_prior_passes():
    for name in pipeline.bundled():
        assert pipeline.load_prior(name).config.phases in (2, 3)
