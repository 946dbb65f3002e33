"""What a model of a collection can be asked for."""

import json
import math

import numpy as np
import pytest

from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError
from jaxmicro.pipeline.conditions import Conditions, conditions_from_dict, conditions_of, conditions_to_dict

FEATURES = (
    Feature("time", "process"), Feature("volume_fraction.0"), Feature("volume_fraction.1"), Feature("tortuosity.1.z"),
)  # fmt: skip


def collection(n: int = 60) -> Collection:
    """Fractions over a range, a tortuosity that is nearly 1 / fraction, infinite where the fraction is low."""
    rng = np.random.default_rng(0)
    phi = np.linspace(0.2, 0.8, n)
    tortuosity = np.where(phi < 0.25, np.inf, 1 / phi + 0.05 * rng.uniform(size=n))
    table = np.stack([np.geomspace(1, 1000, n), 1 - phi, phi, tortuosity], axis=1)
    return Collection(np.zeros((n, 2, 2), np.uint8), FEATURES, table, np.arange(n) // 2, (0.0, 1.0))


@pytest.fixture(scope="module")
def conditions() -> Conditions:
    return conditions_of(collection())


def test_standardised_features_have_mean_zero_and_deviation_one_and_come_back(conditions: Conditions):
    table = collection().table
    standardised = conditions.standardised(table)
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-5)
    finite = np.isfinite(table).all(axis=1)
    np.testing.assert_allclose(conditions.natural(standardised)[finite], table[finite], rtol=1e-4)


def test_wide_process_parameters_enter_as_logarithms_and_tortuosities_as_reciprocals(conditions: Conditions):
    assert [entry.scale for entry in conditions.entries] == ["log", "identity", "identity", "reciprocal"]
    assert np.isfinite(conditions.samples).all()  # although some tortuosities are infinite


def test_absent_targets_are_nan(conditions: Conditions):
    row = conditions.row({"tortuosity.1.z": 2.0})
    assert np.isnan(row[:3]).all() and row[3] == 2.0


def test_the_last_volume_fraction_follows_from_the_others(conditions: Conditions):
    assert conditions.checked({"volume_fraction.1": 0.4}) == {"volume_fraction.1": 0.4, "volume_fraction.0": 0.6}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"porosity": 0.3}, "it has time, volume_fraction.0"),
        ({"volume_fraction.1": 0.9}, "0.2 to 0.8"),
        ({"tortuosity.1.z": 0.5}, "at least 1"),
        ({"volume_fraction.0": 0.5, "volume_fraction.1": 0.6}, "sum to 1.1"),
        ({"volume_fraction.0": 0.3, "volume_fraction.1": 0.3}, "sum to 1, these to 0.6"),
        ({"volume_fraction.1": 0.3, "tortuosity.1.z": 1.3}, "the nearest has"),
        ({"volume_fraction.1": math.nan}, "finite"),
        ({"volume_fraction.1": math.inf}, "finite"),
    ],
)
def test_targets_beyond_the_training_are_refused_with_the_range(conditions: Conditions, targets, message: str):
    with pytest.raises(UserError, match=message):
        conditions.checked(targets)


def test_extrapolation_can_be_forced_but_fractions_still_sum_to_one(conditions: Conditions):
    assert conditions.checked({"volume_fraction.1": 0.9}, extrapolate=True)["volume_fraction.1"] == 0.9
    with pytest.raises(UserError, match="sum to"):
        conditions.checked({"volume_fraction.0": 0.5, "volume_fraction.1": 0.6}, extrapolate=True)


def test_an_infinite_tortuosity_can_be_asked_for_if_samples_have_it(conditions: Conditions):
    targets = conditions.checked({"tortuosity.1.z": math.inf})
    assert np.isfinite(conditions.standardised(conditions.row(targets)[None])[0, 3])


def test_every_sample_of_the_collection_can_be_asked_for(conditions: Conditions):
    for row in collection().table:
        conditions.checked(dict(zip(conditions.names, row.tolist(), strict=True)))


def test_conditions_survive_their_dictionary(conditions: Conditions):
    data = json.loads(json.dumps(conditions_to_dict(conditions)))
    again = conditions_from_dict(data, conditions.samples, conditions.origin, 2)
    assert again.entries == conditions.entries
    with pytest.raises(ValueError, match="damaged"):
        conditions_from_dict([{**data[0], "scale": "cube"}, *data[1:]], conditions.samples, conditions.origin, 2)
    with pytest.raises(ValueError, match="samples of shape"):
        conditions_from_dict(data[:2], conditions.samples, conditions.origin, 2)


