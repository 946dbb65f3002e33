"""Copies are found wherever they are shifted, mirrored or turned; independent samples are none; identical ones do not
vary."""

import numpy as np
import pytest

from jaxmicro.evaluate import Symmetry, copies, diversity, nearest_samples, two_point_along
from tests.media import level_cut

SHAPE = (6, 16, 16)
FILM = Symmetry((False, True, True), (1, 2), (0, 1, 2), ((0, 1, 2), (0, 2, 1)))


def media(n: int, seed: int, phases: int = 2) -> np.ndarray:
    def one(k: int) -> np.ndarray:
        labels = level_cut(SHAPE, fraction=0.5, sigma=1.2, seed=seed + k).astype(np.uint8)
        return (
            np.where(level_cut(SHAPE, fraction=0.2, sigma=1.2, seed=seed + k + 5000), 2, labels)
            if phases > 2
            else labels
        )

    return np.stack([one(k) for k in range(n)]).astype(np.uint8)


TRAINING, HELD_OUT = media(40, 0), media(12, 100)


@pytest.mark.parametrize(
    "move",
    [
        lambda a: a,
        lambda a: np.roll(a, (3, 11), (1, 2)),
        lambda a: a[::-1, :, ::-1],
        lambda a: np.roll(np.transpose(a, (0, 2, 1))[:, ::-1], 5, 1),
    ],
    ids=["same", "shifted", "mirrored", "turned"],
)
def test_a_copy_is_at_distance_zero_under_each_symmetry(move):
    distance, nearest = nearest_samples(move(TRAINING[7])[None], TRAINING, phases=2, symmetry=FILM)
    assert distance[0] == 0 and nearest[0] == 7


def test_a_shift_along_an_axis_that_is_not_shifted_is_no_copy():
    moved = np.roll(TRAINING[7], 3, 0)
    assert nearest_samples(moved[None], TRAINING, phases=2, symmetry=FILM)[0][0] > 0.3


def test_the_distance_is_that_of_a_plain_search_over_three_phases():
    query, other = media(2, 300, phases=3)
    only = FILM._replace(mirrored=(2,), orders=((0, 1, 2),))
    found, _ = nearest_samples(query[None], other[None], phases=3, symmetry=only)
    moved = [np.roll(q, (r, c), (1, 2)) for q in (query, query[:, :, ::-1]) for r in range(16) for c in range(16)]
    blank = 1 - max(np.mean(query == p) for p in range(3))
    assert found[0] == pytest.approx(min(np.mean(m != other) for m in moved) / blank, abs=1e-6)


def test_near_copies_are_flagged_and_independent_samples_are_not():
    generated = media(6, 200)
    clean = copies(generated, TRAINING, HELD_OUT, phases=2, symmetry=FILM)
    assert not clean["flagged"] and len(clean["held_out"]) == 12
    copied = np.roll(TRAINING[3], 4, 2)
    copied[:, :2, :2] = 0  # a few voxels differ
    found = copies(np.stack([*generated[:5], copied]), TRAINING, HELD_OUT, phases=2, symmetry=FILM)
    assert (found["copied"], found["nearest"][-1]) == (1, 3)
    assert found["generated"][-1] < found["limit"]


def test_copies_of_one_sample_do_not_vary_and_independent_ones_do():
    same = np.stack([np.roll(TRAINING[0], shift, 1) for shift in range(4)])
    none = diversity(same, phases=2, symmetry=FILM)
    assert none["pair_distance"] == pytest.approx(0, abs=1e-6)
    assert none["two_point_spread"] == pytest.approx(0, abs=1e-6)
    some = diversity(TRAINING[:6], phases=2, symmetry=FILM)
    apart, spread = some["pair_distance"], some["two_point_spread"]
    assert apart is not None and 0.4 < apart <= 1 and spread is not None and spread > 0.02  # of the best of many shifts
    assert diversity(TRAINING[:3], phases=2, symmetry=FILM, origin=np.zeros(3))["pair_distance"] is None


def test_the_two_point_statistics_are_those_of_a_plain_count():
    labels = TRAINING[0]
    found = two_point_along(labels, 2, FILM.periodic)
    assert found[0, 1] == pytest.approx(np.mean(labels[2:] == labels[:-2]))
    assert found[2, 5] == pytest.approx(np.mean(np.roll(labels, 8, 2) == labels))
    assert np.isnan(found[0, 3]) and np.isfinite(found[0, 2])
