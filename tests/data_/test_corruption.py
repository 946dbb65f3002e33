"""Corruptions change what they say, as often as they say, and their likelihoods are frequencies of what is seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmicro.data.artefacts import ChargingStreaks, Curtaining, Rim, ScaleBar
from jaxmicro.data.corruption import LEAST_PROBABILITY, Corruption, FrequencyRings, Grid, SaltAndPepper
from tests.media import level_cut

SHAPE = (6, 64, 48)
KEY = jax.random.key(0)
CORRUPTIONS = [
    SaltAndPepper(), Grid(), Grid(rotation=30.0), FrequencyRings(), Curtaining(), ChargingStreaks(), ScaleBar(phase=0),
    Rim(),
]  # fmt: skip


def slices(phases: int, seed: int = 0) -> np.ndarray:
    """Slices of a medium in which each phase is a third or a half."""
    first = level_cut(SHAPE, fraction=0.5, sigma=3.0, seed=seed).astype(np.uint8)
    return first if phases == 2 else np.where(level_cut(SHAPE, fraction=0.33, sigma=3.0, seed=seed + 1), 2, first)


@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=str)
def test_labels_stay_labels_and_the_key_decides(corruption: Corruption, phases: int):
    labels = slices(phases)
    seen, same = (corruption.apply(labels, phases=phases, key=KEY) for _ in range(2))
    np.testing.assert_array_equal(seen, same)
    assert seen.dtype == np.uint8 and seen.shape == SHAPE and int(seen.max()) < phases
    assert 0.001 < np.mean(seen != labels) < 0.5
    of_each = corruption.log_likelihood(seen, phases=phases)
    assert of_each.shape == (*SHAPE, phases) and np.isfinite(of_each).all() and float(of_each.max()) <= 0


@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=str)
def test_likelihoods_tell_more_than_that_labels_are_mostly_right(corruption: Corruption, phases: int):
    """The true phase is likelier than if each label were right equally often; `clean` is another piece."""
    labels = slices(phases)
    seen = np.asarray(corruption.apply(labels, phases=phases, key=KEY))
    wrong = float(np.mean(seen != labels))
    fractions = np.log(np.bincount(labels.ravel(), minlength=phases) / labels.size)

    def score(of_each: np.ndarray) -> float:
        posterior = np.asarray(jax.nn.log_softmax(of_each + fractions))
        return float(np.take_along_axis(posterior, labels[..., None], -1).mean())

    ours = score(np.asarray(corruption.log_likelihood(seen, phases=phases, clean=slices(phases, seed=7)[:4, :, :40])))
    alike = score(np.log(np.where(np.arange(phases) == seen[..., None], 1 - wrong, wrong / (phases - 1))))
    if isinstance(corruption, SaltAndPepper):
        assert ours == pytest.approx(alike, abs=2e-3)  # that is what it says
    else:
        assert ours > 0.95 * alike


@pytest.mark.parametrize("phases", [2, 3])
@pytest.mark.parametrize(
    "corruption", [SaltAndPepper(probability=0.2), Curtaining(phase=1), ChargingStreaks(share=0.5, phase=0)], ids=str
)
def test_likelihoods_are_the_frequencies_of_what_is_seen(corruption: Corruption, phases: int):
    labels = np.broadcast_to(slices(phases)[:1], (2000, *SHAPE[1:]))
    seen = np.asarray(corruption.apply(labels, phases=phases, key=KEY))
    expected = np.exp(corruption.log_likelihood(jnp.asarray(labels), phases=phases))
    of_true = np.take_along_axis(np.asarray(expected), labels[..., None], -1)[..., 0]
    np.testing.assert_allclose((seen == labels).mean(axis=(0, 1)), of_true.mean(axis=(0, 1)), atol=0.03)
    for true in range(phases):
        for label in range(phases):
            assumed = np.exp(corruption.log_likelihood(jnp.full(SHAPE, label, jnp.uint8), phases=phases))[..., true]
            found = (seen == label)[labels == true].mean()
            assert found == pytest.approx(float(assumed.mean()), abs=0.01)


def test_a_grid_is_that_of_p_dvae():
    """Equation by equation, for two phases."""
    labels, grid = slices(2)[0], Grid(frequency=4.0, amplitude=0.9, rotation=20.0)
    rows, columns = SHAPE[1:]
    angle = np.deg2rad(20)
    expected = np.zeros_like(labels)
    for i in range(rows):
        for j in range(columns):
            x, y = j / (columns - 1) - 0.5, i / (rows - 1) - 0.5
            x, y = np.cos(angle) * x - np.sin(angle) * y + 0.5, np.sin(angle) * x + np.cos(angle) * y + 0.5
            wave = 0.9 * np.sin(2 * np.pi * 4 * x) * np.sin(2 * np.pi * 4 * y)
            expected[i, j] = labels[i, j] + wave > 0.5
    assert np.mean(np.asarray(grid.apply(labels, phases=2, key=KEY)) != expected) < 1e-3  # rounding at the threshold


def test_what_a_grid_overwrites_is_unknown_and_all_else_is_certain():
    grid, labels = Grid(amplitude=0.9), jnp.asarray(slices(2))
    seen = grid.apply(labels, phases=2, key=KEY)
    of_each = np.asarray(grid.log_likelihood(seen, phases=2))
    known = np.ptp(of_each, axis=-1) > 0
    np.testing.assert_array_equal(of_each.argmax(-1)[known], labels[known])
    assert np.all(np.asarray(seen == labels)[known]) and 0.2 < known.mean() < 0.95
    assert np.allclose(np.ptp(of_each, axis=-1)[known], -np.log(LEAST_PROBABILITY), rtol=1e-5)


def test_rings_leave_the_mean_and_remove_their_frequencies():
    rings = FrequencyRings(rings=2, intensity=1.0, width=0.2)
    mask = rings._mask((32, 32))
    assert mask[0, 0] == 1  # the mean, also in the order of the transform
    corner = np.hypot(16, 16)
    for radius, inside in ((1 / 3, True), (2 / 3, True), (0.5, False), (0.05, False)):
        along = round(radius * corner / np.sqrt(2))  # along the diagonal
        assert (mask[along, along] == 0) == inside
    np.testing.assert_array_equal(FrequencyRings(intensity=0.0).apply(slices(3), phases=3, key=KEY), slices(3))


def test_rims_are_along_interfaces_and_bars_in_their_corner():
    labels = slices(3)
    rim = np.asarray(Rim(probability=1.0, reach=2).apply(labels, phases=3, key=KEY)) != labels
    inner = np.ones_like(rim)  # no other phase within two pixels
    for axis in (1, 2):
        for shift in (-2, -1, 1, 2):
            near = np.take(labels, np.clip(np.arange(SHAPE[axis]) + shift, 0, SHAPE[axis] - 1), axis=axis)
            inner &= near == labels
    np.testing.assert_array_equal(rim, ~inner & (labels != 1))
    plain = np.zeros(SHAPE, np.uint8)
    bar = np.argwhere(np.asarray(ScaleBar().apply(plain, phases=2, key=KEY))[0])
    assert (bar.min(axis=0) >= [32, 24]).all() and len(bar) == np.prod(np.ptp(bar, axis=0) + 1)


def test_a_phase_that_no_clean_image_has_is_neither_likely_nor_impossible():
    of_each = np.asarray(Rim().log_likelihood(slices(2), phases=3, clean=slices(2, seed=7)))
    least, most = np.sort(of_each[..., :2], axis=-1)[..., 0], of_each[..., :2].max(axis=-1)
    assert np.all((least - 1e-5 <= of_each[..., 2]) & (of_each[..., 2] <= most + 1e-5))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SaltAndPepper(probability=1.5), lambda: Grid(frequency=np.nan), lambda: Curtaining(share=-0.1),
        lambda: ChargingStreaks(length=0.0), lambda: Rim(reach=0), lambda: FrequencyRings(rings=0),
        lambda: Curtaining(phase=2).apply(slices(2), phases=2, key=KEY),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