def test_a_feature_without_variation_is_no_condition():
    same = collection()
    table = same.table.copy()
    table[:, 0] = 3.0
    with pytest.raises(UserError, match="time do not vary"):
        conditions_of(Collection(same.labels, FEATURES, table, same.origin, same.values))


def with_features(*names: str, phases: int) -> Conditions:
    every = collection()
    columns = np.stack([np.linspace(0.1, 0.5 - 0.1 * k, 60) for k in range(len(names))], axis=1)
    features = tuple(Feature(name) for name in names)
    values = tuple(float(phase) for phase in range(phases))
    return conditions_of(Collection(every.labels, features, columns, every.origin, values))


def test_one_fraction_of_a_table_can_be_asked_for():
    assert with_features("volume_fraction.1", phases=2).checked({"volume_fraction.1": 0.3}) == {
        "volume_fraction.1": 0.3
    }


def test_two_fractions_of_three_phases_do_not_exclude_the_third():
    conditions = with_features("volume_fraction.0", "volume_fraction.1", phases=3)
    assert conditions.checked({"volume_fraction.0": 0.3}) == {"volume_fraction.0": 0.3}
    both = {"volume_fraction.0": 0.3, "volume_fraction.1": 0.25}
    assert conditions.checked(both) == both
    with pytest.raises(UserError, match="sum to 1.2"):
        conditions.checked({"volume_fraction.0": 0.6, "volume_fraction.1": 0.6})


def test_a_fraction_that_follows_is_named_with_those_from_which_it_does():
    conditions = with_features("volume_fraction.0", "volume_fraction.1", "volume_fraction.2", phases=3)
    with pytest.raises(UserError, match=r"^volume_fraction.1=0.7 is outside .* 0.1 to 0.4"):
        conditions.checked({"volume_fraction.0": 0.2, "volume_fraction.1": 0.7})
    says = r"^volume_fraction.0=0.2 volume_fraction.1=0.3 leaves volume_fraction.2=0.5, which is outside .* 0.1 to 0.3"
    with pytest.raises(UserError, match=says):
        conditions.checked({"volume_fraction.0": 0.2, "volume_fraction.1": 0.3})


def test_features_of_exchanged_axes_have_joint_statistics():
    every = collection()
    features = (Feature("diffusivity.0.y"), Feature("diffusivity.0.x"))
    table = np.stack([np.linspace(0.1, 0.2, 60), np.linspace(0.4, 0.6, 60)], axis=1)
    films = Collection(every.labels, features, table, every.origin, every.values)
    joint = conditions_of(films, exchanged=("y", "x")).entries
    assert [(entry.least, entry.most) for entry in joint] == [(0.1, 0.6)] * 2
    assert [entry.mean for entry in joint] == pytest.approx([table.mean()] * 2)
    assert [entry.most for entry in conditions_of(films).entries] == [0.2, 0.6]


def test_small_numbers_are_features_too():
    every = collection()
    table = np.linspace(1e-14, 1e-13, 60)[:, None]
    conditions = conditions_of(
        Collection(every.labels, (Feature("permeability.0"),), table, every.origin, every.values)
    )
    assert conditions.entries[0].std > 0


def test_numbers_of_another_definition_are_not_held_to_the_bounds_of_ours():
    """P-CondLDM's "tortuosity" is a share of voxels."""
    every = collection()
    table = np.linspace(0.2, 0.3, len(every))[:, None]
    conditions = conditions_of(
        Collection(every.labels, (Feature("tortuosity.1.z"),), table, every.origin, every.values)
    )
    assert conditions.checked({"tortuosity.1.z": 0.25}) == {"tortuosity.1.z": 0.25}


def test_bounds_are_held_where_some_samples_do_not_percolate():
    """Zeros, ones and infinity are not those any more that single precision keeps."""
    every = collection()
    n = len(every)
    phi = np.linspace(0.2, 0.8, n)
    d_eff = np.where(phi < 0.4, 0.0, phi**2)
    share = np.where(phi < 0.4, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        table = np.stack([phi, d_eff, phi / d_eff, share], axis=1)
    names = ("volume_fraction.0", "diffusivity.0.z", "tortuosity.0.z", "percolating_fraction.0.z")
    conditions = conditions_of(Collection(every.labels, tuple(map(Feature, names)), table, every.origin, every.values))
    with pytest.raises(UserError, match="bound of Wiener"):
        conditions.checked({"volume_fraction.0": 0.4, "diffusivity.0.z": 0.5}, extrapolate=True)
    for row in table:
        conditions.checked(dict(zip(names, row.tolist(), strict=True)))


def test_a_value_that_single_precision_cannot_hold_is_refused(conditions: Conditions):
    with pytest.raises(UserError, match="no value of this feature"):
        conditions.checked({"tortuosity.1.z": 0.0}, extrapolate=True)
