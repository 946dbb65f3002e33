"""What no sample can have is refused, and whatever is measured of a sample is not."""

import math

import numpy as np
import pytest

from jaxmicro.errors import UserError
from jaxmicro.pipeline.feature_bounds import check_possible
from jaxmicro.pipeline.generated import measured_features
from jaxmicro.pipeline.sample_properties import measurable_features
from tests.media import level_cut
from tests.test_exact_features import samples


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"volume_fraction.0": -0.1}, "0 to 1"),
        ({"percolating_fraction.0.z": 1.2}, "0 to 1"),
        ({"tortuosity.1.x": 0.9}, "at least 1"),
        ({"surface_area.0": -1.0}, "at least 0"),
        ({"volume_fraction.0": 0.4, "diffusivity.0.z": 0.5}, "bound of Wiener"),
        ({"diffusivity.0.z": 0.5, "tortuosity.0.z": 4.0}, "their product is the volume fraction"),
        ({"diffusivity.0.z": 0.0, "tortuosity.0.z": 4.0}, "contradict each other"),
        ({"diffusivity.0.z": 0.2, "tortuosity.0.z": math.inf}, "contradict each other"),
        ({"volume_fraction.0": 0.4, "diffusivity.0.z": 0.2, "tortuosity.0.z": 1.5}, "contradict volume_fraction.0=0.4"),
        ({"percolating_fraction.0.z": 0.0, "tortuosity.0.z": 2.0}, "conducts where it percolates"),
        ({"percolating_fraction.0.z": 0.5, "diffusivity.0.z": 0.0}, "conducts where it percolates"),
        ({"surface_area.0": 0.1, "surface_area.1": 0.2}, "two phases have one interface"),
    ],
)
def test_what_no_sample_has_is_refused(targets: dict[str, float], message: str):
    with pytest.raises(UserError, match=message):
        check_possible(targets, 2)


def test_areas_of_three_phases_need_not_be_equal():
    areas = {"surface_area.0": 0.1, "surface_area.1": 0.2, "surface_area.2": 0.25}
    check_possible(areas, 3)
    with pytest.raises(UserError, match="belongs to two phases"):
        check_possible(areas | {"surface_area.2": 0.4}, 3)


@pytest.mark.parametrize("fraction", [0.15, 0.5])
def test_what_is_measured_of_a_sample_is_possible(fraction: float):
    """The rarer phase does not percolate at 0.15: its tortuosity factor is infinite."""
    labels = np.stack([level_cut((16, 16, 16), fraction=fraction, sigma=2.0, seed=seed) for seed in range(2)])
    of = samples(labels.astype(np.uint8), (False, True, True))
    names = [feature.name for feature in measurable_features(of) if not feature.name.endswith((".x", ".y"))]
    for found in measured_features(of, names):
        check_possible(found, 2)
        rounded = {name: float(f"{value:.3g}") for name, value in found.items()}
        check_possible(rounded, 2)
