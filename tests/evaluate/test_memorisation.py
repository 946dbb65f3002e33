"""Copies are found at any position and orientation, independent media are not flagged, distances are exact."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jaxmicro.evaluate.memorisation import _nearest, memorisation, simplex


def random_field(shape: tuple[int, ...], seed: int, phases: int = 3) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.0, mode="wrap")
    return np.digitize(field, np.quantile(field, np.arange(1, phases) / phases)).astype(np.uint8)


IMAGE = random_field((96, 96), seed=0)


@pytest.mark.parametrize("turn", [lambda a: a, np.rot90, np.fliplr, lambda a: np.rot90(a[::-1], 3)])
def test_a_copied_crop_is_found_at_distance_zero_in_any_orientation(turn):
    crop = turn(IMAGE[37:69, 11:43])
    volume = np.broadcast_to(crop, (32, 32, 32)).copy()
    found = memorisation([volume], IMAGE, 3, patch=32, patches=3)
    assert found["nearest"] == 0.0
    assert found["flagged"]
    assert found["copied"] >= 1  # planes normal to z; those normal to y and x are stripes


def test_another_seed_takes_patches_from_other_positions():
    volume = random_field((40, 40, 40), seed=3)
    first, again, other = (memorisation([volume], IMAGE, 3, patch=32, patches=3, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_an_independent_volume_of_the_same_material_is_no_copy():
    found = memorisation([random_field((32, 32, 32), seed=7)], IMAGE, 3, patch=32, patches=6)
    assert not found["flagged"]
    assert found["nearest"] > found["yardstick"] / 2 > 0


def test_a_blank_plane_is_no_copy():
    image = IMAGE.copy()
    image[:, :48] = 0
    found = memorisation([np.zeros((32, 32, 32), np.uint8)], image, 3, patch=32, patches=3)
    assert found["generated"] == [1.0, 1.0, 1.0]
    assert not found["flagged"]


@pytest.mark.parametrize("phases", [2, 3, 4])
def test_the_nearest_crop_is_that_of_a_plain_search(phases: int):
    image, patch = random_field((17, 14), 1, phases), random_field((6, 6), 2, phases)
    rotated = [np.rot90(p, k) for p in (patch, patch[::-1]) for k in range(4)]
    positions = itertools.product(range(12), range(9))
    expected = min(np.mean(t != image[r : r + 6, c : c + 6]) for r, c in positions for t in rotated)
    nowhere = np.full((1, 2), -1000)
    assert _nearest(patch[None], nowhere, image, phases=phases)[0] == pytest.approx(expected, abs=1e-6)


def test_a_patch_of_the_image_is_not_compared_with_itself():
    own = IMAGE[10:42, 20:52]
    apart = _nearest(own[None], np.array([[10, 20]]), IMAGE, phases=3)[0]
    assert _nearest(own[None], np.array([[-1000, -1000]]), IMAGE, phases=3)[0] == 0.0
    assert apart > 0.2


@pytest.mark.parametrize("phases", [2, 3, 5])
def test_products_of_phase_codes_are_larger_for_equal_phases_by_one(phases: int):
    code = simplex(phases)
    assert code.shape == (phases, phases - 1)
    np.testing.assert_allclose(code @ code.T, np.eye(phases) - 1 / phases, atol=1e-12)


def copied_planes(image: np.ndarray, seed: int, *, share: float, rolled: bool) -> np.ndarray:
    """A volume of the same material; a share of its planes normal to y are rotated and mirrored crops of the image."""
    rng = np.random.default_rng(seed)
    volume = random_field((32, 32, 32), seed=100 + seed)
    for y in np.flatnonzero(rng.random(32) < share):
        r, c = rng.integers(0, np.array(image.shape) - 31)
        crop = np.rot90(image[r : r + 32, c : c + 32][:: rng.choice([-1, 1])], rng.integers(4))
        volume[:, y] = np.roll(crop, rng.integers(0, 32, 2), (0, 1)) if rolled else crop
    return volume


@pytest.mark.parametrize(("share", "rolled"), [(1.0, True), (0.5, False)])
def test_copies_are_found_when_rolled_periodically_and_when_only_some_planes_are(share: float, rolled: bool):
    volumes = [copied_planes(IMAGE, seed, share=share, rolled=rolled) for seed in range(6)]
    found = [memorisation([volume], IMAGE, 3)["flagged"] for volume in volumes]
    # planes normal to y are 16 of 48: one of those is missed with a probability of 1 % or less
    assert sum(found) >= 5


def test_independent_volumes_are_seldom_flagged():
    found = [memorisation([random_field((32, 32, 32), seed=seed)], IMAGE, 3)["flagged"] for seed in range(200, 220)]
    assert sum(found) <= 2  # at a rate of 1 in 100, more than 2 of 20 occur in one case of 1000


def test_patches_are_taken_from_every_volume_and_every_axis():
    """Also with three volumes, as many as axes: the axis is independent of the volume."""
    independent = [random_field((32, 32, 32), seed=seed) for seed in (300, 301)]
    for index in range(3):
        volumes = list(independent)
        volumes.insert(index, copied_planes(IMAGE, 0, share=1.0, rolled=False))
        assert memorisation(volumes, IMAGE, 3)["flagged"]
