"""Laws of collections: names, tables, splits by origin, labels read only when they are asked for."""

import dataclasses

import numpy as np
import pytest

from jaxmicro.collection import Collection, Feature
from jaxmicro.errors import UserError


class Counted:
    """Labels that remember which samples were read."""

    def __init__(self, labels: np.ndarray):
        self.labels, self.shape, self.read = labels, labels.shape, []

    def __getitem__(self, index):
        self.read += np.ravel(index).tolist()
        return self.labels[index]


def collection(**changes) -> Collection:
    """Twelve random volumes of five runs."""
    rng = np.random.default_rng(0)
    whole = Collection(
        rng.integers(0, 2, (12, 2, 3, 4)).astype(np.uint8),
        (Feature("phi", "process"), Feature("tortuosity.1.z"), Feature("CT_f_D_tort1")),
        rng.random((12, 3)),
        np.array([7, 7, 7, 2, 2, 9, 9, 4, 4, 4, 4, 0]),
        (0.0, 255.0),
        0.5,
        "um",
        (False, True, True),
        "runs.zarr",
    )
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize("name", ["volume_fraction.0", "tortuosity.1.z", "phi", "CT_f_D_tort1", "a-b", "x" * 100])
def test_names_of_the_grammar_are_taken(name):
    assert Feature(name).name == name


@pytest.mark.parametrize("name", ["", "x" * 101, "a/b", "..", ".hidden", "a b", "zarr.json", "phi\n", "é", "1"])
def test_other_names_are_refused_in_one_line(name):
    with pytest.raises(UserError, match="cannot name a feature") as error:
        Feature(name)
    assert "\n" not in str(error.value)


def test_a_role_is_property_or_process():
    with pytest.raises(UserError, match="expected property or process"):
        Feature("phi", "cause")


def test_only_properties_named_with_an_axis_have_one():
    names = ["diffusivity.0.z", "diffusivity.0", "a.b.z", "tortuosity.1.q"]
    assert [Feature(name).axis for name in names] == ["z", None, None, None]
    assert Feature("rate.0.z", "process").axis is None


def test_a_missing_feature_is_named_with_those_that_are_there():
    with pytest.raises(UserError, match=r"no feature 'chi'; it has phi, tortuosity.1.z, CT_f_D_tort1"):
        collection().column("chi")


def test_columns_and_selections_are_those_of_the_table():
    whole = collection()
    chosen = whole.select(["CT_f_D_tort1", "phi"])
    assert [feature.name for feature in chosen.features] == ["CT_f_D_tort1", "phi"]
    assert np.array_equal(chosen.table, whole.table[:, [2, 0]])
    assert np.array_equal(whole.column("tortuosity.1.z"), whole.table[:, 1])


@pytest.mark.parametrize(("number", "column"), [(np.nan, 0), (np.nan, 1), (np.inf, 0), (-np.inf, 1)])
def test_a_number_that_is_none_is_refused_with_feature_and_sample(number, column):
    table = collection().table.copy()
    table[5, column] = number
    with pytest.raises(UserError, match=f"feature {['phi', 'tortuosity.1.z'][column]} of sample 5 is"):
        collection(table=table)


def test_a_tortuosity_may_be_infinite():
    table = collection().table.copy()
    table[5, 1] = np.inf
    assert collection(table=table).column("tortuosity.1.z")[5] == np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": np.zeros((12, 2))}, "the table needs a row"),
        ({"origin": np.arange(11)}, "the origins a number"),
        ({"labels": np.zeros((12, 3), np.uint8)}, "expected samples, and edges"),
        ({"periodic": (True, True)}, "2 entries for 3 axes"),
        ({"values": ()}, "0 phases"),
        ({"features": (Feature("a"), Feature("b"), Feature("a"))}, "two features a"),
    ],
)
def test_what_does_not_agree_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        collection(**changes)


def test_a_label_that_is_no_phase_is_refused_when_its_sample_is_read():
    labels = np.asarray(collection().labels).copy()
    labels[3, 0, 0, 0] = 2
    whole = collection(labels=labels)
    whole.samples([0, 1])
    with pytest.raises(UserError, match="sample 3 has the label 2, and there are 2 phases"):
        whole.microstructure(3)
    with pytest.raises(UserError, match="sample 3 has the label 2"):
        whole.samples([0, 3])


def test_a_sample_keeps_the_calibration():
    one = collection().microstructure(4)
    assert np.array_equal(one.labels, np.asarray(collection().labels)[4])
    assert (one.values, one.voxel_size, one.unit, one.periodic, one.source) == (
        (0.0, 255.0), 0.5, "um", False, "runs.zarr[4]",
    )  # fmt: skip
    assert collection(periodic=(True,) * 3).microstructure(0).periodic


def test_only_samples_that_are_asked_for_are_read():
    labels = Counted(np.asarray(collection().labels))
    whole = collection(labels=labels)
    part = whole.subset([8, 3, 11]).subset([2, 0])
    assert labels.read == []
    assert np.array_equal(part.samples([1, 0]), labels.labels[[8, 11]])
    assert np.array_equal(part.sample(0), labels.labels[11])
    assert labels.read == [8, 11, 11]
    assert np.array_equal(part.table, whole.table[[11, 8]]) and part.origin.tolist() == [0, 4]


@pytest.mark.parametrize("indices", [[], [12], [-1]])
def test_a_subset_is_of_samples_that_are_there(indices):
    with pytest.raises(UserError, match="has the samples 0 to 11"):
        collection().subset(indices)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_a_split_shares_no_origin_and_loses_no_sample(share):
    whole = collection()
    for seed in range(10):
        train, held_out = whole.split(share, seed)
        assert not set(train.origin) & set(held_out.origin)
        assert sorted([*train.column("phi"), *held_out.column("phi")]) == sorted(whole.column("phi"))
        again = whole.split(share, seed)
        assert np.array_equal(again[1].table, held_out.table)


def test_the_held_out_share_is_as_near_as_whole_origins_allow():
    whole = collection(origin=np.arange(12))
    assert [len(whole.split(share)[1]) for share in (0.01, 0.25, 0.5, 0.99)] == [1, 3, 6, 11]


def test_one_origin_cannot_be_split():
    with pytest.raises(UserError, match="add samples of another run"):
        collection(origin=np.full(12, 3)).split()
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        collection().split(1.0)
