"""Laws of batches of samples: runs, resumption, sharding, and symmetries under which features are true."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxmicro.collection import Collection, Feature
from jaxmicro.data import SampleConfig, sample_batches, sample_dataset
from jaxmicro.errors import UserError


def collection(n: int = 7, grid=(4, 5, 5), names=("volume_fraction.0",), periodic=(False, True, True)) -> Collection:
    rng = np.random.default_rng(0)
    features = tuple(Feature(name, "process" if name == "phi" else "property") for name in names)
    labels = rng.integers(0, 2, (n, *grid)).astype(np.uint8)
    return Collection(labels, features, rng.random((n, len(names))), np.arange(n), (0.0, 1.0), periodic=periodic)


def with_ends(sample: np.ndarray) -> np.ndarray:
    """Share of phase 1 in the first and the last plane along each axis: numbers that name an axis and need no solve."""
    return np.array([np.take(sample, [0, -1], axis).mean() for axis in range(sample.ndim)], np.float32)


def with_axes(n: int = 7) -> Collection:
    """Volumes with a feature per axis that shifts change, exchanges permute and mirrors leave."""
    plain = collection(n)
    features = tuple(Feature(f"ends.1.{axis}") for axis in "zyx")
    table = np.array([with_ends(sample) for sample in np.asarray(plain.labels)], float)
    return dataclasses.replace(plain, features=features, table=table)


def equal(one, other) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in ("labels", "features"))


def test_every_run_has_every_sample_once_in_another_order():
    whole = collection()
    batches = sample_dataset(whole, SampleConfig(batch=7, shifted_axes=()))
    table = whole.table.astype(np.float32)
    runs = [batches[k]["features"] for k in range(3)]
    assert all(np.array_equal(np.sort(run, axis=0), np.sort(table, axis=0)) for run in runs)
    assert not np.array_equal(runs[0], runs[1])
    assert runs[0].dtype == np.float32 and batches[0]["labels"].dtype == np.uint8


def test_labels_and_features_are_those_of_the_same_sample():
    whole = collection()
    batch = sample_dataset(whole, SampleConfig(batch=20, shifted_axes=()))[3]
    known = {np.asarray(whole.labels)[i].tobytes(): whole.table[i].astype(np.float32) for i in range(7)}
    for sample, features in zip(batch["labels"], batch["features"], strict=True):
        assert np.array_equal(known[sample.tobytes()], features)


CONFIG = SampleConfig(batch=6, seed=4, mirrored_axes=("z", "x"), symmetric_axes=("y", "x"))


def test_a_batch_depends_on_seed_and_number_only():
    whole, batches = collection(), sample_dataset(collection(), CONFIG)
    stream = sample_batches(whole, CONFIG)
    first = [next(stream) for _ in range(5)]
    assert all(equal(first[k], batches[k]) for k in (4, 0, 2))
    assert not equal(batches[0], sample_dataset(whole, dataclasses.replace(CONFIG, seed=5))[0])


def test_a_restored_stream_goes_on_exactly():
    stream = sample_batches(collection(), CONFIG)
    next(stream), next(stream)
    state = stream.get_state()
    expected = [next(stream) for _ in range(3)]
    again = sample_batches(collection(), CONFIG)
    again.set_state(state)
    assert all(equal(next(again), batch) for batch in expected)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_together_have_the_batch_of_one(count):
    whole, one = collection(), sample_dataset(collection(), CONFIG)
    shards = [sample_dataset(whole, CONFIG, process_index=i, process_count=count) for i in range(count)]
    for k in (0, 5):
        together = {name: np.concatenate([shard[k][name] for shard in shards]) for name in ("labels", "features")}
        assert equal(together, one[k])


def test_only_the_samples_of_a_batch_are_read():
    class Counted:
        shape = (7, 4, 5, 5)
        read = 0

        def __getitem__(self, index):
            self.read += np.size(index)
            return np.zeros((np.size(index), 4, 5, 5), np.uint8)

    labels = Counted()
    batches = sample_dataset(dataclasses.replace(collection(), labels=labels), SampleConfig(batch=4), process_count=2)
    assert labels.read == 0
    batches[100]
    assert labels.read == 2


def test_features_stay_those_of_the_labels_under_mirrors_and_exchanges():
    config = SampleConfig(batch=70, mirrored_axes=("z", "y", "x"), symmetric_axes=("x", "y"))
    batch = sample_dataset(with_axes(), config)[0]
    for sample, features in zip(batch["labels"], batch["features"], strict=True):
        assert np.array_equal(with_ends(sample), features)


def test_all_symmetries_occur_and_no_others():
    cube = np.arange(18).reshape(2, 3, 3).astype(np.uint8)  # every voxel its own value
    whole = Collection(
        cube[None], (), np.zeros((1, 0)), np.zeros(1, np.int64), tuple(map(float, range(18))),
        periodic=(False, True, True),
    )  # fmt: skip
    config = SampleConfig(batch=4000, mirrored_axes=("y", "x"), symmetric_axes=("y", "x"))
    found, times = np.unique(sample_dataset(whole, config)[0]["labels"].reshape(4000, -1), axis=0, return_counts=True)
    shifted = [np.roll(cube, shift, (1, 2)) for shift in itertools.product(range(3), repeat=2)]
    mirrored = [m for s in shifted for m in (s, s[:, ::-1], s[:, :, ::-1], s[:, ::-1, ::-1])]
    allowed = {image.tobytes() for m in mirrored for image in (m, m.transpose(0, 2, 1))}
    assert {row.tobytes() for row in found} == allowed
    # 72 equally likely, 4000 draws: 55.6 each with a standard deviation of 7.4; five are allowed
    assert np.abs(times - 4000 / 72).max() < 37


def test_axes_are_shifted_only_where_no_feature_forbids_it():
    def moves(whole: Collection) -> list[bool]:
        labels = np.zeros((1, 4, 5, 5), np.uint8)
        labels[0, 0, 0, 0] = 1
        one = dataclasses.replace(whole, labels=labels, table=whole.table[:1], origin=whole.origin[:1])
        where = np.argwhere(sample_dataset(one, SampleConfig(batch=50))[0]["labels"])[:, 1:]
        return [len(set(column)) > 1 for column in where.T.tolist()]

    assert moves(collection()) == [False, True, True]
    assert moves(collection(names=("phi",), periodic=(True,) * 3)) == [True, True, True]
    assert moves(collection(names=("tortuosity.1.y",))) == [False, False, True]
    assert moves(collection(names=("CT_f_D_tort1",))) == [False, False, False]


@pytest.mark.parametrize(
    ("names", "config", "message"),
    [
        (["phi"], {"mirrored_axes": ("w",)}, "have no axis 'w'"),
        (["phi"], {"shifted_axes": ("z",)}, "along z: it is not periodic"),
        (["tortuosity.1.y"], {"shifted_axes": ("y",)}, "along y: the feature tortuosity.1.y depends on"),
        (["phi"], {"symmetric_axes": ("z", "y")}, "differ in length or periodicity"),
        (["tortuosity.1.y"], {"symmetric_axes": ("y", "x")}, "would become tortuosity.1.x, which is not there"),
        (["CT_f_D_tort1"], {"mirrored_axes": ("z",)}, "mirrored along z: it is not known how"),
        (["CT_f_D_tort1"], {"symmetric_axes": ("z", "y", "x")}, "turned out of z: it is not known how"),
    ],
)
def test_a_symmetry_that_features_or_the_grid_contradict_is_refused(names, config, message):
    with pytest.raises(UserError, match=message):
        sample_dataset(collection(names=names), SampleConfig(**config))


def test_a_feature_along_z_survives_mirrors_of_z_and_exchange_of_x_and_y():
    config = SampleConfig(batch=8, mirrored_axes=("z",), symmetric_axes=("x", "y"))
    sample_dataset(collection(names=("tortuosity.1.z",)), config)[0]
    flips_in_plane = SampleConfig(batch=8, mirrored_axes=("x",), symmetric_axes=("x", "y"))
    sample_dataset(collection(names=("CT_f_D_tort1",)), flips_in_plane)[0]


def test_images_are_drawn_too():
    whole = collection(grid=(6, 6), periodic=(True, True))
    batch = sample_dataset(whole, SampleConfig(batch=3, mirrored_axes=("y",), symmetric_axes=("y", "x")))[0]
    assert batch["labels"].shape == (3, 6, 6)


def test_a_batch_must_split_among_the_processes():
    with pytest.raises(UserError, match="does not split among 3 processes"):
        sample_batches(collection(), SampleConfig(batch=4), process_count=3)
    with pytest.raises(UserError, match="at least 1 sample"):
        SampleConfig(batch=0)
    with pytest.raises(UserError, match="must not be negative"):
        SampleConfig(seed=-1)
